"""Files through the command line: read whole, or refused in one sentence."""

import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sms.ledger.ledger import Ledger
from tests.command_line import sms, sms_as_a_process

AT = "2027-03-02T10:00"
NUMBERS = [f"06399800{place:02}" for place in range(1, 5)]
HEADER = "key,msisdn,first_name"
Answer = tuple[int, str, list[str]]  # the status, what was complained of, who is written to


@pytest.fixture
def answer(tmp_path: Path) -> Callable[..., Answer]:
    """What `sms prepare` makes of files with these bytes."""
    campaign = tmp_path / "spring"
    campaign.mkdir()
    (campaign / "campaign.yaml").write_text("kind: transactional\nsender: LUMIERE\n")
    (campaign / "recipients.sql").write_text("SELECT 1")
    (campaign / "message.txt").write_text("Bonjour {{ first_name }} !")

    def prepare(people: bytes | str, stops: bytes | str = "msisdn\n", *more: object) -> Answer:
        paths = tmp_path / "people.csv", tmp_path / "stop.csv"
        for path, content in zip(paths, (people, stops), strict=True):
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        out = tmp_path / "out"
        done = sms(
            *("prepare", campaign, "--recipients", paths[0], "--stop-list", paths[1]),
            *("--at", AT, "--out", out, *more),
        )
        files = out.glob("SEND-*.csv") if done.returncode == 0 else ()
        if done.returncode == 0:
            summary = json.loads((out / "summary.json").read_text())
            left_out = (out / "excluded.csv").read_text().count("\n") - 1
            assert summary["candidates"] == summary["messages"] + left_out
        sent = [line.split(";")[1] for file in files for line in file.read_text().splitlines()]
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr, sorted(f"0{number[3:]}" for number in sent)

    return prepare


def people(*cells: str) -> str:
    """A file of four people, whose first names are these."""
    rows = zip(NUMBERS, cells, strict=True)
    return "".join([f"{HEADER}\n", *(f"k{number[-1]},{number},{cell}\n" for number, cell in rows)])


GOOD = people("Zoé", "Léa", "Ana", "Ben")


def with_a_column(name: str, cell: str) -> str:
    """The same people, with one more column before the others."""
    return GOOD.replace("key,", f"{name},key,", 1).replace("\nk", f"\n{cell},k")


READ = {
    "CR": GOOD.replace("\n", "\r"),
    "CRLF": GOOD.replace("\n", "\r\n"),
    "sep=;": "sep=;\n" + GOOD.replace(",", ";"),
    "UTF-16": GOOD.replace(",", "\t").encode("utf-16"),
    "a line break in the header": with_a_column('"customer\nnumber"', "7"),
    "a delimiter in the header's quotes": with_a_column('"a;b;c;d;e"', "7"),
    "a quote within a cell": people("Zoé", 'Léa "L" D', 'Ana"', "Ben"),
    "a text longer than csv's own limit": with_a_column("note", "x" * 140_000),
}


@pytest.mark.parametrize("content", READ.values(), ids=READ.keys())
def test_every_recipient_of_a_file_is_written_to(answer, content):
    assert answer(content) == (0, "", NUMBERS)


@pytest.mark.parametrize("content", READ.values(), ids=READ.keys())
def test_every_number_of_a_stop_list_is_excluded(answer, content):
    status, told, sent = answer(GOOD.replace("k4,0639980004", "k4,0639980009"), content)

    assert (status, told, sent) == (0, "", ["0639980009"])


REFUSED = {
    "four rows of which two were lost": (
        people('"stop', "stop", '"plus rien', "non"),
        "line 2: a quote opens a cell and is closed on line 4, and text follows",
    ),
    "the end within quotes": (people("a", "b", "c", '"Ben'), "line 5: a quote opens a cell that"),
    "a name that is two people": (people("a", '"b', 'c"', "d"), "line 3: a cell in quotes goes on"),
    "zero bytes": (GOOD.encode("utf-16-le"), "line 1: it contains zero bytes"),
    "Excel's plain CSV": (
        GOOD.replace("msisdn", "numéro").encode("cp1252"),
        'Save As has "CSV UTF-8 (comma delimited)"',
    ),
    "an Excel workbook": (b"PK\x03\x04", "is an Excel workbook"),
}


@pytest.mark.parametrize(("content", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_an_unreadable_file_is_refused_in_one_sentence(answer, content, sentence):
    for files in ((content,), (GOOD, content)):
        status, told, sent = answer(*files)

        assert (status, sent, told.count("\n")) == (1, [], 1)
        assert sentence in told
        assert "639980" not in told


def test_undecodable_text_is_refused_only_in_columns_read(answer):
    status, told, sent = answer(GOOD.encode("cp1252"))
    assert (status, sent, "people.csv, line 2, byte 17: this is not UTF-8" in told) == (1, [], True)

    other = "".join(f"{number};Zoé\n" for number in NUMBERS[:3])
    assert answer(GOOD, f"msisdn;name\n{other}".encode("cp1252")) == (0, "", NUMBERS[3:])


def test_each_file_has_an_encoding_option(answer):
    stops = "téléphone\n0639980001\n"

    assert answer(GOOD.encode("cp1252"), stops.encode("cp1252"), "--encoding", "Windows-1252") == (
        *(0, ""),
        NUMBERS[1:],
    )
    assert answer(GOOD, stops.encode("cp1252"), "--encoding", "cp1252")[2] == NUMBERS[1:]
    assert answer(GOOD, stops, "--encoding", "rot13")[0] == 2


def test_an_unreadable_stop_is_refused_with_its_line(answer):
    status, told, _ = answer(GOOD, 'msisdn,note\n\n0639980001,"a\nb"\n\nsoon,x\n')

    assert (status, "stop.csv, line 6: the column 'msisdn' holds no number" in told) == (1, True)


def test_a_pipe_is_refused_without_waiting(answer, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for named in ("--recipients", "--stop-list"):
        status, told, _ = answer(GOOD, "msisdn\n", named, tmp_path / "pipe")

        assert (status, "is a pipe or a device" in told) == (1, True)


def imported(ledger_url: str, path: Path, *more: object) -> tuple[int, str, int]:
    done = sms("stop-list", "import", path, "--source", "crm", "--url", ledger_url, *more)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr, Ledger.connect(ledger_url).stop_list.size()


@pytest.mark.parametrize("content", READ.values(), ids=READ.keys())
def test_every_opt_out_of_a_file_is_imported(ledger_url, tmp_path, content):
    path = tmp_path / "crm.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    assert imported(ledger_url, path) == (0, "", 4)


@pytest.mark.parametrize(("content", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_list_imports_nothing(ledger_url, tmp_path, content, sentence):
    path = tmp_path / "crm.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    status, told, entered = imported(ledger_url, path)

    assert (status, entered, sentence in told) == (1, 0, True)


def test_a_fault_at_a_lists_end_imports_nothing(ledger_url, tmp_path):
    path = tmp_path / "crm.csv"
    rows = "".join(f"06399{place:05},{'x' * 90}\n" for place in range(100_000))
    path.write_text(f'msisdn,note\n{rows}0639980001,"stop\n')

    status, told, entered = imported(ledger_url, path)

    assert (status, entered, "line 100002: a quote opens a cell that" in told) == (1, 0, True)


def test_rejects_are_listed_by_line_despite_other_cells(ledger_url, tmp_path):
    path = tmp_path / "crm.csv"
    path.write_text(
        f'note,msisdn\r{"x" * 140_000},0639980001\r"a\r\rb",0639 12\r\r5" x,soon\r', newline=""
    )

    status, told, entered = imported(ledger_url, path)

    assert (status, entered, "(lines 3, 7; numbers were" in told) == (1, 1, True)
    rejects = csv.DictReader((tmp_path / "crm.csv.rejects.csv").read_text().splitlines())
    assert [row["line"] for row in rejects] == ["3", "7"]


def test_an_import_takes_an_encoding(ledger_url, tmp_path):
    path = tmp_path / "crm.csv"
    path.write_bytes("prénom;numéro\nZoé;0639980001\n".encode("cp1252"))

    assert imported(ledger_url, path)[0] == 1
    assert imported(ledger_url, path, "--encoding", "cp1252") == (0, "", 1)


def test_a_pipe_on_standard_input_is_refused(tmp_path):
    done = sms_as_a_process("preview", "spring_sale", "--recipients", "/dev/stdin")

    assert (done.returncode, re.findall("is a pipe or a device", done.stderr)) == (
        *(1,),
        ["is a pipe or a device"],
    )


def test_a_stop_in_another_column_is_never_ignored(answer):
    status, told, sent = answer(GOOD, f"msisdn;mobile\n{NUMBERS[0]};\n;{NUMBERS[1]}\n")

    assert (status, sent) == (1, [])
    assert "line 3: the column 'msisdn' holds no mobile number and 'mobile' does" in told


def test_unused_columns_are_reported(answer, tmp_path):
    unread = ["segment", "prefs", "a", "b", "c", "[bold]"]
    rows = "".join(f"k{number[-1]},{number},Ana,1,2,3,4,5,6\n" for number in NUMBERS)

    status, _, sent = answer(f"{HEADER},{','.join(unread)}\n{rows}")

    assert (status, sent) == (0, NUMBERS)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["unused_columns"] == unread
    seen = sms("preview", tmp_path / "spring", "--recipients", tmp_path / "people.csv").stdout
    assert "6 columns of the recipients are not used: 'segment', 'prefs', 'a', 'b', 'c', ..." in (
        " ".join(seen.split())
    )


@pytest.mark.parametrize("name", ["STOP", "Accepts SMS Marketing", "rgpd", "ne_plus_contacter"])
def test_an_undeclared_opt_out_column_is_refused(answer, name):
    status, told, sent = answer(with_a_column(name, "1"))

    assert (status, sent) == (1, [])
    assert f"a column {name!r}, did you mean opted_out?" in told
