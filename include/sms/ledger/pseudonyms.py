"""Pseudonyms: numbers that can't be read any more, but recognised with the key.

A pseudonym is a keyed hash (BLAKE2b, RFC 7693) of a number. Without the key it reveals nothing;
with the key, or with a hash without key, all numbers of a country could be tried in minutes. It is
a negative int64, so it fits into a column of numbers and is never confused with one. With its 63
bits, a list of ten million contains the pseudonym of any of a million other numbers with a chance
of 10^-6.
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
CHUNK = 65_536  # digests that exist as Python objects at the same time

# Each use has its own personalisation, so that the fingerprint reveals nothing about pseudonyms.
OF_A_NUMBER = b"sms stop list"
OF_THE_KEY = b"sms fingerprint"


@dataclass(frozen=True, slots=True)
class Key:
    """The secret of the pseudonyms; it can never be changed, as another key gives others."""

    secret: bytes = field(repr=False)  # 64 bytes

    @classmethod
    def of(cls, written: str) -> Self:
        """The key from its text. Raises ConfigurationError if it could be guessed.

        Only characters are allowed that mean the same in a URL, in JSON and in a shell.
        """
        secret = written.strip()
        if not secret:
            raise ConfigurationError("the stop list's key is empty: give the key in use")
        if not PLAIN.fullmatch(secret):
            raise ConfigurationError(
                f"the stop list's key has {len(secret)} characters, and needs {SHORTEST} or more, "
                "each a letter, a digit, _ or -: check that it is complete. The runbook describes "
                "how to create the first one"
            )
        return cls(blake2b(secret.encode()).digest())

    @property
    def fingerprint(self) -> bytes:
        """16 bytes that identify the key and do not reveal it."""
        return blake2b(key=self.secret, digest_size=16, person=OF_THE_KEY).digest()

    def pseudonyms(self, msisdns: np.ndarray) -> np.ndarray:
        """The pseudonyms of int64 numbers, in their order."""
        numbers = np.asarray(msisdns, dtype=BIG_ENDIAN)
        hashing = blake2b(key=self.secret, digest_size=numbers.itemsize, person=OF_A_NUMBER)
        digests = np.empty_like(numbers)
        for begin in range(0, len(numbers), CHUNK):
            chunk = numbers[begin : begin + CHUNK]
            digests[begin : begin + CHUNK] = np.frombuffer(_digests(hashing, chunk), BIG_ENDIAN)
        return digests.astype(np.int64) | SIGN


def _digests(hashing: blake2b, numbers: np.ndarray) -> bytes:
    """The digests of the eight bytes of each number, joined."""
    digests = []
    for number in np.ascontiguousarray(numbers).view("V8").tolist():
        each = hashing.copy()  # takes half the time of a new keyed hash
        each.update(number)
        digests.append(each.digest())
    return b"".join(digests)
