"""The assets that other DAGs wait for: an event only where something arrived.

A real Airflow, in the tests' own home; the gateway is the sandbox.
"""

import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from airflow import settings as airflow_settings
from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetEvent, AssetModel
from airflow.utils.db import initdb
from sqlalchemy import select

from sms import clock
from sms.clock import PARIS
from sms.ledger.records import ReportFile
from sms.ledger.states import State
from sms_sandbox import Sandbox
from tests.airflow_home import DAGS, ledger_connection
from tests.factories import part, planned_run
from tests.world import connection

TUESDAY = datetime(2027, 3, 2, 9, 30, tzinfo=PARIS)
STEM = "SEND-12345-20270301-1000-spring"
FIRST = 33_639_980_000

# The warnings of Airflow's own libraries are Airflow's business.
# One process makes Airflow's database for all of them.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("assets")]

Events = list[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def metadata() -> None:
    """Airflow's own database."""
    initdb()


@pytest.fixture
def gateway(
    metadata: None, ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sandbox]:
    """The sandbox, and everything that the DAGs need to find it."""
    operator = tmp_path / "settings.yaml"
    operator.write_text(f"archive_folder: {tmp_path}/archive\nruns_folder: {tmp_path}/runs\n")
    monkeypatch.setenv("SMS_SETTINGS", str(operator))
    monkeypatch.setenv("AIRFLOW_CONN_SMS_LEDGER", ledger_connection(ledger_url))
    with Sandbox(tmp_path / "gateway", start=TUESDAY) as sandbox:
        monkeypatch.setenv(clock.VARIABLE, str(sandbox.clock_path))
        monkeypatch.setenv("AIRFLOW_CONN_SMS_GATEWAY", connection(sandbox))
        yield sandbox


@pytest.fixture
def run(gateway: Sandbox) -> Callable[..., Events]:
    """Runs a DAG to its end, but for what was done before; the events that came of it."""

    found_dags = DagBag(dag_folder=str(DAGS)).dags

    def run_it(dag_id: str, done_before: str | None = None, **conf: Any) -> Events:
        with airflow_settings.Session() as session:
            before = session.scalars(select(AssetEvent.id).order_by(AssetEvent.id.desc())).first()
        dag = found_dags[dag_id]
        for each in dag.tasks:  # what fails here is no chance
            each.retries = 0
        done = dag.test(logical_date=None, run_conf=conf, mark_success_pattern=done_before)
        assert done.state == "success"
        with airflow_settings.Session() as session:
            found = session.execute(
                select(AssetModel.name, AssetEvent.extra)
                .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
                .where(AssetEvent.id > (before or 0))
            )
            return [tuple(row) for row in found]

    return run_it


def show(gateway: Sandbox, name: str, content: str) -> None:
    """A report at the gateway, of yesterday."""
    path = gateway.home / "Report" / name
    path.write_text(content)
    then = (TUESDAY - timedelta(days=1)).timestamp()
    os.utime(path, (then, then))


def test_opt_outs_are_an_event_only_when_new(gateway, run, ledger):
    assert run("collect_replies") == []

    show(gateway, "STOP-12345-20270301-1000-spring.csv", f"+{FIRST};20270301;1010;STOP;\n")
    show(gateway, "SMSMO-12345-20270301-1000-spring.csv", f"+{FIRST + 1};20270301;1010;oui;\n")
    assert run("collect_replies") == [("opt_outs", {"opt_outs": 1})]
    assert run("collect_replies") == []

    imported = pa.table({"msisdn": [FIRST + 2], "opted_out_at": pa.array([None], pa.null())})
    ledger.stop_list.import_list(imported, named="crm", file="crm.csv")
    assert run("collect_replies") == [("opt_outs", {"opt_outs": 1})]


def test_each_delivery_report_is_one_event(gateway, run, ledger):
    sent = planned_run("send__spring/one", send_at=TUESDAY - timedelta(days=1))
    ledger.runs.plan(sent, STEM)
    ledger.runs.prepare(sent.run_key, [part(STEM, messages=0)])
    ledger.submissions.claim(STEM, "try", lease=timedelta(minutes=10))
    ledger.submissions.record_upload(STEM, "try", messages=[], sha256="0" * 64, size_bytes=99)
    ledger.submissions.intend_rename(STEM, "try")
    for state in (State.SUBMITTED, State.ACCEPTED):
        ledger.submissions.move(STEM, to=state)
    told = [("delivery_reports", {"stem": STEM})]

    def loaded(sha256: str) -> Events:
        name = STEM.replace("SEND", "ACK") + ".csv"
        file = ledger.submissions.get(STEM).id
        report = ReportFile(name, "ACK", STEM, file, 9, TUESDAY, sha256, 1, 0, "place")
        ledger.reports.record_reading(ledger.reports.get(name), report, [])
        return run("collect_delivery_report", "await_report|archive|load", stem=STEM)

    assert loaded("0" * 64) == told
    assert run("collect_delivery_report", "await_report|archive|load", stem=STEM) == []
    assert loaded("1" * 64) == told
