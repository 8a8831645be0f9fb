"""Samples show each branch of a text's conditions, and report branches that no recipient takes."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.campaign.template import Template
from sms.message.rendering import MESSAGES_SCHEMA, VARIANT, WAY
from sms.message.samples import EachWay, rows_at
from tests.campaign_folder import write_campaign
from tests.command_line import sms
from tests.message.messages import FEW, audience, rendered, texts

TIERS = (
    "{% if tier == 'gold' %}Or{% elif tier == 'silver' %}Argent{% else %}Bonjour{% endif %}"
    "{{ ' et merci' if old }} {{ tier }}"
)


def test_each_message_records_the_branches_it_took() -> None:
    rows = audience(tier=["gold", "silver", "none", "gold"], old=["x", None, "x", None])

    rendering = rendered(TIERS, rows)

    assert texts(rendering)[:2] == ["Or et merci gold", "Argent silver"]
    assert rendering.messages.schema == MESSAGES_SCHEMA.append(WAY)
    assert rendering.messages["way"].to_pylist() == ["1+ 3+", "1- 2+ 3-", "1- 2- 3+", "1+ 3-"]


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("{{ tier }}", None),
        ("{{ tier|upper }}", None),
        ("{{ tier or 'x' }}", None),
        ("{% for s in tier %}{% if s == 'o' %}0{% else %}{{ s }}{% endif %}{% endfor %}", "1+ 1-"),
        ("{{ ('a' if tier else 'b')|upper }}{{ 'c' if tier == 'x' else 'd' }}", "1+ 2-"),
        ("{% set n = tier|length %}{% if n > 2 %}{{ n }}{% endif %}x", "1+"),
        ("{% if tier %}{% if tier == 'x' %}a{% endif %}{% endif %}b", "1+ 2-"),
    ],
)
def test_only_conditions_have_branches(text: str, ways: str | None) -> None:
    messages = rendered(text, audience(tier=["gold"])).messages

    assert (
        (messages["way"].to_pylist() == [ways]) if ways else WAY.name not in messages.schema.names
    )


def test_a_condition_that_never_holds_is_reported() -> None:
    text = (
        "Bonjour\n{% if tier == 'Gold' %}or{% endif %}\n"
        "{% if old %}{{ 'a' if tier else 'b' }}{% endif %}"
    )
    messages = rendered(text, audience(tier=["gold", "silver"], old=[None, None])).messages

    ways = EachWay()

    assert ways.fresh(messages) == [0]
    assert [*ways.unmet(Template(text).conditions)] == [
        "line 2: its condition is true in no message",
        "line 3: its condition is true in no message",
        "line 3: its condition is reached in no message",
    ]


def test_a_comparison_that_always_holds_is_reported() -> None:
    text = "{% if tier != 'Gold' %}a{% endif %}{% if tier %}b{% endif %}"
    told = {}
    for size in (2, 100):
        ways = EachWay()
        ways.fresh(rendered(text, audience(tier=["gold"] * size)).messages)
        told[size] = [*ways.unmet(Template(text).conditions)]

    assert told == {2: [], 100: ["line 1: its condition is true in every message"]}


ROWS = st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("ab")), max_size=6)


@FEW
@given(st.lists(ROWS, max_size=5))
def test_every_branch_taken_is_shown_once(batches: list[list[tuple[bool, bool, str]]]) -> None:
    ways, shown = EachWay(), list[tuple[str, str]]()
    there: set[tuple[str, str]] = set()
    for rows in batches:
        way = [f"1{'+' if one else '-'} 2{'+' if two else '-'}" for one, two, _ in rows]
        columns = [
            pa.array([of for *_, of in rows], pa.large_string()),
            pa.array(way, pa.large_string()),
        ]
        messages = pa.RecordBatch.from_arrays(columns, schema=pa.schema([VARIANT, WAY]))
        there |= {(rows[place][2], each) for place, of in enumerate(way) for each in of.split()}

        shown += [(rows[place][2], way[place]) for place in ways.fresh(messages)]

    assert {(of, each) for of, way in shown for each in way.split()} == there
    assert len(shown) <= len(there)


@FEW
@given(st.lists(st.integers(0, 5), max_size=8), st.sets(st.integers(0, 40)))
def test_rows_are_found_by_their_positions(sizes: list[int], places: set[int]) -> None:
    whole = np.arange(sum(sizes))
    ends = np.cumsum(sizes)
    batches = [
        pa.RecordBatch.from_arrays([pa.array(part)], names=["n"])
        for part in np.split(whole, ends[:-1] if len(sizes) else [])
    ]

    found = [row for batch in rows_at(batches, places) for row in batch["n"].to_pylist()]

    assert found == sorted(place for place in places if place < len(whole))


def test_prepare_and_preview_report_a_condition_never_met(tmp_path: Path) -> None:
    folder = write_campaign(
        tmp_path / "tiers",
        "kind: transactional\nsender: LUMIERE\n",
        "SELECT 1",
        "{% if tier == 'Gold' %}Or{% else %}Bonjour{% endif %} !",
    )
    people, stopped = tmp_path / "people.csv", tmp_path / "stop.csv"
    people.write_text("key,msisdn,tier\nk1,+33639980001,gold\nk2,+33639980002,silver\n")
    stopped.write_text("msisdn\n+33639980009\n")
    files = ("--recipients", people, "--stop-list", stopped)

    seen = sms("preview", folder, *files)
    made = sms("prepare", folder, *files, "--at", "2027-03-02T10:00", "--out", tmp_path / "out")

    for done in (seen, made):
        assert done.returncode == 0, done.stderr
        told = " ".join(done.stderr.split())
        assert "text message.txt, line 1: its condition is true in no message" in told
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["messages"] == 2


def test_a_preview_shows_each_branch_beside_the_first_messages(tmp_path: Path) -> None:
    folder = write_campaign(
        tmp_path / "tiers",
        "kind: transactional\nsender: LUMIERE\n",
        "SELECT 1",
        "{% if vip %}Cher{% else %}Bonjour{% endif %} client",
    )
    people = tmp_path / "people.csv"
    rows = [f"k{n},+336399800{n:02},{'yes' if n == 50 else 'no'}" for n in range(90)]
    people.write_text("\n".join(["key,msisdn,vip", *rows]))

    done = sms("preview", folder, "--recipients", people, "--samples", "1")

    assert done.stdout.count("Bonjour client") == 1
    assert done.stdout.count("Cher client") == 1
