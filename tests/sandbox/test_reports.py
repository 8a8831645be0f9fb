"""The reports in `Report`, and their times."""

import csv
import gzip
import io
import json
from collections import Counter
from datetime import timedelta

from sms_sandbox import Knobs, Sandbox
from sms_sandbox.outcomes import Lottery, Shares
from tests.sandbox.conftest import START
from tests.sandbox.wire import STEM, log_in, read, row, rows, submit

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def fields(report: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(report.decode(), newline=""), delimiter=";"))


def test_a_small_campaign_is_acknowledged_after_a_day(gateway, client):
    submit(client, rows(9))
    gateway.settle()
    begin = gateway.now()

    gateway.move_clock(to=begin + DAY - 5 * MINUTE)
    assert not any(name.startswith("ACK") for name in client.listdir("Report"))
    gateway.move_clock(to=begin + DAY)
    assert f"{STEM.replace('SEND', 'ACK')}.csv" in client.listdir("Report")


def test_ten_thousand_messages_are_acknowledged_after_four_days(gateway, client):
    submit(client, rows(10_000))
    gateway.settle()
    begin = gateway.now()

    gateway.move_clock(to=begin + 4 * DAY - 5 * MINUTE)
    assert not any(name.startswith("ACK") for name in client.listdir("Report"))
    gateway.move_clock(to=begin + 4 * DAY)
    assert len(read(client, "ACK").splitlines()) == 10_000


def test_an_ack_has_the_outcome_of_every_message(gateway, client):
    submit(client, rows(500))
    gateway.move_clock(to=gateway.now() + DAY + MINUTE)

    reported = fields(read(client, "ACK"))
    assert [r[:4] for r in reported] == fields(rows(500))
    assert Counter(r[5] for r in reported) == gateway.journal("report")[0]["outcomes"]
    assert {"3", "4", "6"} <= {r[4] for r in reported}
    assert all(len(r) == 7 for r in reported)


def test_stops_and_replies_grow_in_between(gateway, client):
    submit(client, rows(2000))
    gateway.settle()
    begin = gateway.now()
    sizes = []
    for hours in (1, 6, 23):
        gateway.move_clock(to=begin + timedelta(hours=hours))
        sizes.append((len(read(client, "STOP")), len(read(client, "SMSMO"))))
    early = read(client, "STOP")[: sizes[0][0]]

    assert sizes == sorted(set(sizes))
    assert early.endswith(b"\r\n")
    assert {len(r) for r in fields(read(client, "STOP"))} == {5}
    numbers = {r[1]: r[0] for r in fields(rows(2000))}
    assert all(r[0] in numbers for r in fields(read(client, "SMSMO")))


def test_outcomes_depend_on_neither_row_order_nor_restarts(open_gateway):
    outcomes = []
    for root, content in (("one", rows(200)), ("two", b"".join(rows(200).splitlines(True)[::-1]))):
        gateway = open_gateway(root=root, seed=7)
        with log_in(gateway) as client:
            submit(client, content)
            gateway.move_clock(to=gateway.now() + DAY + MINUTE)
            outcomes.append(sorted(read(client, "ACK").splitlines()))

    assert outcomes[0] == outcomes[1]


def test_another_seed_gives_other_outcomes():
    shares = Shares(refused=0.3, not_delivered=0.3, pending=0, unreported=0, stop=0.5, reply=0)
    draws = [
        [Lottery(seed, "spring", shares, DAY).fate(f"id{n}") for n in range(50)] for seed in (1, 2)
    ]

    assert draws[0] != draws[1]


def test_outcomes_keep_their_shares():
    shares = Shares(
        refused=0.1, not_delivered=0.2, pending=0.3, unreported=0.1, stop=0.5, reply=0.5
    )
    lottery = Lottery(1, "spring", shares, DAY)
    fates = [lottery.fate(f"id{n}") for n in range(20_000)]
    seen = Counter(fate.status.label for fate in fates)

    assert abs(seen["refused"] / 20_000 - 0.1) < 0.01
    assert abs(seen["not delivered"] / 20_000 - 0.2) < 0.01
    assert abs(seen["delivered"] / 20_000 - 0.4) < 0.01
    assert abs(sum(not fate.is_reported for fate in fates) / 20_000 - 0.1) < 0.01
    assert all(fate.answer for fate in fates if fate.status.label == "delivered")
    assert all(MINUTE <= fate.answer.after < DAY for fate in fates if fate.answer)


def test_a_torn_report_is_complete_a_minute_later(open_gateway):
    gateway = open_gateway(knobs=Knobs(torn=True, stop=1.0, reply=0.0))
    with log_in(gateway) as client:
        submit(client, rows(200))
        gateway.settle()
        gateway.move_clock(to=gateway.now() + DAY)
        stops, acks = read(client, "STOP"), read(client, "ACK")
        assert not stops.endswith(b"\n")
        assert not acks.endswith(b"\n")

        gateway.move_clock(to=gateway.now() + 2 * MINUTE)
        whole = read(client, "ACK")

        assert whole.startswith(acks)
        assert len(fields(whole)) == 200
        assert read(client, "STOP").startswith(stops)
        assert {len(r) for r in fields(read(client, "STOP"))} == {5}


def test_a_kill_never_loses_or_doubles_a_reports_rows(open_gateway, tmp_path):
    report = f"{STEM.replace('SEND', 'STOP')}.csv"
    state = tmp_path / "gateway" / "state" / f"{STEM}.json"
    with Sandbox(tmp_path / "gateway", knobs=Knobs(stop=1.0), start=START) as gateway:
        with log_in(gateway) as client:
            submit(client, rows(200))
        gateway.settle()
        before = json.loads(state.read_text())
        gateway.move_clock(to=gateway.now() + timedelta(hours=12))
        assert (gateway.home / "Report" / report).stat().st_size > 0
    state.write_text(json.dumps({**before, "growing": {report: 0}}))

    gateway = open_gateway(knobs=Knobs(stop=1.0))
    gateway.move_clock(to=gateway.now() + DAY)

    keys = [r[4] for r in fields((gateway.home / "Report" / report).read_bytes())]
    assert len(keys) == len(set(keys)) > 150


def test_a_late_ack_is_delayed(open_gateway):
    gateway = open_gateway(knobs=Knobs(ack_late_hours=5))
    with log_in(gateway) as client:
        submit(client, rows(1))
        gateway.settle()
        begin = gateway.now()
        gateway.move_clock(to=begin + DAY + timedelta(hours=4, minutes=50))
        assert gateway.journal("report") == []
        gateway.move_clock(to=begin + DAY + timedelta(hours=5))

        assert len(gateway.journal("report")) == 1


def test_bare_reports_look_like_the_pages_example(open_gateway):
    gateway = open_gateway(knobs=Knobs(bare_reports=True))
    with log_in(gateway) as client:
        submit(client, row(0, msg='"Oui; non"').encode())
        gateway.move_clock(to=gateway.now() + DAY + MINUTE)

        parts = read(client, "ACK").decode().split(";")
    assert parts[3:5] == ["Oui", " non"]
    assert parts[5].endswith(" ")
    assert " " in parts[7].strip()


def test_messages_beyond_the_balance_are_neither_sent_nor_reported(open_gateway):
    gateway = open_gateway(knobs=Knobs(balance=3))
    with log_in(gateway) as client:
        submit(client, rows(5))
        gateway.move_clock(to=gateway.now() + DAY + MINUTE)

        assert len(gateway.journal("sent")) == 3
        assert len(fields(read(client, "ACK"))) == 3


def test_a_report_put_by_a_test_is_shown(gateway, client):
    gateway.put_report(
        f"{STEM.replace('SEND', 'STOP')}.csv", b"+33639980000;20260715;1203;STOP;id1"
    )

    assert read(client, "STOP") == b"+33639980000;20260715;1203;STOP;id1"


def test_a_report_can_have_the_real_sends_hour(open_gateway):
    gateway = open_gateway(knobs=Knobs(report_hour_moves=True))
    with log_in(gateway) as client:
        submit(client, rows(1), "SEND-12345-20260714-1000-spring")
        gateway.move_clock(to=gateway.now() + DAY + MINUTE)

    assert gateway.report_names() == ["ACK-12345-20260715-1000-spring.csv"]


def test_a_report_can_come_twice_under_two_names(open_gateway):
    gateway = open_gateway(knobs=Knobs(report_copies=True, torn=True, stop=1.0, reply=0.0))
    with log_in(gateway) as client:
        submit(client, rows(20))
        gateway.settle()
        gateway.move_clock(to=gateway.now() + DAY + MINUTE)
        gateway.move_clock(to=gateway.now() + 2 * MINUTE)

    names = gateway.report_names()
    assert names == [
        f"{kind}-12345-20260715-{hour}-spring.csv"
        for kind in ("ACK", "STOP")
        for hour in ("1000", "1100")
    ]
    for kind in ("ACK", "STOP"):
        one, other = (
            (gateway.home / "Report" / name).read_bytes() for name in names if kind in name
        )
        assert one == other
        assert one.endswith(b"\r\n")


def test_a_report_can_repeat_each_message(open_gateway):
    gateway = open_gateway(knobs=Knobs(rows_twice=True, refused=1.0))
    with log_in(gateway) as client:
        submit(client, rows(2))
        gateway.move_clock(to=gateway.now() + DAY + MINUTE)

        told = [(row[0], row[4]) for row in fields(read(client, "ACK"))]

    first, second = dict.fromkeys(id for id, _ in told)
    assert told == [(first, "2"), (first, "4"), (second, "2"), (second, "4")]


def test_an_ack_may_come_in_two_halves(open_gateway):
    gateway = open_gateway(knobs=Knobs(ack_in_halves=True))
    with log_in(gateway) as client:
        submit(client, rows(9))
        gateway.settle()
        gateway.move_clock(to=gateway.now() + DAY)
        first = read(client, "ACK")
        gateway.move_clock(to=gateway.now() + timedelta(hours=1))
        whole = read(client, "ACK")

    assert (len(fields(first)), len(fields(whole))) == (5, 9)
    assert whole.startswith(first)
    assert first.endswith(b"\n")


def test_an_ack_may_be_packed(open_gateway):
    gateway = open_gateway(knobs=Knobs(packed_acks=True))
    with log_in(gateway) as client:
        submit(client, rows(9))
        gateway.move_clock(to=gateway.now() + DAY + MINUTE)
        [name] = [name for name in client.listdir("Report") if name.startswith("ACK")]
        with client.open(f"Report/{name}") as file:
            packed = file.read()

    assert name == f"{STEM.replace('SEND', 'ACK')}.csv.gz"
    assert len(fields(gzip.decompress(packed))) == 9


def test_a_growing_report_may_show_its_latest_rows_first(open_gateway):
    gateway = open_gateway(knobs=Knobs(stop=0.5, newest_first=True))
    with log_in(gateway) as client:
        submit(client, rows(400))
        gateway.settle()
        begin = gateway.now()
        seen = []
        for hours in (2, 12):
            gateway.move_clock(to=begin + timedelta(hours=hours))
            seen.append(read(client, "STOP"))

    assert len(seen[0]) < len(seen[1])
    assert seen[1].endswith(seen[0])
