"""Stop lists as files: import of another tool's list, export for other tools.

Both have the format that `sms prepare --stop-list` reads: a column `msisdn` and an optional column
`opted_out_at`. Both are streamed, for lists of any length.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.csv import CSVWriter, WriteOptions

from sms import storage
from sms.audience.screening import SENTENCES
from sms.audience.table_files import (
    NO_NUMBERS,
    TableFile,
    abroad,
    elsewhere,
    from_columns,
    misunderstood,
    no_number,
    numbers_beside,
    open_stop_list,
    read_numbers,
)
from sms.clock import PARIS
from sms.columnar import parquet
from sms.columnar.parquet import as_text
from sms.columnar.text import TEXT, Flags, Ints, flags_of
from sms.columnar.threads import ordered
from sms.errors import SourceError
from sms.telecom.msisdn import Numbers

MOMENT = pa.timestamp("us", tz="UTC")
MOMENTS = "opted_out_at"  # the column
LISTED = pa.schema([("msisdn", TEXT), (MOMENTS, MOMENT)])

MOST_REJECTS = 100_000  # rows: with more of them the column is probably a wrong one

INTERNATIONAL = r"^\+[1-9]\d{6,14}$"
ISO = r"^\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?"
ZONE = r"(?:Z|[+-]\d\d(?::?\d\d)?)$"
# Other spellings of a day, with their replacement in ISO.
SPELLINGS = (
    (r"^(\d{4})(\d\d)(\d\d)\b", r"\1-\2-\3"),
    (r"^(\d\d)[/.](\d\d)[/.](\d{4})\b", r"\3-\2-\1"),
    (r"(\.\d{6})\d+", r"\1"),
)


@dataclass(slots=True)
class OptOutReading:
    """A list while it is read; its counts are complete when `batches` is exhausted.

    `rejects` are rows that may be an opt-out and can't be read: the row (from 1, without the
    header) and the NumberFault. `left_out` counts numbers that never get messages (blanks,
    landlines); `strange` counts unreadable or future moments, which become now.
    """

    file: TableFile
    numbers: str
    moments: str | None
    now: datetime
    countries: Sequence[str] = ()
    rows: int = 0
    strange: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    rejects: list[tuple[int, str]] = field(default_factory=list)
    others: set[str] = field(default_factory=set)

    @property
    def columns(self) -> str:
        """Which columns the numbers are from, in words: a person may have more telephones."""
        names = (name for name in self.file.columns if name in self.others)
        return from_columns(self.numbers, [*names])

    @classmethod
    def of(
        cls,
        path: Path,
        now: datetime,
        moments: str | None = None,
        encoding: str | None = None,
        countries: Sequence[str] = (),
    ) -> "OptOutReading":
        """Open a list. Raises SourceError if it is no table, or lacks the column `moments`.

        A number without a country code counts as each number that it may be in `countries`.
        """
        file, numbers = open_stop_list(path, encoding)
        found = file.where(moments or MOMENTS)
        if moments and not found:
            raise SourceError(
                f"{path} has no column {moments}, only {', '.join(map(repr, file.columns))}"
                if file.has_header
                else f"{path} has no header: its columns are 'column 1' to "
                f"'column {len(file.columns)}'"
            )
        return cls(file, numbers, found, now, countries)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the opt-outs (msisdn int64, opted_out_at), in the order of the list.

        Raises SourceError at the end if there are rows, and no number in any of them.
        """
        columns, numbers = [self.numbers, *([self.moments] if self.moments else [])], 0
        no_number_rows: list[Ints] = []
        for content in ordered(self._read, self.file.batches_beside(columns)):
            self.others |= content.others
            self.rejects += [(self.rows + row + 1, reason) for row, reason in content.rejects]
            self._require_few(len(self.rejects))
            self.left_out.update(content.left_out)
            no_number_rows.append(self.rows + content.no_number_rows)
            self.strange += content.strange
            self.rows += content.rows
            numbers += content.opt_outs.num_rows
            yield content.opt_outs
        if self.rows and not numbers and not self.rejects:
            raise SourceError(no_number(self.file, self.numbers, self.rows))
        self._reject_elsewhere(np.concatenate([NO_NUMBERS, *no_number_rows]))

    def _reject_elsewhere(self, no_number_rows: Ints) -> None:
        """Reject rows whose number is in another column: each may be an opt-out."""
        rows: list[int] = []
        for row, *_ in elsewhere(self.file, self.numbers, no_number_rows):
            rows.append(row)
            self._require_few(len(self.rejects) + len(rows))
        if not rows:
            return
        reasons = self._reasons_of(np.array(rows, np.int64))
        self.left_out -= Counter(reasons)
        self.rejects = sorted(
            [*self.rejects, *((row + 1, why) for row, why in zip(rows, reasons, strict=True))]
        )

    def _require_few(self, rejects: int) -> None:
        if rejects > MOST_REJECTS:
            raise SourceError(
                f"{self.file.path}: more than {MOST_REJECTS:,} rows of the column "
                f"{self.numbers!r} are no numbers: call the column that holds them msisdn"
            )

    def _reasons_of(self, rows: Ints) -> list[str]:
        """Why these rows (from 0, ascending) have no number in the main column."""
        reasons: list[str] = []
        before = 0
        for batch in self.file.batches([self.numbers]):
            in_batch = (
                rows[slice(*np.searchsorted(rows, (before, before + batch.num_rows)))] - before
            )
            if in_batch.size:
                texts = as_text(batch.take(pa.array(in_batch)))[0]
                reasons += read_numbers(texts)[0].reason.to_pylist()
            before += batch.num_rows
        return reasons

    def _read(self, batch: pa.RecordBatch) -> "_Found":
        texts = as_text(batch.select([self.numbers]))[0]
        numbers, overseas, meant = read_numbers(texts)
        wrong = misunderstood(numbers)
        msisdn = _also_of_no_mobile(texts, numbers, wrong)
        moments, strange = pa.nulls(len(msisdn), MOMENT), 0
        if self.moments:
            moments, strange = read_moments(batch.column(self.moments), self.now)
        national, foreign = abroad(texts, self.countries)
        no_number_rows = (msisdn == 0) & ~wrong
        no_number_rows[overseas] = no_number_rows[national] = False
        good = np.flatnonzero(msisdn)
        known = [self.numbers, *([self.moments] if self.moments else [])]
        rows = np.unique(np.concatenate([good, overseas, national]))
        more = [*numbers_beside(batch, known, rows, self.countries)]
        at = np.concatenate([good, overseas, national, *(each.rows for each in more)])
        opted_out = np.concatenate([msisdn[good], meant, foreign, *(each.msisdn for each in more)])
        return _Found(
            rows=len(msisdn),
            opt_outs=pa.RecordBatch.from_arrays(
                [pa.array(opted_out), moments.take(pa.array(at))], ["msisdn", MOMENTS]
            ),
            rejects=sorted(
                [*_reasons(numbers, wrong), *(cell for each in more for cell in each.unreadable)]
            ),
            left_out=Counter(reason for _, reason in _reasons(numbers, no_number_rows)),
            no_number_rows=np.flatnonzero(no_number_rows),
            strange=strange,
            others={each.column for each in more if each.rows.size},
        )

    def write_rejects(self, path: Path) -> None:
        """Write the places and reasons of the rejects, by line or row, without their numbers."""
        lines = self.file.places([row for row, _ in self.rejects])
        with storage.writing(path) as file, io.TextIOWrapper(file, "utf-8", newline="") as out:
            writer = csv.writer(out)
            writer.writerow((self.file.place, "reason"))
            for line, (_, reason) in zip(lines, self.rejects, strict=True):
                writer.writerow((line, SENTENCES[reason]))


@dataclass(frozen=True, slots=True)
class _Found:
    """The content of one batch; rows count from 0."""

    rows: int
    opt_outs: pa.RecordBatch
    rejects: list[tuple[int, str]]
    left_out: Counter[str]
    no_number_rows: Ints
    strange: int
    others: set[str]  # the columns that hold more telephones


def _reasons(numbers: Numbers, rows: Flags) -> list[tuple[int, str]]:
    where = np.flatnonzero(rows)
    return list(zip(where.tolist(), numbers.reason.take(pa.array(where)).to_pylist(), strict=True))


def _also_of_no_mobile(texts: pa.LargeStringArray, numbers: Numbers, wrong: Flags) -> Ints:
    """The numbers, including international ones that are no mobiles: a stop list keeps them."""
    msisdn = numbers.msisdn.copy()
    others = np.flatnonzero((msisdn == 0) & ~wrong)
    if others.size:
        digits = pc.replace_substring_regex(texts.take(pa.array(others)), r"[^\d+]", "")
        whole = flags_of(pc.fill_null(pc.match_substring_regex(digits, INTERNATIONAL), False))
        kept = pc.utf8_slice_codeunits(digits.filter(pa.array(whole)), 1)
        msisdn[others[whole]] = kept.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return msisdn


def read_moments(column: pa.Array, now: datetime) -> tuple[pa.Array, int]:
    """Opt-out times, Paris time unless they have a zone; null for none.

    Returns the column, and the count of unreadable or future times, which become null too.
    """
    blank = column.null_count
    if pa.types.is_temporal(column.type) and not pa.types.is_time(column.type):
        moments = _zoned(column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None))))
    else:
        texts = pc.utf8_trim_whitespace(as_text(pa.record_batch([column], ["moments"]))[0])
        blank = pc.sum(pc.equal(pc.fill_null(texts, ""), "")).as_py() or 0
        moments = _read_texts(texts)
    ahead = pc.fill_null(pc.greater(moments, pa.scalar(now, MOMENT)), False)
    moments = pc.if_else(ahead, pa.scalar(None, MOMENT), moments)
    return moments, moments.null_count - blank


def _read_texts(texts: pa.LargeStringArray) -> pa.Array:
    for spelling, iso in SPELLINGS:
        texts = pc.replace_substring_regex(texts, spelling, iso)
    zoned = pc.fill_null(pc.match_substring_regex(texts, f"{ISO}{ZONE}"), False)
    local = pc.fill_null(pc.match_substring_regex(texts, f"{ISO}$"), False)
    none = pa.scalar(None, TEXT)
    with_zone = _cast(pc.if_else(zoned, texts, none), MOMENT)
    without = _cast(pc.if_else(local, texts, none), pa.timestamp("us"))
    return pc.coalesce(with_zone, _zoned(without))


def _cast(texts: pa.LargeStringArray, kind: pa.DataType) -> pa.Array:
    """Texts of the right shape as moments; null for an impossible day or hour."""
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        if len(texts) == 1:
            return pa.nulls(1, kind)
    half = len(texts) // 2
    return pa.concat_arrays([_cast(texts[:half], kind), _cast(texts[half:], kind)])


def _zoned(moments: pa.Array) -> pa.Array:
    """Moments in UTC; without a zone they are Paris time, the first of an hour that comes twice."""
    if moments.type.tz is None:
        moments = pc.assume_timezone(moments, PARIS.key, ambiguous="earliest", nonexistent="latest")
    return moments.cast(MOMENT)


# The other way ----------------------------------------------------------------------------------


def write(batches: Iterable[pa.RecordBatch], path: Path) -> int:
    """Write a stop list (msisdn int64, opted_out_at) as CSV or, by its suffix, as Parquet.

    The file appears when it is complete: a part of a stop list must not look like a whole one.
    Returns the number of rows.
    """
    unfinished = path.with_name(f"{path.name}.part")
    try:
        if path.suffix.lower() == ".parquet":
            count = parquet.write(unfinished, map(_listed, batches), LISTED)
        else:
            with storage.writing(unfinished) as out:
                count = write_csv(batches, out)
        with storage.translating(path, "written"):
            unfinished.replace(path)
    except BaseException:
        storage.discard(unfinished)
        raise
    return count


def write_csv(batches: Iterable[pa.RecordBatch], out: IO[bytes]) -> int:
    """Write a stop list as CSV. Returns the number of rows."""
    texts = pa.schema([("msisdn", TEXT), (MOMENTS, TEXT)])
    count = 0
    out.write(f"msisdn,{MOMENTS}\n".encode())
    options = WriteOptions(include_header=False, quoting_style="none")
    with CSVWriter(out, texts, write_options=options) as writer:
        for batch in map(_listed, batches):
            moments = pc.strftime(batch.column(MOMENTS), "%Y-%m-%dT%H:%M:%SZ").cast(TEXT)
            writer.write_batch(pa.RecordBatch.from_arrays([batch.column(0), moments], schema=texts))
            count += batch.num_rows
    return count


def _listed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Numbers in the spelling for people and programs, +..."""
    digits = batch.column("msisdn").cast(TEXT)
    spelled = pc.binary_join_element_wise(pa.scalar("+", TEXT), digits, pa.scalar("", TEXT))
    return pa.RecordBatch.from_arrays([spelled, batch.column(MOMENTS)], schema=LISTED)
