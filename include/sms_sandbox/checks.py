"""The rules of a compliant file: the page's *File formatting*, and RFC 4180.

A file is read as a stream and never whole in memory. Reading stops at the first fault: the real
gateway rejects whole files. A fault names a line, never a number or a text.
"""

import codecs
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sms_sandbox import gsm
from sms_sandbox.account import Account

CHUNK = 1 << 20  # bytes per read
LONGEST_RECORD = 1 << 16  # characters; a longer record has an open quote

FIELD = r'(?:"[^"]*(?:""[^"]*)*"|[^";\r\n]*)'
RECORD = re.compile(rf"({FIELD}(?:;{FIELD})*)\r\n")
FIELDS = re.compile(rf"(?:^|;)({FIELD})")
IDREMOTE = re.compile(r"[A-Za-z0-9]{0,40}")
MSISDN = re.compile(r"\+[1-9][0-9]{6,14}")  # international: E.164 has at most 15 digits
OADC = re.compile(r"[A-Za-z0-9]{0,11}")
PLAIN = re.compile(  # a quick check for nearly all valid rows
    rf"{IDREMOTE.pattern};({MSISDN.pattern});{OADC.pattern};(?! *$)([^;\"\r\n]{{1,160}})"
)


class SubmittedRow(NamedTuple):
    """One submitted message."""

    idremote: str
    msisdn: str
    oadc: str
    msg: str


@dataclass(frozen=True, slots=True)
class Content:
    """The counts of a compliant file."""

    messages: int
    segments: int


class NotCompliant(Exception):
    """The reason why a file is not compliant."""

    def __init__(self, line: int | None, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return self.reason if self.line is None else f"record {self.line}: {self.reason}"


def check(path: Path, account: Account) -> Content:
    """Check a file as the provider does. Raises NotCompliant for the first fault."""
    numbers = array("q")
    segments = 0
    for line, record in enumerate(_records(path, account.encoding), start=1):
        if line > account.most_rows:
            raise NotCompliant(line, f"more than {account.most_rows} recipients")
        plain = PLAIN.fullmatch(record)
        if plain and gsm.BASIC.issuperset(plain[2]):
            segments += 1
            numbers.append(int(plain[1]))
        else:
            row = _row(line, record)
            segments += _check_row(line, row, account)
            numbers.append(int(row.msisdn))
    if not numbers:
        raise NotCompliant(None, "the file is empty")
    _check_no_duplicates(numbers)
    return Content(len(numbers), segments)


def rows(path: Path, encoding: str) -> Iterator[SubmittedRow]:
    """Yield the rows of a compliant file."""
    for line, record in enumerate(_records(path, encoding), start=1):
        yield _row(line, record)


def _row(line: int, record: str) -> SubmittedRow:
    if '"' in record:
        fields = [_unquoted(field) for field in FIELDS.findall(record)]
    elif "\r" in record or "\n" in record:
        raise NotCompliant(line, "a line ends otherwise than with CRLF")
    else:
        fields = record.split(";")
    if len(fields) != 4:
        raise NotCompliant(line, f"{len(fields)} fields, not IDREMOTE;MSISDN;OADC;MSG")
    return SubmittedRow(*fields)


def _unquoted(field: str) -> str:
    return field[1:-1].replace('""', '"') if field.startswith('"') else field


def _check_row(line: int, row: SubmittedRow, account: Account) -> int:
    """Check a row. Returns the segments of its message."""
    if not IDREMOTE.fullmatch(row.idremote):
        raise NotCompliant(line, "IDREMOTE is not at most 40 letters and digits")
    if not MSISDN.fullmatch(row.msisdn):
        raise NotCompliant(line, "MSISDN is not in the international format")
    if not OADC.fullmatch(row.oadc):
        raise NotCompliant(line, "OADC is not at most 11 letters and digits")
    if not row.msg.strip():
        raise NotCompliant(line, "MSG is empty")
    segments = gsm.segments(row.msg, unicode=account.unicode)
    if segments > 1 and not account.long_sms:
        raise NotCompliant(line, "MSG is longer than one SMS and long SMS are not activated")
    if segments > gsm.MOST_SEGMENTS:
        raise NotCompliant(line, f"MSG takes {segments} SMS, more than {gsm.MOST_SEGMENTS}")
    return segments


def _check_no_duplicates(numbers: "array[int]") -> None:
    column = np.frombuffer(numbers, dtype=np.int64)
    order = np.argsort(column, kind="stable")
    again = np.flatnonzero(np.diff(column[order]) == 0)
    if again.size:
        first, second = order[again[0]] + 1, order[again[0] + 1] + 1
        raise NotCompliant(int(second), f"the same MSISDN as record {first}")


def _records(path: Path, encoding: str) -> Iterator[str]:
    """Yield the records of a file, with their quotes."""
    text, line = "", 0
    for more, is_last in _chunks(path, encoding):
        text += more
        if is_last and text and not text.endswith("\r\n"):
            text += "\r\n"  # RFC 4180: the last record may lack its line break
        records, text = _split(text)
        yield from records
        line += len(records)
        if (is_last and text) or len(text) > LONGEST_RECORD + len(more):
            raise NotCompliant(line + 1, _why_unreadable(text))


def _split(text: str) -> tuple[list[str], str]:
    """The complete records at the beginning of a text, and the rest."""
    if '"' not in text:
        *records, rest = text.split("\r\n")
        return records, rest
    records, place = [], 0
    while match := RECORD.match(text, place):
        records.append(match[1])
        place = match.end()
    return records, text[place:]


def _chunks(path: Path, encoding: str) -> Iterator[tuple[str, bool]]:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as source:
            while chunk := source.read(CHUNK):
                yield decoder.decode(chunk), False
        yield decoder.decode(b"", final=True), True
    except UnicodeDecodeError:
        raise NotCompliant(None, f"the file is not in {encoding}") from None


def _why_unreadable(text: str) -> str:
    if '"' in text.partition("\n")[0]:
        return "quotes are not as in RFC 4180"
    return "a line ends otherwise than with CRLF"
