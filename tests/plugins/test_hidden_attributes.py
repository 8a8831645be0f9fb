"""Servers that give no sizes, times or permissions are supported."""

import asyncio
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.delivery.gateway import Folder
from sms.errors import GatewayUnreachable
from sms.ledger.states import State
from sms_airflow import sftp_gateway, sizes, wiring
from sms_airflow.sftp_gateway import SftpGateway, watching
from sms_airflow.triggers import ReportTrigger
from sms_sandbox import Sandbox
from tests.waiting import first_event, trigger
from tests.world import SANDBOX_ONLY, STEM, Gateway, World, numbers, renames

ACK = STEM.replace("SEND", "ACK") + ".csv"
UNTOLD = [("size",), ("times",), ("permissions",), ("size", "times", "permissions")]


@pytest.fixture(params=UNTOLD, ids=" ".join)
def little(gateway: Sandbox, request: pytest.FixtureRequest) -> Sandbox:
    """The sandbox, which leaves something out of listings and stats."""
    gateway.turn(hidden=request.param)
    return gateway


@SANDBOX_ONLY
def test_a_file_is_uploaded_once_and_found_by_retries(
    world: World, little: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    [prepared] = world.prepare(numbers(300))
    with monkeypatch.context() as patch:
        patch.setattr(SftpGateway, "rename", _broken_at_csv(SftpGateway.rename))
        with pytest.raises(GatewayUnreachable, match="the line broke"):
            world.submit(prepared.stem)
    assert little.counts()["put"] == 1

    held = world.submit(prepared.stem, token="second try")

    assert held.state in (State.SUBMITTED, State.UNKNOWN)
    assert len(renames(little)) <= 1
    assert little.counts()["put"] == 1


def _broken_at_csv(rename):
    def broken(self, old, new, may_leave=None):
        if not new.endswith(".csv"):
            return rename(self, old, new, may_leave)
        rename(self, old, new, may_leave)
        raise GatewayUnreachable("the line broke")

    return broken


@SANDBOX_ONLY
def test_a_listing_has_the_sizes_that_matter(little: Sandbox) -> None:
    big = bytes(range(256)) * 1000 + b"."
    little.put_report(ACK, b"x" * 70_001)
    with wiring.gateway() as session:
        assert session.upload(f"{STEM}.tmp", io.BytesIO(big)) == len(big)
        told = [*session.listing(Folder.SEND), *session.listing(Folder.REPORT)]

    async def watch() -> list[int]:
        account = wiring.account()
        async with watching(account) as line:
            files = [await line.listing(account, folder) for folder in Folder]
            return [file.size for listing in files for file in listing]

    assert [file.size for file in told] == [len(big), 70_001] == asyncio.run(watch())


@SANDBOX_ONLY
def test_a_truncated_upload_is_still_detected(
    world: World, little: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    [prepared] = world.prepare(numbers(300))
    monkeypatch.setattr(sftp_gateway, "_write", lambda target, source, progress: target.write(
        source.read()[:-1]))  # fmt: skip

    with pytest.raises(GatewayUnreachable, match="the upload was cut short"):
        world.submit(prepared.stem)

    assert renames(little) == []


@SANDBOX_ONLY
def test_a_report_settles_by_its_size(little: Sandbox) -> None:
    little.put_report(ACK, b"x" * 40_000)

    assert asyncio.run(first_event(trigger(ReportTrigger, STEM)))["saw"] == "report"


@pytest.mark.parametrize("size", [0, 1, 31_999, 32_000, 32_001, 400_000])
def test_a_size_is_found_by_the_bytes_alone(gateway: Gateway, size: int) -> None:
    with wiring.gateway() as session:
        session.upload(f"{STEM}.tmp", io.BytesIO(b"x" * size))
        assert sizes.measured(session._client, f"Send/{STEM}.tmp") == size

    async def watch() -> int:
        async with watching(wiring.account()) as line:
            return await sizes.measured_by(line._client, f"Send/{STEM}.tmp".encode())

    assert asyncio.run(watch()) == size


@given(st.integers(0, 1 << 40), st.integers(1, sizes.PIECE))
def test_a_size_is_found_in_few_reads(size: int, most: int) -> None:
    steps, reads, found = sizes.search(), 0, None
    offset, length = next(steps)
    while found is None:
        reads += 1
        try:
            offset, length = steps.send(max(min(length, most, size - offset), 0))
        except StopIteration as end:
            found = end.value

    assert found == size
    assert reads <= 2 * (size.bit_length() + sizes.PIECE.bit_length()) + 4
