"""How often somebody may be written to is judged again when a file leaves, by all that left."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from demo.processes import wait_until
from sms.errors import GatewayRefused, LedgerError
from sms.ledger.records import Submission
from sms.ledger.states import State
from sms_sandbox import Sandbox
from tests.delivery.conftest import PATIENCE, SANDBOX_ONLY, Desk, numbers, sent_to
from tests.delivery.submitting import TO_CSV, interrupted

pytestmark = SANDBOX_ONLY

ONCE = "frequency_cap: 1 per 7 days\n"


def left_out(desk: Desk, stem: str) -> dict[str, int]:
    """Who fell out between preparing and renaming, by Reason."""
    told = text("SELECT late_out FROM sms.submission WHERE stem = :stem")
    with desk.ledger.engine.connect() as db:
        return dict(db.execute(told, {"stem": stem}).scalar_one() or {})


def test_two_runs_that_were_prepared_at_once_see_each_other_at_the_upload(
    desk: Desk, gateway: Sandbox
) -> None:
    [first] = desk.prepare(numbers(3), run="first", more=ONCE)
    [second] = desk.prepare(numbers(5), run="second", more=ONCE)
    assert (first.messages, second.messages) == (3, 5)

    desk.submit(first.stem)
    arrived = desk.submit(second.stem)

    assert arrived.messages == 2
    assert left_out(desk, second.stem) == {"frequency_cap": 3}
    summary = desk.ledger.runs.summary("second")
    assert (summary.audience, summary.excluded, summary.balanced) == (2, {"frequency_cap": 3}, True)


def test_a_run_that_has_nobody_left_is_called_off(desk: Desk, gateway: Sandbox) -> None:
    [first] = desk.prepare(numbers(3), run="first", more=ONCE)
    [second] = desk.prepare(numbers(3), run="second", more=ONCE)
    desk.submit(first.stem)

    with pytest.raises(
        LedgerError,
        match=r"all recipients of .* were left out after preparation, .* by frequency_cap",
    ):
        desk.submit(second.stem)
    assert desk.ledger.submissions.get(second.stem).state is State.CANCELLED


def test_a_file_tried_again_does_not_count_itself(desk: Desk, gateway: Sandbox) -> None:
    [only] = desk.prepare(numbers(3), more=ONCE)

    def says_no() -> None:
        raise GatewayRefused("no")

    with pytest.raises(GatewayRefused, match="no"):
        desk.submit(only.stem, gateway=interrupted("rename", says_no, when="before", nth=TO_CSV))
    assert desk.ledger.submissions.get(only.stem).rename_intended_at

    assert desk.submit(only.stem, token="second try").messages == 3


def test_two_files_that_leave_at_the_same_moment_write_to_nobody_twice(
    desk: Desk, gateway: Sandbox
) -> None:
    """The first is held at the last step before its rename while the second comes as far."""
    [first] = desk.prepare(numbers(3), run="first", more=ONCE)
    [second] = desk.prepare(numbers(5), run="second", more=ONCE)
    held, go = threading.Event(), threading.Event()
    asked: Counter[str] = Counter()

    def wait_at_the_rename(submission: Submission) -> None:
        asked[submission.stem] += 1
        if asked[submission.stem] == 3:  # before the upload, once it lies there, at the rename
            held.set()
            assert go.wait(PATIENCE)

    def waits() -> bool:
        query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        with desk.ledger.engine.connect() as db:
            return bool(db.execute(query).scalar_one())

    with ThreadPoolExecutor(2) as both:
        one = both.submit(desk.submit, first.stem, also=wait_at_the_rename)
        assert held.wait(PATIENCE)
        other = both.submit(desk.submit, second.stem, token="another try")
        wait_until(lambda: waits() or other.done(), "the second's wait", timeout=PATIENCE)
        go.set()
        arrived = {
            each.stem: each.messages for each in (one.result(PATIENCE), other.result(PATIENCE))
        }

    assert arrived == {first.stem: 3, second.stem: 2}
    gateway.settle()
    assert Counter(sent_to(gateway)) == Counter(f"+3363998000{at}" for at in range(5))
