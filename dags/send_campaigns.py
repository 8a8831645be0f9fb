"""One DAG for each folder of include/campaigns: `send__<name>`.

Everything a campaign needs to say stands in its folder; a new folder is a new DAG, without Python.
A folder that can't be used is told by check_campaigns.py and hides no other campaign.
"""

from airflow.sdk import DAG, CronTriggerTimetable, Param, get_parsing_context

from sms import settings
from sms.campaign import Campaign, load_all
from sms_airflow import tasks
from sms_airflow.approval import ApproveOperator
from sms_airflow.documentation import campaign_page
from sms_airflow.operators import BookCollection, SubmitOperator
from sms_airflow.sensors import HourSensor

RUN_TYPES = ("scheduled", "manual", "operator_triggered")
PARAMS = {
    "send_at": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Send at",
        description="When the phones ring, in the time zone that Airflow's pages show you; the "
        "task plan echoes it in Paris time. Empty: the campaign's own hour, or as soon as allowed.",
    ),
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Make and check the very files, write the review, and send nothing.",
    ),
    "limit": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Limit",
        description="Write to the first so many rows of the query at most. Empty: to all.",
    ),
}


def build(campaign: Campaign) -> None:
    """The DAG of one campaign, which reads like its story."""
    with DAG(
        f"send__{campaign.name}",
        description=campaign.description,
        doc_md=campaign_page(campaign),
        schedule=campaign.schedule
        and CronTriggerTimetable(campaign.schedule, timezone="Europe/Paris"),
        params=PARAMS,
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


parsed = get_parsing_context().dag_id
for campaign in load_all(settings.load().campaigns_folder)[0]:
    if parsed in (None, f"send__{campaign.name}"):
        build(campaign)
