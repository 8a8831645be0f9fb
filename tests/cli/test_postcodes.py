"""Postcodes through the command line: the hours they give, and their faults."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.campaign_folder import write_campaign
from tests.command_line import sms

# The night in Guadeloupe: what is taken for mainland France goes out at this hour, 04:00 there.
AT = "2027-03-02T09:00"


def prepared(
    campaign: Path,
    *homes: str,
    yaml: str = "postcode: home\n",
    at: str = AT,
    numbers: Sequence[str] = (),
) -> dict:
    people, stops, out = (campaign.parent / name for name in ("people.csv", "stop.csv", "out"))
    with (campaign / "campaign.yaml").open("a") as more:
        more.write(yaml)
    (campaign / "message.txt").write_text("Bonjour !")
    with people.open("w", newline="", encoding="utf-8") as file:
        rows = [(f"k{n}", f"06399800{n:02}", home) for n, home in enumerate(homes)]
        rows += [(f"n{n}", number, "") for n, number in enumerate(numbers)]
        csv.writer(file).writerows([("key", "msisdn", "home"), *rows])
    stops.write_text("msisdn\n")
    done = sms(
        *("prepare", campaign, "--recipients", people, "--stop-list", stops),
        *("--at", at, "--out", out),
    )
    assert done.returncode == 0, done.stderr
    return json.loads((out / "summary.json").read_text()) | {"told": done.stdout + done.stderr}


@pytest.mark.parametrize(
    "home",
    ["F-97100", "FR-97100", "97100 BASSE-TERRE", "97 100", "97\u00a0100", "97100 ", '"97100 "'],
)
def test_a_postcode_of_guadeloupe_gets_guadeloupes_hours(campaign, home):
    summary = prepared(campaign, "75001", home)

    hours = {file["zone"]: file["send_at"] for file in summary["files"]}
    assert hours == {"FR": "2027-03-02T08:00:00+00:00", "GP": "2027-03-02T12:00:00+00:00"}


def test_a_department_of_three_digits_keeps_alsaces_holidays(campaign):
    summary = prepared(campaign, "75001", "067", at="2027-03-26T10:00")

    hours = {file["zone"]: file["send_at"] for file in summary["files"]}
    assert hours["alsace_moselle"].startswith("2027-03-27")


def test_an_unreadable_postcode_is_a_source_fault(campaign):
    summary = prepared(campaign, "75001", "Basse-Terre", "", "97", "B-1000", "n/a", "99999")

    assert summary["excluded"] == {"unreadable_postcode": 4}
    [fault] = summary["source_faults"]
    assert (fault["code"], fault["column"], fault["count"], fault["first_rows"]) == (
        *("unreadable_postcode", "home", 4),
        [2, 4, 5],
    )
    assert "home: the postcode can't be read" in " ".join(summary["told"].split())
    assert summary["messages"] == 3


def test_a_postcode_is_unchecked_without_zone_rules(campaign):
    more = "postcode: home\noverseas: mainland\nalsace_moselle: ignore\n"

    assert prepared(campaign, "75001", "Basse-Terre", yaml=more)["messages"] == 2


@pytest.mark.parametrize(
    ("more", "messages", "excluded"),
    [
        ("", 1, {"national_msisdn": 3}),
        ("national_numbers: FR\n", 3, {"landline": 1}),
    ],
)
def test_a_swiss_number_without_its_code_is_not_french(campaign, more, messages, excluded):
    numbers = ["079 123 45 67", "0470 12 34 56", "06 39 98 00 01", "+33639980002"]

    summary = prepared(campaign, yaml=f"allowed_countries: [FR, CH, BE]\n{more}", numbers=numbers)

    assert (summary["messages"], summary["excluded"]) == (messages, excluded)
    told = {fault["code"]: fault["first_rows"] for fault in summary["source_faults"]}
    assert told == ({} if more else {"national_msisdn": [1, 2, 3]})
    assert not any(number in json.dumps(summary) for number in numbers)


def test_a_filler_number_is_reported_but_never_shown(campaign):
    summary = prepared(campaign, yaml="", numbers=["0639980001", *["0600000000"] * 30])

    assert (summary["messages"], summary["excluded"]) == (2, {"filler_msisdn": 29})
    [fault] = summary["source_faults"]
    assert (fault["code"], fault["count"], fault["first_rows"]) == ("filler_msisdn", 29, [3, 4, 5])
    assert "600000000" not in json.dumps(summary)


@pytest.mark.parametrize("name", ["Postcode", "post_code", "code_postal", "zip"])
def test_an_undeclared_postcode_column_is_refused(campaign, name):
    people, stops = (campaign.parent / name for name in ("people.csv", "stop.csv"))
    (campaign / "message.txt").write_text("Bonjour !")
    people.write_text(f"key,msisdn,{name}\nk1,0639980001,97100\n")
    stops.write_text("msisdn\n")
    call = ("prepare", campaign, "--recipients", people, "--stop-list", stops, "--at", AT, "--out")

    done = sms(*call, campaign.parent / "out")

    assert done.returncode == 1
    assert f"did you mean `postcode: {name}`?" in " ".join(done.stderr.split())
    with (campaign / "campaign.yaml").open("a") as more:
        more.write(f"postcode: {name}\n")
    assert sms(*call, campaign.parent / "out").returncode == 0


@pytest.mark.parametrize(
    ("countries", "number", "spelled"),
    [
        ("[FR, BE]", "+32470123456", "0470 12 34 56"),
        ("[FR, BE]", "+32470123456", "470123456"),
        ("[FR, CH]", "+41791234567", "079 123 45 67"),
        ("[FR, ES]", "+34612345678", "612 345 678"),
        ("[CH]", "+41791234567", "791234567"),
        ("[FR, CH]", "+41791234567", "+41 79 123 45 67"),
    ],
)
def test_an_ambiguous_national_stop_covers_each_possible_number(
    tmp_path: Path, countries: str, number: str, spelled: str
) -> None:
    folder = write_campaign(
        tmp_path / "abroad",
        f"kind: transactional\nsender: LUMIERE\nallowed_countries: {countries}\n",
        "SELECT 1",
        "Bonjour",
    )
    people, stopped = tmp_path / "people.csv", tmp_path / "stop.csv"
    people.write_text(f"key,msisdn\nk1,{number}\nk2,+33639980002\n")
    stopped.write_text(f"msisdn\n{spelled}\n+33639980009\n")

    done = sms("preview", folder, "--recipients", people, "--stop-list", stopped)

    assert done.returncode == 0, done.stderr
    assert "opted_out" in done.stdout
