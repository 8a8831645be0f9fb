"""Old numbers of the stop list as pseudonyms: found by who asks with the key, read by nobody.

A person has one name in `opt_out`, `imported` and `removal`: the number, and from some day on its
pseudonym. All three change in one transaction, at the lock where removals and loads wait, and
whatever is entered later is entered under the name by which its person is known.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from sqlalchemy import func, insert, select, text

from sms.errors import LedgerError, StopListUnsafe
from sms.ledger import locks
from sms.ledger.bulk_copy import copy_rows, numbers_out
from sms.ledger.database import Transaction
from sms.ledger.planner_settings import set_planner
from sms.ledger.pseudonyms import Key
from sms.ledger.records import Hashed
from sms.ledger.tables import opt_out, stop_list_key
from sms.remedies import Dag, Housekeeping

NAMES = pa.schema(
    [
        pa.field("msisdn", pa.int64(), nullable=False),
        pa.field("pseudonym", pa.int64(), nullable=False),
    ]
)
TABLES = ("opt_out", "imported", "removal")
MAKE_ROOM = "CREATE TEMP TABLE IF NOT EXISTS named (msisdn bigint, pseudonym bigint) ON COMMIT DROP"

# In one statement, as one moment saw both.
USED = text(
    """
    SELECT k.fingerprint, k.used_since,
        EXISTS (SELECT FROM sms.opt_out WHERE msisdn < 0) AS has_hashes
    FROM (SELECT) AS always LEFT JOIN sms.stop_list_key k ON true
    """
)
# Whoever is in a list of another tool is, or was, in the stop list. Nobody is hashed of whom
# anything newer is known, or whose number the ledger tells elsewhere: runs count late STOPs by it.
OLD = text(
    """
    SELECT msisdn, NOT (
        EXISTS (SELECT FROM sms.opt_out o
            WHERE o.msisdn = old.msisdn AND o.recorded_at >= :before)
        OR EXISTS (SELECT FROM sms.imported i
            WHERE i.msisdn = old.msisdn AND i.recorded_at >= :before)
        OR EXISTS (SELECT FROM sms.removal r
            WHERE r.msisdn = old.msisdn AND r.removed_at >= :before)
        OR EXISTS (SELECT FROM sms.message m WHERE m.msisdn = old.msisdn)
        OR EXISTS (SELECT FROM sms.reply a WHERE a.msisdn = old.msisdn)) AS silent
    FROM (
        (SELECT msisdn FROM sms.opt_out
        WHERE msisdn > :after AND recorded_at < :before ORDER BY msisdn LIMIT :most)
        UNION
        (SELECT msisdn FROM sms.removal
        WHERE msisdn > :after AND removed_at < :before ORDER BY msisdn LIMIT :most)
        ORDER BY msisdn LIMIT :most
    ) AS old
    """
)
IS_HERE = text(
    """
    SELECT EXISTS (SELECT FROM sms.opt_out WHERE msisdn = :msisdn)
        OR EXISTS (SELECT FROM sms.removal WHERE msisdn = :msisdn)
    """
)
# A number beside its own pseudonym stays, which only a hand or a backup can have put there: one of
# the two would have to be deleted.
LEAVE_TWINS = tuple(
    f"DELETE FROM pg_temp.named n USING sms.{table} t WHERE t.msisdn = n.pseudonym"
    for table in TABLES
)
RENAME = tuple(
    f"UPDATE sms.{table} t SET msisdn = n.pseudonym{words} "
    "FROM pg_temp.named n WHERE t.msisdn = n.msisdn"
    for table, words in (
        ("opt_out", ", message = NULL"),
        ("imported", ""),
        ("removal", ", message = NULL"),
    )
)
# In the order of the numbers whatever the statistics say, so that a portion reads no whole table.
IN_ORDER = {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"}
PATIENCE = "SET LOCAL lock_timeout = '5s'"  # whoever waits for this lock holds up every STOP

STAND_IN = """
UPDATE pg_temp.leaving l SET msisdn = n.pseudonym FROM pg_temp.named n
WHERE l.msisdn = n.msisdn
    AND (EXISTS (SELECT FROM sms.opt_out o WHERE o.msisdn = n.pseudonym)
        OR EXISTS (SELECT FROM sms.removal r WHERE r.msisdn = n.pseudonym))
"""


def key_in_use(tx: Transaction) -> Key | None:
    """The key of the stop list's pseudonyms, or None while there are none.

    ConfigurationError where this process has no key, StopListUnsafe where it has another one, or
    nobody can know which it was.
    """
    used = tx.db.execute(USED).one()
    if used.fingerprint is None:
        if used.has_hashes:
            raise StopListUnsafe(
                "the stop list holds hashes, and sms.stop_list_key doesn't say of which key, so "
                "nobody in it could be found: restore that table from the same backup"
            )
        return None
    key = tx.key()
    if key.fingerprint != used.fingerprint:
        since = used.used_since.astimezone(UTC)
        raise StopListUnsafe(
            "the stop list is kept as hashes of another key than the one given, so nobody in it "
            f"could be found: give the key that is in use since {since:%Y-%m-%d}"
        )
    return key


def names(tx: Transaction, msisdn: int) -> list[int]:
    """The names by which the stop list may know a person."""
    key = key_in_use(tx)
    return [msisdn, *(key.pseudonyms(np.array([msisdn])).tolist() if key else [])]


def stand_in(tx: Transaction) -> None:
    """Put pseudonyms into `pg_temp.leaving`, in place of the numbers that are known by them."""
    key = key_in_use(tx)
    if key:
        _name(tx, key, numbers_out(tx, "SELECT DISTINCT msisdn FROM pg_temp.leaving"))
        tx.db.execute(text(STAND_IN))


def hash_old(tx: Transaction, before: datetime, *, after: int, most: int) -> Hashed:
    """Hash at most so many of the stop list's numbers that are older than `before`.

    In the order of the numbers, beyond `after`. From the first call on the ledger needs this very
    key, whether a number was hashed or not. LedgerUnreachable while a long import goes on: try
    again.
    """
    tx.db.execute(text(PATIENCE))
    locks.hold(tx)
    key = key_in_use(tx) or _put_to_use(tx)
    with set_planner(tx, IN_ORDER):
        found = tx.db.execute(OLD, {"before": before, "after": after, "most": most}).all()
    silent = [row.msisdn for row in found if row.silent]
    return Hashed(
        numbers=_hash(tx, key, silent) if silent else 0,
        last=max((row.msisdn for row in found), default=None),
    )


def require_key(tx: Transaction) -> Key:
    """The key in use; LedgerError while there is none."""
    key = key_in_use(tx)
    if key is None:
        raise LedgerError(
            "the stop list is to be kept as hashes, and its key is not in use yet: nothing was "
            f"changed. The DAG {Dag.HOUSEKEEPING} takes the key of Airflow's connection into use "
            f"with its task {Housekeeping.EXPIRE_PERSONAL_DATA}; do this again afterwards"
        )
    return key


def hash_one(tx: Transaction, msisdn: int) -> bool:
    """Hash a person's number in the stop list and its traces; whether there was anything to hash.

    The caller holds the lock.
    """
    hashed = is_told(tx, msisdn) and bool(_hash(tx, require_key(tx), [msisdn]))
    if hashed:
        renew_statistics(tx)
    return hashed


def is_told(tx: Transaction, msisdn: int) -> bool:
    """Whether the stop list or its traces have the number itself."""
    return bool(tx.db.execute(IS_HERE, {"msisdn": msisdn}).scalar_one())


def renew_statistics(tx: Transaction) -> None:
    """Let the statistics forget the hashed numbers; without the right to, the server only warns."""
    for table in TABLES:
        tx.db.execute(text(f"ANALYZE sms.{table}"))


def count(tx: Transaction) -> int:
    """How many numbers of the stop list are kept as hashes."""
    return tx.db.execute(
        select(func.count()).select_from(opt_out).where(opt_out.c.msisdn < 0)
    ).scalar_one()


def _put_to_use(tx: Transaction) -> Key:
    """Write down the key: the first is the one, for ever."""
    key = tx.key()
    tx.db.execute(insert(stop_list_key).values(fingerprint=key.fingerprint, used_since=tx.now))
    return key


def _hash(tx: Transaction, key: Key, msisdns: Sequence[int]) -> int:
    """Let these people be known by their pseudonyms alone; how many these are."""
    _name(tx, key, np.array(msisdns, np.int64))
    for statement in (*LEAVE_TWINS, *RENAME):
        tx.db.execute(text(statement))
    hashed = int(tx.db.execute(text("SELECT count(*) FROM pg_temp.named")).scalar_one())
    if hashed:
        tx.record(detail={"hashed": hashed})
    return hashed


def _name(tx: Transaction, key: Key, msisdns: np.ndarray) -> None:
    """Put numbers and their pseudonyms into `pg_temp.named`."""
    tx.db.execute(text(MAKE_ROOM))
    tx.db.execute(text("TRUNCATE named"))
    pairs = [pa.array(msisdns), pa.array(key.pseudonyms(msisdns))]
    copy_rows(tx, "pg_temp.named", NAMES, pa.Table.from_arrays(pairs, schema=NAMES))
    tx.db.execute(text("ANALYZE named"))
