"""A sandbox gateway for each test, and a real SFTP client that pins its host key."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import paramiko
import pytest

from sms_sandbox import Account, Sandbox
from tests.sandbox.wire import log_in

START = datetime(2026, 7, 15, 8, 0, tzinfo=UTC)  # a Wednesday, 10:00 in Paris


@pytest.fixture
def open_gateway(tmp_path: Path) -> Iterator[Callable[..., Sandbox]]:
    """Open gateways with any options; closed when the test ends."""
    with ExitStack() as stack:

        def open_one(*, root: str = "gateway", account: Account | None = None, **options):
            options.setdefault("start", START)
            return stack.enter_context(Sandbox(tmp_path / root, account=account, **options))

        yield open_one


@pytest.fixture
def gateway(open_gateway: Callable[..., Sandbox]) -> Sandbox:
    """A gateway on a good day, on a Wednesday at 10:00 in Paris."""
    return open_gateway()


@pytest.fixture
def client(gateway: Sandbox) -> Iterator[paramiko.SFTPClient]:
    """A client that is logged in by key."""
    with log_in(gateway) as sftp:
        yield sftp
