"""Numbers that nobody can read any more, and that can still be recognised by whoever has the key.

A pseudonym is a keyed hash (BLAKE2b, RFC 7693) of a number. Without the key it tells nothing; with
it, or by a hash without a key, all numbers of a country could be tried in minutes. It is a negative
int64, so it stands where a number stands and is never taken for one: 63 bits, of which a list of
ten million has one in 10^6 chances to hold the pseudonym of any of a million others.
"""

import re
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Self

import numpy as np

from sms.errors import ConfigurationError

SHORTEST = 32  # characters
PLAIN = re.compile(f"[A-Za-z0-9_-]{{{SHORTEST},}}")
BIG_ENDIAN = np.dtype(">i8")
SIGN = np.int64(np.iinfo(np.int64).min)
CHUNK = 65_536  # numbers whose digests are objects of Python at the same time

# Each use hashes otherwise, so that what is shown of the one tells nothing of the other.
OF_A_NUMBER = b"sms stop list"
OF_THE_KEY = b"sms fingerprint"


@dataclass(frozen=True, slots=True)
class Key:
    """A secret that makes pseudonyms; another one makes others, so it is for ever."""

    secret: bytes = field(repr=False)  # 64 bytes

    @classmethod
    def of(cls, written: str) -> Self:
        """The key that somebody keeps as text; ConfigurationError if it could be guessed.

        Of characters alone that mean the same in a URL, in JSON and in a shell.
        """
        secret = written.strip()
        if not secret:
            raise ConfigurationError("the stop list's key is empty: give the one that was made")
        if not PLAIN.fullmatch(secret):
            raise ConfigurationError(
                f"the stop list's key has {len(secret)} characters, and needs {SHORTEST} or more, "
                "each a letter, a digit, _ or -: is it the whole one? The runbook says how to make "
                "a first one"
            )
        return cls(blake2b(secret.encode()).digest())

    @property
    def fingerprint(self) -> bytes:
        """16 bytes by which this key is known, and from which it can't be found."""
        return blake2b(key=self.secret, digest_size=16, person=OF_THE_KEY).digest()

    def pseudonyms(self, msisdns: np.ndarray) -> np.ndarray:
        """The pseudonym of each of these int64 numbers, in their order."""
        numbers = np.asarray(msisdns, dtype=BIG_ENDIAN)
        hashing = blake2b(key=self.secret, digest_size=numbers.itemsize, person=OF_A_NUMBER)
        digests = np.empty_like(numbers)
        for begin in range(0, len(numbers), CHUNK):
            chunk = numbers[begin : begin + CHUNK]
            digests[begin : begin + CHUNK] = np.frombuffer(_digests(hashing, chunk), BIG_ENDIAN)
        return digests.astype(np.int64) | SIGN


def _digests(hashing: blake2b, numbers: np.ndarray) -> bytes:
    """One digest after the other, of the eight bytes of each number."""
    made = []
    for number in np.ascontiguousarray(numbers).view("V8").tolist():
        each = hashing.copy()  # half the time of setting the key anew
        each.update(number)
        made.append(each.digest())
    return b"".join(made)
