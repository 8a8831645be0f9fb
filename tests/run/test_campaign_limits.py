"""A campaign's limits across its runs: when a run stops, and who is excluded from the next."""

from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sms import clock
from sms.calendar import send_window
from sms.errors import LimitTripped, WindowClosed
from sms.ledger.states import State
from sms_sandbox import Sandbox
from tests.world import SANDBOX_ONLY, World, numbers, renames

pytestmark = SANDBOX_ONLY

DAY = timedelta(days=1)


def sent(world: World, people: list[str], run: str, more: str = "") -> int:
    """A run that goes out; how many messages it holds."""
    [prepared] = world.prepare(people, run=run, more=more)
    world.submit(prepared.stem)
    world.accepted(prepared.stem)
    return prepared.messages or 0


def excluded(world: World, run: str) -> dict[str, str]:
    """Who was left out of a run, and why, by key."""
    table = pq.read_table(world.run_folder(run).excluded)
    return dict(zip(table["key"].to_pylist(), table["reason"].to_pylist(), strict=True))


def test_a_run_beyond_a_limit_stops_after_its_review(world: World, gateway: Sandbox) -> None:
    with pytest.raises(LimitTripped, match="3 recipients are more than max_recipients, 2"):
        world.prepare(numbers(3), more="max_recipients: 2\n")

    review = world.run_folder("one").read_review()
    assert "| **written to** | **3** |" in review
    assert renames(gateway) == []
    [corrected] = world.prepare(numbers(3), more="max_recipients: 3\n")
    assert corrected.state is State.PREPARED


def test_a_run_is_compared_with_those_before_it(world: World, gateway: Sandbox) -> None:
    growth = "max_growth: 50%\n"
    assert sent(world, numbers(4), "first", growth) == 4
    gateway.move_clock(to=clock.now() + DAY)
    assert sent(world, numbers(2), "second", growth) == 2
    gateway.move_clock(to=clock.now() + DAY)

    with pytest.raises(LimitTripped, match="75% more than the largest of the last 2 runs, 4"):
        world.prepare(numbers(7), run="third", more=growth)

    review = world.run_folder("third").read_review()
    assert "; the run before it sent 2, +250%" in review


def test_the_frequency_cap_excludes_recipients(world: World, gateway: Sandbox) -> None:
    often = "frequency_cap: 2 per 7 days\n"
    for run, people in (("first", numbers(2)), ("second", numbers(3))):
        sent(world, people, run, often)
        gateway.move_clock(to=clock.now() + DAY)

    assert sent(world, numbers(4), "third", often) == 2

    assert excluded(world, "third") == {"k0": "frequency_cap", "k1": "frequency_cap"}
    assert world.ledger.runs.summary("third").balanced
    gateway.move_clock(to=clock.now() + 9 * DAY)
    assert sent(world, numbers(4), "fourth", often) == 4


def test_a_repeatedly_failing_number_is_excluded(world: World, gateway: Sandbox) -> None:
    for run in ("first", "second"):
        [prepared] = world.prepare(numbers(3), run=run)
        world.submit(prepared.stem)
        world.accepted(prepared.stem)
        messages = pq.read_table(world.run_folder(run).messages(prepared.stem))
        first = pc.equal(messages["msisdn"], 33639980000)
        report = {
            "line": pa.array([1, 2, 3]),
            "idremote": messages["idremote"],
            "msisdn": messages["msisdn"],
            "idstatus": pc.if_else(first, 6, 3),
            "ackoperator": ["a", "b", "c"],
            "raw_status": ["", "", ""],
        }
        world.ledger.reports.load_delivery_report(prepared.stem, pa.table(report))
        gateway.move_clock(to=clock.now() + DAY)

    [third] = world.prepare(numbers(3), run="third", more="suppress_after_failures: 2\n")

    assert third.messages == 2
    assert excluded(world, "third") == {"k0": "failing_number"}


def test_the_review_shows_the_cost_by_country(world: World) -> None:
    world.settings = world.settings.model_copy(update={"prices": {"FR": 0.05, "GB": 0.5}})
    abroad = [*numbers(2), "+44 7700 900123"]

    with pytest.raises(LimitTripped, match=r"0\.60 EUR is more than the budget, 0\.59 EUR"):
        world.prepare(abroad, more="allowed_countries: [FR, GB]\nbudget: 0.59\n")

    review = world.run_folder("one").read_review()
    assert "- **Cost:** 0.60 EUR" in review
    assert "ask the provider whether numbers of GB reach it" in review


def test_without_prices_the_review_calls_the_cost_unknown(world: World) -> None:
    world.prepare(numbers(1))

    review = world.run_folder("one").read_review()
    assert "- **Cost:** not known, since the settings give no price" in review
    assert "; no run before it sent anything" in review


def test_a_file_unfinished_at_closing_time_is_refused(world: World, gateway: Sandbox) -> None:
    evening = clock.now().replace(hour=20, minute=59)  # 21:59 in Paris
    world.settings = world.settings.model_copy(update={"messages_per_hour": 60})
    [fits] = world.prepare(numbers(1), run="fits", send_at=evening)
    told = world.run_folder("fits").read_review()
    assert "- **Expected end:** 2027-03-02 22:00 in Paris" in told

    with pytest.raises(WindowClosed, match="2 messages from Tuesday 2 March, 21:59 on would take"):
        world.prepare(numbers(2), run="tail", send_at=evening)

    # A minute late it would not be done either.
    gateway.move_clock(to=evening + timedelta(seconds=30))
    with pytest.raises(WindowClosed, match="marketing closes at 22:00"):
        world.submit(fits.stem)
    assert renames(gateway) == []


def test_a_service_message_may_be_sent_all_night(world: World) -> None:
    world.settings = world.settings.model_copy(update={"messages_per_hour": 1})
    plan = world.plan()

    many = [send_window.Sending(plan.send_at, 99)]
    send_window.require_no_tail(many, "transactional", settings=world.settings)
    with pytest.raises(WindowClosed):
        send_window.require_no_tail(many, "marketing", settings=world.settings)


def test_the_closing_time_applies_to_the_whole_run(world: World, gateway: Sandbox) -> None:
    evening = clock.now().replace(hour=20, minute=57)  # 21:57 in Paris
    world.settings = world.settings.model_copy(update={"messages_per_hour": 60})
    parts = [part.stem for part in world.prepare(numbers(3), more="max_recipients_per_file: 1\n")]
    gateway.move_clock(to=evening + timedelta(minutes=1))

    with pytest.raises(WindowClosed, match="3 messages from Tuesday 2 March, 21:58 on"):
        world.submit(parts[0])

    assert renames(gateway) == []


def test_a_dry_run_reports_limits_and_is_not_stopped(world: World) -> None:
    [dry] = world.prepare(numbers(3), more="max_recipients: 2\n", dry_run=True)

    assert dry.state is State.PREPARED
    review = world.run_folder("one").read_review()
    title, told = review.split("\n\n")[:2]
    assert title.startswith("# ")
    assert told.startswith("**It would not be sent:** tests stops before its upload: 3 recip")


def test_a_broken_source_is_not_an_empty_audience(world: World) -> None:
    skips = "on_empty: skip\nmax_invalid_share: 5%\n"

    with pytest.raises(LimitTripped, match="2 of 2 candidates without a usable number or key"):
        world.prepare(["no number", "none at all"], more=skips)


def test_a_trial_run_does_not_count_for_growth(world: World, gateway: Sandbox) -> None:
    [trial] = world.prepare(numbers(9), run="trial", limit=2)
    world.submit(trial.stem)
    world.accepted(trial.stem)
    gateway.move_clock(to=clock.now() + DAY)

    [real] = world.prepare(numbers(9), run="real", more="max_growth: 50%\n")

    assert real.messages == 9
