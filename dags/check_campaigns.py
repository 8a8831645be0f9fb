"""Shows every campaign folder and notifier that can't be used as an import error of Airflow's.

There is no dag here. Raising in send_campaigns.py would hide the good campaigns with the bad one;
raised here, the same sentences stand on Airflow's page of import errors and hide nothing.
"""

from sms import settings
from sms.campaign.definition import load_all
from sms_airflow import notifying
from sms_airflow.campaign_dag import build_all

chosen = settings.load()
campaigns, unread = load_all(chosen.campaigns_folder)
_, unbuilt = build_all(campaigns, chosen)  # as send_campaigns.py does, and kept out of Airflow
broken = [*map(str, (*unread, *unbuilt)), *notifying.faults(chosen)]
if broken:
    raise ImportError("\n".join(broken))
