"""Two tries at one file with different recipients: neither sends the other's bytes."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sms import clock
from sms.delivery import settlement
from sms.delivery.upload import Try, submit_next
from sms.errors import (
    GatewayUnreachable,
    HousekeepingUnfinished,
    LedgerError,
    SubmissionTaken,
    SubmissionUnknown,
)
from sms.ledger.records import Submission
from sms.ledger.states import State
from sms.reports.housekeeping import clean_gateway
from sms.run.folder import RunFolder
from sms.run.frequency_cap import FrequencyCap
from sms.run.prepared_file import PreparedFile
from sms_airflow import wiring
from sms_airflow.operators import SubmitOperator
from tests.airflow_home import ledger_connection
from tests.submitting import interrupted, opt_out
from tests.world import (
    LEASE,
    SANDBOX_ONLY,
    Gateway,
    OneRuleMore,
    World,
    in_send,
    numbers,
    renames,
    sent_to,
    show,
)

ONE, OTHER = 33639980001, 33639980002
PATIENCE = 100.0  # seconds
AT_ONCE = timedelta(0)

Numbers = npt.NDArray[np.int64]


def trying(
    world: World,
    stem: str,
    token: str,
    reached: Callable[[Numbers], Numbers] | None = None,
    gateway: Callable[[], Any] = wiring.gateway,
    lease: timedelta = LEASE,
    also: Callable[[Submission], None] = lambda held: None,
) -> Submission | None:
    """What `submit` does, with a cap of the test's own."""
    folder = world.run_folder("one")
    plan = folder.read_plan()

    cap = FrequencyCap(reached) if reached else None
    rules = OneRuleMore(plan, world.ledger, world.settings, lambda: None, clock.now, cap, also=also)
    parcels = {stem: PreparedFile(folder, stem)}
    return submit_next(parcels, Try(gateway, world.ledger, token, lease, rules))


def capped(*people: int) -> Callable[[Numbers], Numbers]:
    """A cap that so many have reached."""
    return lambda who: np.intersect1d(who, np.array(people, np.int64))


def breaks(*args: object) -> None:
    raise GatewayUnreachable("the line broke")


@contextlib.contextmanager
def standing_still(world: World, stem: str) -> Iterator[tuple[Event, Event, list[BaseException]]]:
    """A try that asked for STOPs and stands still, until it is woken; then it is over at once."""
    stands, go, over = Event(), Event(), Event()
    ended: list[BaseException] = []

    def still(who: Numbers) -> Numbers:
        stands.set()
        go.wait(PATIENCE)
        return capped()(who)

    def zombie() -> None:
        try:
            awake = interrupted("upload", over.set, when="before")
            trying(world, stem, "zombie", still, awake, AT_ONCE)
        except BaseException as error:
            ended.append(error)
        over.set()

    thread = Thread(target=zombie)
    thread.start()
    assert stands.wait(PATIENCE)
    yield go, over, ended
    go.set()
    thread.join(PATIENCE)


def test_a_zombie_never_writes_into_another_trys_file(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(5))
    with standing_still(world, prepared.stem) as (go, over, ended):
        opt_out(world.ledger, ONE)

        def wake(who: Numbers) -> Numbers:
            go.set()
            assert over.wait(PATIENCE)
            return capped()(who)

        done = trying(world, prepared.stem, "second", wake, lease=AT_ONCE)

    assert done
    assert done.messages == 4
    assert isinstance(ended[0], SubmissionTaken)
    assert len(sent_to(gateway)) == 4
    assert f"+{ONE}" not in sent_to(gateway)


def test_bytes_changed_during_the_upload_are_not_renamed(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(5))
    file = world.run_folder("one").send_file(prepared.stem)
    whole = Path(file).read_bytes()

    def spoil() -> None:
        Path(file).write_bytes(whole.replace(b"33639980001", b"33639980009"))

    with pytest.raises(SubmissionTaken, match="changed while it was uploaded") as told:
        trying(world, prepared.stem, "one", gateway=interrupted("upload", spoil, when="before"))

    assert told.value.retryable
    assert in_send(gateway) == []
    trying(world, prepared.stem, "two")
    assert f"+{ONE}" in sent_to(gateway)
    assert renames(gateway) == [f"{prepared.stem}.csv"]


def test_a_tmp_with_other_recipients_is_not_renamed(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(5))
    stem = prepared.stem

    # Recorded without one person; then the line breaks where the rename would come.
    times = iter(range(9))

    def stop_at_second(held: Submission) -> None:
        if next(times) == 1:
            breaks()

    with pytest.raises(GatewayUnreachable):
        trying(world, stem, "t1", capped(ONE), also=stop_at_second)
    # Without another one, who may be as many bytes; and nobody hears that it is in place.
    with pytest.raises(GatewayUnreachable):
        trying(world, stem, "t2", capped(OTHER), interrupted("rename", breaks))
    opt_out(world.ledger, ONE)

    done = trying(world, stem, "t3", capped())

    assert done
    assert done.messages == 4
    assert f"+{ONE}" not in sent_to(gateway)
    assert f"+{OTHER}" in sent_to(gateway)


@SANDBOX_ONLY
def test_never_arrived_is_refused_after_a_late_rename(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    stem = prepared.stem
    with pytest.raises(GatewayUnreachable):
        trying(world, stem, "t1", gateway=interrupted("rename", breaks, when="before", nth=2))
    with pytest.raises(SubmissionUnknown):
        trying(world, stem, "t2")

    def late() -> None:
        with wiring.gateway() as other:
            other.rename(f"{stem}.tmp", f"{stem}.csv")

    for listing in (2, 3):  # of `Report`, and the one that finds what to clear away
        if renames(gateway):
            break
        with interrupted("listing", late, nth=listing)() as session, pytest.raises(LedgerError):
            settlement.settle(stem, session, world.ledger, arrived=False)

    assert world.ledger.submissions.get(stem).state is State.SUBMITTED
    assert len(sent_to(gateway)) == 3


@SANDBOX_ONLY
@pytest.mark.parametrize("shown", ["done", "csv"])
def test_a_cancelled_file_at_the_provider_is_reported_nightly(
    world: World, gateway: Gateway, shown: str
) -> None:
    gateway.turn(silent=True)
    [prepared] = world.prepare(numbers(3))
    settlement.call_off(prepared.stem, world.ledger)
    show(gateway, f"{prepared.stem}.{shown}", b"x")

    for _ in range(2):
        with (
            pytest.raises(HousekeepingUnfinished, match="this ledger never intended to rename it"),
            wiring.gateway() as session,
        ):
            clean_gateway(
                session, world.ledger, world.folder / "archive", world.settings, clock.now()
            )
    assert in_send(gateway) == [f"{prepared.stem}.{shown}"]


@SANDBOX_ONLY
def test_no_sentence_denies_a_send_that_contradicts_the_ledger(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SMS_LEDGER", ledger_connection(world.ledger.engine.url))
    [prepared] = world.prepare(numbers(3))
    show(gateway, f"{prepared.stem}.done", b"x")
    operator = SubmitOperator(task_id="submit", stems=[prepared.stem])

    with pytest.raises(Exception, match="this ledger never intended to rename it") as told:
        operator.execute({"ti": desk_task(prepared.stem)})

    assert "The provider has no file" not in str(told.value)


def desk_task(stem: str) -> Any:
    """A task instance as far as `submit` looks at it."""
    return SimpleNamespace(
        id=f"try of {stem}", dag_id="d", run_id="one", task_id="submit", try_number=1
    )


@SANDBOX_ONLY
@pytest.mark.parametrize("name", ["00_plan.json", "02_schedule.json", "03_rendered.json"])
@pytest.mark.parametrize("keep", [0, 200])
def test_a_truncated_stage_file_is_reported_without_its_contents(
    world: World, gateway: Gateway, name: str, keep: int
) -> None:
    world.prepare(numbers(3), more='proof_to: ["+33639980099"]\n')
    file = world.run_folder("one").path / name
    text = Path(file).read_text()
    at = text.index("+33639980099") + 13 if name == "00_plan.json" and keep else keep
    Path(file).write_text(text[: min(at, len(text) - 1)])
    read = {
        "00_plan.json": RunFolder.read_plan,
        "02_schedule.json": RunFolder.read_schedule,
        "03_rendered.json": lambda folder: PreparedFile(
            folder, world.ledger.submissions.of_run("one")[0].stem
        ),
    }[name]

    with pytest.raises(LedgerError, match="it was cut short, or is of another version") as told:
        read(world.run_folder("one"))

    assert "33639980099" not in str(told.value)
    assert told.value.__cause__ is None
