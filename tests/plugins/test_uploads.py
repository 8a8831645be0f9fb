"""One file over the connection: whole, with its progress, or refused by the gateway."""

import hashlib
import io
import logging
from typing import Any

import asyncssh
import paramiko
import pytest

from sms.errors import GatewayRefused
from sms_airflow import sftp_gateway, wiring
from sms_airflow.sftp_gateway import BLOCK, QUICK_CIPHER, UNDER_WAY
from sms_sandbox.sftp import FileSession
from tests.world import SANDBOX_ONLY, Gateway, connect

LARGE = BLOCK * UNDER_WAY * 3 + 17  # bytes: the line is full three times over


def test_a_large_file_arrives_byte_for_byte(gateway: Gateway) -> None:
    content = b"".join(hashlib.sha256(n.to_bytes(4)).digest() for n in range(LARGE // 32 + 1))

    with wiring.gateway() as session:
        size = session.upload("SEND-large.tmp", io.BytesIO(content))

    assert size == len(content)
    assert (gateway.home / "Send" / "SEND-large.tmp").read_bytes() == content


@SANDBOX_ONLY
def test_a_refused_write_is_reported_with_its_operation(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any) -> None:
        raise asyncssh.SFTPNoSpaceOnFilesystem("the disk is full")

    monkeypatch.setattr(FileSession, "write", full)

    with wiring.gateway() as session, pytest.raises(GatewayRefused, match="uploading SEND-full"):
        session.upload("SEND-full.tmp", io.BytesIO(b"one write"))


def test_the_progress_of_an_upload_is_logged(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sftp_gateway, "PROGRESS", 0.0)
    caplog.set_level(logging.INFO, logger=sftp_gateway.__name__)

    with wiring.gateway() as session:
        session.upload("SEND-told.tmp", io.BytesIO(b"x" * (2 * BLOCK)))

    half, whole, end = (record.getMessage() for record in caplog.records)
    assert half.startswith("SEND-told.tmp: 0.0 MB in ")
    assert half.endswith("50 %")
    assert whole.endswith("100 %")
    assert end.startswith("SEND-told.tmp is uploaded: 0.1 MB in ")


@pytest.mark.parametrize(("compress", "quick"), [("false", True), (None, False)])
def test_an_uncompressed_connection_agrees_on_a_fast_cipher(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, compress: str | None, quick: bool
) -> None:
    connect(monkeypatch, gateway, compress=compress)

    with wiring.gateway() as session:
        line = transport(session)
        session.upload("SEND-quick.tmp", io.BytesIO(b"after a second agreement"))

        assert (line.local_cipher == QUICK_CIPHER) is quick
        assert (line.local_compression == "none") is quick
    sent = (gateway.home / "Send" / "SEND-quick.tmp").read_bytes()
    assert sent == b"after a second agreement"


def transport(session: sftp_gateway.SftpGateway) -> paramiko.Transport:
    channel = session._client.get_channel()
    assert channel
    return channel.get_transport()
