"""One person's story, told from runs that a desk really prepared and a gateway really took."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from sms import clock
from sms.campaign import load_all
from sms.explaining import Story, explain
from sms.ledger.states import State
from sms.wire.names import ReportName
from sms_sandbox import Sandbox
from tests.delivery.conftest import SANDBOX_ONLY, Desk, numbers

pytestmark = SANDBOX_ONLY

FIRST = 33_639_980_000
MONTH = timedelta(days=30)


def story(desk: Desk, number: int, since: datetime | None = None) -> Story:
    """Of the n-th person, by all campaigns of the desk."""
    now = clock.now()
    campaigns = load_all(desk.folder / "campaigns")[0]
    return explain(
        FIRST + number, desk.ledger, campaigns, Path, since=since or now - MONTH, now=now
    )


def told(story: Story) -> list[str]:
    return [f"{entry.what}: {entry.told}" for entry in story.entries]


def say_stop(desk: Desk, number: int, text: str = "STOP", campaign_id: str = "spring") -> None:
    """A STOP of this moment, as collecting brings it home."""
    rows = pa.table(
        {
            "msisdn": pa.array([FIRST + number], pa.int64()),
            "opted_out_at": pa.array([clock.now()], pa.timestamp("us", tz="UTC")),
            "replied_at": pa.array([clock.now()], pa.timestamp("us", tz="UTC")),
            "raw_date": ["20270302"],
            "raw_hour": ["0930"],
            "message": [text],
            "idremote": pa.array([None], pa.large_string()),
            "occurrence": pa.array([1], pa.int32()),
        }
    )
    name = ReportName.parse(f"STOP-12345-20270302-1000-{campaign_id}.csv")
    assert name
    desk.ledger.add_opt_outs(rows, source="stop_report", stem=name.stem, report=name)
    desk.ledger.load_replies(name, rows)


def report(desk: Desk, stem: str, number: int) -> None:
    """A delivery report that tells of one message: it arrived."""
    [sent] = desk.ledger.sent_to(FIRST + number, since=clock.now() - MONTH)
    rows = pa.table(
        {
            "line": pa.array([1], pa.int64()),
            "idremote": [sent.idremote],
            "msisdn": pa.array([FIRST + number], pa.int64()),
            "idstatus": pa.array([3], pa.int16()),
            "ackoperator": ["t1"],
            "raw_status": ["3;delivered"],
        }
    )
    desk.ledger.load_delivery_report(stem, rows)


def test_what_was_sent_is_told_with_its_text_and_what_came_back(
    desk: Desk, gateway: Sandbox
) -> None:
    [file] = desk.prepare(numbers(3))
    desk.submit(file.stem)
    desk.accepted(file.stem)
    report(desk, file.stem, 1)
    say_stop(desk, 1, "Stop, merci", file.campaign_id)

    found = story(desk, 1)

    [sent] = [line for line in told(found) if line.startswith("sent")]
    assert sent.startswith(f"sent: sent by tests in {file.stem} (accepted), 1 SMS: “Bonjour Léa 1")
    assert f"reported: reported: delivered (3;delivered), of {file.stem}" in told(found)
    [stop] = [line for line in told(found) if line.startswith("stop")]
    assert stop.endswith(": “Stop, merci”")
    assert len(found.entries) == 3
    assert found.entries == tuple(sorted(found.entries, key=lambda entry: entry.at))
    assert found.refused is not None
    assert found.refused.startswith("in the stop list since 2027-03-02 ")


SPELLED = {"06.39.98.00.01": (1, "duplicate_msisdn"), "+33 6 39 98 00 02": (2, "opted_out")}


@pytest.mark.parametrize(("spelled", "why"), SPELLED.items())
def test_who_was_left_out_is_told_why_however_the_number_was_given(
    desk: Desk, gateway: Sandbox, spelled: str, why: tuple[int, str]
) -> None:
    say_stop(desk, 2)
    desk.prepare([*numbers(2), spelled])

    [left_out] = [each for each in story(desk, why[0]).entries if each.what == "excluded"]

    assert left_out.facts["reason"] == why[1]
    assert left_out.facts["key"] == "k2"
    assert left_out.told.startswith("left out by tests: ")


def test_who_fell_out_right_before_a_file_left_is_told_so(desk: Desk, gateway: Sandbox) -> None:
    [file] = desk.prepare(numbers(3))
    say_stop(desk, 1)
    desk.submit(file.stem)

    assert (
        f"excluded: prepared by tests in {file.stem}, left out right before it left: in the stop "
        "list by then"
    ) in told(story(desk, 1))


def test_who_was_forgotten_is_told_as_perhaps_sent(desk: Desk, gateway: Sandbox) -> None:
    """The run's folder still has the message, the ledger has not: nobody can know any more."""
    [file] = desk.prepare(numbers(3))
    desk.submit(file.stem)
    for state in (State.ACCEPTED, State.REPORTED, State.CLOSED):
        desk.ledger.move(file.stem, to=state)
    desk.ledger.forget(33639980001)

    [entry] = told(story(desk, 1))

    assert entry.startswith(
        f"uncertain: prepared by tests in {file.stem}, perhaps sent: rows about"
    )


def test_what_never_left_is_told_as_not_sent(desk: Desk, gateway: Sandbox) -> None:
    [file] = desk.prepare(numbers(3))
    desk.ledger.move(file.stem, to=State.CANCELLED)

    [entry] = told(story(desk, 1))
    assert entry.endswith(", not sent: the file is cancelled")


def test_a_folder_that_has_expired_is_said_to_be_gone(desk: Desk, gateway: Sandbox) -> None:
    [file] = desk.prepare(numbers(3))
    desk.submit(file.stem)
    shutil.rmtree(desk.run_folder("one"))

    found = story(desk, 1)

    assert told(found)[0].endswith("1 SMS; its text has expired with the run's folder")
    assert [sentence[:20] for sentence in found.untold] == ["the folders of 1 run"]


def test_a_file_that_can_not_be_read_is_told(desk: Desk, gateway: Sandbox) -> None:
    desk.prepare(numbers(3))
    (desk.run_folder("one") / "02_excluded.parquet").write_bytes(b"")

    [sentence] = story(desk, 1).untold
    assert "02_excluded.parquet can't be read" in sentence


def test_only_what_was_planned_since_then_is_told(desk: Desk, gateway: Sandbox) -> None:
    desk.prepare(numbers(3))

    assert story(desk, 1, since=clock.now() + timedelta(days=1)).entries == ()


def test_campaigns_that_would_leave_them_alone_are_named(desk: Desk, gateway: Sandbox) -> None:
    [file] = desk.prepare(numbers(3), more="at_most: 1 per 7 days\n")
    desk.submit(file.stem)

    found = story(desk, 1)

    assert found.refused is None
    assert "as often as at_most" in found.refused_by["tests"]
    assert story(desk, 9).refused_by == {}


def test_a_number_that_is_no_mobile_is_never_written_to(desk: Desk, gateway: Sandbox) -> None:
    now = clock.now()

    found = explain(33_123_456_789, desk.ledger, [], Path, since=now, now=now)

    assert found.refused == "this is a landline or a box, which gets no SMS"
