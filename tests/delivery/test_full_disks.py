"""Full or missing disks, here and at the gateway: one sentence, no partial file, no claim held."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import psycopg
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy import make_url

from sms import storage
from sms.columnar import parquet
from sms.delivery.gateway import Folder
from sms.errors import (
    GatewayRefused,
    LedgerReadOnly,
    SmsError,
    StorageFailed,
    StorageGone,
    UploadRefused,
)
from sms.ledger.ledger import Ledger
from sms.ledger.records import Submission
from sms.ledger.states import State
from sms.run import preparation, review, stages
from sms.run.folder import RunFolder
from sms.run.prepared_file import PreparedFile
from sms_airflow import wiring
from sms_airflow.failures import in_a_sentence
from sms_sandbox.sftp import FileSession
from tests.disks import Disk, small_disk
from tests.openssh import OpenSsh
from tests.submitting import interrupted, opt_out
from tests.world import (
    SANDBOX_ONLY,
    Gateway,
    World,
    connect,
    in_send,
    numbers,
    renames,
)

PEOPLE = 300
ROOM = 40  # pages: enough for any stage


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Where the world leaves its runs."""
    with small_disk(tmp_path / "runs", monkeypatch) as disk:
        yield disk


def each_stage(world: World) -> Iterator[tuple[str, Callable[[], Any]]]:
    """A run's stages up to its review, to be called one after the other."""
    folder = world.run_folder("one")
    rows = [(f"k{at}", number, f"Léa {at}") for at, number in enumerate(numbers(PEOPLE))]
    batch = parquet.from_rows(["key", "msisdn", "name"], rows)
    made: list[preparation.Plan] = []

    def after(stage: Callable[..., Any]) -> Callable[[], Any]:
        return lambda: stage(folder.read_plan(), folder, world.ledger, world.settings)

    yield "plan", lambda: made.append(world.plan())
    yield "extract", lambda: stages.extract([batch], folder)
    yield "screen", after(stages.screen)
    yield "render", after(stages.render)
    yield "review", after(review.review)


def kept(folder: Path) -> dict[str, bytes]:
    """What a run's folder holds, without what is empty."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.name: content for path in files if (content := path.read_bytes())}


@SANDBOX_ONLY
def test_a_stage_without_disk_space_leaves_no_partial_file(
    world: World, gateway: Gateway, disk: Disk
) -> None:
    halves: list[dict[str, bytes]] = []
    failures: dict[str, StorageFailed] = {}

    for name, stage in each_stage(world):
        for pages in range(ROOM):
            disk.fill(but=pages)
            try:
                stage()
                break
            except StorageFailed as full:
                failures[name] = full
                halves.append(kept(world.run_folder("one").path))
            finally:
                disk.make_room()

    whole = kept(world.run_folder("one").path)
    assert list(failures) == ["plan", "extract", "screen", "render", "review"]
    for full in failures.values():
        assert full.retryable
        assert "No space left on device): make room there" in str(full)
    assert "05_" in " ".join(whole)
    for half in halves:
        assert {name: whole[name] for name in half} == half


GONE = {
    "extract": lambda world, folder: stages.extract([batch_of_one()], folder),
    "read_plan": lambda world, folder: folder.read_plan(),
    "screen": lambda world, folder: stages.screen(PLANS[0], folder, world.ledger, world.settings),
    "render": lambda world, folder: stages.render(PLANS[0], folder, world.ledger, world.settings),
    "review": lambda world, folder: review.review(PLANS[0], folder, world.ledger, world.settings),
}
PLANS: list[preparation.Plan] = []


def batch_of_one() -> Any:
    return parquet.from_rows(["key", "msisdn", "name"], [("k1", "06 39 98 00 01", "Léa")])


@SANDBOX_ONLY
@pytest.mark.parametrize("stage", GONE.values(), ids=GONE.keys())
def test_a_stage_without_its_folder_fails_without_retry(
    world: World, gateway: Gateway, stage: Callable[[World, RunFolder], Any]
) -> None:
    world.prepare(numbers(3))
    folder = world.run_folder("one")
    PLANS[:] = [folder.read_plan()]
    shutil.rmtree(folder.path)

    with pytest.raises(StorageGone, match="call the file off by the DAG settle_submission") as gone:
        stage(world, folder)

    assert not gone.value.retryable
    assert str(folder) in str(gone.value)
    world.prepare(numbers(3))  # which is what clearing the task plan does
    assert world.submit(world.stems("one")[0]).state is State.SUBMITTED


@SANDBOX_ONLY
def test_a_failed_rewrite_is_repeated_by_the_next_try(
    world: World, gateway: Gateway, disk: Disk
) -> None:
    [prepared] = world.prepare(numbers(PEOPLE))
    opt_out(world.ledger, 33639980001)

    def nowhere(held: Submission) -> None:
        bytes_of(world, held.stem).unlink()
        disk.fill()

    with pytest.raises(StorageFailed, match="No space left") as full:
        world.submit(prepared.stem, also=nowhere)

    assert full.value.retryable
    assert in_send(gateway) == []
    assert not bytes_of(world, prepared.stem).exists()
    disk.make_room()
    parcel = PreparedFile(world.run_folder("one"), prepared.stem)
    parcel.require_prepared(str(prepared.prepared_sha256))  # if nobody were left out any more
    assert bytes_of(world, prepared.stem).exists()
    assert world.submit(prepared.stem, token="second try").messages == PEOPLE - 1


def bytes_of(world: World, stem: str) -> Path:
    return world.run_folder("one").send_file(stem)


def fill(gateway: Gateway, patch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the gateway's disk be full; what makes room there again."""
    if isinstance(gateway, OpenSsh):
        gateway.fill()
        return gateway.make_room

    async def full(*_: Any) -> None:
        raise asyncssh.SFTPNoSpaceOnFilesystem("no space left")

    patch.setattr(FileSession, "write", full)
    return patch.undo


def test_a_full_gateway_keeps_no_draft_and_no_claim(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    [prepared] = world.prepare(numbers(PEOPLE))
    with pytest.MonkeyPatch.context() as patch:
        make_room = fill(gateway, patch)
        with pytest.raises(UploadRefused, match="its disk, or our quota there, may be full") as no:
            world.submit(prepared.stem)
        make_room()

    assert no.value.retryable
    assert in_send(gateway) == []
    assert not world.ledger.submissions.get(prepared.stem).may_have_left

    assert world.submit(prepared.stem, token="second try").state is State.SUBMITTED
    assert renames(gateway) == [f"{prepared.stem}.csv"]


def forbid(gateway: Gateway, patch: pytest.MonkeyPatch) -> None:
    """Let nothing be written in `Send` by whoever logs in."""
    if isinstance(gateway, OpenSsh):
        patch.setattr(gateway, "port", gateway.read_only_port)
        connect(patch, gateway)
        return

    open_ = FileSession.open

    async def forbidden(session: Any, path: bytes, flags: int, attrs: Any) -> object:
        if flags & asyncssh.FXF_WRITE:
            raise asyncssh.SFTPPermissionDenied("Permission denied")
        return await open_(session, path, flags, attrs)

    patch.setattr(FileSession, "open", forbidden)


def test_an_unwritable_directory_is_reported_without_retry(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    with pytest.MonkeyPatch.context() as patch:
        forbid(gateway, patch)
        with pytest.raises(GatewayRefused, match="has no right to do that there") as no:
            world.submit(prepared.stem)

    assert not no.value.retryable
    assert world.submit(prepared.stem, token="cleared").state is State.SUBMITTED


@pytest.mark.parametrize("refused", [GatewayRefused("no"), StorageFailed("a", "b", "c", "d", True)])
def test_a_draft_never_renamed_to_tmp_is_removed(
    world: World, gateway: Gateway, refused: SmsError
) -> None:
    [prepared] = world.prepare(numbers(3))

    def no() -> None:
        raise refused

    with pytest.raises(type(refused)):
        world.submit(prepared.stem, gateway=interrupted("rename", no, when="before", nth=1))

    assert in_send(gateway) == []
    assert world.submit(prepared.stem, token="second try").state is State.SUBMITTED
    assert renames(gateway) == [f"{prepared.stem}.csv"]


def test_a_failing_try_always_releases_its_claim(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))

    def unexpected() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        world.submit(prepared.stem, gateway=interrupted("upload", unexpected))

    assert in_send(gateway) == []
    assert world.submit(prepared.stem, token="second try").state is State.SUBMITTED


@SANDBOX_ONLY
def test_a_local_disk_error_never_blames_the_gateway(
    gateway: Gateway,
) -> None:
    gateway.put_report("STOP-12345-20270302-1000-spring.csv", b"x" * 100_000)
    full = storage.StoredFile(_Full(), "a file in TMPDIR", "written")

    with wiring.gateway() as session, pytest.raises(StorageFailed, match="TMPDIR can't be") as no:
        session.fetch(Folder.REPORT, "STOP-12345-20270302-1000-spring.csv", full)

    assert no.value.retryable


class _Full:
    closed = False

    def write(self, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        pass


def read_only(ledger_url: str, *, on: bool) -> None:
    """Let whoever connects from now on change nothing, as on a standby; or everything again."""
    name = make_url(ledger_url).database
    word = "on" if on else "off"
    with psycopg.connect(ledger_url.replace("+psycopg", "", 1), autocommit=True) as db:
        db.execute("SET default_transaction_read_only = off")
        db.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {word}')


@SANDBOX_ONLY
def test_a_read_only_ledger_sends_nothing_and_is_retried(
    world: World, gateway: Gateway, ledger_url: str
) -> None:
    [prepared] = world.prepare(numbers(3))
    world.ledger = Ledger.connect(ledger_url)
    read_only(ledger_url, on=True)

    with pytest.raises(LedgerReadOnly, match="read-only: it is a standby, or default_") as refused:
        world.submit(prepared.stem)

    assert refused.value.retryable
    assert in_send(gateway) == []
    read_only(ledger_url, on=False)
    assert world.submit(prepared.stem, token="second try").state is State.SUBMITTED


@SANDBOX_ONLY
def test_a_ledger_read_only_before_the_rename_sends_nothing(
    world: World, gateway: Gateway, ledger_url: str
) -> None:
    [prepared] = world.prepare(numbers(3))
    world.ledger = Ledger.connect(ledger_url)

    with pytest.raises(LedgerReadOnly):
        world.submit(
            prepared.stem,
            gateway=interrupted("upload", lambda: read_only(ledger_url, on=True)),
        )

    assert renames(gateway) == []
    read_only(ledger_url, on=False)
    assert world.submit(prepared.stem, token="first try").state is State.SUBMITTED
    assert renames(gateway) == [f"{prepared.stem}.csv"]


UNFORESEEN = {
    "full": (OSError(errno.ENOSPC, "any", "/runs/x"), True, "/runs/x can't be used (No space"),
    "forbidden": (OSError(errno.EACCES, "any", "/runs/x"), False, "give this user the right"),
    "nobody there": (OSError(errno.ECONNREFUSED, "any"), True, "(tests.delivery.test_"),
    "without a number": (OSError("+33639980001"), True, "a file or a connection (tests.delivery"),
}


@pytest.mark.parametrize(("error", "retried", "said"), UNFORESEEN.values(), ids=UNFORESEEN.keys())
def test_an_unexpected_os_error_ends_in_one_sentence(
    error: OSError, retried: bool, said: str
) -> None:
    @in_a_sentence
    def task() -> None:
        raise error

    with pytest.raises(AirflowException) as told:
        task()

    assert said in str(told.value)
    assert "+336" not in str(told.value)
    assert isinstance(told.value, AirflowFailException) is not retried
