"""May this file leave now? Each rule of the book, and the order in which they are checked."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from sms import yaml_files
from sms.campaign.definition import Campaign, CampaignFile
from sms.clock import PARIS
from sms.errors import NotApproved, SendingHalted, StopListUnsafe, WindowClosed
from sms.ledger.ledger import Ledger
from sms.ledger.records import Part, Submission
from sms.ledger.states import State
from sms.run import approval, departure, frequency_cap
from sms.run.departure import LEFT_OF_A_RUN, DepartureRules
from sms.run.frequency_cap import FrequencyCap
from sms.run.preparation import Plan
from sms.settings import Settings
from tests.conftest import keeping_connections
from tests.factories import FIRST
from tests.ledger.conftest import LEASE, Hand, Office, messages

NOON = datetime(2026, 7, 15, 12, tzinfo=PARIS)  # a Wednesday; the planned hour
HOUR = timedelta(hours=1)
YAML = 'kind: marketing\nsender: RULES\nstop_mention: "STOP 36180"\n'


@pytest.fixture
def hand() -> Hand:
    """The hand of the clock, an hour before the planned hour."""
    return Hand(NOON - HOUR)


@pytest.fixture
def office(ledger_url: str, hand: Hand) -> Iterator[Office]:
    with keeping_connections(ledger_url) as engine:
        yield Office(Ledger(engine, clock=hand, actor="test"), hand)


def campaign(more: str = "") -> Campaign:
    found = yaml_files.read(YAML + more, CampaignFile)
    assert found.value, found.faults
    rest = {"name": "sale", "folder": Path("sale"), "sql": "SELECT 1", "text": "Bonjour"}
    return Campaign(**found.value.model_dump(), **rest)


def a_plan(run_key: str, more: str = "", **differently: object) -> Plan:
    return Plan(
        **{
            "run_key": run_key,
            "campaign": campaign(more),
            "campaign_id": "sale",
            "service_id": "12345",
            "send_at": NOON,
            "slot_reason": "as asked",
            "at_once": False,
            "dry_run": False,
            "limit": None,
            "planned_at": NOON - HOUR,
            **differently,
        }
    )


def prepared(
    office: Office, *files: tuple[str, datetime], run_key: str = "one"
) -> list[Submission]:
    """The files of a run, each with its zone and hour."""
    files = files or (("FR", NOON),)
    run = office.a_run(run_key=run_key, send_at=NOON, planned_at=office.hand())
    _, planned = office.ledger.runs.plan(run, office.stem())
    parts = [
        Part(
            f"{planned.stem}p0{number}" if len(files) > 1 else planned.stem,
            number,
            len(files),
            **{"messages": 3, "segments": 3, "sha256": f"{number}" * 64, "size_bytes": 99},
            send_at=hour,
            zone=zone,
        )
        for number, (zone, hour) in enumerate(files, start=1)
    ]
    return office.ledger.runs.prepare(run_key, parts)


def send(office: Office, one: Submission, start: int = 0) -> None:
    """Take a file through its upload and rename."""
    ledger = office.ledger.submissions
    rows = messages(3, start)
    ledger.claim(one.stem, "try", lease=LEASE)
    ledger.record_upload(one.stem, "try", messages=[rows], sha256="f" * 64, size_bytes=1)
    ledger.intend_rename(one.stem, "try")
    assert ledger.move(one.stem, to=State.SUBMITTED, token="try")


def rules(
    office: Office,
    plan: Plan,
    *,
    halted: bool = False,
    cap: FrequencyCap | None = None,
    **settings: object,
) -> DepartureRules:
    def require_not_halted() -> None:
        if halted:
            raise SendingHalted("test")

    return DepartureRules(
        plan,
        office.ledger,
        Settings(**settings),
        require_not_halted=require_not_halted,
        now=office.hand,
        cap=cap,
    )


def refusal(checked: Callable[[], object], kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        checked()
    return str(caught.value)


def test_a_file_that_breaks_no_rule_may_leave(office):
    [one] = prepared(office)

    rules(office, a_plan("one")).require(one)


def test_a_halt_is_named_before_any_other_rule(office):
    [one] = prepared(office)
    office.hand.at = NOON + 13 * HOUR

    with pytest.raises(SendingHalted):
        rules(office, a_plan("one"), halted=True).require(one)


def test_a_late_file_needs_a_new_run(office):
    [one] = prepared(office)
    office.hand.at = NOON + timedelta(minutes=11)

    told = refusal(lambda: rules(office, a_plan("one")).require(one), WindowClosed)

    assert told.startswith("Wednesday 15 July, 12:00 has passed, by more than max_delay")
    assert "trigger a new run with a later send_at" in told


def test_a_late_file_of_an_immediate_run_leaves(office):
    [one] = prepared(office)
    office.hand.at = NOON + timedelta(minutes=11)

    rules(office, a_plan("one", at_once=True)).require(one)


def test_a_late_file_of_a_begun_run_may_leave(office):
    first, second = prepared(office, ("FR", NOON), ("FR", NOON))
    send(office, first)
    office.hand.at = NOON + timedelta(minutes=11)

    rules(office, a_plan("one")).require(second)


def test_a_begun_run_is_never_repeated(office):
    first, second = prepared(office, ("FR", NOON), ("FR", NOON))
    send(office, first)
    office.hand.at = NOON.replace(hour=22, minute=1)

    told = refusal(lambda: rules(office, a_plan("one")).require(second), WindowClosed)

    assert f"can't go up any more: {LEFT_OF_A_RUN} for Thursday 16, 08:00 or later" in told


def test_the_hour_is_judged_in_the_files_zone(office):
    [one] = prepared(office, ("GP", NOON))

    told = refusal(lambda: rules(office, a_plan("one")).require(one), WindowClosed)

    assert "is 06:00 in Guadeloupe, outside 08:00-22:00" in told


def test_a_service_message_has_no_closing_hour(office):
    [one] = prepared(office, ("FR", NOON.replace(hour=23)))
    plan = a_plan("one").model_copy(
        update={"campaign": campaign().model_copy(update={"kind": "transactional"})}
    )

    rules(office, plan, messages_per_hour=1).require(one)


@pytest.mark.parametrize(
    ("more", "advice"),
    [
        ("", "send earlier or to fewer recipients, or write `past_closing: split`"),
        ("past_closing: split\n", "send earlier or to fewer recipients, or approve sooner"),
    ],
)
def test_no_file_leaves_if_another_would_end_late(office, more, advice):
    first, _ = prepared(office, ("FR", NOON), ("FR", NOON.replace(hour=21)))

    told = refusal(
        lambda: rules(office, a_plan("one", more), messages_per_hour=2).require(first),
        WindowClosed,
    )

    assert "3 messages from Wednesday 15 July, 21:00 on would take until" in told
    assert f"Nothing more is sent: {advice}, or correct messages_per_hour" in told


def test_a_late_file_must_still_end_before_closing(office):
    [one] = prepared(office)
    office.hand.at = NOON.replace(hour=21)
    plan = a_plan("one", at_once=True)

    told = refusal(lambda: rules(office, plan, messages_per_hour=2).require(one), WindowClosed)

    assert told.startswith("3 messages from Wednesday 15 July, 21:00 on would take until")


def test_a_run_without_messages_needs_no_approval(office):
    one = office.planned()

    assert not approval.is_needed(a_plan(one.run_key, "approval: always\n"), office.ledger)


def test_an_approval_is_needed_from_its_threshold_on(office):
    [one] = prepared(office)

    rules(office, a_plan("one", "approval: {above: 3}\n")).require(one)
    needs = rules(office, a_plan("one", "approval: {above: 2}\n"))
    told = refusal(lambda: needs.require(one), NotApproved)
    office.ledger.runs.approve("one", by="Zoe", shown=office.ledger.runs.prepared_digest("one"))
    needs.require(one)

    assert told == (
        f"{one.stem} has not been approved as it is prepared now: "
        "clear the task approve with what is downstream of it"
    )


def test_recipients_that_were_selected_long_ago_are_refused(office):
    [one] = prepared(office)
    plan = a_plan("one", at_once=True)
    office.hand.at = NOON.replace(hour=21)  # nine hours after the planned hour
    rules(office, plan, max_audience_age="9 hours").require(one)

    told = refusal(
        lambda: rules(office, plan, max_audience_age="8 hours").require(one), WindowClosed
    )

    assert told == (
        f"the recipients of {one.stem} were selected more than 8 hours ago, and some may have "
        "opted out since: trigger a new run"
    )


def test_the_age_is_counted_from_the_screening(office):
    [one] = prepared(office)
    plan = a_plan("one", at_once=True)
    office.hand.at = NOON.replace(hour=20)
    office.ledger.runs.record_screening(
        "one", candidates=3, audience=3, excluded={}, stop_list_size=0
    )
    office.hand.at = NOON.replace(hour=21)

    rules(office, plan, max_audience_age="8 hours").require(one)


def test_the_age_of_a_begun_run_names_its_rest(office):
    first, second = prepared(office, ("FR", NOON), ("FR", NOON))
    send(office, first)
    office.hand.at = NOON.replace(hour=21)

    told = refusal(
        lambda: rules(office, a_plan("one"), max_audience_age="8 hours").require(second),
        WindowClosed,
    )

    assert told.endswith(f"opted out since: {LEFT_OF_A_RUN}")


def test_a_short_stop_list_stops_every_file(office):
    [one] = prepared(office)

    told = refusal(
        lambda: rules(office, a_plan("one"), stop_list_minimum=1000).require(one), StopListUnsafe
    )

    assert told == (
        "the stop list has 0 numbers, fewer than the setting stop_list_minimum (1,000): nothing "
        "is sent. Check that this is the right ledger"
    )
    assert departure.require_stop_list(office.ledger, Settings()) == 0


def test_a_shrunk_stop_list_stops_every_file(office):
    [one] = prepared(office)
    office.ledger.runs.record_screening(
        "one", candidates=3, audience=3, excluded={}, stop_list_size=7
    )

    with pytest.raises(StopListUnsafe, match="once had 7"):
        rules(office, a_plan("one")).require(one)


def test_opted_out_and_capped_recipients_are_left_out(office):
    numbers = np.array([1, 2, 3])
    capped = rules(office, a_plan("one"), cap=FrequencyCap(lambda asked: asked[asked > 2]))
    free = rules(office, a_plan("one"))

    def left(rules: DepartureRules, opted_out: int) -> list[tuple[str, list[int]]]:
        found = rules.left_out(numbers, lambda asked: asked[asked == opted_out])
        return [(reason, some.tolist()) for reason, some in found]

    assert left(capped, 1) == [("opted_out", [1]), ("frequency_cap", [3])]
    assert left(free, 1) == [("opted_out", [1])]
    assert left(free, 9) == []
    assert (capped.need_a_turn_alone, free.need_a_turn_alone) == (True, False)


def test_a_sending_begins_at_its_hour_or_later(office):
    first, *_ = prepared(office, ("FR", NOON), ("RE", NOON), ("FR", NOON + HOUR))
    office.hand.at = NOON + timedelta(minutes=5)
    send(office, first)
    files = office.ledger.submissions.of_run("one")
    office.hand.at = NOON + timedelta(minutes=30)

    planned = departure.sendings(files)
    late = departure.sendings(files, office.hand())

    sent = NOON + timedelta(minutes=5)
    assert [(each.start, each.gone) for each in planned] == [
        (sent, True),
        (NOON, False),
        (NOON + HOUR, False),
    ]
    assert [each.start for each in late] == [sent, office.hand.at, NOON + HOUR]
    assert [(each.messages, each.zone.code) for each in late] == [(3, "FR"), (3, "RE"), (3, "FR")]
    [unknown] = departure.sendings([office.planned()])
    assert unknown.messages == 0


PROOF_TO = 'proof_to: ["+33639980000"]\n'


def test_a_run_with_proofs_needs_each_of_them(office):
    [one] = prepared(office)
    plan = a_plan("one", PROOF_TO)
    digest = office.ledger.runs.prepared_digest("one")
    assert approval.proof_keys(plan, office.ledger) == {"": f"one/proof-{digest}"}
    told = refusal(lambda: rules(office, plan).require(one), NotApproved)
    [proof] = prepared(office, run_key=f"one/proof-{digest}")
    unsent = refusal(lambda: rules(office, plan).require(one), NotApproved)
    send(office, proof)
    unapproved = refusal(lambda: rules(office, plan).require(one), NotApproved)

    assert (
        told
        == unsent
        == (
            "the proof of the present preparation has not been sent, so it can't be checked: "
            "clear the task prepare_proof with what is downstream of it"
        )
    )
    assert "has not been approved as it is prepared now" in unapproved
    [found] = approval.require_proved(plan, office.ledger)
    assert (found.stem, found.state) == (proof.stem, State.SUBMITTED)


def test_a_dry_run_needs_no_proof(office):
    prepared(office)

    assert approval.require_proved(a_plan("one", PROOF_TO, dry_run=True), office.ledger) == []
    assert approval.require_proved(a_plan("one"), office.ledger) == []


def test_variants_have_a_proof_each(office):
    prepared(office)
    both = campaign(
        f"{PROOF_TO}variants:\n  warm: {{text: warm.txt}}\n  cold: {{text: cold.txt}}\n"
    )
    texts = {"variant_texts": {"warm": "Bonjour", "cold": "Salut"}}
    plan = a_plan("one", campaign=both.model_copy(update=texts))
    digest = office.ledger.runs.prepared_digest("one")

    assert approval.proof_keys(plan, office.ledger) == {
        "warm": f"one/proof-{digest}-warm",
        "cold": f"one/proof-{digest}-cold",
    }
    [proof] = prepared(office, run_key=f"one/proof-{digest}-warm")
    send(office, proof)
    with pytest.raises(NotApproved):  # the other has not been sent
        approval.require_proved(plan, office.ledger)


def test_an_approval_is_awaited_until_the_first_hour(office):
    files = prepared(office, ("FR", NOON), ("FR", NOON + 3 * HOUR))
    [proof] = prepared(office, run_key="one/proof-x")
    settings = Settings(approval_timeout="4 hours", max_delay="10 minutes")
    now = office.hand()

    def deadline(now: datetime, *proofs: Submission, **plan: object) -> datetime:
        return approval.deadline(a_plan("one", **plan), files, settings, now, proofs)

    assert deadline(now) == NOON + timedelta(minutes=10)
    assert deadline(now, at_once=True) == now + 4 * HOUR
    assert deadline(now - 5 * HOUR) == now - HOUR
    assert deadline(now - 5 * HOUR, proof, at_once=True) == NOON + 4 * HOUR


def test_a_cap_counts_the_days_before_the_next_files(office):
    first, second = prepared(office, ("FR", NOON), ("FR", NOON + 3 * HOUR))
    plan = a_plan("one", "frequency_cap: 2 per 7 days\n")
    files = [first, second]
    before, after = NOON - HOUR, NOON + HOUR

    def since(found: FrequencyCap | None) -> dict[str, object]:
        return found.reached.keywords

    assert frequency_cap.at(NOON, a_plan("one"), office.ledger) is None
    assert since(frequency_cap.of_next_files(plan, office.ledger, files, before)) == {
        "kind": "marketing",
        "times": 2,
        "since": NOON - timedelta(days=7),
        "but": "one",
    }
    late = frequency_cap.of_next_files(plan, office.ledger, files, after)
    none_left = frequency_cap.of_next_files(plan, office.ledger, [], before)
    assert since(late)["since"] == after - timedelta(days=7)
    assert since(none_left)["since"] == NOON - timedelta(days=7)


def test_a_cap_is_reached_by_what_other_runs_sent(office):
    for run_key, start in (("earlier", 0), ("other", 1), ("one", 2)):
        [file] = prepared(office, run_key=run_key)
        send(office, file, start)
    cap = frequency_cap.at(NOON, a_plan("one", "frequency_cap: 2 per 7 days\n"), office.ledger)

    found = cap.reached(np.arange(FIRST, FIRST + 6))

    assert (found - FIRST).tolist() == [1, 2]
    with office.ledger.engine.connect() as db:
        assert db.execute(text("SELECT count(*) FROM sms.message")).scalar_one() == 9
