"""The ledger's database: transactions, schema upgrades, and its errors as our own."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors as refusals
from sqlalchemy import URL, Connection, Engine, func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSchema

from sms.errors import LedgerBusy, LedgerError, LedgerReadOnly, LedgerUnreachable
from sms.ledger.pseudonyms import Key
from sms.ledger.states import State
from sms.ledger.tables import SCHEMA, VERSION, event

if TYPE_CHECKING:
    from alembic.config import Config

UPGRADE_LOCK = 0x534D53  # "SMS": the advisory lock of upgrades
VERSIONS = "alembic_version"  # the table in which Alembic keeps the schema's version

# PostgreSQL, *Error Codes*. The connection failed or was ended (08, 57P; 25P03: idle too long), no
# connection is free (53300), or another session was in the way (40, 55P03): a retry may succeed.
AWAY = ("08", "57P", "25P03", "53300", "40", "55P03")
# No disk space, no memory, a timeout, a disk's error: perhaps for this statement only, for a while.
STRAINED = ("53", "57", "58")

_current_at: WeakKeyDictionary[Engine, float] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction, with the time and the actor of its events.

    `key` is called only if the stop list is kept as hashes.
    """

    db: Connection
    now: datetime
    actor: str
    key: Callable[[], Key]
    clock: Callable[[], datetime]
    moves: list[tuple[str, State]] = field(default_factory=list)  # for `on_move`, after the commit

    def at_this_moment(self) -> "Transaction":
        """The same transaction with the present time, after it has waited for a lock."""
        return replace(self, now=self.clock())

    @property
    def driver(self) -> psycopg.Connection[Any]:
        """The driver's connection of this transaction."""
        connection: psycopg.Connection[Any] = self.db.connection.driver_connection  # type: ignore[assignment]
        return connection

    @property
    def cursor(self) -> psycopg.Cursor[Any]:
        """A cursor of the driver inside this transaction, for COPY."""
        return self.driver.cursor()

    def record(
        self,
        *,
        submission_id: int | None = None,
        run_key: str | None = None,
        from_state: str | None = None,
        to_state: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Add an event; `detail` holds counts and file names, never phone numbers or texts."""
        self.db.execute(
            insert(event).values(
                submission_id=submission_id,
                run_key=run_key,
                at=self.now,
                actor=self.actor,
                from_state=from_state,
                to_state=to_state,
                detail=dict(detail) if detail else None,
            )
        )


@dataclass(frozen=True, slots=True)
class Database:
    """Opens the ledger's transactions.

    `on_move` is called after the commit, with the stem and the new state of each moved submission.
    """

    engine: Engine
    clock: Callable[[], datetime]
    actor: str
    key: Callable[[], Key]
    on_move: Callable[[str, State], None]

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction that commits at its end; database errors become LedgerErrors."""
        return self._open(self.engine)

    def snapshot(self) -> AbstractContextManager[Transaction]:
        """A transaction whose statements all see the same snapshot."""
        return self._open(self.engine.execution_options(isolation_level="REPEATABLE READ"))

    @contextmanager
    def _open(self, engine: Engine) -> Iterator[Transaction]:
        try:
            with engine.begin() as db:
                tx = Transaction(db, self.clock(), self.actor, self.key, self.clock)
                try:
                    yield tx
                except (DBAPIError, psycopg.Error):
                    db.invalidate()  # after a failover the next transaction needs another server
                    raise
        except (DBAPIError, psycopg.Error) as error:
            # Not `from error`: PostgreSQL's details quote whole rows, with numbers and texts.
            raise in_our_words(error, engine.url) from None
        for stem, state in tx.moves:
            self.on_move(stem, state)


def in_our_words(error: DBAPIError | psycopg.Error, url: URL) -> LedgerError:
    """A database error as a LedgerError with a remedy, and without the content of rows."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    where = f"the ledger {url.database!r} at {url.host or url.query.get('host', 'localhost')}"
    if cause and _is_away(cause):
        return LedgerUnreachable(f"{where} did not answer: {_first_line(cause)}")
    if isinstance(cause, refusals.ReadOnlySqlTransaction):
        return LedgerReadOnly(
            f"{where} is read-only: it is a standby, or default_transaction_read_only is on. A "
            "failover may be in progress, so the task is tried again; if that continues, point the "
            "connection to the primary server, or make this one writable"
        )
    if isinstance(cause, psycopg.OperationalError):
        refused = LedgerBusy if _is(cause, STRAINED) else LedgerError
        return refused(f"{where} refused: {type(cause).__name__} ({cause.sqlstate})")
    if isinstance(
        cause,
        refusals.UndefinedTable | refusals.UndefinedColumn | refusals.InvalidSchemaName,
    ):
        return LedgerError(f"{where} lacks the tables of this version: upgrade it")
    if isinstance(cause, psycopg.DataError):
        return LedgerError(f"{where} was given a value it can't hold ({cause.sqlstate})")
    if isinstance(cause, psycopg.Error) and cause.diag.message_primary:
        return LedgerError(f"{where} refused: {cause.diag.message_primary}")
    return LedgerError(f"{where} failed: {type(cause).__name__}")


def _is_away(cause: BaseException) -> bool:
    """Whether the connection failed, not the statement: both are psycopg's OperationalError."""
    if isinstance(cause, psycopg.OperationalError | psycopg.InternalError):
        return cause.sqlstate is None or _is(cause, AWAY)
    return isinstance(cause, psycopg.InterfaceError)


def _is(cause: psycopg.Error, conditions: tuple[str, ...]) -> bool:
    return (cause.sqlstate or "").startswith(conditions)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def upgrade(engine: Engine) -> None:
    """Upgrade the schema to this version; of several processes at once, one does it."""
    from alembic import command  # imported here, as it takes a quarter of a second

    try:
        with engine.begin() as db:
            db.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
            # `IF NOT EXISTS` would need the right to create schemas even if the schema exists.
            if db.scalar(text("SELECT to_regnamespace(:name)"), {"name": SCHEMA}) is None:
                db.execute(CreateSchema(SCHEMA))
            config = _alembic()
            config.attributes["connection"] = db
            command.upgrade(config, "head")
    except (DBAPIError, psycopg.Error) as error:
        raise in_our_words(error, engine.url) from error


def require_current(engine: Engine, *, trusted_for: float = 0.0) -> None:
    """Raise LedgerError unless the schema has exactly this version.

    A check that succeeded within the last `trusted_for` seconds is not repeated.
    """
    begun = time.monotonic()
    if begun - _current_at.get(engine, -math.inf) < trusted_for:
        return
    try:
        with engine.connect() as db:
            known = db.scalar(text("SELECT to_regclass(:name)"), {"name": f"{SCHEMA}.{VERSIONS}"})
            present = known and db.scalar(text(f"SELECT version_num FROM {known}"))
    except (DBAPIError, psycopg.Error) as error:
        raise in_our_words(error, engine.url) from error
    if present != VERSION:
        raise LedgerError(
            f"the ledger {engine.url.database!r} has the schema version {present or 'none'}, this "
            f"program needs {VERSION}: upgrade the ledger, and run the same version everywhere"
        )
    _current_at[engine] = begun


def _alembic() -> "Config":
    from alembic.config import Config

    config = Config()
    migrations = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", migrations.replace("%", "%%"))
    return config
