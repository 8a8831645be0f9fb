"""One recipient's history, from runs really prepared and files really sent."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from sms import clock
from sms.campaign.definition import load_all
from sms.ledger.states import State
from sms.privacy.dialling import dialled
from sms.privacy.story import Story, explain, rows_of
from sms.run import plan
from sms.wire.names import ReportName
from sms_sandbox import Sandbox
from tests.proofs import OURS, proved, submit_proof
from tests.world import SANDBOX_ONLY, World, numbers

pytestmark = SANDBOX_ONLY

FIRST = 33_639_980_000
MONTH = timedelta(days=30)


def story(
    world: World, number: int | None = None, since: datetime | None = None, key: str | None = None
) -> Story:
    """Of the n-th person, or of a key, by all campaigns of the world."""
    now = clock.now()
    return explain(
        world.ledger,
        load_all(world.folder / "campaigns")[0],
        Path,
        msisdn=None if number is None else FIRST + number,
        key=key,
        since=since or now - MONTH,
        now=now,
    )


def told(story: Story) -> list[str]:
    return [f"{entry.what}: {entry.sentence}{rows_of(entry)}" for entry in story.entries]


def reasons_of(world: World, written: str) -> list[str]:
    """Why the number that somebody gives was excluded."""
    msisdn, now = dialled(written), clock.now()
    found = explain(world.ledger, [], Path, msisdn=msisdn, since=now - MONTH, now=now)
    return [each.facts["reason"] for each in found.entries]


def say_stop(world: World, number: int, text: str = "STOP", campaign_id: str = "spring") -> None:
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
    world.ledger.stop_list.add(rows, source="stop_report", stem=name.stem, report=name)
    world.ledger.reports.load_replies(name, rows)


def report(world: World, stem: str, number: int) -> None:
    """A delivery report that tells of one message: it arrived."""
    [sent] = world.ledger.people.sent_to(FIRST + number, since=clock.now() - MONTH)
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
    world.ledger.reports.load_delivery_report(stem, rows)


def test_a_sent_message_has_its_text_and_outcome(world: World, gateway: Sandbox) -> None:
    [file] = world.prepare(numbers(3))
    world.submit(file.stem)
    world.accepted(file.stem)
    report(world, file.stem, 1)
    say_stop(world, 1, "Stop, merci", file.campaign_id)

    found = story(world, 1)

    [sent] = [line for line in told(found) if line.startswith("sent")]
    assert sent.startswith(f"sent: sent by tests in {file.stem} (accepted), 1 SMS: “Bonjour Léa 1")
    assert f"reported: reported: delivered (3;delivered), of {file.stem}" in told(found)
    [stop] = [line for line in told(found) if line.startswith("stop")]
    assert stop.endswith(": “Stop, merci”")
    assert len(found.entries) == 3
    assert found.entries == tuple(sorted(found.entries, key=lambda entry: entry.at))
    [now] = found.numbers
    assert now.refused is not None
    assert now.refused.startswith("in the stop list since 2027-03-02 ")


SPELLED = {"06.39.98.00.01": (1, "duplicate_msisdn"), "+33 6 39 98 00 02": (2, "opted_out")}


@pytest.mark.parametrize(("spelled", "why"), SPELLED.items())
def test_an_exclusion_has_its_reason_for_every_number_spelling(
    world: World, gateway: Sandbox, spelled: str, why: tuple[int, str]
) -> None:
    say_stop(world, 2)
    world.prepare([*numbers(2), spelled])

    [left_out] = [each for each in story(world, why[0]).entries if each.what == "excluded"]

    assert left_out.facts["reason"] == why[1]
    assert left_out.facts["keys"] == ["k2"]
    assert left_out.sentence.startswith("excluded by tests: ")


def test_a_late_exclusion_before_the_upload_is_shown(world: World, gateway: Sandbox) -> None:
    [file] = world.prepare(numbers(3))
    say_stop(world, 1)
    world.submit(file.stem)

    assert (
        f"excluded: prepared by tests in {file.stem}, left out right before the upload, as it "
        "was in the stop list"
    ) in told(story(world, 1))


def test_a_forgotten_recipient_was_perhaps_written_to(world: World, gateway: Sandbox) -> None:
    """The run's folder still has the message, the ledger has not: nobody can know any more."""
    [file] = world.prepare(numbers(3))
    world.submit(file.stem)
    for state in (State.ACCEPTED, State.REPORTED, State.CLOSED):
        world.ledger.submissions.move(file.stem, to=state)
    world.ledger.people.forget(33639980001)

    [entry] = told(story(world, 1))

    assert entry.startswith(
        f"uncertain: prepared by tests in {file.stem}, perhaps sent: personal data of"
    )


def test_an_unsent_message_is_shown_as_not_sent(world: World, gateway: Sandbox) -> None:
    [file] = world.prepare(numbers(3))
    world.ledger.submissions.move(file.stem, to=State.CANCELLED)

    [entry] = told(story(world, 1))
    assert entry.endswith(", not sent: the file is cancelled")


def test_an_expired_run_folder_is_reported(world: World, gateway: Sandbox) -> None:
    [file] = world.prepare(numbers(3))
    world.submit(file.stem)
    shutil.rmtree(world.run_folder("one").path)

    found = story(world, 1)

    assert told(found)[0].endswith("1 SMS; its text has expired with the run's folder")
    assert found.not_searched == (
        "the folders of 1 run are deleted: their exclusions are no longer known",
    )


def test_an_unreadable_file_is_reported(world: World, gateway: Sandbox) -> None:
    world.prepare(numbers(3))
    (world.run_folder("one").path / "02_excluded.parquet").write_bytes(b"")

    [sentence] = story(world, 1).not_searched
    assert sentence == (
        f"the files of 1 run can't be read ({world.run_folder('one')}/02_excluded.parquet: "
        "SourceError): whether they excluded this person is not known"
    )


def test_a_broken_folder_is_ignored_if_the_ledger_answers(world: World, gateway: Sandbox) -> None:
    [file] = world.prepare(numbers(3))
    world.submit(file.stem)
    folder = world.run_folder("one")
    for name in ("02_excluded.parquet", f"03_messages-{file.stem}.parquet"):
        (folder.path / name).write_bytes(b"no parquet")

    found = story(world, 1)

    assert found.not_searched == ()
    [sent] = told(found)
    assert sent.endswith("1 SMS; its text can't be read")
    assert len(story(world, 9).not_searched) == 1


def test_several_broken_folders_are_one_sentence(world: World, gateway: Sandbox) -> None:
    for run in ("one", "two", "three"):
        world.prepare(numbers(3), run=run)
        for name in ("02_excluded.parquet", "03_excluded.parquet"):
            (world.run_folder(run).path / name).write_bytes(b"no parquet")

    [sentence] = story(world, 1).not_searched

    assert sentence.startswith("the files of 3 runs can't be read (first: ")


def test_a_number_in_a_hundred_rows_is_one_line(world: World, gateway: Sandbox) -> None:
    world.prepare([*numbers(1)] * 100)

    found = story(world, 0)

    assert len(found.entries) == 2
    [excluded] = [each for each in found.entries if each.what == "excluded"]
    assert (excluded.times, excluded.facts["keys"]) == (99, ["k1", "k2", "k3", "k4", "k5", "k6"])
    assert rows_of(excluded) == " (99 rows, with the keys k1, k2, k3, k4, k5, ...)"


def test_a_repeated_reply_is_one_line(world: World, gateway: Sandbox) -> None:
    row = {
        **{"msisdn": FIRST, "opted_out_at": clock.now(), "replied_at": clock.now()},
        **{"raw_date": "20270302", "raw_hour": "0930", "message": "Oui", "idremote": None},
    }
    rows = pa.Table.from_pylist(
        [row | {"occurrence": at} for at in range(1, 4)],
        pa.schema(
            {
                **{"msisdn": pa.int64(), "opted_out_at": pa.timestamp("us", tz="UTC")},
                **{"replied_at": pa.timestamp("us", tz="UTC"), "raw_date": pa.string()},
                **{"raw_hour": pa.string(), "message": pa.string(), "idremote": pa.large_string()},
                "occurrence": pa.int32(),
            }
        ),
    )
    name = ReportName.parse("SMSMO-12345-20270302-1000-spring.csv")
    assert name
    world.ledger.reports.load_replies(name, rows)

    [line] = told(story(world, 0))

    assert line == "reply: answered: “Oui” (3 times)"


EXCLUDED_NUMBERS = {
    "landline": ("01 23 45 67 89", "0123456789", "+33 (0)1.23.45.67.89", "0033123456789"),
    "premium": ("0899 12 34 56", "+33899123456"),
    "float_msisdn": ("33639980007.0", "+33639980007"),
    "overseas_as_metropolitan": ("+33692123456", "0692123456", "+262692123456"),
}


@pytest.mark.parametrize(("reason", "spellings"), EXCLUDED_NUMBERS.items())
def test_an_unreachable_number_is_found_in_every_spelling(
    world: World, gateway: Sandbox, reason: str, spellings: tuple[str, ...]
) -> None:
    world.prepare([*numbers(1), spellings[0]])

    for asked in spellings:
        assert reasons_of(world, asked) == [reason]


def test_a_key_finds_its_rows_whatever_their_number(world: World, gateway: Sandbox) -> None:
    [file] = world.prepare([*numbers(2), "06 39", "01 23 45 67 89"])
    world.submit(file.stem)
    say_stop(world, 1)

    sent, malformed, landline = (story(world, key=key) for key in ("k1", "k2", "k3"))

    assert sorted(entry.what for entry in sent.entries) == ["sent", "stop"]
    assert [each.msisdn for each in sent.numbers] == [FIRST + 1]
    assert [(e.facts["reason"], e.facts["keys"]) for e in malformed.entries] == [
        ("too_short_msisdn", ["k2"])
    ]
    assert malformed.numbers == ()
    assert [each.msisdn for each in landline.numbers] == [33_123_456_789]
    assert landline.numbers[0].refused == "this is a landline or a box, which gets no SMS"
    assert story(world, key="nobody's").entries == ()


def test_a_key_is_found_in_the_ledger_without_folder(world: World, gateway: Sandbox) -> None:
    [file] = world.prepare(numbers(3))
    world.submit(file.stem)
    shutil.rmtree(world.run_folder("one").path)

    [entry] = story(world, key="k2").entries

    assert (entry.what, entry.facts["msisdn"]) == ("sent", f"+{FIRST + 2}")
    assert story(world, key="k2", since=clock.now() + MONTH).entries == ()


def test_a_proof_is_shown_as_a_proof_only(world: World, gateway: Sandbox) -> None:
    world.prepare(numbers(3), more=OURS)
    [stem] = proved(world)
    submit_proof(world, stem)

    [proof] = [each for each in story(world, 9901).entries if each.what != "excluded"]

    assert proof.what == "proof"
    assert proof.sentence.startswith(f"sent as a proof by tests in {stem} (submitted), 1 SMS: “")
    [recipient] = story(world, key="k0").entries
    assert recipient.sentence.startswith("prepared by tests in SEND-")
    assert [each.msisdn for each in story(world, key="k0").numbers] == [FIRST]


def test_a_dry_run_is_shown_as_one(world: World, gateway: Sandbox) -> None:
    [file] = world.prepare([*numbers(2), numbers(1)[0]], dry_run=True)
    plan.call_off(world.run_folder("one").read_plan(), world.ledger, "a dry run")

    assert told(story(world, 1)) == [
        f"dry_run: prepared by a dry run of tests in {file.stem}, which sends nothing"
    ]
    assert told(story(world, 0))[0].startswith("excluded: excluded by a dry run of tests: ")


def test_only_runs_planned_since_then_are_shown(world: World, gateway: Sandbox) -> None:
    world.prepare(numbers(3))

    assert story(world, 1, since=clock.now() + timedelta(days=1)).entries == ()


def test_campaigns_that_would_exclude_the_number_are_named(world: World, gateway: Sandbox) -> None:
    [file] = world.prepare(numbers(3), more="frequency_cap: 1 per 7 days\n")
    world.submit(file.stem)

    found = story(world, 1)

    assert found.numbers[0].refused is None
    assert "as often as frequency_cap" in found.numbers[0].refused_by["tests"]
    assert story(world, 9).numbers[0].refused_by == {}


def test_a_non_mobile_number_is_never_written_to(world: World, gateway: Sandbox) -> None:
    now = clock.now()

    found = explain(world.ledger, [], Path, msisdn=33_123_456_789, since=now, now=now)

    assert found.numbers[0].refused == "this is a landline or a box, which gets no SMS"
