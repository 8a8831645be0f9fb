"""Shows every campaign folder and notifier that can't be used as an import error of Airflow's.

There is no dag here. Raising in send_campaigns.py would hide the good campaigns with the bad one;
raised here, the same sentences stand on Airflow's page of import errors and hide nothing.
"""

from sms import settings
from sms.campaign import load_all
from sms_airflow import notifying

chosen = settings.load()
broken = [*map(str, load_all(chosen.campaigns_folder)[1]), *notifying.faults(chosen)]
if broken:
    raise ImportError("\n".join(broken))
