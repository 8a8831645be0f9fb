"""One DAG for each folder of include/campaigns: `send__<name>`.

Everything a campaign needs to say stands in its folder; a new folder is a new DAG, without Python.
A folder that can't be used is told by check_campaigns.py and hides no other campaign.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, get_parsing_context

from sms.campaign import Campaign, load_all
from sms.settings import Settings, load
from sms_airflow import form, tasks
from sms_airflow.approval import ApproveOperator
from sms_airflow.documentation import campaign_page
from sms_airflow.operators import BookCollection, SubmitOperator
from sms_airflow.sensors import HourSensor

# First unpaused, a campaign waits for its next time. Airflow's default, False, would at once start
# the run of a time that passed less than a tenth of its interval ago (2 hours, of a day).
NEVER_LATE = timedelta(0)
SEND = "send__"
RUN_TYPES = ("scheduled", "manual", "operator_triggered")


def build(campaign: Campaign, settings: Settings) -> None:
    """The DAG of one campaign, which reads like its story."""
    with DAG(
        f"{SEND}{campaign.name}",
        description=campaign.description,
        doc_md=campaign_page(campaign, settings),
        schedule=campaign.schedule
        and CronTriggerTimetable(
            campaign.schedule, timezone="Europe/Paris", run_immediately=NEVER_LATE
        ),
        params=form.params(campaign, settings),
        default_args={"owner": campaign.owner},
        tags={"sms", "send", campaign.kind.value, *campaign.tags},
        # A backfill is refused by Airflow itself: it would send each of its days today.
        catchup=False,
        allowed_run_types=RUN_TYPES,
        max_active_runs=4,
    ):
        planned = tasks.plan(campaign.name)
        stems = tasks.review()
        approve = ApproveOperator(task_id="approve", stems=stems, **tasks.PATIENT)
        hour = HourSensor(task_id="await_hour", stems=stems, **tasks.PATIENT)
        submit = SubmitOperator(task_id="submit", stems=stems, **tasks.STUBBORN)
        booked = BookCollection.of_each(stems, task_id="book_collection", **tasks.PATIENT)
        planned >> tasks.extract() >> tasks.screen() >> tasks.render() >> stems
        if campaign.proof_to:
            proof = tasks.prove()
            proved = SubmitOperator(task_id="send_proof", stems=proof, **tasks.STUBBORN)
            stems >> proof
            booked_proof = BookCollection.of_each(proof, task_id="book_proof", **tasks.PATIENT)
            proved >> [approve, booked_proof]
        approve >> hour >> tasks.hear_stops() >> submit >> booked
        [submit, booked] >> tasks.conclude(stems)


chosen, parsed = load(), get_parsing_context().dag_id
only = parsed and parsed.removeprefix(SEND)  # a task's process builds the one DAG that it needs
for campaign in load_all(chosen.campaigns_folder, only)[0]:
    build(campaign, chosen)
