"""The door to the ledger: its connection, its schema, a file's turn, and a wing for each subject.

`wings` lists what may be changed and asked; the modules beside do the work.
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
    """What is asked for a key where nobody gave one."""
    raise ConfigurationError("the stop list is kept as hashes, and their key was not given")


class Ledger:
    """Our memory; `actor` signs every event that this one writes.

    `heard` is called for every move of a file, after its commit: with the ledger, the stem, the
    state. By the one caller whose move it was, so for each move once at most.
    `key` is asked for where the stop list is kept as hashes.
    Every call may raise LedgerUnreachable (try again: each may be repeated), or LedgerError.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime] = sms.clock.now,
        actor: str = "",
        heard: Callable[["Ledger", str, State], None] = lambda ledger, stem, state: None,
        key: Callable[[], Key] = no_key,
    ) -> None:
        self.engine = engine
        self._heard = heard
        self._database = Database(engine, clock, actor, key, self._tell)
        self.runs = Runs(self._database)
        self.submissions = Submissions(self._database)
        self.stop_list = StopList(self._database)
        self.reports = Reports(self._database)
        self.people = People(self._database)

    @classmethod
    def connect(cls, url: str, **how: Any) -> Self:
        """The ledger at any PostgreSQL URL, by this process's engine; else ConfigurationError."""
        return cls(engines.shared_engine(url), **how)

    def upgrade(self) -> None:
        """Bring the schema to this version; safe to call from several processes at once."""
        database.upgrade(self.engine)

    def require_current(self, *, trusted_for: float = 0.0) -> None:
        """LedgerError unless the schema is this version's; LedgerUnreachable without an answer.

        `trusted_for`: an answer of this process that is at most so many seconds old will do.
        """
        database.require_current(self.engine, trusted_for=trusted_for)

    def now(self) -> datetime:
        """The time by this ledger's clock."""
        return self._database.clock()

    @contextmanager
    def turn(self, *, alone: bool) -> Iterator[Turn]:
        """The time of a last look and its rename, in which nothing enters the stop list.

        `alone`: and no other file leaves. LedgerBusy if that doesn't come within some seconds.
        """
        over = False
        try:
            with self._database.transaction() as tx:
                yield turn.take(tx, alone=alone)
                over = True
        except LedgerError as error:
            if not over:
                raise
            # It wrote nothing, and what it looked at was asked for again before the rename.
            log.warning("the ledger ended a turn before its rename was answered: %s", error)

    def _tell(self, stem: str, state: State) -> None:
        self._heard(self, stem, state)
