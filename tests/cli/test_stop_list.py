"""`sms stop-list`: import, export, removal, and what each refuses."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from sms.ledger.ledger import Ledger
from sms.ledger.pseudonyms import Key
from tests.campaign_folder import write_campaign
from tests.command_line import sms, sms_as_a_process

FIRST = 33_639_980_000
JULY = datetime(2026, 7, 1, 10, 5, tzinfo=UTC)


def said_stop(ledger: Ledger, number: int, at: datetime = JULY) -> None:
    rows = pa.table(
        {
            "msisdn": pa.array([FIRST + number], pa.int64()),
            "opted_out_at": pa.array([at], pa.timestamp("us", tz="UTC")),
            "message": ["STOP merci"],
        }
    )
    ledger.stop_list.add(rows, source="stop_report", stem="SEND-x")


@pytest.fixture
def crm(tmp_path):
    path = tmp_path / "crm.csv"
    path.write_text("phone;opted_out_at\n06 39 98 00 01;2026-07-01 12:05\n+33639980002;\n")
    return path


def test_a_list_is_imported_and_shown_with_its_name(ledger_url, crm):
    done = sms("stop-list", "import", crm, "--source", "crm", "--url", ledger_url)

    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout
        == "2 numbers in 2 rows, from the column 'phone': 2 new to the stop list, 0 in it already\n"
    )
    again = sms("stop-list", "import", crm, "--source", "crm", "--url", ledger_url)
    assert (
        again.stdout
        == "2 numbers in 2 rows, from the column 'phone': 0 new to the stop list, 2 in it already\n"
    )

    shown = sms("stop-list", "show", "06 39 98 00 01", "--url", ledger_url)
    assert shown.stdout.splitlines()[0] == (
        "+33639980001: in the stop list since 2026-07-01 12:05, by an import of the list crm"
    )
    assert "imported from the list crm: opted out 2026-07-01 12:05" in shown.stdout


def test_an_import_names_the_countries_of_national_numbers(ledger_url, tmp_path):
    home, file = tmp_path / "campaigns", tmp_path / "crm.csv"
    yaml = "kind: transactional\nsender: LUMIERE\nallowed_countries: [FR, BE]\n"
    write_campaign(home / "abroad", yaml, "SELECT 1", "Bonjour")
    write_campaign(home / "broken", "kind: no such kind\n", "SELECT 1", "Bonjour")
    (tmp_path / "settings.yaml").write_text(f"campaigns_folder: {home}\n")
    file.write_text("msisdn\n0470 12 34 56\n")

    done = sms(
        *("stop-list", "import", file, "--source", "crm", "--url", ledger_url),
        SMS_SETTINGS=str(tmp_path / "settings.yaml"),
    )

    assert done.returncode == 0
    assert "1 number in 1 row" in done.stdout
    assert "be a mobile: BE, FR" in done.stdout
    assert "its countries are not known" in " ".join(done.stderr.split())


def test_unreadable_rows_are_reported_and_the_others_imported(ledger_url, crm):
    crm.write_text(f"{crm.read_text()}0639 1;\n0123456789;tomorrow\n")

    done = sms("stop-list", "import", crm, "--source", "crm", "--url", ledger_url)

    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "2 numbers in 4 rows, from the column 'phone': 2 new to the stop list, 0 in it already",
        "1 row without a number that campaigns can write to: 1 landline",
        "1 date can't be read or in the future: such a number is opted out from now on",
    ]
    assert done.stderr == (
        f"1 row of {crm} can't be read and may be an opt-out (line 4; numbers "
        f"were looked for in 'phone'): all are listed in {crm}.rejects.csv. Correct them in the "
        "list and import it again\n"
    )
    assert crm.with_name("crm.csv.rejects.csv").read_text().splitlines()[1].startswith("4,")
    assert Ledger.connect(ledger_url).stop_list.size() == 2


def test_a_list_without_readable_rows_is_refused(ledger_url, tmp_path):
    unclear = tmp_path / "unclear.csv"
    for content in (
        "siren;portable\n732829320;+33639980001\n",
        "contact_id;since\n100000123;2026-03-01\n",
        "+33639980001,+33639980002,+33639980003\n",
        "msisdn\n0123456789\n",
    ):
        unclear.write_text(content)
        done = sms("stop-list", "import", unclear, "--source", "crm", "--url", ledger_url)

        assert (done.returncode, done.stdout) == (1, "")
        assert "msisdn" in done.stderr
        assert done.stderr.count("\n") == 1
    assert Ledger.connect(ledger_url).stop_list.size() == 0


def test_another_phone_of_a_row_is_entered_and_named(ledger_url, crm):
    crm.write_text("msisdn;phone2\n0639980001;0639980002\n")

    done = sms("stop-list", "import", crm, "--source", "crm", "--url", ledger_url)

    assert done.stdout == (
        "2 numbers in 1 row, from the columns 'msisdn' and 'phone2': 2 new to the stop list, "
        "0 in it already\n"
    )
    assert Ledger.connect(ledger_url).stop_list.size() == 2


def test_a_dry_run_changes_nothing(ledger_url, crm):
    done = sms("stop-list", "import", crm, "--source", "crm", "--url", ledger_url, "--dry-run")

    assert done.stdout.splitlines() == [
        "Nothing was changed. An import would do this:",
        "2 numbers in 2 rows, from the column 'phone': 2 new to the stop list, 0 in it already",
    ]
    assert Ledger.connect(ledger_url).stop_list.size() == 0


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_export_imported_elsewhere_is_the_same_stop_list(
    ledger_url, empty_database_url, tmp_path, suffix
):
    here, there = Ledger.connect(ledger_url), Ledger.connect(empty_database_url)
    there.upgrade()
    for number in range(5):
        said_stop(here, number, JULY + timedelta(microseconds=number))
    path = tmp_path / f"stop.{suffix}"

    done = sms("stop-list", "export", path, "--url", ledger_url)
    assert done.stdout == f"{path}: 5 numbers\n"
    sms("stop-list", "import", path, "--source", "here", "--url", empty_database_url)

    lists = [pa.Table.from_batches(ledger.stop_list.rows()) for ledger in (here, there)]
    assert lists[0].equals(lists[1])
    assert lists[0].num_rows == 5


def test_a_piped_export_has_the_format_of_its_suffix(ledger_url, tmp_path):
    said_stop(Ledger.connect(ledger_url), 1)

    piped = sms_as_a_process("stop-list", "export", "-", "--url", ledger_url)
    wrong = sms("stop-list", "export", tmp_path / "stop.txt", "--url", ledger_url)
    nowhere = sms("stop-list", "export", tmp_path / "no" / "stop.csv", "--url", ledger_url)

    assert piped.stdout == "msisdn,opted_out_at\n+33639980001,2026-07-01T10:05:00.000000Z\n"
    assert wrong.returncode == 2
    assert "neither in .csv nor in .parquet" in wrong.stderr
    assert (nowhere.returncode, "can't be written" in nowhere.stderr) == (1, True)


def test_a_removal_needs_a_reason_and_stays_on_record(ledger_url):
    said_stop(Ledger.connect(ledger_url), 1)
    number = "+33639980001"

    for wrong in ((), ("--reason", " ")):
        refused = sms("stop-list", "remove", number, *wrong, "--url", ledger_url)
        assert refused.returncode == 2
    assert Ledger.connect(ledger_url).stop_list.size() == 1
    done = sms("stop-list", "remove", number, "--reason", "By post", "--url", ledger_url)
    assert done.returncode == 0

    shown = sms("stop-list", "show", number, "--url", ledger_url).stdout
    assert shown.startswith(f"{number}: not in the stop list\n")
    assert "by sms stop-list remove: By post (was in it since 2026-07-01 12:05" in shown
    twice = sms("stop-list", "remove", number, "--reason", "By post", "--url", ledger_url)
    assert (twice.returncode, number in twice.stderr) == (1, False)


def test_a_hashed_list_needs_its_key_and_reports_gaps(ledger_url, tmp_path):
    key = "k" * 40
    ledger = Ledger.connect(ledger_url, key=lambda: Key.of(key))
    said_stop(ledger, 1)
    said_stop(ledger, 2)
    ledger.stop_list.hash_old(JULY, after=0, most=1)  # the first night
    forgotten = sms(
        *("forget", "+33639980001", "--url", ledger_url),
        SMS_STOP_LIST_KEY=key,
        SMS_SETTINGS=str(settings(tmp_path, "hash_stop_list: true")),
    )
    assert "their opt-out is kept, as a hash" in forgotten.stdout

    show = ("stop-list", "show", "+33639980001", "--url", ledger_url)
    assert sms(*show, SMS_STOP_LIST_KEY=key).stdout.startswith(
        "+33639980001: in the stop list since 2026-07-01 12:05, by the provider's STOP report"
        " on SEND-x, where only a hash of the number is left\n"
    )
    for given, sentence in {
        "": "the stop list is kept as hashes: set SMS_STOP_LIST_KEY",
        "short": "the stop list's key has 5 characters, and needs 32 or more",
        "x" * 40: "the stop list has hashes of another key than the given one",
    }.items():
        refused = sms(*show, SMS_STOP_LIST_KEY=given)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith(sentence)

    exported = sms("stop-list", "export", "-", "--url", ledger_url)
    assert exported.stdout.splitlines()[1:] == ["+33639980002,2026-07-01T10:05:00.000000Z"]
    assert exported.stderr == (
        "1 number kept as a hash can't be exported: this file alone does not protect people who "
        "opted out\n"
    )
    told = sms("explain", "+33639980001", "--url", ledger_url, SMS_STOP_LIST_KEY=key).stdout
    assert "Now: not written to: in the stop list since 2026-07-01 12:05" in told


def settings(folder, text):
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def test_an_invalid_number_and_an_old_ledger_are_refused(ledger_url, empty_database_url, crm):
    wrong = sms("stop-list", "show", "Durand", "--url", ledger_url)
    assert (wrong.returncode, "this is no phone number" in wrong.stderr) == (2, True)

    old = sms("stop-list", "import", crm, "--source", "crm", "--url", empty_database_url)
    assert (old.returncode, "upgrade the ledger" in old.stderr) == (1, True)
    unnamed = sms("stop-list", "import", crm, "--source", " ", "--url", ledger_url)
    assert unnamed.returncode == 2
