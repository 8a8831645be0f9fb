"""Refused logins and wrong host keys: one sentence, and one attempt."""

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import asyncssh
import paramiko
import pytest

from sms.errors import GatewayRefused, GatewayUnreachable
from sms_airflow import shared_connection, wiring
from sms_airflow.triggers import VerdictTrigger
from sms_sandbox import Sandbox
from tests.openssh import OpenSsh
from tests.waiting import Triggerer, first_event, trigger
from tests.world import SANDBOX_ONLY, STEM, Gateway, connect, show


def a_task() -> str:
    """What a task hears, and doesn't try again."""
    with pytest.raises(GatewayRefused) as refused, wiring.gateway():
        pass
    assert not refused.value.retryable
    return str(refused.value)


def a_trigger() -> str:
    """What a trigger tells the task that waits for it."""
    event = asyncio.run(first_event(trigger(VerdictTrigger)))
    assert event["saw"] == "refusal"
    return str(event["why"])


@pytest.fixture(params=[a_task, a_trigger], ids=["a task", "a trigger"])
def told(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Each way in which we log in: the sentence with which it ends."""
    return request.param


def asked(gateway: Gateway) -> dict[str, int]:
    """How often we have knocked, and how often a key of ours was refused or taken."""
    for each in threading.enumerate():
        if isinstance(
            each, paramiko.Transport
        ):  # left open by the hook until the task's process ends
            each.close()
    if isinstance(gateway, OpenSsh):
        gateway.wait_for_goodbyes()
    counts = gateway.counts()
    return {what: counts[what] for what in ("connection", "refused_login", "login")}


def stranger(kind: str) -> asyncssh.SSHKey:
    return asyncssh.generate_private_key(kind)


def pin(monkeypatch: pytest.MonkeyPatch, gateway: Gateway, key: asyncssh.SSHKey) -> None:
    connect(monkeypatch, gateway, host_key=key.export_public_key().decode().strip())


def test_a_wrong_host_key_is_reported_without_login(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, told: Callable[[], str]
) -> None:
    pin(monkeypatch, gateway, stranger("ssh-ed25519"))

    assert "the host key of 127.0.0.1" in told()
    assert asked(gateway) == {"connection": 1, "refused_login": 0, "login": 0}


@pytest.mark.parametrize("kind", ["ecdsa-sha2-nistp256", "ssh-rsa"])
def test_a_pinned_key_of_another_kind_is_wrong(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, told: Callable[[], str], kind: str
) -> None:
    pin(monkeypatch, gateway, stranger(kind))

    assert "the host key of 127.0.0.1" in told()
    counts = asked(gateway)
    assert (counts["refused_login"], counts["login"]) == (0, 0)
    assert counts["connection"] <= 2


@SANDBOX_ONLY  # whose knob cuts the line at this very point
def test_a_connection_lost_before_login_is_no_wrong_key(gateway: Sandbox) -> None:
    show(gateway, f"{STEM}.done")
    gateway.drop_connection_before("login")

    assert asyncio.run(first_event(trigger(VerdictTrigger)))["saw"] == "accepted"
    assert gateway.counts()["dropped"] == 1


def test_an_unpinned_host_key_is_refused(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, told: Callable[[], str]
) -> None:
    connect(monkeypatch, gateway, host_key=None)

    assert "the host key of 127.0.0.1" in told()
    assert asked(gateway) == {"connection": 1, "refused_login": 0, "login": 0}


def test_a_login_that_is_refused_is_tried_once(gateway: Gateway, told: Callable[[], str]) -> None:
    gateway.turn(refuse_logins=True)

    assert "refused the login" in told()
    assert asked(gateway) == {"connection": 1, "refused_login": 1, "login": 0}


def test_only_the_connections_own_key_is_offered(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: Callable[[], str]
) -> None:
    at_home = tmp_path / ".ssh" / "id_ed25519"
    at_home.parent.mkdir()
    assert gateway.client_key_path
    at_home.write_bytes(gateway.client_key_path.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    wrong = tmp_path / "wrong_key"
    stranger("ssh-ed25519").write_private_key(wrong)
    connect(monkeypatch, gateway, key_file=str(wrong))

    assert "refused the login" in told()
    assert asked(gateway) == {"connection": 1, "refused_login": 1, "login": 0}


def test_a_thousand_waits_share_each_refused_login(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_connection, "REFUSED", 0.4)
    gateway.turn(refuse_logins=True)

    async def waves() -> list[str]:
        triggerer, saw = Triggerer(), []
        for _ in range(4):
            waits = [triggerer.first_event(trigger(VerdictTrigger)) for _ in range(250)]
            saw += [event["saw"] for event in await asyncio.gather(*waits)]
        return saw

    begun = time.monotonic()

    assert asyncio.run(waves()) == ["refusal"] * 1000
    assert time.monotonic() - begun >= 3 * 0.4
    assert asked(gateway) == {"connection": 4, "refused_login": 4, "login": 0}


def test_a_wait_after_a_refusal_succeeds_once_corrected(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_connection, "REFUSED", 0.1)
    gateway.turn(refuse_logins=True)
    assert a_trigger()
    gateway.turn(refuse_logins=False)
    show(gateway, f"{STEM}.done")

    assert asyncio.run(first_event(trigger(VerdictTrigger)))["saw"] == "accepted"


@SANDBOX_ONLY
def test_a_closed_port_is_no_refusal(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is started anew: the next try may find it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        facts = json.loads(os.environ["AIRFLOW_CONN_SMS_GATEWAY"])
        facts["port"] = taken.getsockname()[1]
        monkeypatch.setenv("AIRFLOW_CONN_SMS_GATEWAY", json.dumps(facts))

        told = pytest.raises(GatewayUnreachable, match="can't be reached while connecting")
        with told, wiring.gateway():
            pass
