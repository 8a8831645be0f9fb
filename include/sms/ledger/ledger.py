"""The class Ledger: connection, schema, a file's turn, and a wing for each subject.

`wings` lists the operations; the other modules of the package implement them.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Engine

import sms.clock
from sms.errors import ConfigurationError, LedgerError
from sms.ledger import database, engines, turn
from sms.ledger.database import Database
from sms.ledger.pseudonyms import Key
from sms.ledger.states import State
from sms.ledger.turn import Turn
from sms.ledger.wings import People, Reports, Runs, StopList, Submissions

log = logging.getLogger(__name__)


def no_key() -> Key:
    """The default for `key`: raises ConfigurationError."""
    raise ConfigurationError("the stop list is kept as hashes, and their key was not given")


class Ledger:
    """The ledger; `actor` is recorded with each event that this object writes.

    `on_move` is called with the ledger, the stem and the new state after the commit of each move,
    by the one caller that made the move: at most once for each.
    `key` is called if the stop list is kept as hashes.
    Every call may raise LedgerUnreachable (try again: every call may be repeated), or LedgerError.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime] = sms.clock.now,
        actor: str = "",
        on_move: Callable[["Ledger", str, State], None] = lambda ledger, stem, state: None,
        key: Callable[[], Key] = no_key,
    ) -> None:
        self.engine = engine
        self._on_move = on_move
        self._database = Database(engine, clock, actor, key, self._tell)
        self.runs = Runs(self._database)
        self.submissions = Submissions(self._database)
        self.stop_list = StopList(self._database)
        self.reports = Reports(self._database)
        self.people = People(self._database)

    @classmethod
    def connect(cls, url: str, **how: Any) -> Self:
        """The ledger at a PostgreSQL URL, on this process's engine. Raises ConfigurationError."""
        return cls(engines.shared_engine(url), **how)

    def upgrade(self) -> None:
        """Upgrade the schema to this version; several processes may call it at once."""
        database.upgrade(self.engine)

    def require_current(self, *, trusted_for: float = 0.0) -> None:
        """Raise LedgerError unless the schema has this version; LedgerUnreachable without answer.

        A check that succeeded in this process in the last `trusted_for` seconds is not repeated.
        """
        database.require_current(self.engine, trusted_for=trusted_for)

    def now(self) -> datetime:
        """The time by this ledger's clock."""
        return self._database.clock()

    @contextmanager
    def turn(self, *, alone: bool) -> Iterator[Turn]:
        """A block for the last check of a file and its rename: no opt-out is entered in it.

        With `alone` no other file leaves in it either. Raises LedgerBusy if the turn can't begin
        within some seconds.
        """
        over = False
        try:
            with self._database.transaction() as tx:
                yield turn.take(tx, alone=alone)
                over = True
        except LedgerError as error:
            if not over:
                raise
            # The turn writes nothing, and its checks were repeated before the rename.
            log.warning("the ledger ended a turn before its rename was answered: %s", error)

    def _tell(self, stem: str, state: State) -> None:
        self._on_move(self, stem, state)
