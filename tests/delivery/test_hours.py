"""Files with hours of their own: by zone, staggered, or split over the openings."""

from datetime import datetime, timedelta

import pyarrow.parquet as pq
import pytest

from sms import clock
from sms.clock import PARIS
from sms.delivery import upload
from sms.errors import LedgerError, WindowClosed
from sms.ledger.records import Submission
from sms.ledger.states import State
from sms.run import upload_time
from sms_sandbox import Sandbox
from tests.delivery.conftest import SANDBOX_ONLY, TUESDAY, Desk, in_send, numbers, sent_to
from tests.delivery.submitting import opt_out

pytestmark = SANDBOX_ONLY

ZONES = "postcode: postcode\n"
HOMES = ["75001", "97110", "57000", "97400", ""]


def hours(files: list[Submission]) -> list[tuple[str, str, int | None]]:
    return [(each.zone, f"{each.send_at.astimezone(PARIS):%H:%M}", each.messages) for each in files]


def test_each_zone_has_its_file_and_its_hour(desk: Desk, gateway: Sandbox) -> None:
    files = desk.prepare(numbers(5), more=ZONES, living_in=HOMES)

    assert hours(files) == [
        *[("FR", "09:30", 2), ("alsace_moselle", "09:30", 1), ("RE", "09:30", 1)],
        ("GP", "13:00", 1),
    ]
    assert [each.stem.rsplit("-", 2)[-2] for each in files] == ["0930", "0930", "0930", "1300"]
    assert [each.stem[-3:] for each in files] == ["p01", "p02", "p03", "p04"]
    review = desk.run_folder("one").read_review()
    assert "2027-03-02 09:30 in Paris to 2027-03-02 13:00 in Paris, in 4 files" in review
    assert "Tuesday 2 March, 09:30 is 04:30 in Guadeloupe, outside 08:00-22:00" in review
    assert f"| `{files[3].stem}.csv` | 2027-03-02 13:00 | Guadeloupe | 1 |" in review


def test_a_later_hour_goes_up_later_and_without_who_said_stop_meanwhile(
    desk: Desk, gateway: Sandbox
) -> None:
    first, later = desk.prepare(
        numbers(4), more=ZONES, living_in=["75001", "97110", "97110", "97110"]
    )

    assert desk.submit(first.stem).stem == first.stem
    assert in_send(gateway) == [f"{first.stem}.csv"] or gateway.settled_names() == [
        f"{first.stem}.done"
    ]
    assert desk.submit(first.stem).stem == first.stem  # its verdict is awaited, nothing goes up
    assert desk.ledger.submissions.get(later.stem).state is State.PREPARED
    desk.accepted(first.stem)
    files = desk.ledger.submissions.of_run("one")
    assert upload.begins_another_hour(files)
    assert upload_time.upload_at(files, desk.settings, None) > clock.now()

    opt_out(desk.ledger, 33639980002)
    gateway.move_clock(to=later.send_at - timedelta(minutes=20))
    assert desk.submit(first.stem).stem == later.stem
    desk.accepted(later.stem)

    assert not upload.begins_another_hour(desk.ledger.submissions.of_run("one"))
    gateway.move_clock(to=later.send_at + timedelta(minutes=1))
    gateway.settle()
    assert sent_to(gateway) == ["+33639980000", "+33639980001", "+33639980003"]


def test_files_of_one_hour_lie_there_together_before_the_first_is_renamed(
    desk: Desk, gateway: Sandbox
) -> None:
    files = desk.prepare(
        numbers(4), more=ZONES + "max_recipients_per_file: 1\n", living_in=["", "", "97110", ""]
    )
    assert hours(files)[-1] == ("GP", "13:00", 1)

    desk.submit(files[0].stem)

    kept = {name.partition(".")[0] for name in in_send(gateway)}
    assert kept == {each.stem for each in files[:3]}


def test_what_is_called_off_between_two_hours_stays_here(desk: Desk, gateway: Sandbox) -> None:
    first, later = desk.prepare(numbers(2), more=ZONES, living_in=["", "97110"])
    desk.submit(first.stem)
    desk.accepted(first.stem)

    assert desk.ledger.submissions.move(later.stem, to=State.CANCELLED)

    with pytest.raises(LedgerError, match="was cancelled"):
        desk.submit(first.stem)


def test_a_file_that_is_late_for_its_own_zone_is_refused(desk: Desk, gateway: Sandbox) -> None:
    [only] = desk.prepare(numbers(1), more=ZONES, living_in=["97600"])
    assert hours([only]) == [("YT", "09:30", 1)]

    gateway.move_clock(to=datetime(2027, 3, 2, 20, 1, tzinfo=PARIS))  # 22:01 in Mayotte

    with pytest.raises(WindowClosed, match="is 22:01 in Mayotte, outside 08:00-22:00"):
        desk.submit(only.stem)


def test_people_overseas_can_be_left_out(desk: Desk) -> None:
    [file] = desk.prepare(numbers(5), more=ZONES + "overseas: exclude\n", living_in=HOMES[:4])[:1]

    table = pq.read_table(desk.run_folder("one").excluded)
    assert table["reason"].to_pylist() == ["overseas", "overseas"]
    assert desk.ledger.runs.summary("one").balanced
    assert file.zone == "FR"


def test_people_overseas_can_be_taken_for_mainlanders(desk: Desk) -> None:
    files = desk.prepare(numbers(5), more=ZONES + "overseas: mainland\n", living_in=HOMES)

    assert hours(files) == [("FR", "09:30", 4), ("alsace_moselle", "09:30", 1)]


def test_without_a_postcode_everybody_can_be_spared_the_holidays_of_alsace(desk: Desk) -> None:
    good_friday = datetime(2027, 3, 26, 10, tzinfo=PARIS)

    [closed] = desk.prepare(numbers(2), more="alsace_moselle: close\n", send_at=good_friday)
    [open_] = desk.prepare(numbers(2), run="two", send_at=good_friday)

    assert closed.send_at == datetime(2027, 3, 27, 8, tzinfo=PARIS)
    assert open_.send_at == good_friday
    review = desk.run_folder("two").read_review()
    assert (
        "a holiday in Alsace-Moselle (Vendredi saint), and everyone is assumed to live elsewhere"
        in review
    )


def test_a_column_that_the_query_lacks_is_told(desk: Desk) -> None:
    with pytest.raises(Exception, match=r"campaign.yaml names 'zip' as its postcode"):
        desk.prepare(numbers(1), more="postcode: zip\n")


def test_a_spread_run_goes_out_step_by_step(desk: Desk, gateway: Sandbox) -> None:
    files = desk.prepare(numbers(4), more="spread_over: 1 hour\n")
    assert hours(files) == [("FR", f"{hour}", 1) for hour in ("09:30", "09:45", "10:00", "10:15")]

    for each in files:
        assert desk.submit(files[0].stem).stem == each.stem
        desk.accepted(each.stem)
    gateway.move_clock(to=TUESDAY + timedelta(hours=1))
    gateway.settle()

    assert len(sent_to(gateway)) == 4
    assert desk.ledger.runs.summary("one").balanced


def test_what_has_no_time_before_closing_goes_out_the_next_morning(desk: Desk) -> None:
    desk.settings = desk.settings.model_copy(update={"messages_per_hour": 6})
    evening = datetime(2027, 3, 6, 21, tzinfo=PARIS)  # a Saturday

    files = desk.prepare(numbers(7), more="past_closing: split\n", send_at=evening)

    assert [(f"{each.send_at.astimezone(PARIS):%a %H:%M}", each.messages) for each in files] == [
        *[("Sat 21:00", 5), ("Mon 08:00", 2)],
    ]
    review = desk.run_folder("one").read_review()
    assert "- **Expected end:** 2027-03-08 08:20 in Paris" in review


def test_a_run_planned_again_keeps_its_name_and_its_zones(desk: Desk) -> None:
    files = desk.prepare(numbers(2), more=ZONES, living_in=["97110", "97110"])
    again = desk.prepare(numbers(2), more=ZONES, living_in=["97110", "97110"])

    assert [each.stem for each in files] == [each.stem for each in again]
    assert len(files) == 1
    with desk.ledger.engine.connect() as db:
        kept = db.exec_driver_sql("SELECT count(*) FROM sms.submission").scalar_one()
    assert kept == 1
