"""Messy rows through the whole of `sms prepare`: no recipient is lost or doubled."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms.audience.screening import SENTENCES
from sms.audience.table_files import TableFile
from sms.campaign import definition
from sms.columnar.parquet import from_rows
from sms.errors import SourceError
from sms.message.rendering import idremote
from sms.run import offline
from sms.settings import Settings
from sms.telecom.msisdn import normalise

FEW = settings(max_examples=60)
AT = datetime(2027, 3, 2, 9, tzinfo=UTC)
COLUMNS = ("key", "msisdn", "first_name", "store", "tag")
Row = tuple[str | None, ...]

MESS = {
    "NUL": "Zo\x00é",
    "right to left": "שלום עולם",
    "turned around": "\u202eéoZ\u202c\u200f",
    "accents apart": "Zoe\u0301 N\u0303",
    "a tower of accents": "Z" + "\u0301\u0327\u0316" * 60,
    "an accent alone": "\u0301",
    "a very long name": "Anne-" * 2_000,
    "too long in bytes alone": "é" * 400,
    "just too long for a value": "a" * 766,
    "controls": "\x07\x1b[31mZoé\x7f\x85",
    "emoji": "👩‍👩‍👧‍👦😀🇫🇷",
    "spaces alone": " \t\u00a0\u2003\u3000",
    "nothing to see": "\u200b\u2060\ufeff",
    "empty": "",
    "null": None,
    "null as text": "NaN",
    "quotes and delimiters": '";";\r\n"',
    "a line break": "Zoé\nLéa\r",
    "a formula": "=1+1",
    "a template": "{{ store }}{% raw %}",
    "mojibake": "ZoÃ© â€™",
    "the unknown": "\ufffd\ue000\U000e0001\uffff",
    "double ones": "€{}[]^" * 12,
    "ligatures": "ŒuvreﬁⅫ½ ç",
    "Chinese": "中文",
}
VALUES = st.sampled_from([*MESS.values(), "Zoé", "Ana", "Ben"]) | st.text(max_size=30).map(
    lambda text: text.encode(errors="replace").decode()
)
NUMBERS = (
    st.integers(0, 12).map("06 39 98 00 {:02}".format)
    | st.integers(0, 12).map("+3363998\u00a000{:02}".format)
    | st.sampled_from(["0123456789", "+447700900123", "", None, "\x00", "33639980001.0", "😀"])
    | st.sampled_from(
        ["\u202a+33 6 39 98 00 03\u202c", "0６３９９８０００４", "06399800" + "0" * 10_000]
    )
)
KEYS = st.integers(0, 9).map("k{}".format) | st.sampled_from(
    [*MESS.values(), " k1", "K1", "k" * 255]
)
ROWS = st.lists(st.tuples(KEYS, NUMBERS, VALUES, VALUES), max_size=25).map(
    lambda rows: [(*row, f"#{place}#") for place, row in enumerate(rows, start=1)]
)
TEXTS = st.sampled_from(
    [
        "Bonjour {{ first_name }}, {{ tag }} chez {{ store }} !",
        "{{ tag }}{{ first_name }}",
        "{{ tag }} {% if store %}{{ store }}{% else %}nous{% endif %}, {{ first_name }}",
        "{{ tag }}",
    ]
)
SETTINGS = st.builds(
    Settings,
    long_sms=st.booleans(),
    unicode=st.booleans(),
    delimiter_in_text=st.sampled_from(["quote", "replace", "refuse"]),
    max_recipients_per_file=st.sampled_from([2, 7, 1_000]),
)
UNSUPPORTED = st.sampled_from(["replace", "exclude"])


@dataclass
class Made:
    """What `sms prepare` left in its folder."""

    campaign_id: str
    lines: list[list[str]]  # of all SEND files, in their order
    sizes: list[int]
    excluded: list[dict[str, str]]
    summary: dict[str, Any]

    @property
    def rows(self) -> list[int]:
        """The rows that are written to, by the tag in their text."""
        return [int(found[1]) for line in self.lines if (found := re.search(r"#(\d+)#", line[3]))]

    @property
    def numbers(self) -> set[str]:
        return {line[1] for line in self.lines}


def prepared(
    rows: list[Row],
    text: str,
    unsupported: str,
    chosen: Settings,
    *,
    as_csv: bool = False,
    at_once: int = 3,
) -> Made:
    """What is made of the rows, read so many at once."""

    def few_at_once(file: TableFile, *asked: Any, **named: Any) -> Iterator[pa.RecordBatch]:
        for batch in whole(file, *asked, **named):
            for start in range(0, batch.num_rows, at_once):
                yield batch.slice(start, at_once)

    whole = TableFile.batches
    with TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(TableFile, "batches", few_at_once)
        folder, out = Path(place, "spring"), Path(place, "out")
        folder.mkdir()
        (folder / "campaign.yaml").write_text(
            "kind: transactional\nsender: LUMIERE\non_empty: skip\n"
            f"unsupported_characters: {unsupported}\n"
        )
        (folder / "recipients.sql").write_text("SELECT 1")
        (folder / "message.txt").write_text(text)
        (people := Path(place, "people")).write_bytes(
            written_as_csv(rows) if as_csv else written_as_parquet(rows)
        )
        (stop_list := Path(place, "stop.csv")).write_text("msisdn\n+33639980012\n")
        plan = offline.plan(definition.load(folder), AT, settings=chosen)
        made = offline.prepare(offline.screen(plan, people, stop_list, chosen), chosen, out)
        contents = [(out / f"{stem}.csv").read_bytes() for stem, _ in made.files]
        assert sorted(path.name for path in out.iterdir()) == sorted(
            ["excluded.csv", "summary.json", *(f"{stem}.csv" for stem, _ in made.files)]
        )
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        excluded = read(out.joinpath("excluded.csv").read_bytes(), ",")
    files = [read(content, ";") for content in contents]
    return Made(
        plan.campaign_id,
        [line for file in files for line in file],
        [len(file) for file in files],
        # A batch at a time: first those whom the screening leaves out, then those whose text does.
        sorted(
            (dict(zip(excluded[0], row, strict=True)) for row in excluded[1:]),
            key=lambda row: int(row["row"]),
        ),
        summary,
    )


def read(content: bytes, delimiter: str) -> list[list[str]]:
    text = io.StringIO(content.decode(), newline="")
    return list(csv.reader(text, delimiter=delimiter, strict=True))


def written_as_parquet(rows: list[Row]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_batches([from_rows(COLUMNS, rows)]), sink)
    return sink.getvalue()


def written_as_csv(rows: list[Row]) -> bytes:
    """All in quotes but nulls."""

    def cell(value: str | None) -> str:
        return "" if value is None else f'"{value.replace(chr(34), chr(34) * 2)}"'

    return "".join(",".join(map(cell, row)) + "\r\n" for row in [COLUMNS, *rows]).encode()


def require_everybody_once(rows: list[Row], made: Made) -> None:
    left_out = [int(row["row"]) for row in made.excluded]

    assert len(made.rows) == len(made.lines)
    assert sorted(made.rows + left_out) == list(range(1, len(rows) + 1))


@FEW
@given(ROWS, TEXTS, UNSUPPORTED, SETTINGS)
def test_every_row_is_either_in_a_file_or_excluded(rows, text, unsupported, chosen):
    made = prepared(rows, text, unsupported, chosen)

    require_everybody_once(rows, made)
    assert made.rows == sorted(made.rows)
    # Each line is its row's: the number, and an IDREMOTE that only the row's key gives.
    numbers = normalise(pa.array([row[1] for row in rows], pa.large_string())).msisdn.tolist()
    keys = pa.array([row[0] for row in rows], pa.large_string())
    told = idremote(made.campaign_id, keys).to_pylist()
    assert [line[:3] for line in made.lines] == [
        [told[row - 1], f"+{numbers[row - 1]}", "LUMIERE"] for row in made.rows
    ]
    assert len(made.numbers) == len({line[0] for line in made.lines}) == len(made.lines)
    # And who is left out is shown with one reason, and the number as given or as it was read.
    for row in made.excluded:
        key, number = (value or "" for value in rows[int(row["row"]) - 1][:2])
        assert row["key"] in (key, f"'{key}")  # what a spreadsheet would take for a formula
        assert row["msisdn"] in (number, f"+{numbers[int(row['row']) - 1]}")
        assert row["reason"] in SENTENCES


@FEW
@given(ROWS, TEXTS, UNSUPPORTED, SETTINGS)
def test_the_summary_adds_up(rows, text, unsupported, chosen):
    made = prepared(rows, text, unsupported, chosen)
    summary = made.summary

    assert summary["candidates"] == len(rows)
    assert summary["messages"] == len(made.lines)
    assert summary["candidates"] == summary["messages"] + sum(summary["excluded"].values())
    assert summary["excluded"] == dict(Counter(row["reason"] for row in made.excluded))
    assert summary["reasons"].keys() == summary["excluded"].keys()
    assert summary["messages"] <= summary["audience"] <= summary["candidates"]
    assert [file["messages"] for file in summary["files"]] == made.sizes
    by_segments = {int(size): count for size, count in summary["messages_by_segments"].items()}
    assert sum(by_segments.values()) == summary["messages"]
    assert sum(size * count for size, count in by_segments.items()) == summary["segments"]
    assert summary["segments"] == sum(file["segments"] for file in summary["files"])
    assert all(size <= chosen.max_recipients_per_file for size in made.sizes)


@FEW
@given(ROWS, TEXTS, UNSUPPORTED, SETTINGS, st.integers(1, 9))
def test_csv_and_parquet_give_the_same_in_any_batches(rows, text, unsupported, chosen, at_once):
    made = prepared(rows, text, unsupported, chosen, at_once=at_once)
    again = prepared(rows, text, unsupported, chosen, as_csv=True, at_once=1_000)

    assert counted_faults(made) == counted_faults(again)
    for each in (made, again):
        del each.summary["read_as"]  # a CSV alone has no types
    assert made == again


def counted_faults(made: Made) -> dict[tuple[str, str], int]:
    """The source's faults, taken out: which rows are the first shown may depend on the batches."""
    faults = made.summary.pop("source_faults")
    return {(fault["code"], fault["column"]): fault["count"] for fault in faults}


@FEW
@given(ROWS, st.randoms(use_true_random=False), SETTINGS)
def test_row_order_changes_only_the_winner_of_a_number(rows, chance, chosen):
    """Where no text is refused: a number is settled before its text is made."""
    rows = [(f"k{row[4]}", *row[1:]) for row in rows]
    shuffled = chance.sample(rows, len(rows))
    first, second = (prepared(some, "{{ tag }}", "replace", chosen) for some in (rows, shuffled))

    assert first.numbers == second.numbers
    assert first.summary["excluded"] == second.summary["excluded"]
    for made, given_rows in ((first, rows), (second, shuffled)):
        numbers = normalise(pa.array([row[1] for row in given_rows], pa.large_string()))
        passed = [n if not word else 0 for n, word in zip(
            numbers.msisdn.tolist(), numbers.reason.to_pylist(), strict=True
        )]  # fmt: skip
        winners = {f"#{given_rows[passed.index(int(n[1:]))][4][1:-1]}#" for n in made.numbers}
        assert winners == {line[3] for line in made.lines}


@pytest.mark.parametrize("value", MESS.values(), ids=MESS.keys())
@pytest.mark.parametrize("column", range(4), ids=COLUMNS[:4])
def test_a_messy_row_changes_no_other(value, column):
    good: list[Row] = [(f"k{n}", f"06399800{n:02}", "Zoé", "Lyon", f"#{n}#") for n in (1, 2, 3)]
    messy = [*good]
    messy[1] = tuple(value if place == column else cell for place, cell in enumerate(good[1]))
    text = "Bonjour {{ first_name }}, {{ tag }} chez {{ store }} !"
    clean = prepared(good, text, "replace", Settings())
    made = prepared(messy, text, "replace", Settings())

    require_everybody_once(messy, made)
    assert [line for line in made.lines if "#2#" not in line[3]] == [clean.lines[0], clean.lines[2]]


def test_invalid_utf8_text_is_reported_by_column_and_hidden(tmp_path):
    bounds = pa.py_buffer(memoryview(b"\x00\x00\x00\x00\x07\x00\x00\x00"))
    broken = pa.Array.from_buffers(pa.string(), 1, [None, bounds, pa.py_buffer(b"secre\xe9\xff")])
    names = dict.fromkeys(COLUMNS, pa.array(["1"])) | {"first_name": broken}
    pq.write_table(pa.table(names), tmp_path / "people")
    (tmp_path / "spring").mkdir()
    for name, content in (
        ("campaign.yaml", "kind: transactional\nsender: LUMIERE\n"),
        ("recipients.sql", "SELECT 1"),
        ("message.txt", "{{ first_name }}"),
    ):
        (tmp_path / "spring" / name).write_text(content)
    plan = offline.plan(definition.load(tmp_path / "spring"), AT, settings=Settings())

    with pytest.raises(SourceError, match="column first_name holds bytes that are not") as raised:
        offline.screen(plan, tmp_path / "people", None, Settings())
    assert "secre" not in str(raised.value)
