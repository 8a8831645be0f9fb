"""One file at the gateway, sent once, without opted-out recipients, never in a closed hour."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sms import clock
from sms.delivery import upload as delivery
from sms.errors import (
    ClockMoved,
    GatewayRefused,
    GatewayUnreachable,
    LedgerError,
    SendingHalted,
    StopListUnsafe,
    SubmissionContradicted,
    SubmissionTaken,
    SubmissionUnknown,
    WindowClosed,
)
from sms.ledger import turn
from sms.ledger.records import Submission
from sms.ledger.states import State
from sms.run import rejection, upload_time
from sms_airflow import sftp_gateway, wiring
from tests.submitting import TO_CSV, at_check, interrupted, opt_out
from tests.world import (
    SANDBOX_ONLY,
    Gateway,
    World,
    connect,
    in_send,
    numbers,
    renames,
    sent_to,
    show,
    stop_answering,
)


def test_the_file_arrives_whole_and_is_accepted(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))

    submission = world.submit(prepared.stem)

    assert submission.state is State.SUBMITTED
    assert gateway.settled_names() == [f"{prepared.stem}.done"]
    kept = world.run_folder("one").path / f"05_{prepared.stem}.csv"
    assert (gateway.home / "Send" / f"{prepared.stem}.done").read_bytes() == kept.read_bytes()
    assert sent_to(gateway) == ["+33639980000", "+33639980001", "+33639980002"]


def test_submitting_again_uploads_nothing(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    world.submit(prepared.stem)
    uploads = gateway.counts()["put"]

    again = world.submit(prepared.stem, token="cleared by hand")

    assert again.state is State.SUBMITTED
    assert gateway.counts()["put"] == uploads
    assert renames(gateway) == [f"{prepared.stem}.csv"]


def test_a_retry_after_a_lost_rename_reply_uploads_nothing(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    gateway.drop_connection_after("rename", TO_CSV)
    with pytest.raises(GatewayUnreachable) as lost:
        world.submit(prepared.stem)
    assert lost.value.retryable

    submission = world.submit(prepared.stem, token="second try")

    assert submission.state is State.SUBMITTED
    assert renames(gateway) == [f"{prepared.stem}.csv"]
    assert gateway.settled_names() == [f"{prepared.stem}.done"]


def test_a_refused_rename_is_retried_with_the_same_bytes(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    with pytest.raises(GatewayRefused, match="the server's no"):
        world.submit(prepared.stem, gateway=refusing)
    assert not world.ledger.submissions.get(prepared.stem).may_have_left
    uploads = gateway.counts()["put"]

    world.submit(prepared.stem, token="second try")

    assert gateway.counts()["put"] == uploads
    assert renames(gateway) == [f"{prepared.stem}.csv"]


def refusing() -> Any:
    """A gateway that refuses the rename to `.csv`."""

    def says_no() -> None:
        raise GatewayRefused("the server's no")

    return interrupted("rename", says_no, when="before", nth=TO_CSV)()


def test_a_missing_tmp_makes_a_refused_rename_unknown(world: World, gateway: Gateway) -> None:
    """Somebody else's rename took it away, and the provider was quick."""
    [prepared] = world.prepare(numbers(3))
    waiting = gateway.home / "Send" / f"{prepared.stem}.tmp"

    with pytest.raises(GatewayRefused):
        world.submit(
            prepared.stem,
            gateway=interrupted("rename", waiting.unlink, when="before", nth=TO_CSV),
        )

    with pytest.raises(SubmissionUnknown):
        world.submit(prepared.stem, token="second try")


def test_a_tmp_alone_does_not_prove_nothing_was_sent(world: World, gateway: Gateway) -> None:
    """OpenSSH gives a file its new name before it takes the old one away, and may die between.

    Where the provider has taken the `.csv` meanwhile, only the `.tmp` is left to be seen.
    """
    gateway.turn(silent=True)
    [prepared] = world.prepare(numbers(3))

    def dies_between() -> None:
        raise GatewayUnreachable("the server died")

    with pytest.raises(GatewayUnreachable):
        world.submit(
            prepared.stem,
            gateway=interrupted("rename", dies_between, when="before", nth=TO_CSV),
        )

    for token in ("second try", "third try"):
        with pytest.raises(SubmissionUnknown, match="the gateway does not show it"):
            world.submit(prepared.stem, token=token)
    assert renames(gateway) == []
    assert in_send(gateway) == [f"{prepared.stem}.tmp"]


def test_clearing_submit_continues_an_unknown_file_found_later(
    world: World, gateway: Gateway
) -> None:
    gateway.turn(silent=True)
    [prepared] = world.prepare(numbers(3))
    gateway.drop_connection_before("rename", TO_CSV)
    with pytest.raises(GatewayUnreachable):
        world.submit(prepared.stem)
    with pytest.raises(SubmissionUnknown):
        world.submit(prepared.stem, token="second try")
    show(gateway, f"{prepared.stem}.done", b"")

    assert world.submit(prepared.stem, token="cleared").state is State.SUBMITTED
    assert renames(gateway) == []


def test_an_interrupted_upload_is_restarted(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    gateway.drop_connection_before("write")
    with pytest.raises(GatewayUnreachable):
        world.submit(prepared.stem)
    assert renames(gateway) == []

    world.submit(prepared.stem, token="second try")

    assert gateway.settled_names() == [f"{prepared.stem}.done"]


def test_a_number_opted_out_during_the_upload_is_excluded(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    stop = interrupted("upload", lambda: opt_out(world.ledger, 33639980001))

    submission = world.submit(prepared.stem, gateway=stop)

    assert submission.messages == 2
    gateway.settle()
    assert sent_to(gateway) == ["+33639980000", "+33639980002"]
    summary = world.ledger.runs.summary("one")
    assert summary.excluded["opted_out"] == 1
    assert summary.balanced


def test_a_stop_between_two_tries_replaces_the_first_upload(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    with pytest.raises(GatewayRefused):
        world.submit(prepared.stem, gateway=refusing)
    opt_out(world.ledger, 33639980002)

    world.submit(prepared.stem, token="second try")

    gateway.settle()
    assert sent_to(gateway) == ["+33639980000", "+33639980001"]
    assert world.ledger.submissions.get(prepared.stem).messages == 2


def test_an_intent_without_a_trace_needs_an_operators_decision(
    world: World, gateway: Gateway
) -> None:
    [prepared] = world.prepare(numbers(3))
    gateway.drop_connection_before("rename", TO_CSV)
    with pytest.raises(GatewayUnreachable):
        world.submit(prepared.stem)
    (gateway.home / "Send" / f"{prepared.stem}.tmp").unlink()

    for token in ("second try", "third try"):
        with pytest.raises(SubmissionUnknown) as asked:
            world.submit(prepared.stem, token=token)

    assert prepared.stem in str(asked.value)
    assert "support@mtarget.fr" in str(asked.value)
    assert not asked.value.retryable
    assert world.ledger.submissions.get(prepared.stem).state is State.UNKNOWN
    assert renames(gateway) == []


def test_a_second_try_is_refused_while_one_works(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    world.ledger.submissions.claim(prepared.stem, "the one at work", lease=timedelta(minutes=10))

    with pytest.raises(SubmissionTaken) as aside:
        world.submit(prepared.stem, token="the other")

    assert aside.value.retryable
    assert renames(gateway) == []


def test_a_lost_claim_prevents_the_rename(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    overtaken = interrupted(
        "upload",
        lambda: (
            world.ledger.submissions.claim(prepared.stem, "the new one", lease=timedelta(0))
            and None
        ),
    )

    with pytest.raises(SubmissionTaken):
        world.submit(prepared.stem, token="the zombie", gateway=overtaken)

    assert renames(gateway) == []


def test_a_claim_lost_after_the_intent_prevents_the_rename(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    [prepared] = world.prepare(numbers(3))
    intend = world.ledger.submissions.intend_rename

    def overtaken(stem: str, token: str, **facts: Any) -> Any:
        submission = intend(stem, token, **facts)
        world.ledger.submissions.claim(stem, "the new one", lease=timedelta(0))
        return submission

    monkeypatch.setattr(world.ledger.submissions, "intend_rename", overtaken)

    with pytest.raises(SubmissionTaken):
        world.submit(prepared.stem, token="the zombie")

    assert renames(gateway) == []


@pytest.mark.parametrize("check", [2, 3])
def test_an_existing_file_is_never_overwritten(world: World, gateway: Gateway, check: int) -> None:
    gateway.turn(silent=True)
    [prepared] = world.prepare(numbers(3))
    name = f"{prepared.stem}.csv"
    appears = at_check(check, lambda: show(gateway, name, b"another's"))

    submission = world.submit(prepared.stem, also=appears)

    assert (gateway.home / "Send" / name).read_bytes() == b"another's"
    assert renames(gateway) == []
    assert submission.state is State.SUBMITTED


@pytest.mark.parametrize("phase", ["csv", "lock", "done", "reject"])
def test_a_file_shown_without_an_intent_is_a_contradiction(
    world: World, gateway: Gateway, phase: str
) -> None:
    gateway.turn(silent=True)
    [prepared] = world.prepare(numbers(3))
    show(gateway, f"{prepared.stem}.{phase}", b"another's")

    for token in ("first try", "second try"):
        with pytest.raises(SubmissionContradicted, match=f"shows {prepared.stem} as ") as told:
            world.submit(prepared.stem, token=token)

    assert not told.value.retryable
    assert world.ledger.submissions.get(prepared.stem).state is State.UPLOADING
    assert f"{prepared.stem}.tmp" not in in_send(gateway)
    assert renames(gateway) == []


def test_a_file_shown_under_both_names_has_arrived(world: World, gateway: Gateway) -> None:
    # OpenSSH renames a file by giving it the new name first, and may die before it takes the old.
    gateway.turn(silent=True)
    [prepared] = world.prepare(numbers(3))
    gateway.drop_connection_before("rename", TO_CSV)
    with pytest.raises(GatewayUnreachable):
        world.submit(prepared.stem)
    waiting = gateway.home / "Send" / f"{prepared.stem}.tmp"
    show(gateway, f"{prepared.stem}.csv", waiting.read_bytes())

    submission = world.submit(prepared.stem, token="second try")

    assert submission.state is State.SUBMITTED
    assert renames(gateway) == []


@pytest.mark.parametrize("check", [1, 2, 3])
def test_a_number_opted_out_before_the_rename_is_excluded(
    world: World, gateway: Gateway, check: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # At the third the turn is held, and ends when the server finds that nothing happens in it.
    monkeypatch.setitem(turn.LIMITS, "idle_in_transaction_session_timeout", "300ms")
    [prepared] = world.prepare(numbers(3))
    stops = at_check(check, lambda: opt_out(world.ledger, 33639980001))

    assert world.submit(prepared.stem, also=stops).messages == 2

    gateway.settle()
    assert sent_to(gateway) == ["+33639980000", "+33639980002"]
    assert world.ledger.runs.summary("one").balanced


def test_only_one_of_two_zombies_and_a_successor_sends(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    stem, at_once = prepared.stem, timedelta(0)
    ended: dict[str, Any] = {}

    def heir() -> None:
        with pytest.raises(SubmissionUnknown) as asked:
            world.submit(stem, token="the heir", lease=at_once)
        ended["heir"] = asked.value

    def second_zombie() -> None:
        sleeps = interrupted("rename", heir, when="before", nth=TO_CSV)
        ended["second"] = world.submit(stem, token="second zombie", lease=at_once, gateway=sleeps)

    sleeps = interrupted("upload", second_zombie, when="before")
    with pytest.raises(SubmissionTaken):
        world.submit(stem, token="first zombie", gateway=sleeps)

    assert isinstance(ended["heir"], SubmissionUnknown)
    assert ended["second"].state is State.SUBMITTED
    assert renames(gateway) == [f"{stem}.csv"]
    assert gateway.settled_names() == [f"{stem}.done"]
    assert sent_to(gateway) == ["+33639980000", "+33639980001", "+33639980002"]


def test_a_zombies_late_upload_changes_no_other_file(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    kept = (world.run_folder("one").path / f"05_{prepared.stem}.csv").read_bytes()
    gateway.turn(silent=True)

    def heir() -> None:
        world.submit(prepared.stem, token="the heir", lease=timedelta(0))

    with pytest.raises(SubmissionTaken):
        world.submit(prepared.stem, gateway=interrupted("upload", heir, when="before"))

    assert sorted(each.name for each in (gateway.home / "Send").iterdir()) == [
        f"{prepared.stem}.csv"
    ]
    assert (gateway.home / "Send" / f"{prepared.stem}.csv").read_bytes() == kept


def test_a_dead_trys_partial_upload_is_removed(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    show(gateway, f"{prepared.stem}.0123abcd.tmp", b"half of a li")

    world.submit(prepared.stem)

    assert gateway.settled_names() == [f"{prepared.stem}.done"]


def test_a_short_upload_is_not_renamed(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))

    @contextlib.contextmanager
    def short() -> Iterator[Any]:
        with wiring.gateway() as session:
            upload = session.upload
            session.upload = lambda name, source: upload(name, io.BytesIO(source.read()[:-5]))
            yield session

    with pytest.raises(GatewayUnreachable, match="cut short"):
        world.submit(prepared.stem, gateway=short)

    assert [name for name in in_send(gateway) if name == f"{prepared.stem}.tmp"] == []
    assert renames(gateway) == []


def test_nothing_is_sent_when_all_have_opted_out(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(2))
    opt_out(world.ledger, 33639980000, 33639980001)

    with pytest.raises(LedgerError, match="all recipients"):
        world.submit(prepared.stem)

    assert world.ledger.submissions.get(prepared.stem).state is State.CANCELLED
    assert gateway.settled_names() == []


def test_a_missed_hour_is_not_replaced_by_another(world: World, gateway: Gateway) -> None:
    wanted = clock.now() + timedelta(hours=1)
    [prepared] = world.prepare(numbers(3), send_at=wanted)
    gateway.move_clock(to=wanted + timedelta(minutes=11))

    with pytest.raises(WindowClosed, match="trigger a new run"):
        world.submit(prepared.stem)

    assert renames(gateway) == []


def test_a_missed_evening_campaign_is_not_sent_at_night(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    gateway.move_clock(to=clock.now() + timedelta(hours=13))

    with pytest.raises(WindowClosed):
        world.submit(prepared.stem)

    assert renames(gateway) == []


def test_nothing_is_sent_with_an_incomplete_stop_list(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    world.ledger.runs.record_screening(
        "one", candidates=3, audience=3, excluded={}, stop_list_size=7
    )

    for token in ("first try", "cleared right after"):
        with pytest.raises(StopListUnsafe):
            world.submit(prepared.stem, token=token)

    assert renames(gateway) == []


def test_a_silent_gateway_ends_in_a_timeout(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    [prepared] = world.prepare(numbers(3))
    upload = sftp_gateway.SftpGateway.upload

    def unanswered(session: Any, name: str, source: Any) -> int:
        stop_answering(gateway)
        session._client.get_channel().settimeout(0.3)  # a minute, if nobody is in a hurry
        return upload(session, name, source)

    monkeypatch.setattr(sftp_gateway.SftpGateway, "upload", unanswered)

    with pytest.raises(GatewayUnreachable, match="can't be reached while uploading") as error:
        world.submit(prepared.stem)

    assert error.value.retryable
    assert renames(gateway) == []


def test_an_unknown_directory_error_lists_the_existing_ones(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    [prepared] = world.prepare(numbers(3))
    connect(monkeypatch, gateway, send_dir="Outbox")

    with pytest.raises(GatewayRefused, match=r"no directory Outbox, only .*Send"):
        world.submit(prepared.stem)


def test_directories_are_found_in_any_case(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    [prepared] = world.prepare(numbers(3))
    connect(monkeypatch, gateway, send_dir="SEND", report_dir="/report/")

    world.submit(prepared.stem)

    assert gateway.settled_names() == [f"{prepared.stem}.done"]


def test_a_simulated_clock_works_only_with_its_gateway(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    (gateway.home / ".sandbox").write_text("another clock")

    with pytest.raises(ClockMoved):
        world.submit(prepared.stem)

    assert renames(gateway) == []


def test_two_parts_hold_every_recipient_once(world: World, gateway: Gateway) -> None:
    parts = world.prepare(numbers(5), more="max_recipients_per_file: 3\n")

    for part in parts:
        assert world.submit(part.stem).stem == part.stem
        assert world.submit(part.stem).stem == part.stem  # whose verdict nobody has heard
        world.accepted(part.stem)

    gateway.settle()
    assert [part.messages for part in parts] == [3, 2]
    assert [part.stem[-3:] for part in parts] == ["p01", "p02"]
    assert len(sent_to(gateway)) == len(set(sent_to(gateway))) == 5


PARTS = "max_recipients_per_file: 2\n"


def test_every_part_is_uploaded_before_the_first_rename(world: World, gateway: Gateway) -> None:
    first, second, third = (part.stem for part in world.prepare(numbers(5), more=PARTS))
    gateway.drop_connection_before("put", 3)
    with pytest.raises(GatewayUnreachable):
        world.submit(first)
    assert renames(gateway) == []
    assert in_send(gateway) == [f"{first}.tmp", f"{second}.tmp"]
    uploads = gateway.counts()["put"]

    world.submit(first, token="second try")

    assert renames(gateway) == [f"{first}.csv"]
    assert gateway.counts()["put"] == uploads + 1
    assert gateway.settled_names() == [f"{first}.done", f"{second}.tmp", f"{third}.tmp"]


def test_a_number_opted_out_between_parts_is_excluded(world: World, gateway: Gateway) -> None:
    first, second = (part.stem for part in world.prepare(numbers(4), more=PARTS))
    world.submit(first)
    world.accepted(first)
    opt_out(world.ledger, 33639980001, 33639980003)

    assert world.submit(second).messages == 1

    gateway.settle()
    assert sent_to(gateway) == ["+33639980000", "+33639980001", "+33639980002"]


def test_a_held_file_leaves_nothing_at_the_gateway(world: World, gateway: Gateway) -> None:
    first, second, third = (part.stem for part in world.prepare(numbers(5), more=PARTS))
    world.submit(first)
    world.accepted(first)
    show(gateway, f"{third}.0123abcd.tmp", b"half of a li")

    held = delivery.hold([first, second, third], wiring.gateway, world.ledger, "it was rejected")

    assert held == [second, third]
    assert gateway.settled_names() == [f"{first}.done"]
    assert world.ledger.submissions.get(first).state is State.ACCEPTED
    with pytest.raises(LedgerError, match="was cancelled"):
        world.submit(second)
    assert renames(gateway) == [f"{first}.csv"]


def test_holding_resumes_after_a_lost_connection(world: World, gateway: Gateway) -> None:
    first, second = (part.stem for part in world.prepare(numbers(4), more=PARTS))
    world.submit(first)
    gateway.drop_connection_before("remove")
    with pytest.raises(GatewayUnreachable):
        delivery.hold([second], wiring.gateway, world.ledger, "it was rejected")

    assert delivery.hold([second], wiring.gateway, world.ledger, "it was rejected") == [second]
    assert gateway.settled_names() == [f"{first}.done"]


def test_cancelling_one_part_cancels_all_parts_not_renamed(world: World, gateway: Gateway) -> None:
    first, second, third = (part.stem for part in world.prepare(numbers(5), more=PARTS))
    world.submit(first)
    assert world.ledger.submissions.move(third, to=State.CANCELLED)

    with pytest.raises(LedgerError, match="was cancelled"):
        world.submit(second)

    assert world.ledger.submissions.get(second).state is State.CANCELLED
    assert gateway.settled_names() == [f"{first}.done"]
    assert renames(gateway) == [f"{first}.csv"]


@pytest.mark.parametrize("moment", range(1, 4))
def test_a_halt_at_any_step_prevents_the_rename(
    world: World, gateway: Gateway, moment: int
) -> None:
    [prepared] = world.prepare(numbers(3))
    asked = iter(range(1, 100))

    def halted(_: Any) -> None:
        if next(asked) >= moment:
            raise SendingHalted("sms_halt")

    with pytest.raises(SendingHalted, match="halts all sending: nothing more is renamed") as error:
        world.submit(prepared.stem, also=halted)
    assert not error.value.retryable
    assert renames(gateway) == []

    world.submit(prepared.stem, token="let it go on")

    assert renames(gateway) == [f"{prepared.stem}.csv"]


@SANDBOX_ONLY
def test_an_upload_waits_until_it_is_late_but_safe(world: World) -> None:
    [prepared] = world.prepare(numbers(3), send_at=clock.now() + timedelta(hours=3))
    large = replace(prepared, size_bytes=150 * 10**6)
    half_an_hour = prepared.send_at - timedelta(minutes=30)

    def lead(pace: float | None, *files: Submission) -> timedelta:
        return half_an_hour - upload_time.upload_at(files, world.settings, pace)

    assert lead(1e6, prepared) < timedelta(seconds=1)
    assert lead(None, large) == timedelta(minutes=5)  # by a slow line, twice as slow
    assert lead(3e6, large, large) == timedelta(seconds=200)


@SANDBOX_ONLY
def test_a_rejected_files_likely_causes_come_from_its_bytes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    [plain] = world.prepare(numbers(3))
    folder = world.run_folder("one")
    assert rejection.likely_causes(folder, plain, world.settings) == (
        "our own check finds no fault in the file: ask support@mtarget.fr",
    )

    world.text = "Bonjour {{ name }} ; à samedi !"
    [quoted] = world.prepare(numbers(3), run="two")
    told = rejection.likely_causes(world.run_folder("two"), quoted, world.settings)
    assert told[0].startswith("3 texts in quotes")

    with folder.send_file(plain.stem).open("ab") as file:
        file.write(b"x;no number;TESTS;hello\r\n")
    [fault] = rejection.likely_causes(folder, plain, world.settings)
    assert fault == "line 4: the number is not in international format, + and 8 to 15 digits"
