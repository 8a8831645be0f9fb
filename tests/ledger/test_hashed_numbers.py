"""Old numbers of the stop list as keyed hashes: found and removable, but unreadable."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import text

from demo.processes import wait_until
from sms.errors import ConfigurationError, LedgerError, StopListUnsafe
from sms.ledger import erasure, hashed_numbers
from sms.ledger.ledger import Ledger
from sms.ledger.pseudonyms import Key
from sms.ledger.records import Hashed
from tests.ledger.said import FIRST, JULY, STOPS, listed, reported

YEARS = timedelta(days=3 * 365)
DAY = timedelta(days=1)
KEY = Key.of("the-key-of-a-test-which-nobody-else-has")
OTHER = Key.of("another-key-by-which-nobody-is-found-here")
TABLES = ("opt_out", "imported", "removal")


@pytest.fixture
def keyed(ledger_url, hand):
    """A ledger whose process has the key, or another one, or none."""

    def connect(key: Key | None = KEY) -> Ledger:
        how = {"key": lambda: key} if key else {}
        return Ledger.connect(ledger_url, clock=hand, actor="worker", **how)

    return connect


@pytest.fixture
def desk(office, keyed):
    """An office whose ledger has the key."""
    office.ledger = keyed()
    return office


def stops(*numbers: int, hour: str = "1205") -> pa.Table:
    return reported(*((number, 1) for number in numbers), hour=hour, message="STOP, says Manon")


def hear(office, *numbers: int, hour: str = "1205") -> int:
    said = stops(*numbers, hour=hour)
    new = office.ledger.stop_list.add(said, source="stop_report", stem="SEND-x", report=STOPS)
    office.ledger.reports.load_replies(STOPS, said)
    return new


def pass_by(office, time: timedelta) -> None:
    """Time passes, and replies expire as housekeeping has it."""
    office.hand.advance(time)
    office.ledger.people.expire_stray_replies(office.hand.at - YEARS, most=1000)


def hash_all(office) -> int:
    """Three years pass, and everybody of whom nothing was heard becomes a hash."""
    pass_by(office, YEARS + DAY)
    return office.ledger.stop_list.hash_old(office.hand.at - YEARS, after=0, most=1000).numbers


def found(ledger: Ledger, *numbers: int) -> list[int]:
    asked = np.array([FIRST + number for number in numbers], np.int64)
    return (ledger.stop_list.opted_out(asked) - FIRST).tolist()


def plain(office) -> dict[str, list[int]]:
    """Whose numbers can still be read, by table."""
    return {
        table: [
            row[0] - FIRST
            for row in office.table(f"SELECT msisdn FROM sms.{table} WHERE msisdn > 0 ORDER BY 1")
        ]
        for table in TABLES
    }


def test_a_hashed_number_is_found_by_key_but_unreadable(desk):
    hear(desk, 1, 2)
    desk.ledger.stop_list.import_list(listed((2, None), (3, JULY)), named="crm", file="crm.csv")
    desk.ledger.stop_list.remove(FIRST + 3, reason="asked for messages again")

    assert hash_all(desk) == 3

    assert plain(desk) == {table: [] for table in TABLES}
    assert found(desk.ledger, 0, 1, 2, 3) == [1, 2]
    assert desk.ledger.stop_list.require_safe() == 2
    assert desk.ledger.stop_list.count_hashed() == 2
    assert list(desk.ledger.stop_list.rows()) == []
    rows = str([desk.table(f"SELECT * FROM sms.{table}") for table in (*TABLES, "event")])
    assert str(FIRST)[:-1] not in rows
    assert "Manon" not in rows
    assert desk.table("SELECT detail FROM sms.event WHERE detail ? 'hashed'") == [({"hashed": 3},)]


def test_only_numbers_inactive_for_long_enough_are_hashed(desk):
    hear(desk, 1, 2, 3, 5)
    desk.ledger.stop_list.remove(FIRST + 3, reason="asked for messages again")
    desk.ledger.stop_list.remove(FIRST + 5, reason="asked for messages again")
    hear(desk, 5, hour="1505")
    desk.hand.advance(YEARS)
    desk.ledger.stop_list.remove(FIRST + 5, reason="asked once more")
    desk.ledger.stop_list.import_list(listed((2, JULY)), named="crm", file="crm.csv")
    hear(desk, 3, 4, hour="1505")
    pass_by(desk, DAY)

    assert desk.ledger.stop_list.hash_old(desk.hand.at - YEARS, after=0, most=100).numbers == 1

    assert plain(desk) == {"opt_out": [2, 3, 4], "imported": [2], "removal": [3, 5, 5]}
    assert found(desk.ledger, 1, 2, 3, 4, 5) == [1, 2, 3, 4]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_hashing_in_portions_ends_and_omits_no_number(desk, most):
    hear(desk, 1, 2, 3, 4, 5)
    desk.ledger.stop_list.remove(FIRST + 2, reason="asked for messages again")
    desk.hand.advance(YEARS)
    desk.ledger.stop_list.import_list(listed((3, JULY)), named="crm", file="crm.csv")
    pass_by(desk, DAY)

    after, numbers = 0, []
    while after is not None:
        done = desk.ledger.stop_list.hash_old(desk.hand.at - YEARS, after=after, most=most)
        after, numbers = done.last, [*numbers, done.numbers]

    assert sum(numbers) == 4
    assert max(numbers) <= most
    assert plain(desk) == {"opt_out": [3], "imported": [3], "removal": []}


def test_a_hash_is_not_hashed_again(desk):
    hear(desk, 1)
    assert hash_all(desk) == 1
    before = desk.table("SELECT * FROM sms.opt_out")

    assert hash_all(desk) == 0

    assert desk.table("SELECT * FROM sms.opt_out") == before
    assert found(desk.ledger, 1) == [1]


def test_a_repeated_or_new_stop_keeps_its_hash(desk):
    hear(desk, 1)
    hash_all(desk)

    assert hear(desk, 1, 2) == 1
    assert hear(desk, 1, hour="1505") == 0

    assert plain(desk)["opt_out"] == [2]
    assert desk.ledger.stop_list.require_safe() == 2
    assert found(desk.ledger, 1, 2) == [1, 2]


def test_an_earlier_opt_out_time_updates_the_hash(desk):
    hear(desk, 1)
    hash_all(desk)

    done = desk.ledger.stop_list.import_list(listed((1, JULY - DAY)), named="crm", file="crm.csv")

    assert (done.numbers, done.new, done.removed) == (1, 0, 0)
    assert desk.table("SELECT opted_out_at, list FROM sms.opt_out") == [(JULY - DAY, "crm")]
    assert plain(desk) == {table: [] for table in TABLES}


def test_a_daily_import_finds_its_hashed_numbers(desk):
    daily = listed(*((number, JULY) for number in range(50)), (50, None))
    desk.ledger.stop_list.import_list(daily, named="crm", file="crm.csv")
    assert hash_all(desk) == 51

    again = desk.ledger.stop_list.import_list(daily, named="crm", file="crm.csv")

    assert (again.numbers, again.new, again.again, again.removed) == (51, 0, 0, 0)
    assert desk.table("SELECT count(*) FROM sms.imported") == [(51,)]
    assert plain(desk) == {table: [] for table in TABLES}


def test_a_hashed_number_can_be_shown_removed_and_restored(desk):
    hear(desk, 1, 2)
    desk.ledger.stop_list.import_list(listed((1, None)), named="crm", file="crm.csv")
    hash_all(desk)
    history = desk.ledger.people.history(FIRST + 1)
    assert [each.list for each in history.listed] == ["crm"]
    assert (history.opt_out.opted_out_at, history.opt_out.stem) == (JULY, "SEND-x")
    assert history.opt_out.message is None

    desk.ledger.stop_list.remove(FIRST + 1, reason="asked for messages again")

    assert found(desk.ledger, 1, 2) == [2]
    history = desk.ledger.people.history(FIRST + 1)
    assert history.opt_out is None
    assert [each.reason for each in history.removals] == ["asked for messages again"]
    assert hear(desk, 1, hour="1505") == 1
    assert found(desk.ledger, 1, 2) == [1, 2]
    assert desk.ledger.stop_list.require_safe() == 2
    with pytest.raises(LedgerError, match="not in the stop list"):
        desk.ledger.stop_list.remove(FIRST + 9, reason="a slip")


def test_hashing_keeps_what_was_known_at_a_removal(desk):
    hear(desk, 1)
    desk.ledger.stop_list.import_list(listed((2, JULY)), named="crm", file="crm.csv")
    for number in (1, 2):
        desk.ledger.stop_list.remove(FIRST + number, reason="asked for messages again")
    assert hash_all(desk) == 2

    assert hear(desk, 1) == 0
    done = desk.ledger.stop_list.import_list(listed((2, JULY)), named="crm", file="crm.csv")

    assert (done.new, done.removed) == (0, 1)
    assert found(desk.ledger, 1, 2) == []
    assert desk.ledger.stop_list.require_safe() == 0


def test_a_number_readable_elsewhere_is_not_hashed(desk, make_messages):
    """An open file of so long ago still counts who said STOP before its hour."""
    one = desk.submitted(make_messages(2))
    desk.hand.advance(timedelta(minutes=1))
    hear(desk, 0, 5, 6)
    assert desk.ledger.submissions.late_stops(one.stem) == 1
    pass_by(desk, YEARS + DAY)
    hear(desk, 6, hour="1305")

    assert desk.ledger.stop_list.hash_old(desk.hand.at - YEARS, after=0, most=9).numbers == 1

    assert plain(desk)["opt_out"] == [0, 6]
    assert desk.ledger.submissions.late_stops(one.stem) == 1


def test_a_forgotten_number_is_hashed_at_once(desk):
    hear(desk, 1, 2)
    desk.ledger.stop_list.remove(FIRST + 2, reason="asked for messages again")

    desk.ledger.stop_list.hash_old(JULY, after=0, most=9)

    forgotten = [desk.ledger.people.forget(FIRST + number, hashed=True) for number in (1, 2, 3)]

    assert [(each.opted_out, each.hashed) for each in forgotten] == [
        (True, True),
        *[(False, False)] * 2,
    ]

    assert plain(desk) == {table: [] for table in TABLES}
    assert found(desk.ledger, 1, 2, 3) == [1]
    assert desk.ledger.people.forget(FIRST + 1).hashed  # found again by its hash
    events = desk.table("SELECT count(*) FROM sms.event WHERE detail ? 'forgotten'")
    assert events == [(2,)]  # 1 and 2, to be forgotten again after a restored backup


def test_forgetting_a_hashed_number_deletes_its_texts(desk):
    hear(desk, 1, 2)
    hash_all(desk)
    hear(desk, 1, 2, hour="0905")  # an earlier no, whose words replace those of the later one
    desk.ledger.stop_list.remove(FIRST + 2, reason="asked for messages again")

    for number in (1, 2):
        desk.ledger.people.forget(FIRST + number)

    told = desk.table("SELECT message FROM sms.opt_out UNION ALL SELECT message FROM sms.removal")
    assert told == [(None,), (None,)]


def test_only_housekeeping_puts_a_key_to_use(desk, keyed):
    """A shell with another key must not make that one the key for ever."""
    hear(desk, 1)

    with pytest.raises(LedgerError, match="its key is not in use yet: nothing was changed"):
        keyed(OTHER).people.forget(FIRST + 1, hashed=True)
    assert plain(desk)["opt_out"] == [1]
    assert desk.ledger.stop_list.hash_old(JULY, after=0, most=9) == Hashed(
        0, None
    )  # the first night
    with pytest.raises(StopListUnsafe, match="another key"):
        keyed(OTHER).people.forget(FIRST + 1, hashed=True)

    assert desk.ledger.people.forget(FIRST + 1, hashed=True).hashed
    assert found(desk.ledger, 1) == [1]


CALLS = {
    "asking": lambda ledger: ledger.stop_list.opted_out(np.array([FIRST])),
    "trusting": lambda ledger: ledger.stop_list.require_safe(),
    "hearing": lambda ledger: ledger.stop_list.add(stops(7), source="stop_report", report=STOPS),
    "importing": lambda ledger: ledger.stop_list.import_list(
        listed((7, JULY)), named="c", file="c.csv"
    ),
    "showing": lambda ledger: ledger.people.history(FIRST),
    "removing": lambda ledger: ledger.stop_list.remove(FIRST, reason="a slip"),
    "forgetting": lambda ledger: ledger.people.forget(FIRST),
    "hashing": lambda ledger: ledger.stop_list.hash_old(JULY + 9 * YEARS, after=0, most=9),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_nothing_is_done_without_the_right_key(desk, keyed, call):
    hear(desk, 1)
    hash_all(desk)
    hear(desk, 2)
    before = [desk.table(f"SELECT * FROM sms.{table}") for table in TABLES]

    with pytest.raises(ConfigurationError, match="key was not given"):
        call(keyed(None))
    with pytest.raises(StopListUnsafe, match=r"another key.* in use since 2029-07-15"):
        call(keyed(OTHER))

    assert [desk.table(f"SELECT * FROM sms.{table}") for table in TABLES] == before


def test_hashes_without_a_known_key_stop_everything(desk):
    hear(desk, 1)
    hash_all(desk)
    with desk.ledger.engine.begin() as db:  # the list was restored, and nothing else
        db.execute(text("SET LOCAL session_replication_role = replica"))
        db.execute(text("DELETE FROM sms.stop_list_key"))

    for call in (CALLS["asking"], CALLS["trusting"], CALLS["hearing"]):
        with pytest.raises(StopListUnsafe, match="restore that table from the same backup"):
            call(desk.ledger)


def test_no_key_is_needed_before_the_first_hash(office):
    hear(office, 1)
    office.ledger.stop_list.import_list(listed((2, JULY)), named="crm", file="crm.csv")
    office.ledger.stop_list.remove(FIRST + 2, reason="asked for messages again")
    office.ledger.people.forget(FIRST)

    assert found(office.ledger, 1, 2) == [1]
    assert office.ledger.stop_list.count_hashed() == 0
    with pytest.raises(ConfigurationError, match="key was not given"):
        office.ledger.stop_list.hash_old(JULY, after=0, most=9)


def test_a_number_hashed_during_the_first_lookup_is_found(desk, keyed, monkeypatch):
    hear(desk, 1)
    pass_by(desk, YEARS + DAY)
    asking = keyed()
    known = hashed_numbers.key_in_use
    answers = []

    def hashed_right_then(tx):
        answer = known(tx)
        answers.append(answer)
        if len(answers) == 1:  # the others are asked by this very hashing, and after it
            assert (
                desk.ledger.stop_list.hash_old(desk.hand.at - YEARS, after=0, most=9).numbers == 1
            )
        return answer

    monkeypatch.setattr(hashed_numbers, "key_in_use", hashed_right_then)

    assert found(asking, 1) == [1]
    assert answers[0] is None


def test_concurrent_hashing_and_loading_keep_one_row_per_number(desk, keyed):
    numbers = range(300)
    hear(desk, *numbers)
    pass_by(desk, YEARS + DAY)
    start = threading.Barrier(4)

    def hash_them() -> None:
        ledger, after = keyed(), 0
        start.wait()
        while after is not None:
            after = ledger.stop_list.hash_old(desk.hand.at - YEARS, after=after, most=10).last

    def hear_them() -> None:
        ledger = keyed()
        start.wait()
        for begin in range(0, 300, 30):
            ledger.stop_list.add(
                stops(*range(begin, begin + 30)), source="stop_report", stem="SEND-x", report=STOPS
            )

    def ask() -> None:
        ledger = keyed()
        start.wait()
        for _ in range(20):
            assert found(ledger, *numbers, 999) == list(numbers)

    with ThreadPoolExecutor(4) as pool:
        for task in [pool.submit(each) for each in (hash_them, hear_them, ask, ask)]:
            task.result(timeout=120)

    assert desk.ledger.stop_list.size() == 300 == desk.ledger.stop_list.count_hashed()


CHANGES = {
    "growing old": lambda tx, desk: hashed_numbers.hash_old(
        tx, desk.hand.at - YEARS, after=0, most=9
    ),
    "being forgotten": lambda tx, desk: erasure.forget(tx, FIRST + 1, hashed=True),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_load_during_hashing_waits_and_adds_no_duplicate(desk, keyed, change):
    hear(desk, 1)
    desk.ledger.stop_list.hash_old(JULY, after=0, most=9)
    pass_by(desk, YEARS + DAY)
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")

    with ThreadPoolExecutor(1) as pool:
        with desk.ledger._database.transaction() as tx:
            change(tx, desk)
            loading = pool.submit(
                keyed().stop_list.add, stops(1), source="stop_report", report=STOPS
            )

            def it_waits() -> bool:
                assert not loading.done(), "it did not wait"
                return bool(tx.db.scalar(waiting))

            wait_until(it_waits, "a load that waits", timeout=120)
        assert loading.result(timeout=120) == 0

    assert desk.ledger.stop_list.size() == 1 == desk.ledger.stop_list.count_hashed()


def test_a_number_beside_its_own_hash_blocks_nothing(desk):
    hear(desk, 1, 2)
    hash_all(desk)
    with desk.ledger.engine.begin() as db:  # a row of a restored backup
        db.execute(
            text(
                "INSERT INTO sms.opt_out (msisdn, opted_out_at, source, recorded_at) "
                f"VALUES ({FIRST + 1}, '2020-01-01', 'import', '2020-01-01')"
            )
        )

    assert hash_all(desk) == 0

    assert plain(desk)["opt_out"] == [1]
    assert found(desk.ledger, 1, 2) == [1, 2]
    forgotten = desk.ledger.people.forget(FIRST + 1, hashed=True)
    assert (forgotten.opted_out, forgotten.hashed) == (True, False)
    desk.ledger.stop_list.remove(FIRST + 1, reason="asked for messages again")
    assert found(desk.ledger, 1, 2) == [2]


def test_an_import_after_a_partial_restore_allows_hashing(desk):
    daily = listed((1, JULY))
    desk.ledger.stop_list.import_list(daily, named="crm", file="crm.csv")
    kept = desk.table("SELECT msisdn, opted_out_at, recorded_at FROM sms.opt_out")
    hash_all(desk)
    with desk.ledger.engine.begin() as db:  # the stop list alone, as it was before it was hashed
        db.execute(text("SET LOCAL session_replication_role = replica"))
        db.execute(text("DELETE FROM sms.opt_out"))
        entered = "INSERT INTO sms.opt_out (msisdn, opted_out_at, source, recorded_at) VALUES "
        db.execute(
            text(f"{entered} (:a, :b, 'import', :c)"), dict(zip("abc", kept[0], strict=True))
        )

    desk.ledger.stop_list.import_list(daily, named="crm", file="crm.csv")

    assert hash_all(desk) == 0
    assert not desk.ledger.people.forget(FIRST + 1, hashed=True).hashed
    assert found(desk.ledger, 1) == [1]


def test_an_opt_out_during_the_check_is_no_loss(desk, monkeypatch):
    hear(desk, 1)
    known = hashed_numbers.key_in_use

    def heard_right_then(tx):
        monkeypatch.setattr(hashed_numbers, "key_in_use", known)
        hear(desk, 2)
        return known(tx)

    monkeypatch.setattr(hashed_numbers, "key_in_use", heard_right_then)

    assert desk.ledger.stop_list.require_safe() == 1
    assert desk.ledger.stop_list.require_safe() == 2


def test_database_statistics_hold_no_hashed_number(desk):
    hear(desk, *range(200))
    desk.ledger.stop_list.renew_statistics()
    sampled = (
        "SELECT histogram_bounds::text FROM pg_stats "
        "WHERE tablename = 'opt_out' AND attname = 'msisdn'"
    )
    assert str(FIRST)[:-3] in desk.table(sampled)[0][0]
    assert hash_all(desk) == 200

    desk.ledger.stop_list.renew_statistics()

    assert str(FIRST)[:-3] not in desk.table(sampled)[0][0]


REFUSED = {
    "another number": "UPDATE sms.opt_out SET msisdn = msisdn + 1 WHERE msisdn > 0",
    "a hash of nobody": "UPDATE sms.opt_out SET msisdn = msisdn + 1 WHERE msisdn < 0",
    "a number again": f"UPDATE sms.opt_out SET msisdn = {FIRST} WHERE msisdn < 0",
    "somebody's removal": "UPDATE sms.removal SET msisdn = msisdn + 1",
    "another reason": "UPDATE sms.removal SET msisdn = -1, reason = 'none'",
    "another list": "UPDATE sms.imported SET msisdn = -1, list = 'none'",
    "somebody's import": "UPDATE sms.imported SET msisdn = msisdn + 1",
    "no import": "DELETE FROM sms.imported",
    "no opt-out": "DELETE FROM sms.opt_out WHERE msisdn < 0",
    "another key": "UPDATE sms.stop_list_key SET fingerprint = 'x'",
    "no key": "DELETE FROM sms.stop_list_key",
}


@pytest.mark.parametrize("statement", REFUSED.values(), ids=REFUSED.keys())
def test_the_database_refuses_to_lose_a_hash(desk, statement):
    hear(desk, 1)
    hash_all(desk)
    hear(desk, 2, 3, hour="1605")
    desk.ledger.stop_list.import_list(listed((4, JULY)), named="crm", file="crm.csv")
    desk.ledger.stop_list.remove(FIRST + 2, reason="asked for messages again")

    with pytest.raises(LedgerError, match="refused"), desk.ledger._database.transaction() as tx:
        assert tx.db.execute(text(statement)).rowcount


def test_only_one_key_exists(desk):
    hear(desk, 1)
    hash_all(desk)

    with (
        pytest.raises(LedgerError, match="stop_list_key_is_one"),
        desk.ledger._database.transaction() as tx,
    ):
        tx.db.execute(text("INSERT INTO sms.stop_list_key VALUES ('x', now())"))
