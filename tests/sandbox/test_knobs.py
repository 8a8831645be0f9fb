"""The knobs that make the gateway misbehave."""

import json
import time
from datetime import timedelta

import pytest

from sms_sandbox import Knobs
from sms_sandbox.knobs import Drop, Panel
from tests.sandbox.wire import STEM, log_in, rows, submit


def test_a_silent_gateway_leaves_the_csv_until_reset(open_gateway):
    gateway = open_gateway(knobs=Knobs(silent=True))
    with log_in(gateway) as client:
        submit(client, rows(1))
    assert gateway.settled_names() == [f"{STEM}.csv"]

    gateway.turn(silent=False)

    assert gateway.settled_names() == [f"{STEM}.done"]


def test_a_stuck_gateway_keeps_the_lock_until_freed(open_gateway):
    gateway = open_gateway(knobs=Knobs(stuck=True))
    with log_in(gateway) as client:
        submit(client, rows(1))
    gateway.move_clock(to=gateway.now() + timedelta(days=3))
    assert gateway.settled_names() == [f"{STEM}.lock"]

    gateway.turn(stuck=False)

    assert gateway.settled_names() == [f"{STEM}.done"]


def test_a_lock_lasts_as_long_as_configured(open_gateway):
    gateway = open_gateway(knobs=Knobs(lock_seconds=3600))
    with log_in(gateway) as client:
        submit(client, rows(1))
    gateway.move_clock(to=gateway.now() + timedelta(minutes=50))
    assert gateway.settled_names() == [f"{STEM}.lock"]

    gateway.move_clock(to=gateway.now() + timedelta(minutes=10))

    assert gateway.settled_names() == [f"{STEM}.done"]


def test_a_rejecting_gateway_rejects_valid_files(gateway, client):
    gateway.turn(reject=True)
    submit(client, rows(1))

    assert gateway.settled_names() == [f"{STEM}.reject"]


def test_a_slow_gateway_takes_its_time(gateway, client):
    gateway.turn(latency=0.2)
    begin = time.monotonic()
    client.stat("Send")

    assert time.monotonic() - begin >= 0.2


def test_knobs_can_be_turned_by_writing_their_file(gateway, client):
    (gateway.root / "knobs.json").write_text(json.dumps({"reject": True}))
    submit(client, rows(1))

    assert gateway.settled_names() == [f"{STEM}.reject"]


def test_a_knob_is_turned_for_some_campaigns_alone(gateway, client):
    gateway.turn(campaigns={"autumn*": {"reject": True}, "winter": {"stuck": True}})
    for name in ("spring", "autumn2", "winter"):
        submit(client, rows(1), f"SEND-12345-20260715-1000-{name}")

    stem = "SEND-12345-20260715-1000"
    assert gateway.settled_names() == [
        f"{stem}-autumn2.reject",
        f"{stem}-spring.done",
        f"{stem}-winter.lock",
    ]


@pytest.mark.parametrize(
    ("turned", "told"),
    [
        ({"stcuk": True}, "no such knob: stcuk"),
        ({"refuse_logins": True}, "refuse_logins can't be turned for spring alone"),
    ],
)
def test_a_knob_that_no_campaign_can_have_is_named(turned, told):
    with pytest.raises(ValueError, match=told):
        Knobs.of({"campaigns": {"spring": turned}}, Knobs())


def test_a_partly_written_knobs_file_changes_nothing(tmp_path):
    panel = Panel(tmp_path / "knobs.json", Knobs(stuck=True))
    panel.path.write_text('{"stuck": fal')
    assert panel.knobs.stuck

    panel.path.write_text('{"stuck": false}')
    assert not panel.knobs.stuck


@pytest.mark.parametrize("told", [{"stcuk": True}, {"drops": [{"verb": "sneeze"}]}])
def test_an_unknown_knob_is_named(told):
    with pytest.raises(ValueError, match="no such"):
        Knobs.of(told, Knobs())


def test_only_the_nth_time_counts(tmp_path):
    panel = Panel(tmp_path / "knobs.json", Knobs(drops=(Drop("rename", "after", 2),)))

    asked = [panel.is_dropped("rename", "after") for _ in range(4)]

    assert asked == [False, True, False, False]
