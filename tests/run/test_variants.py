"""A run with variants, from its plan to the ledger."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sms.audience.screening import Reason
from sms.campaign.definition import load
from sms.run import review as reviewed
from sms_airflow.documentation import campaign_page
from sms_sandbox import Sandbox
from tests.run.by_command import HOUR, RUN, prepared
from tests.world import SANDBOX_ONLY, World, numbers

pytestmark = SANDBOX_ONLY

VARIANTS = """\
variants:
  warm: {text: message.txt, weight: 75%}
  short: {text: message_short.txt, weight: 25%}
control_group: 20%
"""
SHORT = "-20% € {{ name }}"


@pytest.fixture(autouse=True)
def a_short_text(world: World) -> None:
    home = world.folder / "campaigns" / "tests"
    home.mkdir(parents=True)
    (home / "message_short.txt").write_text(SHORT)


def of_each(world: World, run: str) -> dict[str, list[str]]:
    """The texts of a run by variant, as its folder keeps them."""
    found: dict[str, list[str]] = {}
    for stem in world.stems(run):
        table = pq.read_table(world.run_folder(run).messages(stem))
        for row in table.to_pylist():
            found.setdefault(row["variant"], []).append(row["msg"])
    return found


def test_each_message_keeps_its_variant_up_to_the_ledger(world: World, gateway: Sandbox) -> None:
    [prepared] = world.prepare(numbers(200), more=VARIANTS)
    world.submit(prepared.stem)

    texts = of_each(world, "one")
    assert all(text.startswith("Bonjour Léa") for text in texts["warm"])
    assert all(text.startswith("-20% € Léa") for text in texts["short"])
    with world.ledger.engine.connect() as db:
        rows = db.exec_driver_sql("SELECT variant, sent FROM sms.variant_summary").all()
        known = dict(db.exec_driver_sql("SELECT key, variant FROM sms.delivery").all())
    assert dict(rows) == {name: len(each) for name, each in texts.items()}
    kept = pq.read_table(world.run_folder("one").messages(prepared.stem))
    assert known == dict(zip(kept["key"].to_pylist(), kept["variant"].to_pylist(), strict=True))
    assert len(texts["short"]) < len(texts["warm"])


def test_the_control_group_is_excluded_with_key_and_reason(
    world: World,
) -> None:
    [prepared] = world.prepare(numbers(200), more=VARIANTS)

    excluded = pq.read_table(world.run_folder("one").excluded)
    assert set(excluded["reason"].to_pylist()) == {str(Reason.CONTROL_GROUP)}
    assert excluded["key"].null_count == 0
    summary = world.ledger.runs.summary("one")
    assert summary.excluded == {"control_group": excluded.num_rows}
    assert summary.audience == prepared.messages == 200 - excluded.num_rows
    assert summary.balanced


def test_the_review_shows_counts_and_samples_of_each_variant(world: World) -> None:
    world.text = "Bonjour {{ name }}, " + "à samedi ! " * 20
    world.settings = world.settings.model_copy(update={"long_sms": True})
    world.prepare(numbers(200), more=VARIANTS + "max_recipients_per_file: 60\n")

    review = world.run_folder("one").read_review()
    texts = of_each(world, "one")
    held = world.ledger.runs.summary("one").excluded["control_group"]
    warm, short = len(texts["warm"]), len(texts["short"])
    assert (
        "## To compare\n\n| | people | SMS |\n|---|---:|---:|\n"
        f"| variant `warm` | {warm} | {2 * warm} |\n"
        f"| variant `short` | {short} | {short} |\n"
        f"| control group, not written to | {held} | 0 |\n"
    ) in review
    assert review.count(", 2 SMS, variant `warm`\n") == 3
    assert review.count(", 1 SMS, variant `short`\n") == 3
    assert review.count("  > -20% € Léa") == 3


def test_a_run_without_variants_is_unchanged(world: World) -> None:
    (world.folder / "campaigns" / "tests" / "message_short.txt").unlink()
    [prepared] = world.prepare(numbers(9))

    kept = pq.read_table(world.run_folder("one").messages(prepared.stem))
    review = world.run_folder("one").read_review()
    assert "variant" not in kept.column_names
    assert "To compare" not in review
    assert review.count("  > Bonjour Léa") == reviewed.SAMPLES


def test_the_dag_and_the_command_draw_the_same_variants(world: World, tmp_path: Path) -> None:
    more = VARIANTS + "max_recipients_per_file: 100\n"
    parts = world.prepare(numbers(300), run=RUN, send_at=HOUR, more=more)
    made = prepared(world, numbers(300), tmp_path, row_group_size=70)
    assert [file["sha256"] for file in made["files"]] == [part.sha256 for part in parts]
    assert len(parts) > 1
    counts = Counter({name: len(texts) for name, texts in of_each(world, RUN).items()})
    assert {name: each["messages"] for name, each in made["variants"].items()} == counts


def test_a_late_stop_leaves_the_others_with_their_variants(world: World, gateway: Sandbox) -> None:
    [prepared] = world.prepare(numbers(50), more=VARIANTS)
    kept = pq.read_table(world.run_folder("one").messages(prepared.stem))
    late = {"msisdn": kept["msisdn"][:1], "opted_out_at": [None], "message": ["STOP"]}
    world.ledger.stop_list.add(pa.table(late), source="reply")

    world.submit(prepared.stem)

    with world.ledger.engine.connect() as db:
        rows = db.exec_driver_sql("SELECT key, variant FROM sms.delivery").all()
    assert len(rows) == kept.num_rows - 1
    whose = dict(zip(kept["key"].to_pylist(), kept["variant"].to_pylist(), strict=True))
    assert dict(rows).items() <= whose.items()


def test_a_campaigns_page_shows_each_text_with_its_share(world: World) -> None:
    world.plan(more=VARIANTS)

    page = campaign_page(load(world.folder / "campaigns" / "tests"), world.settings)

    assert "| Control group | 20% of the recipients are not written to |" in page
    assert "| Text `warm`, 75% | Bonjour {{ name }}, à samedi ! |" in page
    assert f"| Text `short`, 25% | {SHORT} |" in page
