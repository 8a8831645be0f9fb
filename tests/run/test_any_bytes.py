"""Arbitrary bytes as recipients or stop list: no recipient and no STOP is lost."""

import csv
import re
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sms.campaign import definition
from sms.columnar.csv_files import CsvFile
from sms.errors import SmsError
from sms.run import offline
from sms.settings import Settings

AT = datetime(2027, 3, 2, 9, tzinfo=UTC)
PEOPLE = [f"k{place},06399800{place:02},Zoé {place}".encode() for place in range(1, 9)]
STOPS = [f"06399800{place:02},said no".encode() for place in range(1, 9, 2)]
SIGNS = st.sampled_from(
    [
        *(b'"', b'"', b'""', b' "', b'",', b',"', b'"\n', b'\n"', b",", b";", b"\t", b"\n", b"\r"),
        *(b"\n\n", b"\0", b"\xff", b"\xe9", b"\xff\xfe", b"\xef\xbb\xbf", b"sep=;\n", b"="),
        *(b"\x1a", b"0", b"x", b"\xc2\xa0"),
    ]
)
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2), SIGNS), max_size=4)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
NOBODY_CHANGED: list[tuple[float, int, bytes]] = []


def changed(content: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """The same bytes, with some put in or in the place of others."""
    for where, gone, sign in changes:
        at = int(where * len(content))
        content = content[:at] + sign + content[at + gone :]
    return content


def intact(rows: list[bytes], content: bytes) -> set[bytes]:
    """Which of the rows are lines of the file still."""
    return {*rows} & {*re.split(rb"\r\n|\r|\n", content)}


def numbers(text: bytes) -> set[str]:
    """The numbers in it, as they are sent."""
    return {f"+336399800{end.decode()}" for end in re.findall(rb"06399800(\d\d)", text)}


@pytest.fixture(scope="module")
def spring(tmp_path_factory) -> definition.Campaign:
    folder = tmp_path_factory.mktemp("any") / "spring"
    folder.mkdir()
    (folder / "campaign.yaml").write_text("kind: transactional\nsender: LUMIERE\non_empty: skip\n")
    (folder / "recipients.sql").write_text("SELECT 1")
    (folder / "message.txt").write_text("Bonjour {{ first_name }} !")
    return definition.load(folder)


@settings(max_examples=120)
@given(CHANGES, CHANGES, ENDS, ENDS)
@example([(0.2, 0, b'"'), (0.6, 0, b'"')], NOBODY_CHANGED, b"\n", b"\n")
@example(NOBODY_CHANGED, [(0.4, 0, b'"')], b"\n", b"\n")
@example(NOBODY_CHANGED, [(0.0, 0, b"\xff\xfe")], b"\n", b"\n")
def test_every_row_is_sent_or_excluded_or_all_refused(
    spring, of_people, of_stops, people_end, stops_end
):
    people = changed(people_end.join([b"key,msisdn,first_name", *PEOPLE]) + people_end, of_people)
    stops = changed(stops_end.join([b"msisdn,note", *STOPS]) + stops_end, of_stops)
    plan = offline.plan(spring, AT, settings=Settings())
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "people.csv").write_bytes(people)
        (folder / "stop.csv").write_bytes(stops)
        try:
            screened = offline.screen(plan, folder / "people.csv", folder / "stop.csv", Settings())
            made = offline.prepare(screened, Settings(), folder / "out")
        except SmsError:
            return
        with (folder / "out" / "excluded.csv").open(newline="", encoding="utf-8") as source:
            left_out = [row["msisdn"] for row in csv.DictReader(source)]
        sent = [
            line.split(";")[1]
            for stem, _ in made.files
            for line in (folder / "out" / f"{stem}.csv").read_text().splitlines()
        ]
        lines = [*CsvFile.open(folder / "people.csv").lines(range(1, 100))]
    assert not {*sent} & numbers(b"\n".join(intact(STOPS, stops)))
    assert len(sent) + len(left_out) == made.as_json()["candidates"] == len(lines)
    told = {*sent} | numbers("\n".join(left_out).encode())
    assert numbers(b"\n".join(intact(PEOPLE, people))) <= told
    assert len({*sent}) == len(sent)
