"""Old numbers of the stop list as pseudonyms, which are found with the key and can't be read.

A person has the same name in `opt_out`, `imported` and `removal`: the number, or later its
pseudonym. All three tables change in one transaction, under the lock of removals and loads. Later
rows are entered under the person's present name.
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

# One statement, so that both are of the same snapshot.
USED = text(
    """
    SELECT k.fingerprint, k.used_since,
        EXISTS (SELECT FROM sms.opt_out WHERE msisdn < 0) AS has_hashes
    FROM (SELECT) AS always LEFT JOIN sms.stop_list_key k ON true
    """
)
# A number of another tool's list is, or was, in the stop list. A number stays readable while a
# newer row has it, or a message or a reply: runs count late STOPs by it.
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
# If a number and its pseudonym are both in a table, the number stays: one of the two would have to
# be deleted. Only a manual change or a backup can cause that.
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
# An index scan in the order of the numbers, whatever the statistics, so that a portion reads no
# whole table.
IN_ORDER = {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"}
PATIENCE = "SET LOCAL lock_timeout = '5s'"  # a session that waits for this lock delays every STOP

STAND_IN = """
UPDATE pg_temp.leaving l SET msisdn = n.pseudonym FROM pg_temp.named n
WHERE l.msisdn = n.msisdn
    AND (EXISTS (SELECT FROM sms.opt_out o WHERE o.msisdn = n.pseudonym)
        OR EXISTS (SELECT FROM sms.removal r WHERE r.msisdn = n.pseudonym))
"""


def key_in_use(tx: Transaction) -> Key | None:
    """The key of the stop list's pseudonyms; None while there are none.

    Raises ConfigurationError if this process has no key, StopListUnsafe if it has another one, or
    if the ledger has lost the key's fingerprint.
    """
    used = tx.db.execute(USED).one()
    if used.fingerprint is None:
        if used.has_hashes:
            raise StopListUnsafe(
                "the stop list has hashes, but sms.stop_list_key has no key, so their numbers "
                "can't be found: restore that table from the same backup"
            )
        return None
    key = tx.key()
    if key.fingerprint != used.fingerprint:
        since = used.used_since.astimezone(UTC)
        raise StopListUnsafe(
            "the stop list has hashes of another key than the given one, so their numbers can't be "
            f"found: give the key that is in use since {since:%Y-%m-%d}"
        )
    return key


def names(tx: Transaction, msisdn: int) -> list[int]:
    """The names of a person in the stop list: the number, and its pseudonym if there is a key."""
    key = key_in_use(tx)
    return [msisdn, *(key.pseudonyms(np.array([msisdn])).tolist() if key else [])]


def stand_in(tx: Transaction) -> None:
    """Replace numbers in `pg_temp.leaving` by their pseudonyms if the stop list has those."""
    key = key_in_use(tx)
    if key:
        _name(tx, key, numbers_out(tx, "SELECT DISTINCT msisdn FROM pg_temp.leaving"))
        tx.db.execute(text(STAND_IN))


def hash_old(tx: Transaction, before: datetime, *, after: int, most: int) -> Hashed:
    """Hash at most `most` of the stop list's numbers that are older than `before`.

    It goes in the order of the numbers, from `after` on. From the first call on the ledger needs
    this key for ever, even if no number was hashed. Raises LedgerUnreachable during a long import:
    try again.
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
    """The key in use. Raises LedgerError while there is none."""
    key = key_in_use(tx)
    if key is None:
        raise LedgerError(
            "the stop list is to be kept as hashes, but its key is not in use yet: nothing was "
            f"changed. The task {Housekeeping.EXPIRE_PERSONAL_DATA} of the DAG {Dag.HOUSEKEEPING} "
            "takes the key of Airflow's connection into use; do this again afterwards"
        )
    return key


def hash_one(tx: Transaction, msisdn: int) -> bool:
    """Hash a number in the stop list and its removals; whether there was anything to hash.

    The caller holds the lock.
    """
    hashed = has_number(tx, msisdn) and bool(_hash(tx, require_key(tx), [msisdn]))
    if hashed:
        renew_statistics(tx)
    return hashed


def has_number(tx: Transaction, msisdn: int) -> bool:
    """Whether the stop list or its removals have the number itself."""
    return bool(tx.db.execute(IS_HERE, {"msisdn": msisdn}).scalar_one())


def renew_statistics(tx: Transaction) -> None:
    """Renew the statistics, which quote hashed numbers; without the right the server only warns."""
    for table in TABLES:
        tx.db.execute(text(f"ANALYZE sms.{table}"))


def count(tx: Transaction) -> int:
    """How many numbers of the stop list are kept as hashes."""
    return tx.db.execute(
        select(func.count()).select_from(opt_out).where(opt_out.c.msisdn < 0)
    ).scalar_one()


def _put_to_use(tx: Transaction) -> Key:
    """Record the fingerprint of the first key, which is then the only one."""
    key = tx.key()
    tx.db.execute(insert(stop_list_key).values(fingerprint=key.fingerprint, used_since=tx.now))
    return key


def _hash(tx: Transaction, key: Key, msisdns: Sequence[int]) -> int:
    """Replace numbers by their pseudonyms in all tables, and return how many were replaced."""
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
