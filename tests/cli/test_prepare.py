"""`sms prepare` and `sms preview`: the same bytes as the DAG, from files alone."""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sms.audience.table_files import TableFile
from tests.cli.preparing import AT, prepared
from tests.command_line import sms, sms_as_a_process
from tests.disks import small_disk

PEOPLE = [
    ("k1", "06 39 98 00 01", "Zoé", "Saint-Étienne"),
    ("k2", "+33639980001", "Léa", "Lyon"),
    ("k3", "0639980003", "Jean-Noël", "Lyon; centre"),
    ("k4", "01 99 00 12 34", "Ana", "Lyon"),
    ("k5", "0639980005", None, "Lyon"),
    ("k6", "0639980006", "Ben", "Lyon"),
]


COLUMNS = ("key", "msisdn", "first_name", "store")


@pytest.fixture
def recipients(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([COLUMNS, *PEOPLE])
    return path


@pytest.fixture
def stop_list(tmp_path: Path) -> Path:
    path = tmp_path / "stop.csv"
    path.write_text("msisdn\n06 39 98 00 06\n")
    return path


def test_every_row_is_in_a_file_or_excluded(campaign, recipients, stop_list, tmp_path):
    summary = prepared(campaign, recipients, stop_list, tmp_path / "out", run=sms_as_a_process)

    [file] = summary["files"]
    lines = (tmp_path / "out" / file["name"]).read_bytes().decode().split("\r\n")
    assert [line.split(";", 3)[1:] for line in lines[:-1]] == [
        [
            "+33639980001",
            "LUMIERE",
            "Bonjour Zoé, à samedi chez Saint-Étienne ! STOP 36180",
        ],
        [
            "+33639980003",
            "LUMIERE",
            '"Bonjour Jean-Noel, à samedi chez Lyon; centre ! STOP 36180"',
        ],
    ]
    assert lines[-1] == ""
    excluded = (tmp_path / "out" / "excluded.csv").read_text(encoding="utf-8")
    left_out = list(csv.DictReader(excluded.splitlines()))
    assert {row["key"]: row["reason"] for row in left_out} == {
        "k2": "duplicate_msisdn",
        "k4": "landline",
        "k5": "missing_value",
        "k6": "opted_out",
    }
    assert left_out[2] == {
        "row": "5",
        "key": "k5",
        "msisdn": "0639980005",
        "reason": "missing_value",
        "detail": "first_name",
    }
    assert (summary["candidates"], summary["messages"]) == (6, 2)
    assert summary["candidates"] == summary["messages"] + sum(summary["excluded"].values())
    assert summary["replaced"] == {"U+00EB": 1}
    assert summary["messages_by_segments"] == {"1": 2}
    assert summary["source_faults"][0]["first_rows"] == [5]


def test_csv_and_parquet_give_the_same_bytes_every_time(campaign, recipients, stop_list, tmp_path):
    columns = zip(*PEOPLE, strict=True)
    table = pa.table(dict(zip(COLUMNS, map(list, columns), strict=True)))
    pq.write_table(table, tmp_path / "people.parquet")

    first = prepared(campaign, recipients, stop_list, tmp_path / "out")
    again = prepared(campaign, recipients, stop_list, tmp_path / "out")
    parquet = prepared(campaign, tmp_path / "people.parquet", stop_list, tmp_path / "other")

    assert first == again == parquet
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted([first["files"][0]["name"], "excluded.csv", "summary.json"])


def test_columns_used_only_in_screening_are_read_once(
    campaign, recipients, stop_list, tmp_path, monkeypatch
):
    rows = [(*COLUMNS, "country", "opted_out"), *((*row, "FR", "no") for row in PEOPLE)]
    recipients.write_text("".join(f"{'|'.join(map(str, row))}\n" for row in rows))
    asked: list[set[str]] = []
    whole = TableFile.batches

    def watched(file, columns=None, *more, **named):
        if file.path == recipients:
            asked.append({*columns})
        return whole(file, columns, *more, **named)

    monkeypatch.setattr(TableFile, "batches", watched)
    prepared(campaign, recipients, stop_list, tmp_path / "out")

    assert asked == [{*COLUMNS, "country", "opted_out"}, {*COLUMNS}]


@pytest.mark.parametrize("settings", ["", "key: customer\nmsisdn: phone\n"], ids=["own", "named"])
def test_category_columns_are_text_columns(campaign, settings, stop_list, tmp_path):
    rows = [*PEOPLE, ("k7", "0639980007", " ", "Lyon"), ("k8", "0639980008", "NaN", "x" * 800)]
    rows += [(f"k{n}", f"06399801{n:02}", "Ana", "Lyon") for n in range(9, 60)]
    names = ("customer", "phone", *COLUMNS[2:]) if settings else COLUMNS
    texts = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    categories = pa.table({name: texts[name].dictionary_encode() for name in names})
    with (campaign / "campaign.yaml").open("a") as out:
        out.write(settings)
    if settings:
        (campaign / "message.txt").write_text("{{ customer }} {{ store }} {{ first_name|title }}")
    made = []
    for name, table in (("texts", texts), ("categories", categories)):
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=20)
        out = tmp_path / name
        summary = prepared(campaign, tmp_path / f"{name}.parquet", stop_list, out)
        made.append((summary, {path.name: path.read_bytes() for path in out.iterdir()}))

    assert made[0] == made[1]
    assert made[0][0]["messages"] == 53


@pytest.mark.parametrize("kind", [pa.string_view(), pa.binary_view()], ids=str)
def test_parquet_string_views_are_text(campaign, recipients, tmp_path, kind):
    columns = dict(zip(COLUMNS, zip(*PEOPLE, strict=True), strict=True))
    made = []
    for view in (kind, pa.large_string()):
        of_bytes = "binary" in str(view)
        table = {
            name: pa.array([cell.encode() if of_bytes and cell else cell for cell in cells], view)
            for name, cells in columns.items()
        }
        pq.write_table(pa.table(table), tmp_path / "people.parquet")
        stops = pa.array([b"0639980006" if of_bytes else "0639980006"], view)
        pq.write_table(pa.table({"phone": stops}), tmp_path / "stop.parquet")
        out = tmp_path / "out"
        prepared(campaign, tmp_path / "people.parquet", tmp_path / "stop.parquet", out)
        made.append({path.name: path.read_bytes() for path in out.iterdir()})

    assert made[0] == made[1]


def test_a_parquet_list_of_string_views_is_read(campaign, stop_list, tmp_path):
    names = pa.array([["Zoé", "Léa"]], pa.list_(pa.string_view()))
    rows = {"key": ["k1"], "msisdn": ["0639980001"], "first_name": names, "store": ["Lyon"]}
    pq.write_table(pa.table(rows), tmp_path / "lists.parquet")

    summary = prepared(campaign, tmp_path / "lists.parquet", stop_list, tmp_path / "out")

    assert summary["messages"] == 1


def test_no_csv_contains_a_formula(campaign, stop_list, tmp_path):
    people = tmp_path / "people.csv"
    people.write_text(
        "key,msisdn,first_name,store\nk1,0639980001,Zoé,Lyon\n=1+1,0639980006,Léa,Lyon\n"
        "@x,=cmd|' /C calc'!A0,Ana,Lyon\n-7,+33 1 99 00 12 34,Ben,Lyon\n"
    )

    prepared(campaign, people, stop_list, tmp_path / "out")

    excluded = (tmp_path / "out" / "excluded.csv").read_text().splitlines()
    assert [row["key"] for row in csv.DictReader(excluded)] == ["'=1+1", "'@x", "-7"]
    assert [row["msisdn"] for row in csv.DictReader(excluded)] == [
        "0639980006",
        "'=cmd|' /C calc'!A0",
        "+33 1 99 00 12 34",
    ]


def test_many_recipients_become_balanced_files(campaign, recipients, stop_list, tmp_path):
    yaml = campaign / "campaign.yaml"
    yaml.write_text(yaml.read_text() + "max_recipients_per_file: 1\n")

    summary = prepared(campaign, recipients, stop_list, tmp_path / "out")

    assert [file["messages"] for file in summary["files"]] == [1, 1]
    assert [file["name"][-7:] for file in summary["files"]] == ["p01.csv", "p02.csv"]


def test_a_closed_hour_shifts_and_foreign_files_stay(campaign, recipients, stop_list, tmp_path):
    sunday = prepared(campaign, recipients, stop_list, tmp_path / "out", "--at", "2027-03-07T10:00")

    assert sunday["send_at"] == "2027-03-08T07:00:00+00:00"
    assert "closed" in sunday["slot_reason"]
    (tmp_path / "out" / "SEND-12345-20270302-1000-other.csv").write_text("mine")
    done = sms(
        *("prepare", campaign, "--recipients", recipients, "--stop-list", stop_list),
        *("--at", AT, "--out", tmp_path / "out"),
    )
    assert done.returncode == 1
    assert "SEND-12345-20270302-1000-other.csv, which this command did not write" in done.stderr


REFUSALS = {
    "a column is missing": (
        lambda files: files["text"].write_text("Bonjour {{ nickname }}"),
        1,
        "uses {{ nickname }}, but",
    ),
    "a broken template": (
        lambda files: files["text"].write_text("Bonjour\n{{ first_name "),
        1,
        "message.txt, line 2",
    ),
    "no stop list": (lambda files: files["stop"].unlink(), 1, "stop.csv can't be read"),
    "an odd stop": (
        lambda files: files["stop"].write_text("msisdn\nsoon\n"),
        1,
        "stop.csv, line 2: the column",
    ),
    "a broken CSV": (
        lambda files: files["people"].write_text("key,msisdn,first_name,store\n1,2\n"),
        1,
        "people.csv, line 2",
    ),
    "nobody": (
        lambda files: files["people"].write_text("key,msisdn,first_name,store\n"),
        1,
        "leaves no recipient",
    ),
    "nobody, which is fine": (
        lambda files: (
            files["people"].write_text("key,msisdn,first_name,store\n"),
            files["yaml"].write_text(files["yaml"].read_text() + "on_empty: skip\n"),
        ),
        3,
        "",
    ),
}


@pytest.mark.parametrize(("spoil", "status", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_has_a_sentence_and_status_without_files(
    campaign, recipients, stop_list, tmp_path, spoil, status, sentence
):
    files = {"text": campaign / "message.txt", "yaml": campaign / "campaign.yaml"}
    spoil({**files, "people": recipients, "stop": stop_list})

    done = sms(
        *("prepare", campaign, "--recipients", recipients, "--stop-list", stop_list),
        *("--at", AT, "--out", tmp_path / "out"),
    )

    assert done.returncode == status
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out").glob("SEND-*.csv")) == []


def test_an_empty_audience_has_its_own_exit_status(campaign, stop_list, tmp_path):
    people = tmp_path / "people.csv"
    people.write_text("key,msisdn,first_name,store\n")
    with (campaign / "campaign.yaml").open("a") as out:
        out.write("on_empty: skip\n")

    done = sms_as_a_process(
        *("prepare", campaign, "--recipients", people, "--stop-list", stop_list),
        *("--at", AT, "--out", tmp_path / "out"),
    )

    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.endswith("No recipient is left: no file was written.\n")


def test_a_usage_error_says_what_to_write(campaign, recipients, stop_list, tmp_path):
    done = sms(
        *("prepare", campaign, "--recipients", recipients, "--stop-list", stop_list),
        *("--at", "tomorrow", "--out", tmp_path),
    )

    assert done.returncode == 2
    assert "2027-03-15T10:00" in done.stderr


def test_a_preview_shows_messages_and_hides_numbers(campaign, recipients, stop_list):
    done = sms("preview", campaign, "--recipients", recipients, "--stop-list", stop_list)

    assert done.returncode == 0, done.stderr
    assert "LUMIERE" in done.stdout
    assert "Saint-Étienne" in done.stdout
    assert "6 candidates: 2 messages in 2 SMS, 4 left out" in done.stdout
    assert "ë → e" in done.stdout
    assert "06 39 98" not in done.stdout
    assert "639980" not in done.stdout
    assert "first_name: a value that the text needs is null (1 row, first 5)" in done.stderr


def test_a_preview_needs_no_recipients_and_takes_a_name():
    done = sms("preview", "spring_sale")

    assert done.returncode == 0, done.stderr
    assert "FIRST_NAME" in done.stdout
    assert "1 SMS" in done.stdout


def refused(recipients: Path, stop_list: Path, campaign: Path, out: Path) -> str:
    done = sms(
        *("prepare", campaign, "--recipients", recipients, "--stop-list", stop_list),
        *("--at", AT, "--out", out),
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_duplicate_column_is_refused_by_name(campaign, stop_list, tmp_path):
    twice = tmp_path / "twice.csv"
    twice.write_text("key,msisdn,first_name,first_name,store\nk1,0639980001,Zoé,Léa,Lyon\n")

    told = refused(twice, stop_list, campaign, tmp_path / "out")

    assert "twice.csv has 2 columns 'first_name', and only one is expected" in told


def test_an_unusable_output_folder_is_refused(campaign, recipients, stop_list, tmp_path):
    (tmp_path / "a file").write_text("")

    for place, why in ((tmp_path / "a file", "File exists"), (tmp_path / "a file" / "x", "Not a")):
        told = refused(recipients, stop_list, campaign, place)
        assert "can't be a folder to write into" in told
        assert why in told


def test_a_full_disk_leaves_no_number_behind(campaign, stop_list, tmp_path, monkeypatch):
    people = tmp_path / "people.csv"
    with people.open("w", newline="", encoding="utf-8") as out:
        rows = [(f"k{at}", f"+3363998{at:04d}", "Zoé", "x" * 40) for at in range(500)]
        csv.writer(out).writerows([COLUMNS, *rows, ("bad", "1", "Léa", "Lyon")])
    with small_disk(tmp_path / "disk", monkeypatch) as disk:
        told = []
        for pages in range(40):
            disk.fill(but=pages)
            done = sms(
                *("prepare", campaign, "--recipients", people, "--stop-list", stop_list),
                *("--at", AT, "--out", disk.folder / "out"),
            )
            disk.make_room()
            if done.returncode == 0:
                break
            told.append(done.stderr)
            left = [path for path in disk.folder.rglob("*") if path.is_file()]
            assert [path for path in left if path.stat().st_size] == []
        assert len(told) > 5
        assert all("can't be written (No space left on device): make room" in one for one in told)
        assert len(list((disk.folder / "out").glob("SEND-*.csv"))) == 1
        assert len((disk.folder / "out" / "excluded.csv").read_text().splitlines()) == 3


def test_a_past_hour_is_refused(campaign, recipients, stop_list, tmp_path):
    done = sms(
        *("prepare", campaign, "--recipients", recipients, "--stop-list", stop_list),
        *("--at", "2020-03-03T10:00", "--out", tmp_path / "out"),
    )

    assert done.returncode == 0
    assert "has passed: the gateway sends such a file at once" in " ".join(done.stderr.split())


def test_lists_in_a_parquet_are_refused_in_the_text(campaign, stop_list, tmp_path):
    rows = [{"key": "k1", "msisdn": "0639980001", "first_name": ["Zoé", "Léa"], "store": "Lyon"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "lists.parquet")

    done = sms(
        *("prepare", campaign, "--recipients", tmp_path / "lists.parquet"),
        *("--stop-list", stop_list, "--at", AT, "--out", tmp_path / "out"),
    )

    assert done.returncode == 1
    assert "line 1: first_name is a list, a record, a duration or the like" in done.stderr


def test_a_preview_includes_the_longest_message_without_duplicates(campaign, recipients, stop_list):
    def drawn(samples: int) -> int:
        done = sms(
            *("preview", campaign, "--recipients", recipients, "--stop-list", stop_list),
            *("--samples", samples),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.count(" characters, ")

    assert [drawn(samples) for samples in (1, 2, 9)] == [2, 2, 2]


def test_csv_types_come_from_all_cells_and_are_shown(campaign, stop_list, tmp_path):
    (campaign / "message.txt").write_text(
        "{% if vip %}Cher client{% else %}Bonjour{% endif %} {{ first_name }}, "
        "{{ points + bonus }} points, {{ amount | euro }} le {{ day | date('d MMMM') }}, "
        "{first_name}"
    )
    people = tmp_path / "people.csv"
    people.write_text(
        "key;msisdn;first_name;vip;points;bonus;amount;day\n"
        "k1;+33639980001;Zoé;oui;90;100;12,5;24/12/2027\n"
        'k2;+33639980002;"O&#039;Neil";non;5;0;1000;03/03/2027\n'
    )

    done = sms(
        *("prepare", campaign, "--recipients", people, "--stop-list", stop_list),
        *("--at", AT, "--out", tmp_path / "out"),
    )

    [file] = (tmp_path / "out").glob("SEND-*.csv")
    first, second = file.read_text(encoding="utf-8-sig").splitlines()[-2:]
    assert "Cher client Zoé, 190 points, 12,50 € le 24 décembre, {first_name}" in first
    assert "Bonjour O&#039;Neil, 5 points, 1 000,00 € le 3 mars, {first_name}" in second
    told = " ".join(done.stderr.split())
    for column, noun in [
        *[("vip", "text that says yes or no"), ("points", "a whole number")],
        *[("amount", "a decimal number"), ("day", "a date")],
    ]:
        assert f"column {column}: read as {noun}, as all its values are" in told
    assert "line 1: {first_name} is sent as it is" in told
    assert "HTML entity" in told
    assert "(1 row, first 2)" in told


def test_a_comparison_that_is_never_true_is_refused(campaign, stop_list, tmp_path):
    (campaign / "message.txt").write_text("{{ points + 1 }}\n{% if points == '600' %}or{% endif %}")
    people = tmp_path / "people.csv"
    people.write_text("key,msisdn,points\nk1,+33639980001,600\n")

    done = sms("preview", campaign, "--recipients", people, "--stop-list", stop_list)

    assert done.returncode == 1
    told = " ".join(done.stderr.split())
    assert "message.txt, line 2: points (a whole number) is compared with the text '600'" in told
    assert "which is never true: write 600 without quotes" in told
    assert "Traceback" not in done.stderr


def test_one_greek_letter_excludes_its_row_in_latin_1(
    campaign, recipients, stop_list, tmp_path, monkeypatch
):
    settings = tmp_path / "settings.yaml"
    settings.write_text("encoding: iso-8859-1\n")
    monkeypatch.setenv("SMS_SETTINGS", str(settings))
    with recipients.open("a", encoding="utf-8") as more:
        more.write("k7,0639980007,Λ,Lyon\n")

    summary = prepared(campaign, recipients, stop_list, tmp_path / "out")

    assert summary["excluded"]["unsupported_characters"] == 1
    [file] = summary["files"]
    assert "Zoé".encode("iso-8859-1") in (tmp_path / "out" / file["name"]).read_bytes()


def test_an_emoji_first_name_is_blank_without_unicode(
    campaign, recipients, stop_list, tmp_path, monkeypatch
):
    with recipients.open("a", encoding="utf-8") as more:
        more.write("k7,0639980007,🌸,Lyon\nk8,0639980008,李,Lyon\n")

    summary = prepared(campaign, recipients, stop_list, tmp_path / "out")

    [file] = summary["files"]
    lines = (tmp_path / "out" / file["name"]).read_text(encoding="utf-8")
    assert summary["excluded"]["empty_value"] == 1
    assert [7] in [fault["first_rows"] for fault in summary["source_faults"]]
    assert "Bonjour ," not in lines
    assert "Bonjour ?," in lines  # `unsupported_characters: replace`

    settings = tmp_path / "settings.yaml"
    settings.write_text("unicode: true\n")
    monkeypatch.setenv("SMS_SETTINGS", str(settings))
    assert (
        "empty_value" not in prepared(campaign, recipients, stop_list, tmp_path / "u")["excluded"]
    )
