"""Shows each unusable campaign folder or notifier as an import error in Airflow.

This file defines no dag. An error raised in send_campaigns.py would hide all campaigns; raised
here, it is shown on Airflow's page of import errors, and the valid campaigns keep their DAGs.
"""

from sms import settings
from sms.campaign.definition import load_all
from sms_airflow import notifying
from sms_airflow.campaign_dag import build_all

chosen = settings.load()
campaigns, unread = load_all(chosen.campaigns_folder)
_, unbuilt = build_all(campaigns, chosen)  # as in send_campaigns.py, but not registered
broken = [*map(str, (*unread, *unbuilt)), *notifying.faults(chosen)]
if broken:
    raise ImportError("\n".join(broken))
