"""One DAG for each folder of include/campaigns: `send__<name>`.

A campaign is defined by its folder alone; a new folder is a new DAG, without Python code.
check_campaigns.py reports a folder that can't be used; the other campaigns keep their DAGs.
"""

from airflow.sdk import get_parsing_context

from sms.campaign.definition import load_all
from sms.settings import load
from sms_airflow.campaign_dag import SEND, build_all

chosen, parsed = load(), get_parsing_context().dag_id
only = parsed and parsed.removeprefix(SEND)  # a task's process builds only its own DAG
campaigns, _ = load_all(chosen.campaigns_folder, only)
globals().update({dag.dag_id: dag for dag in build_all(campaigns, chosen)[0]})
