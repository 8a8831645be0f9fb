"""What counts as unchanged, as whole, and as read: by bytes and by our own looks (R11, R29-R32)."""

import gzip
from datetime import timedelta

import pytest

from sms.collecting import CLOCK_STEP, REPORT_SETTLES
from sms.errors import ReportsFailed, ReportUnfinished
from sms.ledger.ledger import State
from tests.reports.conftest import FIRST, reply_row

STOP = "STOP-12345-20260715-1200-spring1.csv"
SMSMO = "SMSMO-12345-20260715-1200-spring1.csv"
ACK = "ACK-12345-20260715-1200-spring1.csv"
MINUTES = timedelta(minutes=5)  # between two looks


def looks(home, after: timedelta = MINUTES) -> None:
    home.now += after
    home.collect_replies()


# STOP and SMSMO files


@pytest.mark.parametrize("name", [STOP, SMSMO])
def test_a_file_rewritten_at_the_same_size_and_second_is_read_again(home, reply, name):
    home.accepted(3)
    home.gateway.shows(name, reply(0))
    home.collect_replies()

    home.gateway.shows(name, reply(1))
    looks(home)

    assert home.stop_list() == [FIRST, FIRST + 1]


def test_a_file_that_was_seen_twice_is_not_fetched_again(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(0))
    for _ in range(4):
        looks(home)
    assert home.gateway.asked.count(STOP) == 2

    home.gateway.shows(STOP, reply(0) + reply(1), at=home.now)
    for _ in range(4):
        looks(home)
    assert home.gateway.asked.count(STOP) == 4
    assert home.stop_list() == [FIRST, FIRST + 1]


def test_two_looks_within_a_step_of_the_server_s_clock_prove_nothing(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(0))
    home.collect_replies()
    looks(home, CLOCK_STEP / 2)

    home.gateway.shows(STOP, reply(1))
    looks(home)

    assert home.stop_list() == [FIRST, FIRST + 1]


# Delivery reports


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_server_s_clock_makes_no_torn_report_whole_and_none_late(home, ack, hours):
    one = home.accepted(2)
    home.gateway.shows(ACK, ack(2)[:-2], at=home.now + timedelta(hours=hours))
    with pytest.raises(ReportUnfinished):
        home.collect(one.stem)

    home.now += REPORT_SETTLES - timedelta(seconds=1)
    with pytest.raises(ReportUnfinished):
        home.collect(one.stem)

    home.now += timedelta(seconds=1)
    assert home.collect(one.stem).rows == 2


def test_a_clock_of_ours_that_goes_back_makes_nothing_older(home, ack):
    one = home.accepted(2)
    home.gateway.shows(ACK, ack(2)[:-2])
    for since in (timedelta(0), -timedelta(hours=3), REPORT_SETTLES - timedelta(seconds=1)):
        home.now += since
        with pytest.raises(ReportUnfinished):
            home.collect(one.stem)

    home.now += timedelta(seconds=1)
    assert home.collect(one.stem).rows == 2


@pytest.mark.parametrize(
    "blank", [b"", b"\r\n\r\n", b"IDREMOTE;MSISDN;OADC;MSG;IDSTATUS;STATUS;ACKOPERATOR\r\n"]
)
def test_a_first_report_counts_once_it_has_a_row(home, ack, blank):
    one = home.accepted(2)
    home.gateway.shows(ACK, blank)
    home.now += timedelta(days=1)

    with pytest.raises(ReportUnfinished):
        home.collect(one.stem)

    assert home.ledger.submission(one.stem).state is State.ACCEPTED
    assert home.ledger.report_file(ACK) is None
    home.gateway.shows(ACK, ack(2), at=home.now)
    assert home.collect(one.stem).reconciliation.delivered == 2


def test_a_report_under_an_odd_hour_takes_nothing_away(home, ack):
    one = home.accepted(4)
    home.gateway.shows(ACK, ack(3))
    home.collect(one.stem)
    (home.gateway.folder / ACK).unlink()
    home.gateway.shows(ACK.replace("1200", "0900"), ack(1, "4;refused"), at=home.now)

    counts = home.collect(one.stem).reconciliation

    assert (counts.delivered, counts.refused, counts.missing, counts.kept) == (2, 1, 1, 2)
    assert counts.balanced


# Packed by gzip


def test_a_packed_stop_file_is_read_and_unchanged_it_is_left(home, reply):
    one = home.accepted(3)
    home.gateway.shows(f"{STOP}.gz", gzip.compress(reply(0) + reply(1)[:-2]))

    [brought] = home.collect_replies()

    assert (brought.stem, brought.opt_outs, brought.rows) == (one.stem, 2, 2)
    assert brought.archived.endswith(".csv.gz")
    for _ in range(3):
        looks(home)
    assert home.gateway.asked.count(f"{STOP}.gz") == 2
    assert home.stop_list() == [FIRST, FIRST + 1]


def test_the_same_rows_packed_and_unpacked_are_stored_once(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(0))
    home.gateway.shows(f"{STOP}.GZ", gzip.compress(reply(0) + reply(1)))

    home.collect_replies()

    assert home.table("SELECT count(*) FROM sms.reply") == [(2,)]


def test_a_packed_delivery_report_comes_home(home, ack):
    one = home.accepted(3)
    home.gateway.shows(f"{ACK}.gz", gzip.compress(ack(3)))

    assert home.collect(one.stem).reconciliation.delivered == 3
    assert home.collect(one.stem).reconciliation.balanced


@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: b"PK\3\4" + packed])
def test_a_packed_file_that_is_not_whole_or_none_holds_what_would_leave(home, reply, damage):
    home.accepted(3)
    packed = gzip.compress("".join(reply_row(n) for n in range(3)).encode())
    home.gateway.shows(f"{STOP}.gz", damage(packed))

    with pytest.raises(ReportsFailed, match=f"{STOP}.gz"):
        home.collect_replies()
    assert home.stop_list() == []

    home.gateway.shows(f"{STOP}.gz", packed)
    home.collect_replies()
    assert len(home.stop_list()) == 3
