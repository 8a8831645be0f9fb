"""Faults of the data as values: a code for machines, a sentence for people."""

from enum import StrEnum
from typing import Self


class Coded(StrEnum):
    """An enumeration whose members are written as a pair: the code, and what it says."""

    sentence: str

    def __new__(cls, code: str, sentence: str) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        return member
