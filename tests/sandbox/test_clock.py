"""The sandbox's clock."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from demo.processes import wait_until
from sms.clock import SandboxClock
from sms_sandbox import clock
from tests.sandbox.wire import STEM, log_in, put, rows, submit

START = datetime(2026, 7, 15, 8, 0, tzinfo=UTC)
RATE = 86_400.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clock.json"


def test_the_clock_starts_as_given_in_real_time(path):
    face = clock.create(path, start=START)

    assert face.at(face.wall + 10) == START.timestamp() + 10


def test_a_change_of_rate_affects_only_the_future(path):
    clock.create(path, start=START, top_rate=RATE)
    before = clock.read(path)
    after = clock.set_rate(path, RATE)

    assert after.at(after.wall) == pytest.approx(before.at(after.wall), abs=1e-3)
    assert after.at(after.wall + 1) == pytest.approx(after.at(after.wall) + RATE, abs=1e-3)


def test_slowing_the_clock_never_moves_it_back(path):
    clock.create(path, start=START, top_rate=RATE)
    for _ in range(20):
        fast = clock.set_rate(path, RATE)
        begin = time.time()
        slow = clock.set_rate(path, 1.0)

        assert slow.wall > begin
        for wall in (begin, (begin + slow.wall) / 2, slow.wall):
            assert slow.at(wall) >= fast.at(wall)


def test_speeding_up_the_clock_never_moves_it_back(path):
    clock.create(path, start=START, top_rate=RATE)
    slow = clock.read(path)
    taken = time.time()
    fast = clock.set_rate(path, RATE)

    assert fast.at(taken) >= slow.at(taken)


def test_the_clock_never_exceeds_its_top_rate(path):
    clock.create(path, start=START, top_rate=10)

    with pytest.raises(clock.ClockFixed):
        clock.set_rate(path, 11)
    with pytest.raises(clock.ClockFixed):
        clock.move(path, to=START + timedelta(days=1))


def test_the_clock_jumps_only_forward(path):
    clock.create(path, start=START, top_rate=clock.ANY_RATE)
    clock.move(path, to=START + timedelta(days=2))
    clock.move(path, to=START)

    assert clock.now(path) >= START + timedelta(days=2)


def test_a_restart_continues_with_the_same_clock(path):
    first = clock.create(path, start=START, top_rate=RATE)
    clock.set_rate(path, RATE)
    again = clock.create(path, start=START + timedelta(days=99), top_rate=1.0)

    assert again.id == first.id
    assert again.rate == 1.0
    assert clock.now(path) < START + timedelta(days=9)


def test_the_product_reads_the_same_time(gateway):
    earlier = gateway.now()
    read = SandboxClock(gateway.clock_path).now()

    assert earlier <= read <= gateway.now()


def test_time_accelerates_only_awaiting_an_ack_with_send_quiet(open_gateway):
    gateway = open_gateway(hurry=1000.0)
    rates = {}
    with log_in(gateway) as client:
        rates["idle"] = clock.read(gateway.clock_path).rate
        submit(client, rows(1))
        gateway.settle()
        rates["awaiting"] = clock.read(gateway.clock_path).rate
        with client.open("Send/SEND-12345-20260716-1000-second.tmp", "wb"):
            rates["uploading"] = clock.read(gateway.clock_path).rate
        gateway.settle()
        rates["uploaded"] = clock.read(gateway.clock_path).rate
        client.remove("Send/SEND-12345-20260716-1000-second.tmp")
        gateway.settle()
        rates["quiet again"] = clock.read(gateway.clock_path).rate
        gateway.move_clock(to=gateway.now() + timedelta(days=2))
        rates["acknowledged"] = clock.read(gateway.clock_path).rate

    assert rates == {
        "idle": 1.0,
        "awaiting": 1000.0,
        "uploading": 1.0,
        "uploaded": 1.0,
        "quiet again": 1000.0,
        "acknowledged": 1.0,
    }


def test_a_stuck_file_stops_the_acceleration(open_gateway):
    gateway = open_gateway(hurry=1000.0)
    with log_in(gateway) as client:
        submit(client, rows(1))
        gateway.settle()
        gateway.turn(stuck=True)
        submit(client, rows(1), "SEND-12345-20260716-1000-second")
        gateway.settle()

    assert clock.read(gateway.clock_path).rate == 1.0


def test_time_does_not_accelerate_while_a_file_prevents_it(open_gateway):
    gateway = open_gateway(hurry=1000.0)
    hold, rates = gateway.clock_path.with_name("hold"), []
    hold.touch()
    with log_in(gateway) as client:
        submit(client, rows(1))
        gateway.settle()
    for change in (lambda: None, hold.unlink, hold.touch):
        change()
        gateway.settle()
        rates.append(clock.read(gateway.clock_path).rate)

    assert rates == [1.0, 1000.0, 1.0]


def test_an_accelerating_gateway_delivers_the_ack_by_itself(open_gateway):
    gateway = open_gateway(hurry=RATE * 4)
    begin = gateway.now()
    with log_in(gateway) as client:
        submit(client, rows(50))
        gateway.settle()
    wait_until(lambda: bool(gateway.journal("report")), "the report", timeout=60)

    assert gateway.now() - begin < timedelta(days=3)
    assert clock.read(gateway.clock_path).rate == 1.0


def test_a_clock_moved_by_its_file_is_detected(gateway, client):
    put(client, f"{STEM}.tmp", rows(1))
    client.rename(f"Send/{STEM}.tmp", f"Send/{STEM}.csv")
    gateway.settle()
    clock.move(gateway.clock_path, to=gateway.now() + timedelta(days=2))
    wait_until(lambda: bool(gateway.journal("report")), "the report", timeout=60)
