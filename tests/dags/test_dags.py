"""What is true of every DAG, and that these are all there are."""

import itertools
from datetime import datetime, timedelta

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import timezone
from airflow.sdk.definitions._internal.dag_parsing_context import (
    _AIRFLOW_PARSING_CONTEXT_DAG_ID,
    _AIRFLOW_PARSING_CONTEXT_TASK_ID,
)
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables import trigger
from airflow.timetables.base import TimeRestriction
from croniter import croniter

from sms.clock import PARIS
from tests.airflow_home import DAGS

CAMPAIGNS = {"send__spring_sale", "send__parcel_ready"}
COLLECTORS = {
    *("collect_delivery_report", "collect_replies"),
    *("settle_submission", "housekeeping"),
}


def test_no_dag_fails_to_import(dagbag: DagBag) -> None:
    assert dagbag.import_errors == {}


def test_these_are_all_the_dags(dagbag: DagBag) -> None:
    assert set(dagbag.dags) == CAMPAIGNS | COLLECTORS


def test_a_tasks_process_builds_only_its_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    # By the environment: Airflow's context manager leaves its variables to later tests.
    monkeypatch.setenv(_AIRFLOW_PARSING_CONTEXT_DAG_ID, "send__parcel_ready")
    monkeypatch.setenv(_AIRFLOW_PARSING_CONTEXT_TASK_ID, "plan")

    found = DagBag(dag_folder=str(DAGS / "send_campaigns.py"))

    assert (set(found.dags), found.import_errors) == ({"send__parcel_ready"}, {})


@pytest.mark.parametrize("dag_id", sorted(CAMPAIGNS | COLLECTORS))
def test_every_dag_and_task_has_documentation(dagbag: DagBag, dag_id: str) -> None:
    dag = dagbag.dags[dag_id]

    assert dag.doc_md
    assert dag.description
    assert "sms" in dag.tags
    for task in dag.tasks:
        assert task.doc_md, f"{task.task_id} says nothing"
        assert task.owner != "airflow", f"{task.task_id} is nobody's"


@pytest.mark.parametrize("dag_id", sorted(CAMPAIGNS | COLLECTORS))
def test_network_tasks_are_retried_with_backoff(dagbag: DagBag, dag_id: str) -> None:
    for task in dagbag.dags[dag_id].tasks:
        assert task.retries >= 3
        assert task.retry_exponential_backoff
        assert task.retry_delay <= timedelta(minutes=1)


@pytest.mark.parametrize("dag_id", sorted(CAMPAIGNS))
def test_a_campaigns_tasks_are_in_their_documented_order(dagbag: DagBag, dag_id: str) -> None:
    dag = dagbag.dags[dag_id]
    story = [
        *("plan", "extract", "screen", "render", "review"),
        *("approve", "await_hour", "fetch_stops", "submit", "schedule_collection", "summarize"),
    ]

    assert sorted(dag.task_ids) == sorted(story)
    for earlier, later in itertools.pairwise(story):
        assert later in dag.get_task(earlier).downstream_task_ids


@pytest.mark.parametrize("dag_id", sorted(CAMPAIGNS))
def test_the_trigger_form_begins_with_campaign_and_field_help(dagbag: DagBag, dag_id: str) -> None:
    params = dagbag.dags[dag_id].params

    assert dict(params) == {
        "campaign": dag_id.removeprefix("send__"),
        **{"day": None, "hour": None, "dry_run": False, "limit": None},
    }
    for name in params:
        param = params.get_param(name)
        assert param.description is None  # or the page would not show the Markdown
        assert param.schema["title"]
        assert param.schema["description_md"]


@pytest.mark.parametrize("dag_id", sorted(CAMPAIGNS))
def test_form_fields_are_stored_once_per_dag(dagbag: DagBag, dag_id: str) -> None:
    """Airflow checks each copy of them against JSON Schema again, whenever it reads the file."""
    stored = DagSerialization.to_dict(dagbag.dags[dag_id])["dag"]

    assert stored["params"]
    assert not [task for task in stored["tasks"] if task["__var"].get("params")]


@pytest.mark.parametrize("minutes", [1, 6, 100, 24 * 60 - 1])
def test_an_unpaused_campaign_waits_for_its_next_time(
    dagbag: DagBag, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    """Whoever unpauses it to trigger it by hand must not get a second run beside their own."""
    scheduled = [dag for dag in dagbag.dags.values() if dag.dag_id in CAMPAIGNS and dag.schedule]
    assert scheduled
    for dag in scheduled:
        timetable = decode_timetable(encode_timetable(dag.timetable))  # as the scheduler has it
        noon = datetime(2027, 3, 2, 12, 0, tzinfo=PARIS)
        passed = croniter(timetable._expression, noon).get_prev(datetime)
        now = passed + timedelta(minutes=minutes)
        monkeypatch.setattr(trigger, "utcnow", lambda now=now: timezone.coerce_datetime(now))

        first = timetable.next_dagrun_info(
            last_automated_data_interval=None,
            restriction=TimeRestriction(earliest=None, latest=None, catchup=False),
        )

        assert first.run_after > now


def test_a_daily_campaign_never_catches_up_on_missed_days(dagbag: DagBag) -> None:
    assert not any(dag.catchup for dag in dagbag.dags.values())
    for dag_id in CAMPAIGNS:
        assert dagbag.dags[dag_id].allowed_run_types == {
            *("scheduled", "manual", "operator_triggered")
        }


def test_replies_are_fetched_every_five_minutes_without_overlap(dagbag: DagBag) -> None:
    dag = dagbag.dags["collect_replies"]

    assert dag.timetable.expression == "*/5 * * * *"
    assert dag.max_active_runs == 1


def test_housekeeping_runs_nightly_with_independent_tasks(dagbag: DagBag) -> None:
    dag = dagbag.dags["housekeeping"]

    assert dag.timetable.expression == "20 4 * * *"
    assert str(dag.timetable.timezone) == "Europe/Paris"
    assert dag.max_active_runs == 1
    assert {task.task_id: task.upstream_task_ids for task in dag.tasks} == {
        name: set()
        for name in ("clean_gateway", "expire_runs", "expire_archive", "expire_personal_data")
    }
