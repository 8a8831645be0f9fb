"""The ledger's engines: connections are reused between transactions and checked before each."""

import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import event, text

from demo.postgres import PostgreSQL
from sms.errors import LedgerError
from sms.ledger import engines
from sms.ledger.ledger import Ledger

FORKS = """
import os, sys
from sms.ledger.ledger import Ledger

def session():
    with ledger._database.transaction() as tx:
        return tx.db.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()

ledger = Ledger.connect(sys.argv[1])
before = session()
if not os.fork():
    print("child", session() != before, flush=True)
    sys.exit()  # and not os._exit: what it inherited is collected
os.wait()
print("parent", session() == before)
"""


@pytest.fixture
def kept(ledger_url: str) -> Ledger:
    """A ledger by the engine of this process."""
    return Ledger.connect(ledger_url)


@pytest.fixture
def connections(kept: Ledger) -> list[Any]:
    """The connections that the engine has opened so far."""
    opened: list[Any] = []
    event.listen(kept.engine, "connect", lambda connection, record: opened.append(connection))
    return opened


@pytest.fixture
def statements(kept: Ledger) -> list[str]:
    """The statements that were sent so far."""
    sent: list[str] = []
    event.listen(
        kept.engine,
        "before_cursor_execute",
        lambda db, cursor, statement, *_: sent.append(statement),
    )
    return sent


def test_consecutive_transactions_share_a_connection(kept: Ledger, connections: list[Any]) -> None:
    for _ in range(3):
        kept.stop_list.size()
        kept.runs.recent(since=kept.now(), most=1)

    assert len(connections) == 1


def test_a_process_has_one_engine_for_each_url(
    kept: Ledger, ledger_url: str, empty_database_url: str
) -> None:
    assert Ledger.connect(ledger_url, actor="another").engine is kept.engine
    assert Ledger.connect(empty_database_url).engine is not kept.engine


def test_a_connection_that_the_server_ended_is_replaced(
    kept: Ledger, connections: list[Any], postgres: PostgreSQL
) -> None:
    kept.stop_list.size()
    with postgres.connect() as other:
        [ended] = other.execute(
            "SELECT pg_terminate_backend(%s, 10000)", (connections[0].info.backend_pid,)
        ).fetchone()

    assert ended
    assert kept.stop_list.size() == 0
    assert len(connections) == 2


def test_an_old_connection_is_replaced_before_use(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "RECYCLED_AFTER", 0)
    ledger, sessions = Ledger(engines.engine_of(ledger_url)), set()
    for _ in range(2):
        with ledger._database.transaction() as tx:
            sessions.add(tx.driver.info.backend_pid)

    assert len(sessions) == 2
    ledger.engine.dispose()


def test_a_connection_with_a_failed_statement_is_not_reused(
    kept: Ledger, connections: list[Any]
) -> None:
    with pytest.raises(LedgerError), kept._database.transaction() as tx:
        tx.db.execute(text("SELECT 1 / 0"))

    assert kept.stop_list.size() == 0
    assert len(connections) == 2


def test_a_nested_transaction_does_not_wait_for_its_connection(kept: Ledger) -> None:
    with kept._database.transaction(), kept._database.snapshot():
        assert kept.stop_list.size() == 0


def test_a_forked_process_opens_a_connection_of_its_own(ledger_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS, ledger_url], capture_output=True, text=True, timeout=120
    )

    assert (done.stdout.split(), done.stderr) == (["child", "True", "parent", "True"], "")


def test_a_schema_recently_current_is_not_checked_again(
    kept: Ledger, statements: list[str]
) -> None:
    kept.require_current(trusted_for=60)
    asked = len(statements)
    kept.require_current(trusted_for=60)

    assert 0 < asked == len(statements)
    kept.require_current()
    assert len(statements) > asked


def test_an_outdated_schema_is_checked_every_time(kept: Ledger) -> None:
    with kept.engine.begin() as db:
        db.execute(text("UPDATE sms.alembic_version SET version_num = '0'"))

    for _ in range(2):
        with pytest.raises(LedgerError, match="upgrade the ledger"):
            kept.require_current(trusted_for=60)
