"""The last check and the rename share one lock, so that a later STOP counts as late."""

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from demo.processes import wait_until
from sms.delivery import upload
from sms.delivery.gateway import Folder
from sms.errors import (
    GatewayUnreachable,
    LedgerBusy,
    LedgerError,
    LookExpired,
    ReportsFailed,
)
from sms.ledger import locks, turn
from sms.ledger.ledger import Ledger
from sms.ledger.states import State
from sms_airflow import wiring
from sms_airflow.sftp_gateway import SftpGateway
from sms_sandbox import Sandbox
from tests.submitting import at_check, interrupted, opt_out
from tests.world import (
    PATIENCE,
    STEM,
    Gateway,
    World,
    in_send,
    numbers,
    renames,
    sent_to,
)

ONCE = "frequency_cap: 1 per 7 days\n"

LAST = 3  # of the checks of a try: the turn is held


def waits_for_a_turn(world: World, table: str = "sms.opt_out") -> bool:
    query = text(
        "SELECT count(*) FROM pg_locks WHERE relation = to_regclass(:table) AND NOT granted"
    )
    with world.ledger.engine.connect() as db:
        return bool(db.execute(query, {"table": table}).scalar_one())


def test_a_stop_during_a_turn_waits_and_counts_late(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    with ThreadPoolExecutor(1) as beside:

        def says_stop() -> None:
            stop = beside.submit(opt_out, world.ledger, 33639980001)
            wait_until(lambda: waits_for_a_turn(world), "the STOP's wait", timeout=PATIENCE)
            assert not stop.done()

        submission = world.submit(prepared.stem, also=at_check(LAST, says_stop))

    assert submission.messages == 3
    gateway.settle()
    assert len(sent_to(gateway)) == 3
    assert world.ledger.stop_list.opted_out([33639980001]).tolist() == [33639980001]
    assert world.ledger.submissions.late_stops(prepared.stem) == 1


def test_a_rename_waits_for_a_stop_being_entered(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    with ThreadPoolExecutor(1) as beside, world.ledger.engine.connect() as db:
        db.execute(
            text(
                "INSERT INTO sms.opt_out (msisdn, opted_out_at, source, recorded_at) "
                "VALUES (33639980001, now(), 'import', now())"
            )
        )
        sends = beside.submit(world.submit, prepared.stem)
        wait_until(lambda: waits_for_a_turn(world), "the rename's wait", timeout=PATIENCE)
        assert renames(gateway) == []
        db.commit()

        assert sends.result(PATIENCE).messages == 2


def test_a_stop_waits_at_most_one_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LONGEST", "300ms")

    with (
        world.ledger.turn(alone=False),
        pytest.raises(LedgerBusy, match="nothing was entered into the stop list") as told,
    ):
        opt_out(world.ledger, 33639980001)

    assert told.value.retryable
    opt_out(world.ledger, 33639980001)


def test_a_rename_notice_never_delays_a_stop(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LONGEST", "300ms")
    [prepared] = world.prepare(numbers(3))
    told: list[State] = []

    def heard(ledger: Ledger, stem: str, state: State) -> None:
        opt_out(ledger, 33639980001)
        told.append(state)

    monkeypatch.setattr(world.ledger, "_on_move", heard)

    world.submit(prepared.stem)

    assert told == [State.SUBMITTED]
    assert world.ledger.submissions.late_stops(prepared.stem) <= 1


def test_a_pause_in_a_turn_repeats_every_check(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    [prepared] = world.prepare(numbers(3))
    asked: list[Any] = []

    def stand_still(held: Any) -> None:
        asked.append(held)
        if len(asked) > 1:  # once the `.tmp` is in place
            monkeypatch.setattr(upload, "LOOK_HOLDS", 0.0)

    with pytest.raises(LookExpired) as told:
        world.submit(prepared.stem, also=stand_still)

    assert told.value.retryable
    assert renames(gateway) == []
    assert in_send(gateway) == [f"{prepared.stem}.tmp"]
    assert len(asked) == 1 + 2 * upload.LOOKS
    assert not world.ledger.submissions.get(prepared.stem).may_have_left

    monkeypatch.setattr(upload, "LOOK_HOLDS", 60.0)
    assert world.submit(prepared.stem, token="second try").state is State.SUBMITTED


def test_a_pause_in_the_last_check_repeats_the_check(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    [prepared] = world.prepare(numbers(3))
    seconds, hours = upload._real_seconds, list[int]()
    monkeypatch.setattr(upload, "_real_seconds", lambda: seconds() + 3600 * len(hours))
    asked: list[Any] = []

    def check(held: Any) -> None:
        asked.append(held)
        if len(asked) == LAST:
            hours.append(1)

    assert world.submit(prepared.stem, also=check).state is State.SUBMITTED

    assert len(asked) == LAST + 2  # before the file is looked at, and in another turn
    assert renames(gateway) == [f"{prepared.stem}.csv"]


def test_a_turn_ended_by_the_server_is_over(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))

    def end_all_others() -> None:
        with world.ledger.engine.connect() as db:
            db.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND datname = current_database() "
                    "AND state = 'idle in transaction'"
                )
            )

    world.submit(prepared.stem, also=at_check(LAST, end_all_others))

    told = [
        detail
        for (detail,) in _rows(world, "SELECT detail FROM sms.event ORDER BY id")
        if detail and "rename_withdrawn" in detail
    ]
    assert told == [{"rename_withdrawn": "the last look was too old"}]
    assert renames(gateway) == [f"{prepared.stem}.csv"]


def test_an_unreadable_stop_before_the_rename_holds_the_file(
    world: World, gateway: Gateway
) -> None:
    [prepared] = world.prepare(numbers(3))

    with pytest.raises(ReportsFailed, match="STOP-1"):
        world.submit(prepared.stem, gateway=interrupted("upload", partial(cannot_read, world)))

    assert renames(gateway) == []
    assert not world.ledger.submissions.get(prepared.stem).may_have_left


def test_an_unreadable_stop_during_a_turn_waits(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    with ThreadPoolExecutor(1) as beside:
        renamed: list[list[str]] = []

        def comes() -> None:
            row = beside.submit(cannot_read, world)
            waits = partial(waits_for_a_turn, world, "sms.unreadable_row")
            wait_until(waits, "the row's wait", timeout=PATIENCE)
            row.add_done_callback(lambda _: renamed.append(renames(gateway)))

        world.submit(prepared.stem, also=at_check(LAST, comes))

    assert renamed == [[f"{prepared.stem}.csv"]]
    assert world.ledger.reports.unseen_stops() == {"STOP-1": 1}


def test_a_rename_request_sent_late_is_withdrawn(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    [prepared] = world.prepare(numbers(3))
    rename = SftpGateway.rename

    def stand_still(session: Any, old: str, new: str, *may_leave: Any) -> None:
        late = new.endswith(".csv") and "stood still" not in told
        if late:
            told.append("stood still")
            monkeypatch.setattr(upload, "LOOK_HOLDS", -1.0)
        try:
            rename(session, old, new, *may_leave)
        finally:
            monkeypatch.setattr(upload, "LOOK_HOLDS", 60.0)

    told: list[str] = []
    monkeypatch.setattr(SftpGateway, "rename", stand_still)

    with pytest.raises(GatewayUnreachable):  # what refuses a request ends its line
        world.submit(prepared.stem)

    assert told == ["stood still"]
    assert renames(gateway) == []
    assert not world.ledger.submissions.get(prepared.stem).may_have_left
    assert world.submit(prepared.stem, token="second try").state is State.SUBMITTED


@pytest.mark.parametrize("error", [LookExpired(), LedgerError("no")], ids=["look", "other"])
def test_a_rename_no_longer_allowed_never_reaches_the_server(
    gateway: Gateway, error: Exception
) -> None:
    def may_not() -> None:
        raise error

    with wiring.gateway() as session:
        session.upload(f"{STEM}.tmp", _bytes())
        with pytest.raises(type(error)):
            session.rename(f"{STEM}.tmp", f"{STEM}.csv", may_not)

    assert renames(gateway) == []
    assert in_send(gateway) == [f"{STEM}.tmp"]


def test_permission_is_checked_once_before_a_rename(gateway: Gateway) -> None:
    asked: list[list[str]] = []

    with wiring.gateway() as session:
        session.upload(f"{STEM}.tmp", _bytes())
        session.rename(f"{STEM}.tmp", f"{STEM}.csv", lambda: asked.append(renames(gateway)))
        assert session.listing(Folder.SEND)

    assert asked == [[]]
    assert renames(gateway) == [f"{STEM}.csv"]


def test_writes_of_other_threads_need_no_permission(gateway: Gateway) -> None:
    asked: list[int] = []

    with wiring.gateway() as session:
        session.upload(f"{STEM}.tmp", _bytes())
        transport = session._client.get_channel().get_transport()

        def keep_alive() -> None:
            ask = partial(transport.global_request, "keepalive@openssh.com", wait=False)
            other = threading.Thread(target=ask)
            other.start()
            other.join()

        _before_request(session, keep_alive)
        session.rename(f"{STEM}.tmp", f"{STEM}.csv", lambda: asked.append(threading.get_ident()))

    assert asked == [threading.get_ident()]
    assert renames(gateway) == [f"{STEM}.csv"]


def _before_request(session: Any, act: Callable[[], None]) -> None:
    """Let something happen once the rename has begun, and before its request is made."""
    rename = session._client.rename

    def renamed(old: str, new: str) -> None:
        act()
        rename(old, new)

    session._client.rename = renamed


def cannot_read(world: World) -> None:
    """A row of a STOP file that nobody can read comes home."""
    with world.ledger.engine.begin() as db:
        db.execute(
            text(
                "INSERT INTO sms.unreadable_row "
                "(report, line, reason, raw, may_be_stop, recorded_at) "
                "VALUES ('STOP-1', 1, 'torn', 'x', true, now())"
            )
        )


def _bytes() -> io.BytesIO:
    return io.BytesIO(b"ours")


def _rows(world: World, query: str) -> list[Any]:
    with world.ledger.engine.connect() as db:
        return list(db.execute(text(query)))


def test_waiting_for_a_turn_ends_with_a_clear_error(
    world: World, gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker's machine vanished in its turn: the database holds the lock for hours."""
    monkeypatch.setitem(turn.LIMITS, "lock_timeout", "300ms")
    [only] = world.prepare(numbers(2), more=ONCE)

    with world.ledger.turn(alone=True), pytest.raises(LedgerBusy, match="tries again later"):
        world.submit(only.stem)


def test_a_campaign_without_a_cap_takes_a_turn_too(
    world: World, gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a capped file's last look and its rename a free one leaves to the same people."""
    monkeypatch.setitem(turn.LIMITS, "lock_timeout", "300ms")
    [capped] = world.prepare(numbers(2), run="capped", more=ONCE)
    [free] = world.prepare(numbers(2), run="free")
    asked: list[str] = []

    def meanwhile(held: Any) -> None:
        asked.append(held.stem)
        if len(asked) == 3:  # the turn is held
            with pytest.raises(LedgerBusy):
                world.submit(free.stem, token="the other")

    world.submit(capped.stem, also=meanwhile)

    assert world.states([free.stem, capped.stem]) == ["uploading", "submitted"]
