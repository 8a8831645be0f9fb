"""What a session at the gateway guarantees on every server."""

import asyncio
import io
import threading
from pathlib import Path

import paramiko
import pytest
from paramiko.sftp import CMD_ATTRS, CMD_OPENDIR, CMD_READDIR

from sms.delivery.gateway import Folder
from sms.errors import GatewayRefused, GatewayUnreachable
from sms_airflow import wiring
from sms_airflow.sftp_gateway import watching
from sms_sandbox import Sandbox
from tests import openssh
from tests.world import SANDBOX_ONLY, STEM, Gateway, in_send, renames, show


def test_a_rename_to_an_existing_name_is_refused(gateway: Gateway) -> None:
    gateway.turn(silent=True)
    there = show(gateway, f"{STEM}.csv", b"another's")

    with wiring.gateway() as session:
        session.upload(f"{STEM}.tmp", io.BytesIO(b"ours"))
        with pytest.raises(GatewayRefused, match=f"refused while renaming {STEM}") as refused:
            session.rename(f"{STEM}.tmp", f"{STEM}.csv")

        assert not refused.value.retryable
        assert there.read_bytes() == b"another's"
        assert in_send(gateway) == [f"{STEM}.csv", f"{STEM}.tmp"]
        assert renames(gateway) == []


@pytest.mark.parametrize("asked", [CMD_OPENDIR, CMD_READDIR])
def test_an_unexpected_answer_is_no_empty_directory(
    gateway: Gateway, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = paramiko.SFTPClient._request

    def odd(client: paramiko.SFTPClient, kind: int, *more: object) -> object:
        came, answer = request(client, kind, *more)
        return (CMD_ATTRS, answer) if kind == asked else (came, answer)

    with wiring.gateway() as session:
        monkeypatch.setattr(paramiko.SFTPClient, "_request", odd)
        with pytest.raises(GatewayUnreachable, match="answered by attrs"):
            session.listing(Folder.SEND)
        monkeypatch.undo()


def test_a_file_is_uploaded_and_fetched_byte_by_byte(gateway: Gateway) -> None:
    content = bytes(range(256)) * 1000
    back = io.BytesIO()

    with wiring.gateway() as session:
        assert session.upload(f"{STEM}.tmp", io.BytesIO(content)) == len(content)
        session.fetch(Folder.SEND, f"{STEM}.tmp", back)
        [file] = session.listing(Folder.SEND)

        assert back.getvalue() == content
        assert (file.name, file.size) == (f"{STEM}.tmp", len(content))
        assert session.remove(Folder.SEND, f"{STEM}.tmp")
        assert not session.remove(Folder.SEND, f"{STEM}.tmp")


def test_a_listing_while_files_are_renamed_shows_all_others(gateway: Gateway) -> None:
    others = {show(gateway, f"{STEM}{at:03d}.done").name for at in range(200)}
    restless = show(gateway, f"{STEM}.done")
    enough = threading.Event()
    mover = threading.Thread(target=_rename_to_and_fro, args=(restless, enough))
    mover.start()
    try:
        with wiring.gateway() as session:
            listings = [session.listing(Folder.SEND) for _ in range(20)]
    finally:
        enough.set()
        mover.join()

    for listing in listings:
        assert others <= {file.name for file in listing}


def _rename_to_and_fro(file: Path, enough: threading.Event) -> None:
    while not enough.wait(0.001):
        file.rename(file.with_suffix(".reject")).rename(file)


def test_nothing_outside_the_home_can_be_reached(gateway: Gateway, tmp_path: Path) -> None:
    if isinstance(gateway, openssh.OpenSsh) and not openssh.IS_ROOT:
        pytest.skip("only root may shut a client in")
    outside = tmp_path / "outside"
    outside.write_bytes(b"not for clients")
    climbing = "/".join([".."] * len(gateway.home.parts)) + str(outside)

    with wiring.gateway() as session, pytest.raises(GatewayRefused):
        session.fetch(Folder.SEND, climbing, io.BytesIO())


@SANDBOX_ONLY
def test_a_connection_lost_during_clock_comparison_is_no_mismatch(
    gateway: Sandbox,
) -> None:
    async def watch() -> None:
        async with watching(wiring.account()):
            pass

    gateway.drop_connection_before("get")
    with pytest.raises(GatewayUnreachable):
        wiring.gateway().__enter__()
    gateway.drop_connection_before("get")
    with pytest.raises(GatewayUnreachable):
        asyncio.run(watch())
