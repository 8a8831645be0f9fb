"""Shows every campaign folder that can't be used as an import error of Airflow's.

There is no dag here. Raising in send_campaigns.py would hide the good campaigns with the bad one;
raised here, the same sentences stand on Airflow's page of import errors and hide nothing.
"""

from sms import settings
from sms.campaign import load_all

broken = load_all(settings.load().campaigns_folder)[1]
if broken:
    raise ImportError("\n".join(str(error) for error in broken))
