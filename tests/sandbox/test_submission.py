"""The processing of a file in `Send`."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from sms_sandbox import Account
from tests.sandbox.wire import STEM, log_in, put, rows, submit


def test_a_compliant_file_becomes_done_and_is_sent(gateway, client):
    submit(client, rows(3))

    assert gateway.settled_names() == [f"{STEM}.done"]
    assert [sent["idremote"] for sent in gateway.journal("sent")] == [
        "id00000",
        "id00001",
        "id00002",
    ]


def test_a_file_passes_through_tmp_csv_lock_and_done(gateway, client):
    submit(client, rows(1))
    gateway.settle()

    moves = [(m["by"], m["from"][-4:], m["to"][-5:]) for m in gateway.journal("rename")]
    assert moves == [
        ("client", ".tmp", "g.csv"),
        ("gateway", ".csv", ".lock"),
        ("gateway", "lock", ".done"),
    ]


def test_a_faulty_file_is_rejected_with_a_journal_reason(gateway, client):
    submit(client, rows(2) + rows(1))

    assert gateway.settled_names() == [f"{STEM}.reject"]
    assert gateway.journal("verdict")[0]["reason"] == "record 3: the same MSISDN as record 1"
    assert gateway.journal("sent") == []
    assert client.listdir("Report") == []


@pytest.mark.parametrize(
    "stem",
    [
        "SEND12345-20260715-1000-spring",
        "SEND-54321-20260715-1000-spring",
        "SEND-12345-20261315-1000-spring",
        "SEND-12345-20260715-2460-spring",
        "SEND-12345-20260715-1000-spring-sale",
        "SEND-12345-20260715-1000-aCampaignIdOfTwentyOne",
        "send-12345-20260715-1000-spring",
    ],
)
def test_a_wrong_name_is_rejected(gateway, client, stem):
    submit(client, rows(1), stem)

    assert gateway.settled_names() == [f"{stem}.reject"]


def test_a_csv_never_renamed_is_processed_once_closed(gateway, client):
    with client.open(f"Send/{STEM}.csv", "wb") as upload:
        upload.write(rows(1))
        assert gateway.settled_names() == [f"{STEM}.csv"]

    assert gateway.settled_names() == [f"{STEM}.done"]


def test_an_upload_under_way_is_left_alone(gateway, client):
    put(client, f"{STEM}.tmp", rows(1))

    assert gateway.settled_names() == [f"{STEM}.tmp"]
    assert gateway.journal("sent") == []


def test_a_file_outside_send_is_not_processed(gateway, client):
    client.chdir("Report")
    client.open(f"{STEM}.csv", "wb").close()
    client.chdir("..")
    client.open(f"{STEM}.csv", "wb").close()
    gateway.settle()

    assert gateway.journal("verdict") == []


def test_a_file_for_later_is_sent_at_its_hour(gateway, client):
    stem = "SEND-12345-20260715-1830-spring"
    submit(client, rows(1), stem)
    assert gateway.settled_names() == [f"{stem}.done"]
    assert gateway.journal("sent") == []

    gateway.move_clock(to=datetime(2026, 7, 15, 16, 30, tzinfo=UTC))

    assert gateway.journal("sent")[0]["at"] == "2026-07-15T16:30:00+00:00"


def test_a_file_with_a_past_hour_is_sent_immediately(gateway, client):
    submit(client, rows(1), "SEND-12345-20250101-0000-spring")
    gateway.settle()

    sent = datetime.fromisoformat(gateway.journal("sent")[0]["at"])
    assert timedelta(0) <= gateway.now() - sent < timedelta(minutes=5)


def test_the_same_stem_again_is_sent_again(gateway, client):
    submit(client, rows(2))
    gateway.settle()
    submit(client, rows(2))
    gateway.settle()

    assert len(gateway.journal("sent")) == 4


def test_marketing_after_22_waits_until_8_the_next_day(open_gateway):
    gateway = open_gateway(account=Account(marketing="spring*"))
    with log_in(gateway) as client:
        submit(client, rows(1), "SEND-12345-20260715-2200-spring")
        submit(client, rows(1), "SEND-12345-20260715-2200-invoice")
    gateway.move_clock(to=datetime(2026, 7, 16, 12, tzinfo=UTC))

    sent = {entry["stem"][-6:]: entry["at"] for entry in gateway.journal("sent")}
    assert sent == {"spring": "2026-07-16T06:00:00+00:00", "nvoice": "2026-07-15T20:00:00+00:00"}


def test_marketing_on_a_sunday_is_refused_message_by_message(open_gateway):
    gateway = open_gateway(account=Account(marketing="*"))
    stem = "SEND-12345-20260719-1000-spring"
    with log_in(gateway) as client:
        submit(client, rows(3), stem)
    gateway.move_clock(to=datetime(2026, 7, 21, tzinfo=UTC))

    assert gateway.settled_names() == [f"{stem}.done"]
    assert gateway.journal("sent") == []
    assert gateway.journal("report")[0]["outcomes"] == {"refused": 3}


def test_files_older_than_a_month_are_purged(gateway, client):
    submit(client, rows(100))
    gateway.move_clock(to=gateway.now() + timedelta(days=2))
    gateway.move_clock(to=gateway.now() + timedelta(days=28))
    assert client.listdir("Report")

    gateway.move_clock(to=gateway.now() + timedelta(days=4))

    assert client.listdir("Send") == []
    assert client.listdir("Report") == []
    assert len(gateway.journal("purged")) == 4


def test_an_upload_in_progress_is_not_purged(open_gateway):
    gateway = open_gateway(start=datetime(2036, 7, 15, 8, tzinfo=UTC))
    with log_in(gateway) as client:
        with client.open(f"Send/{STEM}.tmp", "wb") as upload:
            upload.write(rows(1))
            upload.flush()
            assert gateway.settled_names() == [f"{STEM}.tmp"]

        assert gateway.settled_names() == [f"{STEM}.tmp"]


def test_characters_unknown_to_handsets_are_replaced(gateway, client):
    submit(client, "id1;+33639980000;Shop;Garçon 😀 €5\r\n".encode())
    gateway.settle()

    assert gateway.journal("sent")[0]["text"] == "Gar?on ? €5"


def test_the_journal_has_one_object_a_line(gateway, client):
    submit(client, rows(2))
    gateway.settle()

    lines = (gateway.root / "journal.jsonl").read_text().splitlines()
    assert all({"at", "what"} <= json.loads(line).keys() for line in lines)
    assert gateway.counts()["sent"] == 2
