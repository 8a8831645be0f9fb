"""Numbers removed from the stop list by an operator: the record, and what re-adds a number."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyarrow as pa
import pytest
from sqlalchemy import text

from sms.errors import LedgerError, StopListUnsafe
from sms.wire.names import ReportName
from tests.ledger.said import FIRST, JULY, STOPS, listed, reported

HOUR = timedelta(hours=1)


def hear(office, said: pa.Table, *, stored: bool = True) -> int:
    """Load a STOP report as collecting does; `stored` is False if it died in between."""
    new = office.ledger.stop_list.add(said, source="stop_report", stem="SEND-x", report=STOPS)
    if stored:
        office.ledger.reports.load_replies(STOPS, said)
    return new


def stopped(office) -> list[int]:
    return [row[0] - FIRST for row in office.table("SELECT msisdn FROM sms.opt_out ORDER BY 1")]


def remove(office, number: int, reason: str = "asked for messages again") -> None:
    office.hand.advance(HOUR)
    office.ledger.stop_list.remove(FIRST + number, reason=reason)
    office.hand.advance(HOUR)


def test_a_removal_records_actor_time_reason_and_row(office):
    hear(office, reported((1, 1), (2, 1)))

    remove(office, 1, "Wrote to us by post")

    assert stopped(office) == [2]
    assert office.table(
        "SELECT msisdn, removed_at, actor, reason, opted_out_at, source, stem, message "
        "FROM sms.removal"
    ) == [
        (
            *(FIRST + 1, office.hand.at - HOUR, "worker", "Wrote to us by post"),
            *(JULY, "stop_report", "SEND-x", "STOP"),
        )
    ]
    assert office.table("SELECT actor, detail FROM sms.event WHERE detail ? 'removed'") == [
        ("worker", {"removed": 1})
    ]


@pytest.mark.parametrize("reason", ["", " \t"])
def test_a_removal_without_a_reason_is_refused(office, reason):
    hear(office, reported((1, 1)))

    with pytest.raises(LedgerError, match="removal_reason"):
        remove(office, 1, reason)

    assert stopped(office) == [1]


def test_an_unlisted_number_cannot_be_removed(office):
    with pytest.raises(LedgerError, match="not in the stop list") as error:
        remove(office, 1)

    assert str(FIRST + 1) not in str(error.value)
    assert office.table("SELECT * FROM sms.removal") == []


def test_a_stop_known_at_the_removal_restores_nothing(office):
    known = reported((1, 1), (2, 1))
    hear(office, known)
    remove(office, 1)

    assert hear(office, known) == 0
    assert stopped(office) == [2]


NEW = {
    "a later hour": reported((1, 1), hour="1505"),
    "another text": reported((1, 1), message="stop svp"),
    "the same once more": reported((1, 1), (1, 2)),
}


@pytest.mark.parametrize("more", NEW.values(), ids=NEW.keys())
def test_an_unknown_stop_restores_the_number(office, more):
    hear(office, reported((1, 1)))
    remove(office, 1)

    assert hear(office, more) == 1
    assert stopped(office) == [1]
    assert office.ledger.stop_list.require_safe() == 1


def test_the_same_reply_to_another_campaign_restores_the_number(office):
    hear(office, reported((1, 1)))
    remove(office, 1)
    other = ReportName.parse("STOP-12345-20260701-1200-autumn.csv")

    office.ledger.stop_list.add(reported((1, 1)), source="stop_report", stem="SEND-y", report=other)

    assert stopped(office) == [1]


def test_a_removed_stop_is_known_after_an_interrupted_load(office):
    hear(office, reported((1, 1)), stored=False)
    remove(office, 1)

    hear(office, reported((1, 1)))
    assert stopped(office) == []

    hear(office, reported((1, 1), (1, 2)))
    assert stopped(office) == [1]


def test_a_stop_stays_known_after_its_reply_is_erased(office):
    hear(office, reported((1, 1)))
    remove(office, 1)
    with office.ledger.engine.begin() as db:
        db.execute(text("DELETE FROM sms.reply"))

    assert hear(office, reported((1, 1))) == 0


def test_a_second_removal_keeps_what_the_first_one_knew(office):
    hear(office, reported((1, 1)))
    remove(office, 1)
    hear(office, reported((1, 1), (1, 2)))
    with office.ledger.engine.begin() as db:
        db.execute(text("DELETE FROM sms.reply WHERE occurrence = 1"))
    remove(office, 1)

    assert hear(office, reported((1, 1), (1, 2))) == 0
    assert stopped(office) == []


def test_a_list_without_news_restores_nothing(office):
    known = listed((1, JULY), (2, JULY))
    office.ledger.stop_list.import_list(known, named="crm", file="crm.csv")
    remove(office, 1)

    again = office.ledger.stop_list.import_list(known, named="crm", file="crm.csv")

    assert (again.numbers, again.new, again.again, again.removed) == (2, 0, 0, 1)
    assert stopped(office) == [2]


def test_an_old_export_restores_no_removed_number(office):
    hear(office, reported((1, 1), (2, 1)))
    exported = pa.Table.from_batches(office.ledger.stop_list.rows())
    remove(office, 1)

    assert office.ledger.stop_list.import_list(exported, named="backup", file="x").removed == 1
    assert stopped(office) == [2]


SAID_ANEW = {
    "a later moment": JULY + timedelta(days=30),
    "an earlier one that was not known": JULY - timedelta(days=30),
    "no moment: it may be a new no": None,
}


@pytest.mark.parametrize("moment", SAID_ANEW.values(), ids=SAID_ANEW.keys())
def test_a_list_with_possible_news_restores_the_number(office, moment):
    office.ledger.stop_list.import_list(listed((1, JULY)), named="crm", file="crm.csv")
    office.ledger.stop_list.import_list(listed((1, None)), named="shop", file="shop.csv")
    remove(office, 1)

    again = office.ledger.stop_list.import_list(listed((1, moment)), named="shop", file="shop.csv")

    assert (again.new, again.again, again.removed) == (1, 1, 0)
    assert stopped(office) == [1]
    assert office.ledger.stop_list.require_safe() == 1


def test_an_opt_out_dated_on_the_removals_day_counts(office):
    today = office.hand.at.replace(hour=22, minute=0) - timedelta(days=1)  # midnight in Paris
    office.ledger.stop_list.import_list(listed((1, today)), named="crm", file="crm.csv")
    remove(office, 1)

    assert (
        office.ledger.stop_list.import_list(listed((1, today)), named="crm", file="crm.csv").new
        == 1
    )


def test_a_recorded_removal_is_no_loss(office):
    hear(office, reported((1, 1), (2, 1)))
    run, _ = office.ledger.runs.plan(office.a_run(), office.stem())
    seen = office.ledger.stop_list.require_safe()
    office.ledger.runs.record_screening(
        run.run_key, candidates=1, audience=1, excluded={}, stop_list_size=seen
    )

    remove(office, 1)

    assert office.ledger.stop_list.require_safe() == 1


def test_another_number_missing_beside_a_removal_is_a_loss(office):
    hear(office, reported((1, 1), (2, 1), (3, 1)))
    remove(office, 1)
    with office.ledger.engine.begin() as db:
        db.execute(text("SET LOCAL session_replication_role = replica"))
        db.execute(text(f"DELETE FROM sms.opt_out WHERE msisdn = {FIRST + 2}"))

    with pytest.raises(StopListUnsafe, match="has 1 number and once had 2"):
        office.ledger.stop_list.require_safe()


def test_an_earlier_removal_does_not_excuse_a_later_loss(office):
    hear(office, reported((1, 1), (2, 1)))
    remove(office, 1)
    office.hand.advance(timedelta(days=1))
    run, _ = office.ledger.runs.plan(office.a_run(), office.stem())
    office.ledger.runs.record_screening(
        run.run_key, candidates=1, audience=1, excluded={}, stop_list_size=2
    )

    with pytest.raises(StopListUnsafe, match="has 1 number and once had 2"):
        office.ledger.stop_list.require_safe()


REFUSED = [
    "DELETE FROM sms.opt_out",
    f"DELETE FROM sms.opt_out WHERE msisdn = {FIRST + 1}",
    "DELETE FROM sms.removal",
    "UPDATE sms.removal SET reason = 'none'",
    "UPDATE sms.removal SET message = 'other words'",
    "UPDATE sms.removal SET message = NULL, actor = 'nobody'",
    "TRUNCATE sms.removal",
    "DELETE FROM sms.imported",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_the_stop_list_and_history_lose_nothing_unrecorded(office, statement):
    """The number had been removed, and said STOP again: the old trace allows no new deletion."""
    hear(office, reported((1, 1)))
    remove(office, 1)
    hear(office, reported((1, 2)))

    with pytest.raises(Exception, match="is refused"), office.ledger.engine.begin() as db:
        db.execute(text(statement))


def test_concurrent_removals_and_loads_are_serializable(office, another_ledger: Callable):
    many = reported(*((number, 1) for number in range(200)))
    hear(office, many)
    office.hand.advance(HOUR)

    def load(_: int) -> None:
        ledger = another_ledger("loader")
        ledger.stop_list.add(many, source="stop_report", stem="SEND-x", report=STOPS)

    def take(number: int) -> None:
        another_ledger("remover").stop_list.remove(FIRST + number, reason="asked")

    with ThreadPoolExecutor(6) as pool:
        done = [*pool.map(load, range(6)), *pool.map(take, range(12))]
        assert done == [None] * 18

    assert stopped(office) == list(range(12, 200))
    assert office.ledger.stop_list.require_safe() == 188
