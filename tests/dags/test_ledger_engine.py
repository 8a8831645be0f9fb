"""A task's ledgers share one engine, whose schema is checked once."""

import pytest
from sqlalchemy import event

from sms_airflow import wiring
from tests.airflow_home import ledger_connection


def test_a_task_checks_the_schema_once(monkeypatch: pytest.MonkeyPatch, ledger_url: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SMS_LEDGER", ledger_connection(ledger_url))
    first = wiring.ledger(actor="send__tests/one/submit")
    asked: list[str] = []
    event.listen(
        first.engine, "before_cursor_execute", lambda db, cursor, sql, *_: asked.append(sql)
    )

    second = wiring.ledger()

    assert second.engine is first.engine
    assert not asked
