"""Announcements for other programs: each piece of news once, whichever try entered it."""

from datetime import timedelta

import pyarrow as pa
import pytest

from sms.ledger.records import ReportFile

FIRST = 33_639_980_000


def opt_outs(*numbers: int) -> pa.Table:
    return pa.table(
        {
            "msisdn": pa.array([FIRST + number for number in numbers], pa.int64()),
            "opted_out_at": pa.array([None] * len(numbers), pa.timestamp("us", tz="UTC")),
            "message": pa.array(["STOP"] * len(numbers)),
        }
    )


def test_opt_outs_are_announced_once_over_all_tries(office):
    assert office.ledger.stop_list.announce() == 0
    office.ledger.stop_list.add(opt_outs(1, 2), source="stop_report")
    office.ledger.stop_list.import_list(opt_outs(2, 3), named="crm", file="crm.csv")

    assert office.ledger.stop_list.announce() == 3
    assert office.ledger.stop_list.announce() == 0

    office.ledger.stop_list.add(opt_outs(3, 4), source="stop_report")
    assert office.ledger.stop_list.announce() == 1
    assert office.ledger.stop_list.require_safe() == 4


def test_a_shrunken_stop_list_is_noticed_after_an_announcement(office):
    office.ledger.stop_list.add(opt_outs(1, 2), source="stop_report")
    office.ledger.stop_list.announce()

    assert office.table(
        "SELECT sum((detail ->> 'opted_out')::int) FROM sms.event WHERE detail ? 'opted_out'"
    ) == [(2,)]


@pytest.mark.parametrize(("kind", "told"), [("ACK", True), ("STOP", False)])
def test_a_new_or_changed_delivery_report_is_announced_once(office, kind, told):
    sent = office.submitted()
    other = office.submitted()

    def loaded(sha256: str) -> None:
        office.hand.advance(timedelta(minutes=1))
        name = sent.stem.replace("SEND", kind) + ".csv"
        file = ReportFile(name, kind, sent.stem, sent.id, 9, office.hand.at, sha256, 1, 0, "place")
        assert office.ledger.reports.record_reading(office.ledger.reports.get(name), file, [])

    assert not office.ledger.reports.announce(sent.stem)
    for sha256 in ("0" * 64, "1" * 64):
        loaded(sha256)
        assert office.ledger.reports.announce(sent.stem) is told
        assert not office.ledger.reports.announce(sent.stem)
    assert not office.ledger.reports.announce(other.stem)
