"""Arbitrary bytes never crash or hang a reader, and how they arrive changes nothing."""

import io
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms.errors import ReportUnreadable
from sms.wire import report_cells, report_rows
from sms.wire.names import ReportKind
from sms.wire.reports import Report, read_replies
from sms.wire.stop_words import opts_out
from sms.wire.unreadable import RAW, raw_rows
from tests import soak
from tests.reports.whole import read_delivery_report

# Grammar by grammar: what a report is made of, in every wrong order.
PIECES = st.sampled_from(
    [
        b";",
        b";",
        b'"',
        b'""',
        b"\n",
        b"\r\n",
        b" ",
        b"+33639980001;",
        b"+33639980001;20260715;1205;",
        b'+33639980002;20260715;1205;"',
        b"A1;+33639980003;Shop;",
        b'A2;+33639980004;Shop;"',
        b";3;delivered;t\r\n",
        b";STOP;A1\r\n",
        b"\0",
        b"\xe9",
        b"\xc3\xa9",
        b"\xef\xbb\xbf",
        b"MSISDN;DATE;HOUR;MESSAGE;IDREMOTE\r\n",
        b"x" * 200,
    ]
)
FILES = st.one_of(
    st.lists(PIECES, max_size=40).map(b"".join),
    st.lists(st.one_of(PIECES, st.binary(max_size=9)), max_size=20).map(b"".join),
    st.binary(max_size=300),
)
TRIES = settings(max_examples=250, derandomize=True)


def read(content: bytes, kind: ReportKind) -> Report | str:
    source = io.BytesIO(content)
    try:
        if kind is ReportKind.ACK:
            return read_delivery_report(source)
        return read_replies(source, kind)
    except ReportUnreadable as error:
        return str(error)


def facts(report: Report | str) -> object:
    if isinstance(report, str):
        return report
    return (
        report.rows.to_pylist(),
        report.unreadable.to_pylist(),
        report.warnings,
        report.torn_tail,
        report.size_read,
    )


@pytest.mark.parametrize("kind", list(ReportKind))
@TRIES
@given(content=FILES, block=st.integers(1, 60))
def test_the_block_size_never_changes_what_is_read(kind, content, block):
    whole = facts(read(content, kind))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(report_rows, "BLOCK", block)
        assert facts(read(content, kind)) == whole


@pytest.mark.parametrize("kind", list(ReportKind))
@TRIES
@given(content=FILES, lines=st.integers(3, 9))
def test_the_portion_size_never_changes_what_is_read(kind, content, lines):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(report_rows, "MOST_LINES", 2)
        whole = facts(read(content, kind))
        patched.setattr(report_rows, "PORTION", lines)
        assert facts(read(content, kind)) == whole


@pytest.mark.parametrize("kind", list(ReportKind))
@TRIES
@given(content=FILES)
def test_every_row_read_can_be_stored(kind, content):
    report = read(content, kind)
    if isinstance(report, str):
        return
    report.rows.validate(full=True)
    for column in report.rows.columns:
        if column.type == pa.large_string():
            assert not any("\0" in value for value in column.to_pylist() if value)
    assert all(0 < number < 10**15 for number in report.rows["msisdn"].to_pylist() if number)
    assert len(opts_out(report.rows.columns[4])) == report.rows.num_rows


@pytest.mark.parametrize("kind", [ReportKind.STOP, ReportKind.SMSMO])
@TRIES
@given(content=FILES, cut=st.floats(0, 1))
def test_a_growing_file_retracts_nothing(kind, content, cut):
    whole = read(content, kind)
    begun = read(content[: int(cut * len(content))], kind)
    if isinstance(begun, str):
        return
    if isinstance(whole, str):
        assert begun.rows.num_rows == 0
        return
    count = begun.rows.num_rows
    assert whole.rows.slice(0, count).to_pylist() == begun.rows.to_pylist()
    listed = begun.unreadable.num_rows
    assert whole.unreadable.slice(0, listed).to_pylist() == begun.unreadable.to_pylist()


# Quotes as RFC 4180 has them, or none: stray ones open a text only where a row needs it.
CELLS = st.sampled_from(
    [
        *(b"", b" ", b"A1", b" A1 ", b'"A1"', b"0", b"2", b"2 ", b"3", b"77", b"99999", b"-1"),
        *(b"+33639980001", b"33639980002", b"0033639980003", b"+0639980004", b"++33639980005"),
        *(b"+33 6 39 98 00 06", b"999999999999999", b"1234567", b"123456", b"\xb133639980007"),
        *(b"Shop", b"a;b", b'"a;b"', b"\xe9", b"delivered", b"t-1", b"x" * 70),
    ]
)
LINES = st.tuples(
    st.lists(CELLS, min_size=7, max_size=7),
    st.sampled_from([b"\n", b"\r\n", b" \r\n", b"\r", b"\r\r\n"]),
).map(lambda line: b";".join(line[0]) + line[1])
SOUND = st.integers(0, 9).map(
    lambda n: b"A%d;+3363998000%d;Shop;Bonjour;3;delivered;t\r\n" % (n, n)
)


@settings(max_examples=600, derandomize=True)
@given(content=st.lists(st.one_of(SOUND, LINES, LINES), max_size=12).map(b"".join))
def test_reading_by_column_matches_reading_by_row(content):
    by_columns = facts(read(content, ReportKind.ACK))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(report_cells.Cells, "of", lambda block: nothing_plain(OF(block)))
        assert facts(read(content, ReportKind.ACK)) == by_columns


OF = report_cells.Cells.of


def nothing_plain(cells: report_cells.Cells) -> report_cells.Cells:
    """The same lines, all of them left to the careful reader."""
    none = np.zeros(len(cells.msisdn), dtype=bool)
    return replace(
        cells,
        plain=np.zeros_like(cells.plain),
        idremote=cells.idremote.of(none),
        msisdn=cells.msisdn[none],
        idstatus=cells.idstatus[none],
        status=cells.status.of(none),
        operator=cells.operator.of(none),
    )


@pytest.mark.parametrize("kind", list(ReportKind))
@TRIES
@given(content=FILES)
def test_unreadable_rows_are_found_in_the_file(kind, content):
    report = read(content, kind)
    if isinstance(report, str):
        return
    kept = pa.Table.from_batches(raw_rows(io.BytesIO(content), report.unreadable), RAW)
    assert kept["line"].to_pylist() == report.unreadable["line"].to_pylist()
    assert all(raw.strip() in content for raw in kept["raw"].to_pylist())


@pytest.mark.parametrize(
    "piece",
    [b'"\n', b'"', b";", b"\r", b'";"', b'""\n', b'+33639980001;20260715;1205;"\n', b"\xff\n"],
    ids=repr,
)
@pytest.mark.parametrize("kind", list(ReportKind))
def test_repetitive_reports_are_read_in_seconds(kind, piece):
    begin = time.process_time()

    read(piece * (200_000 // len(piece)), kind)

    # Of this process's CPU; ten times what it takes, and far more if it went by the square.
    assert time.process_time() - begin < 8


CASES, SEED = 1_000, 20260715
MINUTES = soak.MINUTES / 20  # for each kind of report
GOOD = {
    ReportKind.ACK: 'A1;+33639980001;Shop;"Oui; ""non""\r\nà";3;delivered;t-1\r\n'.encode(),
    ReportKind.STOP: b'+33639980001;20260715;1205;"STOP;\r\n""merci""";A1\r\n',
    ReportKind.SMSMO: "+33639980001;15/07/2026;12:05:07;été € ; 2;A1\n".encode("cp1252"),
}


@pytest.mark.parametrize("kind", list(ReportKind))
def test_spoilt_reports_are_read_or_refused(kind):
    cases = spoilt_reports(kind, SEED)

    for content, cut in islice(cases, CASES):
        require_read_or_refused(kind, content, cut, SEED)


@pytest.mark.soak
@pytest.mark.timeout(60 * MINUTES + 120)
@pytest.mark.parametrize("kind", list(ReportKind))
def test_reports_spoilt_for_minutes_are_read_or_refused(kind, tell):
    until, count = time.monotonic() + 60 * MINUTES, 0

    for content, cut in spoilt_reports(kind, soak.SEED):
        require_read_or_refused(kind, content, cut, soak.SEED)
        count += 1
        if time.monotonic() > until:
            break
    tell(f"{count} spoilt {kind} reports, seed {soak.SEED}: all were read or refused")


def spoilt_reports(kind: ReportKind, seed: int) -> Iterator[tuple[bytes, int]]:
    """Spoilt reports without end, and how far each has come at first."""
    chance = random.Random(seed)
    while True:
        content = spoilt(chance, GOOD[kind] * chance.randrange(1, 6))
        yield content, chance.randrange(len(content) + 1)


def require_read_or_refused(kind: ReportKind, content: bytes, cut: int, seed: int) -> None:
    """Also that what was read of a STOP or SMSMO that grows is never taken back."""
    try:
        whole, begun = read(content, kind), read(content[:cut], kind)
        if kind is not ReportKind.ACK and not isinstance(begun, str):
            assert not isinstance(whole, str) or begun.rows.num_rows == 0
            if not isinstance(whole, str):
                first = whole.rows.slice(0, begun.rows.num_rows)
                assert first.to_pylist() == begun.rows.to_pylist()
    except Exception as error:
        raise AssertionError(f"seed {seed}: {content!r} up to {cut}") from error


def spoilt(chance: random.Random, content: bytes) -> bytes:
    """A report with a few bytes lost, doubled, moved or made up."""
    spoilt = bytearray(content)
    for _ in range(chance.randrange(1, 9)):
        at = chance.randrange(len(spoilt) + 1)
        end = min(at + chance.randrange(1, 30), len(spoilt))
        match chance.randrange(4):
            case 0:
                del spoilt[at:end]
            case 1:
                spoilt[at:at] = spoilt[at:end]
            case 2:
                spoilt[at:end] = chance.randbytes(end - at)
            case _:
                spoilt[at:at] = chance.choice([b'"', b";", b"\r", b"\n", b"\0", b"\xef\xbb\xbf"])
    return bytes(spoilt)
