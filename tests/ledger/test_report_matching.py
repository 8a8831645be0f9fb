"""Each row of a delivery report matches one message or is a stranger; the last row counts.

However the rows come: what the loader does to whole portions is compared with what a person would
do row by row.
"""

import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

from demo.processes import wait_until
from sms.ledger import bulk_copy, outcomes, report_matching
from sms.ledger.idremotes import Words
from sms.ledger.report_matching import (
    MESSAGE,
    NO_CODE,
    NOWHERE,
    UNREADABLE,
    MessageGroup,
    Messages,
    StatusCount,
)
from sms.wire.reports import OUTCOMES, Outcome

FIRST = 33_639_980_000

# Few halves, so that many keys begin alike, and the extremes.
HALVES = st.sampled_from([0, 1, 2, 1 << 63, (1 << 64) - 1])
KEYS = st.tuples(HALVES, HALVES)
NUMBERS = st.integers(FIRST, FIRST + 4)
KINDS = st.sampled_from(
    [
        MessageGroup("FR", None, 1),
        MessageGroup("FR", "warm", 1),
        MessageGroup("FR", "warm", 2),
        MessageGroup("RE", None, 1),
    ]
)
MESSAGES = st.dictionaries(KEYS, st.tuples(NUMBERS, KINDS), max_size=8)


def packed(
    messages: dict[tuple[int, int], tuple[int, MessageGroup]],
) -> list[tuple[MessageGroup, bytes]]:
    """As the database sends them, but in portions of one."""
    return [
        (kind, np.array([(*key, number)], MESSAGE).tobytes())
        for key, (number, kind) in messages.items()
    ]


@settings(max_examples=300, derandomize=True)
@given(
    messages=MESSAGES,
    asked=st.lists(st.tuples(KEYS, st.one_of(NUMBERS, st.just(UNREADABLE))), max_size=12),
)
def test_a_message_is_found_among_similar_keys(messages, asked):
    held = Messages(packed(messages))
    high, low = (np.array([key[half] for key, _ in asked], np.uint64) for half in (0, 1))
    numbers = np.array([number for _, number in asked], np.int64)

    places = held.find(Words(high, low), numbers)

    for place, (key, number) in zip(places.tolist(), asked, strict=True):
        known = messages.get(key)
        if known is None or number not in (UNREADABLE, known[0]):
            assert place == NOWHERE
        else:
            assert held.keys(np.array([place])).tobytes() == np.array(key, ">u8").tobytes()


@settings(max_examples=200, derandomize=True)
@given(messages=MESSAGES, asked=st.lists(st.one_of(NUMBERS, st.just(UNREADABLE)), max_size=8))
def test_a_number_finds_the_only_message_to_it(messages, asked):
    held = Messages(packed(messages))
    whose = Counter(number for number, _ in messages.values())

    places = held.find_by_number(np.array(asked, np.int64))

    for place, number in zip(places.tolist(), asked, strict=True):
        assert (place != NOWHERE) == (whose[number] == 1)
        if place != NOWHERE:
            [key] = [key for key, (known, _) in messages.items() if known == number]
            assert held.keys(np.array([place])).tobytes() == np.array(key, ">u8").tobytes()


def test_the_last_row_of_a_message_counts():
    plain, warm = MessageGroup("FR", None, 1), MessageGroup("FR", "warm", 2)
    kinds = {(1, 1): plain, (1, 2): plain, (2, 1): warm, (3, 1): warm, (3, 2): warm}
    held = Messages(packed({key: (FIRST, kind) for key, kind in kinds.items()}))

    def record(*rows: tuple[int, int, int]) -> tuple[list[bool], list[int]]:
        last, replaced = held.record(*np.array(rows, np.int64).T)
        return last.tolist(), replaced.tolist()

    assert held.by_status() == []
    assert record((0, 1, 4), (1, 2, 3), (0, 3, 6)) == ([False, True, True], [])
    assert record((0, 2, 0), (2, 5, NO_CODE)) == ([False, True], [])
    assert record((1, 9, 6)) == ([True], [1])
    stranger = np.zeros((1, 16), np.uint8)
    held.keep(np.vstack([stranger, held.keys(np.array([3, 4]))]), 77)
    assert record((3, 1, 0)) == ([True], [3])
    assert Counter(held.by_status()) == Counter(
        [
            StatusCount(plain, 6, 2),
            StatusCount(warm, 0, 1),
            StatusCount(warm, 77, 1),
            StatusCount(warm, None, 1),
        ]
    )


def digits(key: tuple[int, int]) -> str:
    return f"{key[0]:016x}{key[1]:016x}"


ROWS = st.lists(
    st.tuples(
        st.one_of(KEYS.map(digits), KEYS.map(digits), st.sampled_from(["torn", "Née"])),
        st.one_of(NUMBERS, NUMBERS, st.none()),
        st.sampled_from([0, 3, 4, 6, 77, None]),
    ),
    max_size=14,
)
Row = tuple[str, int | None, int | None]


def by_hand(
    messages: dict[tuple[int, int], tuple[int, MessageGroup]], rows: list[Row]
) -> tuple[dict[str, tuple[int, int | None]], list[tuple[int, str]], int]:
    """The last line of each message and its code, the strangers, how many rows were replaced."""
    keys = {digits(key): number for key, (number, _) in messages.items()}
    whose = Counter(keys.values())
    last: dict[str, tuple[int, int | None]] = {}
    strangers, matched = [], 0
    for line, (idremote, number, code) in enumerate(rows, 1):
        if idremote in keys and number in (None, keys[idremote]):
            mine = idremote
        elif number is not None and whose[number] == 1:
            [mine] = [key for key, known in keys.items() if known == number]
        else:
            strangers.append((line, idremote))
            continue
        matched += 1
        last[mine] = (line, code)
    return last, strangers, matched - len(last)


def table(messages: dict[tuple[int, int], tuple[int, MessageGroup]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "idremote": pa.array(map(digits, messages), pa.large_string()),
            "msisdn": pa.array([number for number, _ in messages.values()], pa.int64()),
            "segments": pa.array([kind.segments for _, kind in messages.values()], pa.int16()),
            "key": pa.array(map(str, range(len(messages))), pa.large_string()),
            "variant": pa.array([kind.variant for _, kind in messages.values()], pa.large_string()),
        }
    )


def report(rows: list[Row]) -> pa.Table:
    idremotes, numbers, codes = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "line": pa.array(range(1, len(rows) + 1), pa.int64()),
            "idremote": pa.array(idremotes, pa.large_string()),
            "msisdn": pa.array(numbers, pa.int64()),
            "idstatus": pa.array(codes, pa.int16()),
            "ackoperator": pa.array(["op"] * len(rows), pa.large_string()),
            "raw_status": pa.array([f"{code};said" for code in codes], pa.large_string()),
        }
    )


ONE = {(7, 7): (FIRST, MessageGroup("FR", None, 1))}


@pytest.mark.parametrize("portion", [1, 3, 100])
@settings(
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(messages=MESSAGES.filter(bool), rows=ROWS, cuts=st.lists(st.integers(0, 14), max_size=4))
@example(  # a row that its number matched, and an earlier one of its key that comes in between
    messages=ONE,
    rows=[(digits((7, 7)), FIRST, 0), ("torn", FIRST, 3), (digits((7, 7)), FIRST, 4)],
    cuts=[1, 2],
)
@example(  # one that makes others wait, whose last is the message's
    messages=ONE,
    rows=[(digits((7, 7)), FIRST, 0), (digits((7, 7)), FIRST, 3), ("torn", FIRST, 4)],
    cuts=[1],
)
@example(messages=ONE, rows=[("torn", FIRST, 3)] * 4 + [("Née", 1, 3)] * 4, cuts=[1, 2, 3, 5])
def test_stored_outcomes_match_reading_row_by_row(
    office, monkeypatch, portion, messages, rows, cuts
):
    monkeypatch.setattr(outcomes, "RUN", portion)
    monkeypatch.setattr(outcomes, "FEW", 2)
    one = office.submitted(table(messages))
    told = report(rows)
    bounds = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    pieces = [told.slice(begin, end - begin).to_batches() for begin, end in pairwise(bounds)]

    office.ledger.reports.load_delivery_report(
        one.stem, iter([each for some in pieces for each in some])
    )

    last, strangers, duplicates = by_hand(messages, rows)
    receipts = office.table(
        "SELECT encode(uuid_send(idremote), 'hex'), line, idstatus FROM sms.receipt "
        f"WHERE submission_id = {one.id}"
    )
    assert {key: (line, code) for key, line, code in receipts} == last
    assert len(receipts) == len(last)
    found = office.table(
        f"SELECT line, idremote FROM sms.stranger WHERE submission_id = {one.id} ORDER BY line"
    )
    assert found == strangers
    counts = office.ledger.submissions.reconcile(one.stem)
    assert (counts.rows, counts.duplicates) == (len(rows), duplicates)
    assert counts.balanced
    expected = Counter(
        (kind.variant, kind.segments, _outcome(last.get(digits(key))))
        for key, (_, kind) in messages.items()
    )
    counted = office.table(
        "SELECT variant, segments, outcome, sum(messages) FROM sms.outcome_count "
        f"WHERE submission_id = {one.id} GROUP BY 1, 2, 3"
    )
    assert {(variant, size, what): int(n) for variant, size, what, n in counted} == expected


def _outcome(row: tuple[int, int | None] | None) -> str:
    if row is None:
        return "missing"
    return str(OUTCOMES.get(-1 if row[1] is None else row[1], Outcome.UNKNOWN))


def test_the_database_refuses_a_second_receipt_of_a_message(office, make_messages):
    one = office.submitted(make_messages(1))
    office.ledger.reports.load_delivery_report(one.stem, report([(f"{0:032x}", FIRST, 3)]))

    again = create_engine(office.ledger.engine.url, poolclass=NullPool)
    with again.connect() as db, pytest.raises(IntegrityError, match="receipt_2026_07_once"):
        db.execute(text("INSERT INTO sms.receipt SELECT * FROM sms.receipt"))


def strangers(count: int) -> list[Row]:
    return [(f"stranger {n}", 1_000 + n, 3) for n in range(count)]


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param((outcomes, "RUN", 10), id="rows"),
        pytest.param((bulk_copy, "HEAVY", 10 * 80), id="bytes"),
    ],
)
def test_strangers_in_memory_are_limited_to_a_few_batches(
    office, make_messages, monkeypatch, limit
):
    one = office.submitted(make_messages(1))
    monkeypatch.setattr(*limit)
    waiting, settle = [], outcomes._Loading._settle_others

    def watched(loading: outcomes._Loading) -> None:
        waiting.append(sum(map(len, loading._others)))
        settle(loading)

    monkeypatch.setattr(outcomes._Loading, "_settle_others", watched)
    rows = [row for _ in range(50) for row in [(f"{0:032x}", FIRST, 3), *strangers(9)]]

    office.ledger.reports.load_delivery_report(
        one.stem, iter(report(rows).to_batches(max_chunksize=10))
    )

    assert sum(waiting) == 450
    assert max(waiting) <= 30


@pytest.mark.timeout(120)
def test_a_load_that_fails_while_reading_messages_ends(office, make_messages, monkeypatch):
    one = office.submitted(make_messages(100))
    unpacked, calls = report_matching._unpacked, []

    def lacking_memory(kind: int, packed: bytes) -> tuple[np.ndarray, ...]:
        calls.append(kind)
        if len(calls) == 3:
            raise MemoryError
        return unpacked(kind, packed)

    monkeypatch.setattr(report_matching, "_unpacked", lacking_memory)
    with pytest.raises(MemoryError):
        office.ledger.reports.load_delivery_report(one.stem, report([(f"{0:032x}", FIRST, 3)]))

    monkeypatch.setattr(report_matching, "_unpacked", unpacked)
    office.ledger.reports.load_delivery_report(one.stem, report([(f"{0:032x}", FIRST, 3)]))
    assert office.ledger.submissions.reconcile(one.stem).delivered == 1


def test_long_rows_are_not_batched_by_count():
    text = pa.array(["x" * 100_000] * 50)
    rows = (pa.RecordBatch.from_arrays([text], ["ackoperator"]) for _ in range(40))

    sizes = [each.nbytes for each in bulk_copy.portions(rows, 1 << 17, ready=lambda: False)]

    assert sum(sizes) > 190 << 20
    assert max(sizes) < bulk_copy.HEAVY + (6 << 20)


class Told(BaseException):
    """As Airflow tells a task to end."""


@pytest.mark.timeout(120)
def test_an_interrupted_load_ends_without_waiting_for_locks(office, make_messages):
    one = office.submitted(make_messages(2))
    main = threading.main_thread().ident

    def end(*_: object) -> None:
        raise Told

    def tell() -> None:
        waits = "SELECT pid FROM pg_locks WHERE NOT granted"
        wait_until(lambda: bool(office.table(waits)), "a load that waits", timeout=60)
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, end)
    try:
        with office.ledger.engine.connect() as holder, ThreadPoolExecutor(1) as pool:
            holder.execute(text("LOCK TABLE sms.message_2026_07 IN ACCESS EXCLUSIVE MODE"))
            told = pool.submit(tell)
            with pytest.raises(Told):
                office.ledger.reports.load_delivery_report(
                    one.stem, report([(f"{0:032x}", FIRST, 3)])
                )
            told.result()
    finally:
        signal.signal(signal.SIGUSR1, before)
