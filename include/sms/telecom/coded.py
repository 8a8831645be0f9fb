"""Enumerations with a code for programs and a sentence for people."""

from enum import StrEnum
from typing import Self


class Coded(StrEnum):
    """An enumeration whose members are (code, sentence) pairs."""

    sentence: str

    def __new__(cls, code: str, sentence: str) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        return member
