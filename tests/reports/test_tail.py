"""A STOP in a last row without a line end counts at once, or holds every send."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.errors import ReportsFailed
from sms.reports.collection import TAIL_WAITS
from sms.wire.names import ReportKind
from sms.wire.reports import REPLIES, read_replies, read_tail
from tests.factories import FIRST
from tests.reports.conftest import reply_row
from tests.reports.names import SMSMO, STOP

WHO = 33639980001
NAMES = b"MSISDN;DATE;HOUR;MESSAGE;IDREMOTE"
ROW = b"+33639980001;20260715;1205;STOP;A1"


@pytest.mark.parametrize(
    ("raw", "who", "undecided"),
    [
        (b"", None, False),
        (b"\r\n \r\n", None, False),
        (ROW, WHO, False),
        (b"+33639980001;20260715;1205;STOP;", WHO, False),
        (b"+33639980001;20260715;1205;ST", WHO, False),
        (b"+33639980001;2026", WHO, False),
        (b"+33639980001;", WHO, False),
        (b"0639980001;20260715", WHO, False),
        (b'"+33639980001";"20260715";"1205";"STOP', WHO, False),
        (b"\xef\xbb\xbf+33639980001;", WHO, False),
        (b"+33639980001", None, True),  # its last digit may be missing
        (b"+3363998", None, True),
        (b"+", None, True),
        (b"nobody;20260715;1205;STOP;A1", None, True),
        (NAMES, None, False),
        (NAMES[:10].lower(), None, False),
        (b"M", None, False),
    ],
)
def test_a_number_alone_in_a_stop_file_opts_out(raw, who, undecided):
    tail = read_tail(raw, ReportKind.STOP)

    assert tail.rows["msisdn"].to_pylist() == ([who] if who else [])
    assert tail.undecided == undecided


@pytest.mark.parametrize(
    ("raw", "who", "undecided"),
    [
        (b"+33639980001;20260715;1205;STOP;A1", WHO, False),
        (b"+33639980001;20260715;1205;STOP", WHO, False),
        (b"+33639980001;20260715;1205;stop merci; beaucoup", WHO, False),
        (b'+33639980001;20260715;1205;"Arr\xc3\xaat', WHO, False),
        (b"+33639980001;20260715;1205;S", None, True),
        (b"+33639980001;20260715;1205;D\xc3\xa9s", None, True),
        (b"+33639980001;20260715;1205;", None, True),
        (b"+33639980001;20260715;12", None, True),
        (b"+33639980001;", None, True),
        (b"+3363998", None, True),
        (b"+33639980001;20260715;1205;Bonj", None, False),
        (b"+33639980001;20260715;1205;S;A1", None, False),  # that was all they wrote
        (b"+33639980001;20260715;1205;Oui;A1", None, False),
        (b"nobody;20260715;1205;STOP;A1", None, True),
        (b"nobody;20260715;1205;Oui;A1", None, False),
    ],
)
def test_a_replys_text_decides_on_the_opt_out(raw, who, undecided):
    tail = read_tail(raw, ReportKind.SMSMO)

    assert tail.rows["msisdn"].to_pylist() == ([who] if who else [])
    assert tail.undecided == undecided


def test_a_line_behind_an_open_quote_is_read_too():
    raw = b'+33639980001;20260715;1205;"STOP\r\n+33639980002;20260715;1206;STOP;A2'

    assert read_tail(raw, ReportKind.STOP).rows["msisdn"].to_pylist() == [WHO, WHO + 1]


def test_an_oversized_row_may_be_a_stop():
    assert read_tail(b"+33639980001;20260715;1205;" + b"x" * (64 << 10), ReportKind.SMSMO).undecided


def test_an_incomplete_hour_is_no_hour():
    [cut] = read_tail(b"+33639980001;20260715;12", ReportKind.STOP).rows.to_pylist()
    [whole] = read_tail(b"+33639980001;20260715;1205;", ReportKind.STOP).rows.to_pylist()

    assert cut["replied_at"] is None
    assert f"{whole['replied_at']:%H:%M}" == "10:05"


@given(st.integers(0, len(ROW)), st.sampled_from([ReportKind.STOP, ReportKind.SMSMO]))
def test_a_truncated_stop_counts_or_holds_every_send(cut, kind):
    tail = read_tail(ROW[:cut], kind)

    assert tail.undecided or tail.rows["msisdn"].to_pylist() == [WHO] or cut == 0
    assert tail.rows.schema == REPLIES


@given(st.binary(max_size=80), st.sampled_from([ReportKind.STOP, ReportKind.SMSMO]))
def test_a_final_reading_finds_no_number_missed_before(raw, kind):
    """What counts when the time is over was never taken for nothing meanwhile."""
    tail = read_tail(raw, kind)
    try:
        last = read_replies(pa.BufferReader(raw), kind, grows=False).rows
    except Exception:  # nothing in it is a row
        return
    said = set(last["msisdn"].to_pylist()) if kind is ReportKind.STOP else set()

    assert tail.undecided or said <= set(tail.rows["msisdn"].to_pylist())


def test_rows_joined_by_line_ends_lose_none(home):
    home.accepted(3)
    joined = "".join(reply_row(n) for n in range(3)).removesuffix("\r\n").encode()
    home.gateway.shows(STOP, joined)

    [first] = home.collect_replies()

    assert (first.opt_outs, first.replies) == (3, 2)
    assert home.stop_list() == [FIRST, FIRST + 1, FIRST + 2]
    assert home.collect_replies() == []

    home.now += TAIL_WAITS
    [second] = home.collect_replies()
    assert (second.opt_outs, second.replies) == (0, 1)


def test_joined_rows_in_a_reply_file_lose_none(home):
    home.accepted(3)
    joined = (reply_row(0, "Oui") + reply_row(1, "STOP")).removesuffix("\r\n").encode()
    home.gateway.shows(SMSMO, joined)

    [first] = home.collect_replies()

    assert (first.opt_outs, first.replies) == (1, 1)
    assert home.stop_list() == [FIRST + 1]


def test_an_incomplete_number_fails_every_collection_until_complete(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(1) + reply(2)[:8])

    for _ in range(2):
        with pytest.raises(ReportsFailed, match="in the middle of a row that may be") as told:
            home.collect_replies()
        assert told.value.retryable
        assert home.stop_list() == [FIRST + 1]

    home.gateway.shows(STOP, reply(1) + reply(2))
    home.collect_replies()
    assert home.stop_list() == [FIRST + 1, FIRST + 2]


def test_the_files_other_news_is_reported_with_it(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(1) + reply(2)[:8])

    with pytest.raises(ReportsFailed) as told:
        home.collect_replies()

    [brought] = told.value.collected
    assert (brought.name, brought.opt_outs, brought.replies) == (STOP, 1, 1)


def test_a_number_never_completed_needs_an_operator(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(1) + reply(2)[:5])
    with pytest.raises(ReportsFailed):
        home.collect_replies()

    home.now += TAIL_WAITS
    with pytest.raises(ReportsFailed, match="nothing is sent until an operator has looked"):
        home.collect_replies()


def test_the_same_last_row_restores_no_removed_number(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(1) + reply(2)[:-2])
    home.collect_replies()
    home.ledger.stop_list.remove(FIRST + 2, reason="it was a test of theirs")

    home.gateway.shows(STOP, reply(1) + reply(2)[:-2], at=home.now)
    home.collect_replies()
    home.now += TAIL_WAITS
    home.collect_replies()

    assert home.stop_list() == [FIRST + 1]


@pytest.mark.parametrize("kind", ["STOP", "SMSMO"])
def test_rows_joined_by_bare_carriage_returns_all_count(home, kind):
    home.accepted(9)
    rows = "\r".join(f"+{FIRST + n};20260715;1205;STOP;id{n}" for n in range(3))
    home.gateway.shows(f"{kind}-12345-20260715-1200-spring1.csv", (rows + "\r").encode())

    home.collect_replies()

    assert home.stop_list() == [FIRST, FIRST + 1, FIRST + 2]
