"""The review beside the run itself: limits, the previous run, and other open runs."""

import shutil
from datetime import datetime, timedelta

import pyarrow as pa

from sms import clock
from sms.audience.opt_out_files import MOMENT
from sms.audience.screening import SENTENCES, Reason
from sms.clock import PARIS
from sms.ledger.states import State
from sms_sandbox import Sandbox
from tests.world import SANDBOX_ONLY, World, numbers

pytestmark = SANDBOX_ONLY

HOUR = timedelta(hours=1)


def review(world: World, run: str) -> str:
    return world.run_folder(run).read_review()


def section(world: World, run: str, title: str) -> list[str]:
    """The lines below a title, without the empty ones."""
    _, _, rest = review(world, run).partition(f"## {title}")
    return [line for line in rest.partition("\n## ")[0].splitlines()[1:] if line]


def sent(world: World, gateway: Sandbox, people: list[str], run: str, more: str = "") -> None:
    """A run that goes out, and a day later."""
    [prepared] = world.prepare(people, run=run, more=more)
    world.submit(prepared.stem)
    world.accepted(prepared.stem)
    gateway.move_clock(to=clock.now() + timedelta(days=1))


def test_each_limit_is_shown_beside_the_runs_value(world: World, gateway: Sandbox) -> None:
    world.settings = world.settings.model_copy(update={"prices": {"FR": 0.05}})
    sent(world, gateway, numbers(4), "first", "frequency_cap: 1 per 7 days\n")

    world.prepare(
        [*numbers(8), "no number"],
        run="second",
        more="max_recipients: 16\nmin_recipients: 2\nmax_growth: 150%\nmax_invalid_share: 50%\n"
        "max_segments: 5\nbudget: 0.8\nfrequency_cap: 1 per 7 days\nsuppress_after_failures: 3\n",
    )

    assert section(world, "second", "Limits")[2:] == [
        "| `max_recipients` | 16 | 4 (25% of it) |",
        "| `min_recipients` | 2 | 4 (200% of it) |",
        "| `max_growth` | 150% | +0% (the largest before was 4) |",
        "| `max_invalid_share` | 50% | 11.1% (1) |",
        "| `max_segments` | 5 | 4 (80% of it) |",
        "| `budget` | 0.80 | 0.20 (25% of it) |",
        "| `frequency_cap` | 1 per 7 days | 4 left out |",
        "| `suppress_after_failures` | 3 | 0 left out |",
    ]


def test_counts_come_first_then_samples_then_tables(world: World) -> None:
    world.prepare(numbers(2), more="max_recipients: 16\n")

    told = review(world, "one")

    titles = [line for line in told.splitlines() if line.startswith("#")]
    wanted = ["# ", "## Samples", "## Limits", "## Recipients", "## Length", "## Files"]
    assert [title[:12].rstrip() for title in titles[1:]] == [each[:12] for each in wanted[1:]]
    assert told.index("**Messages:** 2") < told.index("## Samples")


def test_a_review_shows_the_length_of_the_stop_list(world: World) -> None:
    opt_out = {"msisdn": [33639980001], "opted_out_at": pa.array([None], MOMENT), "message": ["a"]}
    world.ledger.stop_list.add(pa.table(opt_out), source="stop_report", stem="SEND-x")
    world.prepare(numbers(2))

    assert "- **Stop list:** 1 number at the time of screening" in review(world, "one")


def test_a_first_run_without_limits_mentions_none(world: World) -> None:
    world.prepare(numbers(2))

    told = review(world, "one")
    assert "- **Stop list:** 0 numbers at the time of screening" in told
    for title in ("## Limits", "## Against the last run", "## Other runs"):
        assert title not in told


def test_changes_since_the_last_run_are_counted(world: World, gateway: Sandbox) -> None:
    world.settings = world.settings.model_copy(update={"prices": {"FR": 0.05}, "long_sms": True})
    sent(world, gateway, [*numbers(4), "no number"], "first")
    world.text = "Bonjour {{ name }} ! " + "a" * 160

    world.prepare([*numbers(5), numbers(1)[0]], run="second")

    told = section(world, "second", "Against the last run, 2027-03-02 09:30 in Paris")
    assert told == [
        "- **Text:** **changed**",
        "- **Query:** unchanged",
        "| | this run | last run | change |",
        "|---|---:|---:|---:|",
        "| messages | 5 | 4 | +1 |",
        "| SMS | 10 | 4 | +6 |",
        "| SMS per message | 2.00 | 1.00 | +1.00 |",
        "| EUR per message, by today's prices | 0.1000 | 0.0500 | +0.0500 |",
        f"| excluded: {SENTENCES[Reason.DUPLICATE_MSISDN]} | 1 | 0 | +1 |",
        f"| excluded: {SENTENCES[Reason.MALFORMED_MSISDN]} | 0 | 1 | -1 |",
    ]


def test_the_last_runs_cost_uses_prices_per_country(world: World, gateway: Sandbox) -> None:
    world.settings = world.settings.model_copy(update={"prices": {"FR": 0.05, "GB": 0.5}})
    abroad = [*numbers(2), "+44 7700 900123"]
    sent(world, gateway, abroad, "first", "allowed_countries: [FR, GB]\n")

    world.prepare(numbers(3), run="second", more="allowed_countries: [FR, GB]\n")

    told = "\n".join(section(world, "second", "Against the last run"))
    assert "| EUR per message, by today's prices | 0.0500 | 0.2000 | -0.1500 |" in told


def test_a_deleted_last_run_folder_leaves_its_text_unknown(world: World, gateway: Sandbox) -> None:
    sent(world, gateway, numbers(2), "first")
    shutil.rmtree(world.run_folder("first").path)

    world.prepare(numbers(2), run="second")

    told = "\n".join(section(world, "second", "Against the last run"))
    assert "- **Text:** not known, since the last run's folder is gone" in told
    assert "| messages | 2 | 2 | none |" in told
    assert "EUR per message" not in told  # the settings give no price


def test_other_runs_still_to_be_sent_are_named(world: World, gateway: Sandbox) -> None:
    world.prepare(numbers(3), run="dry", dry_run=True)
    world.plan("planned", send_at=clock.now() + 8 * HOUR)
    world.prepare(numbers(3), run="prepared", send_at=clock.now() + 5 * HOUR)
    [gone] = world.prepare(numbers(2), run="gone")
    world.submit(gone.stem)
    [refused] = world.prepare(numbers(2), run="refused", send_at=clock.now() + HOUR)
    world.ledger.submissions.move(refused.stem, to=State.CANCELLED)

    world.prepare(numbers(4), run="this")

    assert section(world, "this", "Other runs of this campaign that are still open")[2:] == [
        "| 2027-03-02 09:30 in Paris | 2 | submitted | `gone` |",
        "| 2027-03-02 14:30 in Paris | 3 | prepared | `prepared` |",
        "| 2027-03-02 17:30 in Paris | ? | planned | `planned` |",
    ]
    gateway.move_clock(to=clock.now() + timedelta(days=1))
    world.accepted(gone.stem)
    world.prepare(numbers(4), run="tomorrow")
    told = section(world, "tomorrow", "Other runs of this campaign that are still open")
    assert [line for line in told if "`gone`" in line or "`this`" in line] == []
    assert [line for line in told if "`planned`" in line or "`prepared`" in line] == []


def test_a_dry_run_shows_what_would_be_stopped(world: World, gateway: Sandbox) -> None:
    world.prepare(
        numbers(9),
        more="spread_over: 3 hours\n",
        send_at=datetime(2027, 3, 2, 20, tzinfo=PARIS),
        dry_run=True,
    )

    assert "It would not be sent" in world.run_folder("one").read_review()
