"""Old numbers of the stop list as pseudonyms: found by who asks with the key, read by nobody.

A person has one name in `opt_out`, `imported` and `removal`: the number, and from some day on its
pseudonym. All three change in one transaction, at the lock where removals and loads wait, and
whatever is entered later is entered under the name by which its person is known.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
from sqlalchemy import exists, func, insert, select, text

from sms.errors import StopListUnsafe
from sms.ledger import holding
from sms.ledger.copying import copy_rows, numbers_out
from sms.ledger.database import Transaction
from sms.ledger.records import Hashed
from sms.ledger.tables import opt_out, stop_list_key
from sms.pseudonyms import Key

NAMES = pa.schema(
    [
        pa.field("msisdn", pa.int64(), nullable=False),
        pa.field("pseudonym", pa.int64(), nullable=False),
    ]
)
MAKE_ROOM = "CREATE TEMP TABLE IF NOT EXISTS named (msisdn bigint, pseudonym bigint) ON COMMIT DROP"

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
    for table in ("opt_out", "removal")
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
STAND_IN = """
UPDATE pg_temp.leaving l SET msisdn = n.pseudonym FROM pg_temp.named n
WHERE l.msisdn = n.msisdn AND n.pseudonym IN (
    SELECT msisdn FROM sms.opt_out WHERE msisdn < 0
    UNION ALL
    SELECT msisdn FROM sms.removal WHERE msisdn < 0)
"""


def key_in_use(tx: Transaction) -> Key | None:
    """The key of the stop list's pseudonyms, or None while there are none.

    ConfigurationError where this process has no key, StopListUnsafe where it has another one, or
    nobody can know which it was.
    """
    used = tx.db.execute(select(stop_list_key.c.fingerprint, stop_list_key.c.used_since)).first()
    if used is None:
        if tx.db.scalar(select(exists().where(opt_out.c.msisdn < 0))):
            raise StopListUnsafe(
                "the stop list holds hashes, and sms.stop_list_key doesn't say of which key, so "
                "nobody in it could be found: restore that table from the same backup"
            )
        return None
    key = tx.key()
    if key.fingerprint != used.fingerprint:
        raise StopListUnsafe(
            "the stop list is kept as hashes of another key than the one given, so nobody in it "
            f"could be found: give the key that is in use since {used.used_since:%Y-%m-%d}"
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


def hash_old(tx: Transaction, before: datetime, after: int, most: int) -> Hashed:
    """Hash up to so many numbers beyond `after` of which nothing was heard since `before`.

    Whether there are any or not, it asks for the key: one that lacks is told on the first night.
    """
    holding.hold(tx)
    key = key_in_use(tx) or tx.key()
    found = tx.db.execute(OLD, {"before": before, "after": after, "most": most}).all()
    silent = [row.msisdn for row in found if row.silent]
    return Hashed(
        numbers=_hash(tx, key, silent) if silent else 0,
        last=max((row.msisdn for row in found), default=None),
    )


def hash_one(tx: Transaction, msisdn: int) -> None:
    """Hash a person's number in the stop list and its traces, if it is there.

    The caller holds the lock.
    """
    if tx.db.execute(IS_HERE, {"msisdn": msisdn}).scalar_one():
        _hash(tx, key_in_use(tx) or tx.key(), [msisdn])


def count(tx: Transaction) -> int:
    """How many of the stop list's numbers are pseudonyms."""
    return tx.db.execute(
        select(func.count()).select_from(opt_out).where(opt_out.c.msisdn < 0)
    ).scalar_one()


def _hash(tx: Transaction, key: Key, msisdns: Sequence[int]) -> int:
    """Let these people be known by their pseudonyms alone; how many these are."""
    if key_in_use(tx) is None:  # the first key is the one, for ever
        tx.db.execute(insert(stop_list_key).values(fingerprint=key.fingerprint, used_since=tx.now))
    _name(tx, key, np.array(msisdns, np.int64))
    for statement in (*LEAVE_TWINS, *RENAME):
        tx.db.execute(text(statement))
    hashed = tx.db.execute(text("SELECT count(*) FROM pg_temp.named")).scalar_one()
    tx.record(detail={"hashed": hashed})
    return int(hashed)


def _name(tx: Transaction, key: Key, msisdns: np.ndarray) -> None:
    """Put numbers and their pseudonyms into `pg_temp.named`."""
    tx.db.execute(text(MAKE_ROOM))
    tx.db.execute(text("TRUNCATE named"))
    pairs = [pa.array(msisdns), pa.array(key.pseudonyms(msisdns))]
    copy_rows(tx, "pg_temp.named", NAMES, pa.Table.from_arrays(pairs, schema=NAMES))
    tx.db.execute(text("ANALYZE named"))
