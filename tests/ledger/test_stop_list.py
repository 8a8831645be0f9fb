"""The stop list: each opt-out entered once, kept and found; a list that shrank stops sending."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import text

from sms.errors import LedgerError, LedgerUnreachable, StopListUnsafe
from sms.ledger.ledger import Ledger

FIRST = 33_639_980_000
JULY = datetime(2026, 7, 1, tzinfo=UTC)


def opt_outs(*rows: tuple[int, datetime | None, str | None]) -> pa.Table:
    numbers, moments, texts = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "msisdn": pa.array(numbers, pa.int64()),
            "opted_out_at": pa.array(moments, pa.timestamp("us", tz="UTC")),
            "message": pa.array(texts, pa.large_string()),
        }
    )


def many(numbers) -> pa.Table:
    return opt_outs(*((FIRST + n, JULY, "STOP") for n in numbers))


def tamper(ledger: Ledger, statement: str) -> None:
    """What only someone beside the program could do to the table."""
    with ledger.engine.begin() as db:
        db.execute(text("ALTER TABLE sms.opt_out DISABLE TRIGGER ALL"))
        db.execute(text(statement))


def test_reading_an_opt_out_again_adds_no_row(office):
    rows = many([1, 2, 2])

    assert office.ledger.stop_list.add(rows, source="stop_report", stem="SEND-x") == 2
    before = office.table("SELECT * FROM sms.opt_out ORDER BY msisdn")
    assert office.ledger.stop_list.add(rows, source="stop_report", stem="SEND-x") == 0

    assert office.table("SELECT * FROM sms.opt_out ORDER BY msisdn") == before
    assert office.ledger.stop_list.size() == 2
    assert office.ledger.stop_list.add(opt_outs(), source="import") == 0


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_earliest_opt_out_wins_in_any_order(office, order):
    said = [
        ("reply", opt_outs((FIRST, JULY, "Stop. Merci"))),
        ("stop_report", opt_outs((FIRST, JULY + timedelta(days=1), "STOP"))),
        ("import", opt_outs((FIRST, JULY + timedelta(days=2), None))),
    ]
    new = [office.ledger.stop_list.add(said[n][1], source=said[n][0]) for n in order]

    assert new == [1, 0, 0]
    assert office.table("SELECT source, opted_out_at, message FROM sms.stop_list") == [
        ("reply", JULY, "Stop. Merci")
    ]


def test_the_earliest_of_one_file_is_kept(office):
    office.ledger.stop_list.add(
        opt_outs(
            (FIRST, None, "who knows when"),
            (FIRST, JULY + timedelta(days=1), "again"),
            (FIRST, JULY, "first"),
        ),
        source="import",
    )

    assert office.table("SELECT message FROM sms.stop_list") == [("first",)]


def test_an_opt_out_without_time_keeps_its_first_reading(office, hand):
    rows = opt_outs((FIRST, None, "STOP"))
    office.ledger.stop_list.add(rows, source="stop_report")
    hand.advance(timedelta(days=1))
    office.ledger.stop_list.add(rows, source="stop_report")

    assert office.table("SELECT opted_out_at FROM sms.opt_out") == [(hand.at - timedelta(days=1),)]


def test_concurrent_loads_neither_lose_duplicate_nor_block(office, another_ledger):
    start = Barrier(4)

    def load(number: int) -> int:
        numbers = range(500) if number % 2 else reversed(range(500))
        ledger = another_ledger(f"worker {number}")
        start.wait()
        return ledger.stop_list.add(many(numbers), source="import")

    with ThreadPoolExecutor(4) as pool:
        new = list(pool.map(load, range(4)))

    assert sum(new) == 500 == office.ledger.stop_list.size()
    assert office.ledger.stop_list.require_safe() == 500


@pytest.mark.parametrize("kind", ["numpy", "array", "chunked"])
def test_opted_out_numbers_are_found_among_those_asked(office, kind):
    office.ledger.stop_list.add(many(range(0, 1000, 3)), source="import")
    asked = np.array([FIRST + n for n in (9, 1, 9, 3, 2, 999, 5000)], dtype=np.int64)
    given = {"numpy": asked, "array": pa.array(asked), "chunked": pa.chunked_array([asked])}

    found = office.ledger.stop_list.opted_out(given[kind])

    assert found.dtype == np.int64
    assert (found - FIRST).tolist() == [3, 9, 999]
    assert office.ledger.stop_list.opted_out(asked[:0]).tolist() == []


def test_a_complete_stop_list_is_accepted(office):
    assert office.ledger.stop_list.require_safe() == 0
    office.ledger.stop_list.add(many([1, 2]), source="import")
    assert office.ledger.stop_list.require_safe() == 2


@pytest.mark.parametrize("loss", ["DELETE FROM sms.opt_out", "TRUNCATE sms.opt_out"])
def test_an_emptied_stop_list_stops_every_send(office, loss):
    office.ledger.stop_list.add(many([1, 2]), source="import")
    tamper(office.ledger, loss)

    with pytest.raises(StopListUnsafe, match="has 0 numbers and once had 2"):
        office.ledger.stop_list.require_safe()


def test_one_missing_number_stops_every_send(office):
    office.ledger.stop_list.add(many(range(10)), source="import")
    office.ledger.stop_list.add(many(range(20)), source="stop_report")
    tamper(office.ledger, f"DELETE FROM sms.opt_out WHERE msisdn = {FIRST}")

    with pytest.raises(StopListUnsafe, match="has 19 numbers and once had 20"):
        office.ledger.stop_list.require_safe()


def test_a_list_smaller_than_at_screening_stops_sending(office):
    run, _ = office.ledger.runs.plan(office.a_run(), office.stem())
    office.ledger.runs.record_screening(
        run.run_key, candidates=1, audience=1, excluded={}, stop_list_size=7
    )
    with pytest.raises(StopListUnsafe, match="has 0 numbers and once had 7"):
        office.ledger.stop_list.require_safe()


def test_an_unreadable_stop_list_stops_every_send(office):
    tamper(office.ledger, "ALTER TABLE sms.opt_out RENAME TO elsewhere")

    with pytest.raises(StopListUnsafe, match="can't be read"):
        office.ledger.stop_list.require_safe()
    with pytest.raises(LedgerError):
        office.ledger.stop_list.opted_out(np.array([FIRST]))


def test_an_unreachable_stop_list_may_be_retried():
    with pytest.raises(LedgerUnreachable):
        Ledger.connect("postgresql://nobody@127.0.0.1:1/ledger").stop_list.require_safe()


def test_an_unknown_source_is_refused_without_the_row(office):
    with pytest.raises(LedgerError, match="opt_out_source") as error:
        office.ledger.stop_list.add(many([1]), source="gossip")

    assert str(FIRST + 1) not in str(error.value)


def test_new_numbers_leave_one_event(office):
    for _ in range(2):
        office.ledger.stop_list.add(many([1, 2]), source="import", stem="SEND-x")

    assert office.table("SELECT detail, actor FROM sms.event") == [
        ({"opted_out": 2, "source": "import", "stem": "SEND-x"}, "worker")
    ]
    assert office.table("SELECT DISTINCT source, stem, list, recorded_at FROM sms.opt_out") == [
        ("import", "SEND-x", None, office.hand.at)
    ]


def test_an_unsafe_list_names_its_remedy(office):
    office.ledger.stop_list.add(many(range(2000)), source="import")
    tamper(office.ledger, f"DELETE FROM sms.opt_out WHERE msisdn > {FIRST}")
    with pytest.raises(StopListUnsafe) as shrunk:
        office.ledger.stop_list.require_safe()
    tamper(office.ledger, "ALTER TABLE sms.opt_out RENAME TO elsewhere")
    with pytest.raises(StopListUnsafe) as unreadable:
        office.ledger.stop_list.require_safe()

    assert str(shrunk.value) == (
        "the stop list has 1 number and once had 2,000, so nothing may be sent: restore "
        "sms.opt_out from a backup"
    )
    assert str(unreadable.value) == (
        "the stop list can't be read, so nothing may be sent: restore the tables sms.opt_out and "
        "sms.stop_list_key, and the right of the ledger's user to read them"
    )


def test_a_list_whose_key_is_unreadable_stops_every_send(office):
    tamper(office.ledger, "ALTER TABLE sms.stop_list_key RENAME TO elsewhere")

    with pytest.raises(StopListUnsafe, match="can't be read"):
        office.ledger.stop_list.require_safe()


def test_a_list_of_its_old_size_is_safe(office):
    office.ledger.stop_list.add(many([1, 2]), source="import")
    run, _ = office.ledger.runs.plan(office.a_run(), office.stem())
    office.ledger.runs.record_screening(
        run.run_key, candidates=1, audience=1, excluded={}, stop_list_size=2
    )

    assert office.ledger.stop_list.require_safe() == 2
