"""`sms prepare` and `sms preview` of a campaign with variants."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from sms.audience.screening import SENTENCES
from tests.cli.preparing import AT, prepared
from tests.command_line import sms

PEOPLE = 400
VARIANTS = """\
variants:
  warm: {text: message_warm.txt, weight: 70%}
  short: {text: message_short.txt, weight: 30%}
control_group: 10%
"""
TEXTS = {"warm": "Bonjour {{ first_name }} !", "short": "-20% chez {{ store }}"}


@pytest.fixture
def compared(campaign: Path) -> Path:
    """The campaign with two texts, and a control group."""
    (campaign / "message.txt").unlink()
    for name, text in TEXTS.items():
        (campaign / f"message_{name}.txt").write_text(text)
    with (campaign / "campaign.yaml").open("a") as out:
        out.write(VARIANTS)
    return campaign


@pytest.fixture
def stop_list(tmp_path: Path) -> Path:
    path = tmp_path / "stop.csv"
    path.write_text("msisdn\n06 39 98 00 00\n")
    return path


def people(path: Path, numbers: list[int], **columns: str) -> Path:
    names = ("key", "msisdn", "first_name", "store")
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, names)
        writer.writeheader()
        for n in numbers:
            row = {"key": f"k{n}", "msisdn": f"063998{n:04}", "first_name": "Zoé", "store": "Lyon"}
            writer.writerow(row | columns)
    return path


def read(out: Path, summary: dict) -> tuple[dict[str, str], dict[str, str]]:
    """Each number's variant, told by its text, and each left-out key's reason."""
    [file] = summary["files"]
    lines = (out / file["name"]).read_text(encoding="utf-8").splitlines()
    whose = {"Bonjour Zoé ! STOP 36180": "warm", "-20% chez Lyon STOP 36180": "short"}
    texts = {line.split(";")[1]: whose[line.split(";")[3]] for line in lines}
    with (out / "excluded.csv").open(encoding="utf-8") as excluded:
        return texts, {row["key"]: row["reason"] for row in csv.DictReader(excluded)}


def test_recipients_get_one_variant_or_join_the_control_group(compared, stop_list, tmp_path):
    recipients = people(tmp_path / "people.csv", [*range(PEOPLE), 7])

    summary = prepared(compared, recipients, stop_list, tmp_path / "out")

    texts, excluded = read(tmp_path / "out", summary)
    reasons = Counter(excluded.values())
    assert summary["excluded"] == reasons
    assert (reasons["opted_out"], reasons["duplicate_msisdn"]) == (1, 1)
    assert 20 < reasons["control_group"] < 60
    assert summary["candidates"] == PEOPLE + 1 == len(texts) + reasons.total()
    assert (
        "see control_group in campaign.yaml"
        in summary["reasons"]["control_group"]
        == SENTENCES["control_group"]
    )
    counts = Counter(texts.values())
    assert summary["variants"] == {
        name: {"messages": counts[name], "segments": counts[name]} for name in TEXTS
    }
    assert 220 < counts["warm"] < 290


def test_draws_survive_reordering_and_a_larger_control_group(compared, stop_list, tmp_path):
    first, other = tmp_path / "first", tmp_path / "other"
    recipients = people(tmp_path / "people.csv", list(range(PEOPLE)))
    texts, excluded = read(first, prepared(compared, recipients, stop_list, first))
    backwards = people(tmp_path / "backwards.csv", list(range(PEOPLE))[::-1])
    yaml = compared / "campaign.yaml"
    yaml.write_text(yaml.read_text().replace("control_group: 10%", "control_group: 25%"))

    again, more = read(other, prepared(compared, backwards, stop_list, other))

    assert again.items() < texts.items()
    assert excluded.items() < more.items()


def test_a_gap_in_one_variants_column_excludes_from_all(compared, stop_list, tmp_path):
    recipients = people(tmp_path / "people.csv", list(range(PEOPLE)))
    with recipients.open("a") as out:
        out.writelines(f"g{n},063998{n:04},,Lyon\n" for n in range(PEOPLE, 2 * PEOPLE))

    summary = prepared(compared, recipients, stop_list, tmp_path / "out")

    assert summary["excluded"]["missing_value"] == PEOPLE
    assert summary["source_faults"][0]["column"] == "first_name"


def test_a_row_limit_includes_the_control_group(compared, stop_list, tmp_path):
    recipients = people(tmp_path / "people.csv", list(range(PEOPLE)))

    summary = prepared(compared, recipients, stop_list, tmp_path / "out", "--limit", 100)

    told = summary["messages"] + sum(summary["excluded"].values())
    assert told == summary["candidates"] == 100
    assert summary["excluded"]["control_group"]


def test_a_campaign_without_variants_does_not_mention_them(campaign, stop_list, tmp_path):
    recipients = people(tmp_path / "people.csv", [1, 2, 3])

    summary = prepared(campaign, recipients, stop_list, tmp_path / "out")

    assert summary["messages"] == 3
    assert "variants" not in summary
    assert "Variants" not in sms("preview", campaign, "--recipients", recipients).stdout


def test_a_preview_shows_samples_and_counts_per_variant(compared, stop_list, tmp_path):
    recipients = people(tmp_path / "people.csv", list(range(PEOPLE)))
    told = ("--recipients", recipients, "--stop-list", stop_list, "--samples", 2)

    done = sms("preview", compared, *told, COLUMNS="200")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("LUMIERE, variant warm") == 2
    assert done.stdout.count("LUMIERE, variant short") == 2
    assert done.stdout.count("Bonjour Zoé !") == 2
    summary = prepared(compared, recipients, stop_list, tmp_path / "out")
    for name, counts in summary["variants"].items():
        assert f"{counts['messages']} {name}" in " ".join(done.stdout.split())
    assert f"{summary['excluded']['control_group']} control_group" in " ".join(done.stdout.split())


def test_a_preview_without_recipients_shows_every_text(compared):
    done = sms("preview", compared, COLUMNS="200")

    assert done.returncode == 0, done.stderr
    assert "Bonjour FIRST_NAME !" in done.stdout
    assert "-20% chez STORE" in done.stdout


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{{ nickname }}", "message_warm.txt or message_short.txt uses {{ nickname }}, but"),
        ("Bonjour {{", "message_short.txt, line 1: is no template"),
    ],
)
def test_an_unusable_text_is_named(compared, stop_list, tmp_path, text, sentence):
    (compared / "message_short.txt").write_text(text)
    recipients = people(tmp_path / "people.csv", [1])

    done = sms(
        *("prepare", compared, "--recipients", recipients, "--stop-list", stop_list),
        *("--at", AT, "--out", tmp_path / "out"),
    )

    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_slow_text_is_named_by_its_file(compared, stop_list, tmp_path):
    (compared / "message_short.txt").write_text("Bonjour\n{{ store|title }}")
    recipients = people(tmp_path / "people.csv", list(range(9)))

    checked = sms("check", compared)
    summary = prepared(compared, recipients, stop_list, tmp_path / "out")

    assert checked.stderr.startswith("note ")
    assert f"{compared}/message_short.txt, line 2: `title` is worked out" in " ".join(
        checked.stderr.split()
    )
    assert summary["slow_because"].startswith("message_short.txt, line 2: `title`")
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
