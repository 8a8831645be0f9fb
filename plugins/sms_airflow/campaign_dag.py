"""The DAG of one campaign."""

from collections.abc import Iterable
from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from sms.campaign.definition import Campaign
from sms.errors import BadCampaign
from sms.settings import Settings
from sms.words import shown
from sms_airflow import form, tasks
from sms_airflow.approval import ApproveOperator
from sms_airflow.documentation import campaign_page
from sms_airflow.operators import ScheduleCollection, SubmitOperator
from sms_airflow.sensors import HourSensor

# When a campaign is first unpaused, it waits for its next scheduled time. Airflow's default, False,
# would at once start a run whose time passed less than a tenth of the interval ago (2 hours for a
# daily schedule).
NEVER_LATE = timedelta(0)
SEND = "send__"
RUN_TYPES = ("scheduled", "manual", "operator_triggered")


def build_all(
    campaigns: Iterable[Campaign], settings: Settings
) -> tuple[list[DAG], list[BadCampaign]]:
    """The DAG of each campaign, and an error for each campaign without one."""
    dags, broken = [], []
    for campaign in campaigns:
        try:
            dags.append(build(campaign, settings))
        except Exception as error:  # any error here would hide all other campaigns
            why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            problem = f"Airflow can't build a DAG from it ({why}): correct the folder"
            broken.append(BadCampaign(shown(str(campaign.folder)), None, problem))
    return dags, broken


def build(campaign: Campaign, settings: Settings) -> DAG:
    """The DAG of one campaign, with auto_register off: a half-built DAG must not be registered."""
    with DAG(
        f"{SEND}{campaign.name}",
        description=campaign.description,
        doc_md=campaign_page(campaign, settings),
        schedule=campaign.schedule
        and CronTriggerTimetable(
            campaign.schedule, timezone="Europe/Paris", run_immediately=NEVER_LATE
        ),
        default_args={"owner": campaign.owner},
        tags={"sms", "send", campaign.kind.value, *campaign.tags},
        # Without backfill, which Airflow then refuses: it would send each of its days today.
        catchup=False,
        allowed_run_types=RUN_TYPES,  # type: ignore[arg-type]  # Airflow converts names
        max_active_runs=4,
        auto_register=False,
    ) as dag:
        planned = tasks.plan(campaign.name)
        stems = tasks.review()
        approve = ApproveOperator(task_id="approve", stems=stems, **tasks.PATIENT)
        hour = HourSensor(task_id="await_hour", stems=stems, **tasks.PATIENT)
        submit = SubmitOperator(task_id="submit", stems=stems, **tasks.STUBBORN)
        booked = ScheduleCollection.of_each(stems, task_id="schedule_collection", **tasks.PATIENT)
        planned >> tasks.extract() >> tasks.screen() >> tasks.render() >> stems
        if campaign.proof_to:
            proof = tasks.prepare_proof()
            proved = SubmitOperator(task_id="send_proof", stems=proof, **tasks.STUBBORN)
            stems >> proof
            booked_proof = ScheduleCollection.of_each(
                proof, task_id="schedule_proof_collection", **tasks.PATIENT
            )
            proved >> [approve, booked_proof]
        approve >> hour >> tasks.fetch_stops() >> submit >> booked
        [submit, booked] >> tasks.summarize(stems)
    # Params come last: each task created after them would hold and serialize a copy.
    dag.params = form.params(campaign, settings)  # type: ignore[assignment]  # and this
    return dag
