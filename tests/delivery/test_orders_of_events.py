"""Runs of several files, hours, zones and proofs, in the orders of events that nobody hopes for."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sms import clock
from sms.audience.residence import Geography
from sms.campaign.definition import load
from sms.clock import PARIS
from sms.columnar import parquet
from sms.delivery import settlement
from sms.errors import GatewayUnreachable, LedgerBusy, LedgerError, SmsError, WindowClosed
from sms.ledger import turn
from sms.ledger.states import State
from sms.run import approval, offline, stages, upload_time
from sms.run import proof as proving
from sms.run import review as reviewed
from sms.telecom.msisdn import REGIONS
from sms_airflow import wiring
from sms_airflow.operators import SubmitOperator
from sms_sandbox import Sandbox
from tests.delivery.conftest import SANDBOX_ONLY, TUESDAY, Desk, in_send, numbers
from tests.delivery.submitting import opt_out

pytestmark = SANDBOX_ONLY

ZONES = "postcode: postcode\n"
ONCE = "frequency_cap: 1 per 7 days\n"
OURS = 'proof_to: ["+33 6 39 98 99 01", "+33639989902"]\n'


def hours(files: list[Any]) -> list[tuple[str, str, int | None]]:
    return [
        (each.zone, f"{each.send_at.astimezone(PARIS):%d %H:%M}", each.messages) for each in files
    ]


def drive(desk: Desk, stem: str, tries: int = 8) -> list[str]:
    """What `submit` does over several tries, every verdict `.done`; the errors."""
    said = []
    for at in range(tries):
        try:
            waiting = desk.submit(stem, token=f"try {at}", lease=timedelta(0))
        except SmsError as error:
            said.append(str(error))
            continue
        if waiting.state is State.SUBMITTED:
            desk.accepted(waiting.stem)
    return said


def states(desk: Desk, stems: list[str]) -> list[str]:
    return [str(desk.ledger.submissions.get(stem).state) for stem in stems]


# 1. A small file whose only person said STOP


def test_one_stop_in_a_small_zone_does_not_call_off_everybody_else(
    desk: Desk, gateway: Sandbox
) -> None:
    files = desk.prepare(numbers(4), more=ZONES, living_in=["75001", "75001", "75001", "97400"])
    opt_out(desk.ledger, 33639980003)  # the only one on La Réunion

    said = drive(desk, files[0].stem)

    assert desk.ledger.submissions.get(files[0].stem).state is State.ACCEPTED, said


def test_one_stop_in_a_later_hour_does_not_lose_the_hours_after_it(
    desk: Desk, gateway: Sandbox
) -> None:
    files = desk.prepare(numbers(4), more="spread_over: 1 hour\n")
    opt_out(desk.ledger, 33639980001)  # the only one of the second file

    said = drive(desk, files[0].stem)

    assert states(desk, [each.stem for each in files]) == [
        *("accepted", "cancelled", "accepted", "accepted")
    ], said


def test_a_cap_that_empties_a_file_does_not_lose_the_others(desk: Desk, gateway: Sandbox) -> None:
    files = desk.prepare(numbers(4), run="slow", more=ONCE + "spread_over: 1 hour\n")
    [quick] = desk.prepare([numbers(4)[1]], run="quick", more=ONCE)
    desk.submit(quick.stem)
    desk.accepted(quick.stem)

    said = drive(desk, files[0].stem)

    kept = states(desk, [each.stem for each in files])
    assert kept == ["accepted", "cancelled", "accepted", "accepted"], said


# 2. alsace_moselle: close


@pytest.mark.parametrize("also", ["local_time: true\n", ZONES])
def test_close_holds_for_everybody_of_whom_no_postcode_tells(desk: Desk, also: str) -> None:
    good_friday = datetime(2027, 3, 26, 10, tzinfo=PARIS)

    homes = ["", ""] if also == ZONES else []
    files = desk.prepare(
        numbers(2), more="alsace_moselle: close\n" + also, send_at=good_friday, living_in=homes
    )

    assert [each.send_at for each in files] == [datetime(2027, 3, 27, 8, tzinfo=PARIS)]


# 3. A foreign postcode


@pytest.mark.parametrize(
    ("postcode", "country"), [("10001", "US"), ("97201", "US"), ("1000", "BE")]
)
def test_a_foreign_postcode_is_no_french_one(desk: Desk, postcode: str, country: str) -> None:
    """10001 is New York, 97201 Portland, 1000 Brussels."""
    more = ZONES + f"local_time: true\nallowed_countries: [FR, {country}]\n"
    geography = Geography.of(desk.plan(more=more).campaign)
    region = np.array([REGIONS.index(country)], np.int16)  # what the number says

    [place] = geography.places(region, pa.array([postcode], pa.large_string()))

    assert geography.zones[place].code == country


def test_postcodes_that_nobody_can_read_are_told(desk: Desk) -> None:
    good_friday = datetime(2027, 3, 26, 10, tzinfo=PARIS)

    [file] = desk.prepare(numbers(1), more=ZONES, living_in=["F-67000"], send_at=good_friday)

    review = desk.run_folder("one").read_review()
    assert file.zone == "alsace_moselle" or "Alsace-Moselle" in review


def test_a_country_that_a_campaign_may_name_has_a_zone(desk: Desk) -> None:
    try:
        desk.prepare(numbers(1), more="local_time: true\nallowed_countries: [FR, XK]\n")
    except SmsError as refused:
        assert "allowed_countries" in str(refused)  # noqa: PT017


def test_a_service_message_that_leaves_out_overseas_is_one_file(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tests.delivery.conftest.CAMPAIGN", "description: x\nkind: transactional\nsender: TESTS\n"
    )
    more = ZONES + "overseas: exclude\n"

    files = desk.prepare(numbers(2), more=more, living_in=["75001", "67000"])

    assert len(files) == 1


# 4. frequency_cap


def test_a_retry_after_the_cap_let_somebody_in_again_still_sends(
    desk: Desk, gateway: Sandbox
) -> None:
    [first] = desk.prepare(numbers(3), run="first", more=ONCE)
    [second] = desk.prepare(numbers(5), run="second", more=ONCE)
    desk.submit(first.stem)
    asked: list[str] = []

    def cut(held: Any) -> None:
        asked.append(held.stem)
        if len(asked) == 2:
            raise GatewayUnreachable("the line broke")

    with pytest.raises(GatewayUnreachable):
        desk.submit(second.stem, also=cut)
    desk.ledger.submissions.move(first.stem, to=State.REJECTED)  # nobody got it

    desk.submit(second.stem, token="second try", lease=timedelta(0))


def test_a_file_earlier_than_its_run_counts_its_own_days(desk: Desk, gateway: Sandbox) -> None:
    """With local_time La Réunion is earlier than the run's hour; so are its seven days."""
    [before] = desk.prepare([numbers(1)[0]], run="before", send_at=TUESDAY)  # 2 March, 09:30
    desk.submit(before.stem)
    desk.accepted(before.stem)
    gateway.move_clock(to=datetime(2027, 3, 9, 6, 0, tzinfo=PARIS))

    more = ZONES + ONCE + "local_time: true\n"
    try:
        files = desk.prepare(
            numbers(1),
            run="after",
            more=more,
            living_in=["97400"],
            send_at=datetime(2027, 3, 9, 10, 0, tzinfo=PARIS),
        )
    except SmsError:
        return
    since = files[0].send_at - before.send_at
    assert since >= timedelta(days=7), f"two messages within {since}"


# 5. A run whose first files have gone


def test_what_is_left_of_a_run_is_not_to_be_triggered_anew(desk: Desk, gateway: Sandbox) -> None:
    first, _ = desk.prepare(
        numbers(2), more=ZONES, living_in=["75001", "97110"], send_at=TUESDAY + timedelta(hours=1)
    )
    desk.submit(first.stem)
    desk.accepted(first.stem)
    gateway.move_clock(to=datetime(2027, 3, 2, 22, 5, tzinfo=PARIS))  # hours after Guadeloupe's

    with pytest.raises(WindowClosed) as refused:
        desk.submit(first.stem)

    # A new run alone would write to the first file again.
    assert "a new run whose query leaves out the recipients in sms.delivery" in str(refused.value)


def test_what_is_left_of_a_run_goes_at_once_when_its_hour_has_passed(
    desk: Desk, gateway: Sandbox
) -> None:
    first, later = desk.prepare(numbers(2), more=ZONES, living_in=["75001", "97110"])
    desk.submit(first.stem)
    desk.accepted(first.stem)
    gateway.move_clock(to=datetime(2027, 3, 2, 14, 0, tzinfo=PARIS))  # an hour after Guadeloupe's

    assert desk.submit(first.stem).stem == later.stem


def test_the_steps_of_a_run_that_began_late_stay_as_far_apart(desk: Desk, gateway: Sandbox) -> None:
    files = desk.prepare(numbers(4), more="spread_over: 1 hour\n")  # as soon as allowed
    gateway.move_clock(to=TUESDAY + timedelta(hours=3))  # a person said yes three hours later
    desk.submit(files[0].stem)
    desk.accepted(files[0].stem)

    moment = upload_time.upload_at(desk.ledger.submissions.of_run("one"), desk.settings, None)

    assert timedelta(minutes=14) < moment - clock.now() <= timedelta(minutes=15)


@pytest.mark.parametrize("changed", [{"messages_per_hour": 3}, {"window_end": "21:00"}])
def test_a_setting_that_is_lowered_does_not_judge_what_has_gone(
    desk: Desk, gateway: Sandbox, changed: dict[str, Any]
) -> None:
    desk.settings = desk.settings.model_copy(update={"messages_per_hour": 6})
    evening = datetime(2027, 3, 2, 21, tzinfo=PARIS)
    files = desk.prepare(numbers(7), more="past_closing: split\n", send_at=evening)
    assert hours(files) == [("FR", "02 21:00", 5), ("FR", "03 08:00", 2)]
    gateway.move_clock(to=evening)
    desk.submit(files[0].stem)
    desk.accepted(files[0].stem)
    gateway.move_clock(to=datetime(2027, 3, 3, 7, 45, tzinfo=PARIS))
    told = desk.settings.model_dump() | changed
    desk.settings = type(desk.settings).model_validate(told)

    assert desk.submit(files[0].stem).stem == files[1].stem


def test_split_leaves_room_for_a_yes(desk: Desk, gateway: Sandbox) -> None:
    desk.settings = desk.settings.model_copy(update={"messages_per_hour": 4})
    files = desk.prepare(numbers(50), more="past_closing: split\n")
    gateway.move_clock(to=TUESDAY + timedelta(hours=1))

    try:
        desk.submit(files[0].stem)
    except WindowClosed as refused:
        assert "write `past_closing: split`" not in str(refused)  # noqa: PT017


# 6. The proof


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_variants_proof_leaves_through_the_operator(
    desk: Desk, gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = desk.folder / "campaigns" / "tests"
    home.mkdir(parents=True)
    (home / "short.txt").write_text("short: {{ name }}")
    variants = "variants: {w: {text: message.txt}, s: {text: short.txt}}\n"
    desk.prepare(numbers(3), more=OURS + variants)
    folder = desk.run_folder("one")
    plan = folder.read_plan()
    stems = proving.prove(plan, folder, desk.ledger, desk.settings, clock.now())
    monkeypatch.setattr(wiring, "ledger_for", lambda ti: desk.ledger)
    monkeypatch.setenv("AIRFLOW_VAR_SMS_HALT", "no")
    task = SubmitOperator(task_id="send_proof", stems=stems)
    monkeypatch.setattr("sms_airflow.operators.watch", lambda *given: None)

    task._go_on({"ti": SimpleNamespace(id="try")})

    assert desk.ledger.submissions.get(stems[0]).state is State.SUBMITTED


def test_a_first_recipient_whose_text_is_too_long_does_not_stop_the_proof(
    desk: Desk, gateway: Sandbox
) -> None:
    plan = desk.plan(more=OURS)
    folder = desk.run_folder("one")
    rows = [
        (f"k{at}", number, "x" * 200 if at < 2 else "Léa") for at, number in enumerate(numbers(9))
    ]
    stages.extract([parquet.from_rows(["key", "msisdn", "name"], rows)], folder)
    stages.screen(plan, folder, desk.ledger, desk.settings)
    stages.render(plan, folder, desk.ledger, desk.settings)
    reviewed.review(plan, folder, desk.ledger, desk.settings)

    [stem] = proving.prove(plan, folder, desk.ledger, desk.settings, clock.now())

    assert desk.ledger.submissions.get(stem).messages == 2


def test_no_yes_counts_before_the_proof_has_left(desk: Desk, gateway: Sandbox) -> None:
    [prepared] = desk.prepare(numbers(3), more=OURS)
    folder = desk.run_folder("one")
    plan = folder.read_plan()
    proving.prove(plan, folder, desk.ledger, desk.settings, clock.now())
    # send_proof was marked as success by hand, and somebody said yes to "The proof was sent".
    desk.ledger.runs.approve("one", by="somebody", shown=desk.ledger.runs.prepared_digest("one"))

    with pytest.raises(SmsError):
        desk.submit(prepared.stem)


def test_a_yes_may_still_be_given_when_the_proof_rings(desk: Desk, gateway: Sandbox) -> None:
    gateway.move_clock(to=datetime(2027, 3, 2, 22, 30, tzinfo=PARIS))
    files = desk.prepare(numbers(3), more=OURS, send_at=datetime(2027, 3, 3, 10, tzinfo=PARIS))
    folder = desk.run_folder("one")
    plan = folder.read_plan()
    [stem] = proving.prove(plan, folder, desk.ledger, desk.settings, clock.now())

    proof = desk.ledger.submissions.get(stem)
    until = approval.deadline(plan, files, desk.settings, clock.now(), [proof])

    assert until > proof.send_at


def test_a_tester_who_is_a_customer_is_still_written_to(desk: Desk, gateway: Sandbox) -> None:
    ours = f'proof_to: ["+{33639980000}"]\n'
    [prepared] = desk.prepare(numbers(3), more=ours + ONCE)
    folder = desk.run_folder("one")
    plan = folder.read_plan()
    [stem] = proving.prove(plan, folder, desk.ledger, desk.settings, clock.now())
    link = desk.folder / "runs" / desk.ledger.submissions.get(stem).run_key
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(desk.ledger.runs.get(desk.ledger.submissions.get(stem).run_key).folder)
    desk.submit(stem)
    desk.accepted(stem)
    desk.ledger.runs.approve("one", by="somebody", shown=desk.ledger.runs.prepared_digest("one"))

    assert desk.submit(prepared.stem).messages == 3


# 7. Rendered again


def test_a_text_that_empties_the_first_file_may_be_rendered_again(desk: Desk) -> None:
    plan = desk.plan(more=ZONES)
    folder = desk.run_folder("one")
    rows = [
        (f"k{at}", number, name, zip_)
        for at, (number, name, zip_) in enumerate(
            zip(numbers(3), ["x" * 120, "Léa", "Zoé"], ["75001", "67000", "97400"], strict=True)
        )
    ]
    stages.extract([parquet.from_rows(["key", "msisdn", "name", "postcode"], rows)], folder)
    stages.screen(plan, folder, desk.ledger, desk.settings)
    stages.render(plan, folder, desk.ledger, desk.settings)
    assert len(desk.ledger.submissions.of_run("one")) == 3
    desk.text = "Bonjour {{ name }}, à samedi et encore un peu plus tard si cela vous va !"
    plan = desk.plan(more=ZONES)

    stages.render(plan, folder, desk.ledger, desk.settings)

    assert [each.messages for each in desk.ledger.submissions.of_run("one")] == [1, 1]


# 8. prepare is the DAG's twin


def test_prepare_makes_the_files_that_the_dag_would_upload(desk: Desk, gateway: Sandbox) -> None:
    gateway.move_clock(to=datetime(2027, 3, 3, 6, 0, tzinfo=PARIS))
    at = datetime(2027, 3, 3, 10, 0, tzinfo=PARIS)
    more = ZONES + "local_time: true\n"
    key = "send__tests/manual"
    files = desk.prepare(numbers(2), run=key, more=more, living_in=["75001", "97400"], send_at=at)
    recipients = desk.folder / "people.csv"
    recipients.write_text(
        "key,msisdn,name,postcode\n"
        + "".join(
            f"k{place},{number},Léa {place},{zip_}\n"
            for place, (number, zip_) in enumerate(zip(numbers(2), ["75001", "97400"], strict=True))
        )
    )
    campaign = load(desk.folder / "campaigns" / "tests")
    plan = offline.plan(
        campaign,
        at,
        settings=desk.settings,
        run_id="manual",
        service_id="12345",
        planned_at=clock.now(),
    )
    screened = offline.screen(plan, recipients, None, desk.settings)
    made = offline.prepare(screened, desk.settings, desk.folder / "out")

    assert [stem for stem, _ in made.files] == [each.stem for each in files]


# 9. Others


def test_an_hour_that_comes_twice_is_told_as_that(desk: Desk, gateway: Sandbox) -> None:
    gateway.move_clock(to=datetime(2027, 10, 30, 20, tzinfo=PARIS))
    more = "spread_over: 1 hour\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "tests.delivery.conftest.CAMPAIGN",
            "description: x\nkind: transactional\nsender: TESTS\n",
        )
        try:
            desk.prepare(numbers(8), more=more, send_at=datetime(2027, 10, 31, 1, 30, tzinfo=PARIS))
        except WindowClosed as refused:
            assert "marketing is closed" not in str(refused)  # noqa: PT017


def test_an_hour_that_closed_between_plan_and_screen_is_told_plainly(desk: Desk) -> None:
    plan = desk.plan(send_at=datetime(2027, 3, 2, 21, 30, tzinfo=PARIS))
    told = desk.settings.model_dump() | {"window_end": "21:00"}
    desk.settings = type(desk.settings).model_validate(told)
    folder = desk.run_folder("one")
    stages.extract(
        [parquet.from_rows(["key", "msisdn", "name"], [("k", numbers(1)[0], "Léa")])], folder
    )

    with pytest.raises(WindowClosed) as refused:
        stages.screen(plan, folder, desk.ledger, desk.settings)

    assert "None" not in str(refused.value)


def test_a_run_that_starts_anew_the_next_day_takes_an_hour_that_is_open(
    desk: Desk, gateway: Sandbox
) -> None:
    gateway.move_clock(to=datetime(2027, 3, 2, 21, 0, tzinfo=PARIS))
    desk.prepare(numbers(2), more=ZONES, living_in=["75001", "97110"])
    gateway.move_clock(to=datetime(2027, 3, 3, 8, 30, tzinfo=PARIS))

    files = desk.prepare(numbers(2), more=ZONES, living_in=["75001", "97110"])

    assert hours(files) == [("FR", "03 08:30", 1), ("GP", "03 13:00", 1)]


def test_last_look_finds_the_only_person_said_stop(desk: Desk, gateway: Sandbox) -> None:
    [only] = desk.prepare(numbers(1))
    asked: list[str] = []

    def cut(held: Any) -> None:
        asked.append(held.stem)
        if len(asked) == 3:
            raise GatewayUnreachable("cut")

    with pytest.raises(GatewayUnreachable):
        desk.submit(only.stem, also=cut)
    opt_out(desk.ledger, 33639980000)
    with pytest.raises(LedgerError):
        desk.submit(only.stem, token="second", lease=timedelta(0))

    assert desk.ledger.submissions.get(only.stem).state is State.CANCELLED


def test_what_a_check_stopped_at_its_rename_can_be_called_off(desk: Desk, gateway: Sandbox) -> None:
    """The kill switch is turned between the intent and the rename: `.tmp` lies there, whole."""
    [only] = desk.prepare(numbers(2), run="halted")
    asked: list[str] = []

    def halted(held: Any) -> None:
        asked.append(held.stem)
        if len(asked) == 3:
            raise LedgerError("halted")

    with pytest.raises(LedgerError, match="halted"):
        desk.submit(only.stem, also=halted)
    assert in_send(gateway) == [f"{only.stem}.tmp"]

    assert settlement.call_off(only.stem, desk.ledger)


def test_what_hangs_before_its_rename_takes_nobodys_turn_for_days(
    desk: Desk, gateway: Sandbox
) -> None:
    [only] = desk.prepare(numbers(2), run="halted")
    asked: list[str] = []

    def closed(held: Any) -> None:
        asked.append(held.stem)
        if len(asked) == 3:
            raise WindowClosed("closed meanwhile")

    with pytest.raises(WindowClosed):
        desk.submit(only.stem, also=closed)
    gateway.move_clock(to=TUESDAY + timedelta(days=3))  # it can never leave any more

    [other] = desk.prepare(numbers(2), run="other", more=ONCE)

    assert other.messages == 2


def test_a_dialect_that_changes_between_two_hours_does_not_strand_the_second(
    desk: Desk, gateway: Sandbox
) -> None:
    desk.text = "Bonjour {{ name }}; à samedi !"
    files = desk.prepare(numbers(2), more="spread_over: 1 hour\nspread_every: 30 minutes\n")
    desk.submit(files[0].stem)
    desk.accepted(files[0].stem)
    desk.settings = desk.settings.model_copy(update={"delimiter_in_text": "replace"})

    assert desk.submit(files[0].stem).stem == files[1].stem


def test_a_zone_is_not_put_off_for_weeks_in_silence(desk: Desk) -> None:
    told = desk.settings.model_dump() | {"window_start": "09:00", "window_end": "20:00"}
    desk.settings = type(desk.settings).model_validate(told)

    with pytest.raises(WindowClosed, match=r"recipients in Wallis.*Write `overseas: exclude`"):
        desk.prepare(numbers(3), more=ZONES, living_in=["75001", "75001", "98600"])


def test_a_run_whose_only_file_is_still_to_come_can_be_corrected(
    desk: Desk, gateway: Sandbox
) -> None:
    more = ZONES + 'send_at: "09:45"\n'
    [file] = desk.prepare(numbers(1), more=more, living_in=["97110"], asked_at=clock.now())
    assert hours([file]) == [("GP", "02 13:00", 1)]
    asked_at = TUESDAY
    gateway.move_clock(to=TUESDAY + timedelta(hours=1))

    desk.prepare(numbers(1), more=more, living_in=["97110"], asked_at=asked_at)


def test_whoever_calls_off_one_hour_is_told_of_the_others(desk: Desk, gateway: Sandbox) -> None:
    files = desk.prepare(numbers(3), more="spread_over: 1 hour\nspread_every: 20 minutes\n")
    desk.submit(files[0].stem)
    desk.accepted(files[0].stem)

    said = settlement.call_off(files[1].stem, desk.ledger)
    errors = drive(desk, files[0].stem, tries=2)

    assert "other" in said or states(desk, [files[2].stem]) == ["accepted"], (said, errors)


def test_a_verdict_that_takes_an_hour_does_not_lose_what_comes_after(
    desk: Desk, gateway: Sandbox
) -> None:
    files = desk.prepare(
        numbers(3), more="spread_over: 1 hour\n", send_at=TUESDAY + timedelta(hours=1)
    )
    gateway.move_clock(to=TUESDAY + timedelta(minutes=30))
    desk.submit(files[0].stem)  # `.lock` lies there for an hour
    gateway.move_clock(to=TUESDAY + timedelta(minutes=100))
    desk.accepted(files[0].stem)

    errors = drive(desk, files[0].stem)

    assert states(desk, [each.stem for each in files]) == ["accepted"] * 3, errors


def test_growth_is_measured_by_the_whole_of_a_run_that_is_half_sent(
    desk: Desk, gateway: Sandbox
) -> None:
    desk.settings = desk.settings.model_copy(update={"messages_per_hour": 6})
    evening = datetime(2027, 3, 2, 21, tzinfo=PARIS)
    more = "past_closing: split\nmax_growth: 10%\n"
    files = desk.prepare(numbers(7), run="yesterday", more=more, send_at=evening)
    gateway.move_clock(to=evening)
    desk.submit(files[0].stem)
    desk.accepted(files[0].stem)
    gateway.move_clock(to=datetime(2027, 3, 3, 7, 0, tzinfo=PARIS))

    desk.prepare(numbers(7), run="today", more=more, send_at=datetime(2027, 3, 3, 10, tzinfo=PARIS))


def test_a_dry_run_tells_what_would_not_go_out(desk: Desk, gateway: Sandbox) -> None:
    desk.prepare(
        numbers(9),
        more="spread_over: 3 hours\n",
        send_at=datetime(2027, 3, 2, 20, tzinfo=PARIS),
        dry_run=True,
    )

    assert "It would not be sent" in desk.run_folder("one").read_review()


def test_a_proof_of_unknown_fate_names_its_own_task(desk: Desk, gateway: Sandbox) -> None:
    desk.prepare(numbers(3), more=OURS)
    folder = desk.run_folder("one")
    [stem] = proving.prove(folder.read_plan(), folder, desk.ledger, desk.settings, clock.now())
    desk.ledger.submissions.claim(stem, "a try", lease=timedelta(minutes=1))
    desk.ledger.submissions.move(stem, to=State.UNKNOWN)

    with wiring.gateway() as session:
        assert "send_proof" in settlement.settle(stem, session, desk.ledger, arrived=True)


def test_a_plan_that_is_made_again_alone_waives_no_yes(desk: Desk, gateway: Sandbox) -> None:
    [file] = desk.prepare(numbers(3), more="approval: always\n")
    desk.plan()  # approval: never, and only the task plan was cleared

    with pytest.raises(SmsError):
        desk.submit(file.stem)


def test_everybody_stays_accounted_for_when_a_file_empties(desk: Desk, gateway: Sandbox) -> None:
    files = desk.prepare(numbers(4), more="spread_over: 1 hour\n")
    opt_out(desk.ledger, 33639980001)
    drive(desk, files[0].stem)
    summary = desk.ledger.runs.summary("one")

    assert summary.balanced, (summary.candidates, summary.audience, summary.excluded)


def test_a_tester_who_said_stop_is_not_counted_as_one_who_saw_it(
    desk: Desk, gateway: Sandbox
) -> None:
    """All testers said STOP: nothing can be proved, and the run can't go on."""
    desk.prepare(numbers(3), more=OURS)
    folder = desk.run_folder("one")
    opt_out(desk.ledger, 33639989901, 33639989902)
    plan = folder.read_plan()

    with pytest.raises(LedgerError, match="every number of proof_to is in the stop list"):
        proving.prove(plan, folder, desk.ledger, desk.settings, clock.now())


def test_more_than_a_hundred_files(desk: Desk, gateway: Sandbox) -> None:
    files = desk.prepare(numbers(130), more="spread_over: 11 hours\nspread_every: 5 minutes\n")

    assert len(files) == 130
    assert files[-1].stem.endswith("p130")
    assert desk.submit(files[0].stem).stem == files[0].stem


def test_whoever_waits_for_a_turn_says_so_and_gives_up(
    desk: Desk, gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker's machine vanished in its turn: the database holds the lock for hours."""
    monkeypatch.setitem(turn.LIMITS, "lock_timeout", "300ms")
    [only] = desk.prepare(numbers(2), more=ONCE)

    with desk.ledger.turn(alone=True), pytest.raises(LedgerBusy, match="tries again later"):
        desk.submit(only.stem)


def test_a_campaign_without_a_cap_takes_its_turn_too(
    desk: Desk, gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a capped file's last look and its rename a free one leaves to the same people."""
    monkeypatch.setitem(turn.LIMITS, "lock_timeout", "300ms")
    [capped] = desk.prepare(numbers(2), run="capped", more=ONCE)
    [free] = desk.prepare(numbers(2), run="free")
    asked: list[str] = []

    def meanwhile(held: Any) -> None:
        asked.append(held.stem)
        if len(asked) == 3:  # the turn is held
            with pytest.raises(LedgerBusy):
                desk.submit(free.stem, token="the other")

    desk.submit(capped.stem, also=meanwhile)

    assert states(desk, [free.stem, capped.stem]) == ["uploading", "submitted"]


def test_a_proof_shows_the_key_that_the_text_shows(desk: Desk, gateway: Sandbox) -> None:
    desk.text = "Votre code : {{ key }}"
    desk.prepare(numbers(3), more=OURS)
    folder = desk.run_folder("one")
    [stem] = proving.prove(folder.read_plan(), folder, desk.ledger, desk.settings, clock.now())

    assert b"proof-1" not in folder.proof().send_file(stem).read_bytes()


def test_a_retry_after_a_removal_from_the_stop_list_still_sends(
    desk: Desk, gateway: Sandbox
) -> None:
    [only] = desk.prepare(numbers(3))
    opt_out(desk.ledger, 33639980000)
    asked: list[str] = []

    def cut(held: Any) -> None:
        asked.append(held.stem)
        if len(asked) == 2:
            raise GatewayUnreachable("the line broke")

    with pytest.raises(GatewayUnreachable):
        desk.submit(only.stem, also=cut)
    desk.ledger.stop_list.remove(33639980000, reason="a mistake")

    desk.submit(only.stem, token="second try", lease=timedelta(0))


def test_a_zone_that_has_closed_meanwhile_does_not_keep_back_the_others(
    desk: Desk, gateway: Sandbox
) -> None:
    gateway.move_clock(to=datetime(2027, 3, 2, 16, 0, tzinfo=PARIS))
    files = desk.prepare(numbers(3), more=ZONES, living_in=["75001", "75001", "97400"])
    gateway.move_clock(to=datetime(2027, 3, 2, 19, 5, tzinfo=PARIS))  # 22:05 on La Réunion

    said = drive(desk, files[0].stem, tries=3)

    assert states(desk, [each.stem for each in files]) == ["accepted", "uploading"]
    assert settlement.call_off(files[1].stem, desk.ledger)
    assert "is 22:05 in La Réunion" in said[-1]
    assert "a new run whose query leaves out the recipients in sms.delivery" in said[-1]
