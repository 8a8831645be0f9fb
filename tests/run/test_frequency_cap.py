"""The frequency cap is checked again when a file leaves, against all files that have left."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from demo.processes import wait_until
from sms.clock import PARIS
from sms.errors import GatewayRefused, GatewayUnreachable, LedgerError, SourceError, WindowClosed
from sms.ledger.records import Submission
from sms.ledger.states import State
from sms_sandbox import Sandbox
from tests.submitting import TO_CSV, interrupted, raising_at
from tests.world import PATIENCE, SANDBOX_ONLY, TUESDAY, World, numbers, sent_to

ZONES = "postcode: postcode\n"

pytestmark = SANDBOX_ONLY

ONCE = "frequency_cap: 1 per 7 days\n"


def left_out(world: World, stem: str) -> dict[str, int]:
    """Who fell out between preparing and renaming, by Reason."""
    told = text("SELECT late_out FROM sms.submission WHERE stem = :stem")
    with world.ledger.engine.connect() as db:
        return dict(db.execute(told, {"stem": stem}).scalar_one() or {})


def test_the_cap_counts_runs_prepared_at_the_same_time(world: World, gateway: Sandbox) -> None:
    [first] = world.prepare(numbers(3), run="first", more=ONCE)
    [second] = world.prepare(numbers(5), run="second", more=ONCE)
    assert (first.messages, second.messages) == (3, 5)

    world.submit(first.stem)
    arrived = world.submit(second.stem)

    assert arrived.messages == 2
    assert left_out(world, second.stem) == {"frequency_cap": 3}
    summary = world.ledger.runs.summary("second")
    assert (summary.audience, summary.excluded, summary.balanced) == (2, {"frequency_cap": 3}, True)


def test_a_run_without_remaining_recipients_is_called_off(world: World, gateway: Sandbox) -> None:
    [first] = world.prepare(numbers(3), run="first", more=ONCE)
    [second] = world.prepare(numbers(3), run="second", more=ONCE)
    world.submit(first.stem)

    with pytest.raises(
        LedgerError,
        match=r"all recipients of .* were left out after preparation, .* by frequency_cap",
    ):
        world.submit(second.stem)
    assert world.ledger.submissions.get(second.stem).state is State.CANCELLED


def test_a_retried_file_does_not_count_itself(world: World, gateway: Sandbox) -> None:
    [only] = world.prepare(numbers(3), more=ONCE)

    def says_no() -> None:
        raise GatewayRefused("no")

    with pytest.raises(GatewayRefused, match="no"):
        world.submit(only.stem, gateway=interrupted("rename", says_no, when="before", nth=TO_CSV))
    assert world.ledger.submissions.get(only.stem).rename_intended_at

    assert world.submit(only.stem, token="second try").messages == 3


def test_concurrent_uploads_write_to_no_recipient_twice(world: World, gateway: Sandbox) -> None:
    """The first is held at the last step before its rename while the second comes as far."""
    [first] = world.prepare(numbers(3), run="first", more=ONCE)
    [second] = world.prepare(numbers(5), run="second", more=ONCE)
    held, go = threading.Event(), threading.Event()
    asked: Counter[str] = Counter()

    def wait_at_the_rename(submission: Submission) -> None:
        asked[submission.stem] += 1
        if asked[submission.stem] == 3:  # before the upload, once it lies there, at the rename
            held.set()
            assert go.wait(PATIENCE)

    def waits() -> bool:
        query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        with world.ledger.engine.connect() as db:
            return bool(db.execute(query).scalar_one())

    with ThreadPoolExecutor(2) as both:
        one = both.submit(world.submit, first.stem, also=wait_at_the_rename)
        assert held.wait(PATIENCE)
        other = both.submit(world.submit, second.stem, token="another try")
        wait_until(lambda: waits() or other.done(), "the second's wait", timeout=PATIENCE)
        go.set()
        arrived = {
            each.stem: each.messages for each in (one.result(PATIENCE), other.result(PATIENCE))
        }

    assert arrived == {first.stem: 3, second.stem: 2}
    gateway.settle()
    assert Counter(sent_to(gateway)) == Counter(f"+3363998000{at}" for at in range(5))


def test_a_retry_after_the_cap_readmits_recipients_still_sends(
    world: World, gateway: Sandbox
) -> None:
    [first] = world.prepare(numbers(3), run="first", more=ONCE)
    [second] = world.prepare(numbers(5), run="second", more=ONCE)
    world.submit(first.stem)
    with pytest.raises(GatewayUnreachable):
        world.submit(second.stem, also=raising_at(2, GatewayUnreachable("the line broke")))
    world.ledger.submissions.move(first.stem, to=State.REJECTED)  # nobody got it

    world.submit(second.stem, token="second try", lease=timedelta(0))


def test_a_file_before_its_runs_hour_counts_its_days(world: World, gateway: Sandbox) -> None:
    """With local_time La Réunion is earlier than the run's hour; so are its seven days."""
    [before] = world.prepare([numbers(1)[0]], run="before", send_at=TUESDAY)  # 2 March, 09:30
    world.submit(before.stem)
    world.accepted(before.stem)
    gateway.move_clock(to=datetime(2027, 3, 9, 6, 0, tzinfo=PARIS))

    with pytest.raises(SourceError, match="leaves no recipient: of 1 candidate 1 frequency_cap"):
        world.prepare(
            numbers(1),
            run="after",
            more=ZONES + ONCE + "local_time: true\n",
            living_in=["97400"],
            send_at=datetime(2027, 3, 9, 10, 0, tzinfo=PARIS),
        )


def test_a_file_stuck_before_its_rename_soon_stops_counting(world: World, gateway: Sandbox) -> None:
    [only] = world.prepare(numbers(2), run="halted")
    with pytest.raises(WindowClosed):
        world.submit(only.stem, also=raising_at(3, WindowClosed("closed meanwhile")))
    gateway.move_clock(to=TUESDAY + timedelta(days=3))  # it can never leave any more

    [other] = world.prepare(numbers(2), run="other", more=ONCE)

    assert other.messages == 2
