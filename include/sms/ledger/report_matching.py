"""Matching of a delivery report's rows with messages; the last row of a message counts (R30).

A file's messages are held as columns, some 40 bytes each, and each portion of the report is looked
up in them. The database could join the two tables only after the last row has arrived, and show
only then which rows match no message.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from sms.columnar.text import Flags, Ints, distinct
from sms.ledger import idremotes
from sms.ledger.idremotes import Keys, Words

# A message as the query packs it: the 16 bytes of its IDREMOTE, and its number.
MESSAGE = np.dtype([("high", ">u8"), ("low", ">u8"), ("msisdn", ">i8")])

UNREADABLE = 0  # the number of a row with an unreadable MSISDN
NO_CODE = -1  # the IDSTATUS of a row whose IDSTATUS is no number
CODES = 1 << 16  # more than there are codes
NOWHERE = -1  # the place of a row without a message
UNTOLD = -1  # the line of a message without a row
EARLIER = -2  # the line of a message with the outcome of an earlier report


class MessageGroup(NamedTuple):
    """The columns by which messages are counted."""

    country: str
    variant: str | None
    segments: int


class StatusCount(NamedTuple):
    """The number of messages of a kind whose last row has this IDSTATUS (None: no number)."""

    kind: MessageGroup
    idstatus: int | None
    messages: int


class Messages:
    """A file's messages in the order of their keys; a place is an index into them."""

    def __init__(self, kinds: Iterable[tuple[MessageGroup, bytes]]) -> None:
        """`kinds` are portions of messages packed as MESSAGE, each of one kind."""
        numbers: dict[MessageGroup, int] = {}
        parts = [_unpacked(numbers.setdefault(kind, len(numbers)), each) for kind, each in kinds]
        high, low, msisdn, kind = map(np.concatenate, zip(_NONE, *parts, strict=True))
        order = np.argsort(high)
        if (high[order[1:]] == high[order[:-1]]).any():  # practically never, as keys are digests
            order = np.lexsort((low, high))
        self._kinds = list(numbers)
        self._high, self._low, self._msisdn, self._kind = (
            column[order] for column in (high, low, msisdn, kind)
        )
        self._line = np.full(len(order), UNTOLD, np.int64)
        self._idstatus = np.full(len(order), NO_CODE, np.int16)

    def __len__(self) -> int:
        return len(self._high)

    def keys(self, places: Ints) -> Keys:
        """The keys of the messages at some places."""
        return idremotes.of_words(Words(self._high[places], self._low[places]))

    def find(self, keys: Words, msisdns: Ints) -> Ints:
        """The place of each row's message, by key, and by number if the row's is readable.

        It is fastest if the keys are sorted.
        """
        if not len(self):
            return np.full(len(msisdns), NOWHERE)
        place = np.searchsorted(self._high, keys.high)
        place[place == len(self)] = 0
        # Among messages with equal first halves, find the second half by bisection.
        unsure = np.flatnonzero((self._high[place] == keys.high) & (self._low[place] < keys.low))
        place[unsure] = self._bisect(place[unsure], keys.of(unsure))
        found = (self._high[place] == keys.high) & (self._low[place] == keys.low)
        found &= (msisdns == UNREADABLE) | (self._msisdn[place] == msisdns)
        return np.where(found, place, NOWHERE)

    def _bisect(self, since: Ints, keys: Words) -> Ints:
        upto = np.searchsorted(self._high, keys.high, side="right")
        last = upto - 1
        while (since < upto).any():
            middle = (since + upto) // 2
            less = (since < upto) & (self._low[np.minimum(middle, last)] < keys.low)
            since, upto = np.where(less, middle + 1, since), np.where(less, upto, middle)
        return np.minimum(since, last)

    def find_by_number(self, msisdns: Ints) -> Ints:
        """The place of the message to each number; NOWHERE if there is none, or several."""
        wanted = distinct(msisdns[msisdns != UNREADABLE])
        if not len(wanted):
            return np.full(len(msisdns), NOWHERE)
        at = np.minimum(np.searchsorted(wanted, self._msisdn), len(wanted) - 1)
        places = np.flatnonzero(wanted[at] == self._msisdn)
        numbers, first, count = np.unique(
            self._msisdn[places], return_index=True, return_counts=True
        )
        numbers, only = numbers[count == 1], places[first[count == 1]]
        if not len(numbers):
            return np.full(len(msisdns), NOWHERE)
        at = np.minimum(np.searchsorted(numbers, msisdns), len(numbers) - 1)
        return np.where(numbers[at] == msisdns, only[at], NOWHERE)

    def record(self, places: Ints, lines: Ints, idstatus: Ints) -> tuple[Flags, Ints]:
        """Record the rows of the messages at these places.

        Returns which rows are the last so far of their message, and the places whose row of an
        earlier call they replace.
        """
        before = self._line[places]
        np.maximum.at(self._line, places, lines)
        last: Flags = self._line[places] == lines
        self._idstatus[places[last]] = idstatus[last]
        return last, places[last & (before != UNTOLD)]

    def keep(self, keys: Keys, idstatus: int) -> None:
        """Record an earlier report's IDSTATUS for the messages of some keys."""
        words = idremotes.words(keys)
        places = self.find(words, np.full(len(keys), UNREADABLE))
        places = places[places != NOWHERE]
        self._line[places] = EARLIER
        self._idstatus[places] = idstatus

    def by_status(self) -> list[StatusCount]:
        """The counts of messages by kind and IDSTATUS, without messages that have no row."""
        with_row = np.flatnonzero(self._line != UNTOLD)
        codes = self._idstatus[with_row].astype(np.int64) - NO_CODE
        found, counts = np.unique(
            self._kind[with_row] * np.int64(CODES) + codes, return_counts=True
        )
        return [
            StatusCount(self._kinds[both // CODES], _code(both % CODES), count)
            for both, count in zip(found.tolist(), counts.tolist(), strict=True)
        ]


def _unpacked(kind: int, packed: bytes) -> tuple[np.ndarray, ...]:
    rows = np.frombuffer(packed, MESSAGE)
    return (
        rows["high"].astype(np.uint64),
        rows["low"].astype(np.uint64),
        rows["msisdn"].astype(np.int64),
        np.full(len(rows), kind, np.int32),
    )


_NONE = _unpacked(0, b"")


def _code(above: int) -> int | None:
    code = above + NO_CODE
    return None if code == NO_CODE else code
