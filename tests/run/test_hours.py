"""Files with hours of their own: by zone, staggered, or split over several openings."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sms import clock
from sms.audience.residence import Geography
from sms.clock import PARIS
from sms.columnar import parquet
from sms.delivery import upload
from sms.errors import LedgerError, WindowClosed
from sms.ledger.states import State
from sms.run import stages, upload_time
from sms.telecom.msisdn import REGIONS
from sms_sandbox import Sandbox
from tests.submitting import opt_out
from tests.world import SANDBOX_ONLY, TUESDAY, World, hours, in_send, numbers, sent_to

pytestmark = SANDBOX_ONLY

ZONES = "postcode: postcode\n"
TRANSACTIONAL = "description: x\nkind: transactional\nsender: TESTS\n"
HOMES = ["75001", "97110", "57000", "97400", ""]


def test_each_zone_has_its_file_and_its_hour(world: World, gateway: Sandbox) -> None:
    files = world.prepare(numbers(5), more=ZONES, living_in=HOMES)

    assert hours(files) == [
        *[("FR", "02 09:30", 2), ("alsace_moselle", "02 09:30", 1), ("RE", "02 09:30", 1)],
        ("GP", "02 13:00", 1),
    ]
    assert [each.stem.rsplit("-", 2)[-2] for each in files] == ["0930", "0930", "0930", "1300"]
    assert [each.stem[-3:] for each in files] == ["p01", "p02", "p03", "p04"]
    review = world.run_folder("one").read_review()
    assert "2027-03-02 09:30 in Paris to 2027-03-02 13:00 in Paris, in 4 files" in review
    assert "Tuesday 2 March, 09:30 is 04:30 in Guadeloupe, outside 08:00-22:00" in review
    assert f"| `{files[3].stem}.csv` | 2027-03-02 13:00 | Guadeloupe | 1 |" in review


def test_a_later_file_excludes_opt_outs_since_the_first(world: World, gateway: Sandbox) -> None:
    first, later = world.prepare(
        numbers(4), more=ZONES, living_in=["75001", "97110", "97110", "97110"]
    )

    assert world.submit(first.stem).stem == first.stem
    assert in_send(gateway) == [f"{first.stem}.csv"] or gateway.settled_names() == [
        f"{first.stem}.done"
    ]
    assert world.submit(first.stem).stem == first.stem  # its verdict is awaited, nothing goes up
    assert world.ledger.submissions.get(later.stem).state is State.PREPARED
    world.accepted(first.stem)
    files = world.ledger.submissions.of_run("one")
    assert upload.begins_another_hour(files)
    assert upload_time.upload_at(files, world.settings, None) > clock.now()

    opt_out(world.ledger, 33639980002)
    gateway.move_clock(to=later.send_at - timedelta(minutes=20))
    assert world.submit(first.stem).stem == later.stem
    world.accepted(later.stem)

    assert not upload.begins_another_hour(world.ledger.submissions.of_run("one"))
    gateway.move_clock(to=later.send_at + timedelta(minutes=1))
    gateway.settle()
    assert sent_to(gateway) == ["+33639980000", "+33639980001", "+33639980003"]


def test_files_of_one_hour_are_uploaded_before_any_rename(world: World, gateway: Sandbox) -> None:
    files = world.prepare(
        numbers(4), more=ZONES + "max_recipients_per_file: 1\n", living_in=["", "", "97110", ""]
    )
    assert hours(files)[-1] == ("GP", "02 13:00", 1)

    world.submit(files[0].stem)

    kept = {name.partition(".")[0] for name in in_send(gateway)}
    assert kept == {each.stem for each in files[:3]}


def test_a_file_called_off_between_hours_is_not_uploaded(world: World, gateway: Sandbox) -> None:
    first, later = world.prepare(numbers(2), more=ZONES, living_in=["", "97110"])
    world.submit(first.stem)
    world.accepted(first.stem)

    assert world.ledger.submissions.move(later.stem, to=State.CANCELLED)

    with pytest.raises(LedgerError, match="was cancelled"):
        world.submit(first.stem)


def test_a_file_late_for_its_own_zone_is_refused(world: World, gateway: Sandbox) -> None:
    [only] = world.prepare(numbers(1), more=ZONES, living_in=["97600"])
    assert hours([only]) == [("YT", "02 09:30", 1)]

    gateway.move_clock(to=datetime(2027, 3, 2, 20, 1, tzinfo=PARIS))  # 22:01 in Mayotte

    with pytest.raises(WindowClosed, match="is 22:01 in Mayotte, outside 08:00-22:00"):
        world.submit(only.stem)


def test_overseas_recipients_can_be_excluded(world: World) -> None:
    [file] = world.prepare(numbers(5), more=ZONES + "overseas: exclude\n", living_in=HOMES[:4])[:1]

    table = pq.read_table(world.run_folder("one").excluded)
    assert table["reason"].to_pylist() == ["overseas", "overseas"]
    assert world.ledger.runs.summary("one").balanced
    assert file.zone == "FR"


def test_overseas_recipients_can_be_treated_as_mainland(world: World) -> None:
    files = world.prepare(numbers(5), more=ZONES + "overseas: mainland\n", living_in=HOMES)

    assert hours(files) == [("FR", "02 09:30", 4), ("alsace_moselle", "02 09:30", 1)]


def test_alsace_moselle_holidays_can_apply_without_postcodes(world: World) -> None:
    good_friday = datetime(2027, 3, 26, 10, tzinfo=PARIS)

    [closed] = world.prepare(numbers(2), more="alsace_moselle: close\n", send_at=good_friday)
    [open_] = world.prepare(numbers(2), run="two", send_at=good_friday)

    assert closed.send_at == datetime(2027, 3, 27, 8, tzinfo=PARIS)
    assert open_.send_at == good_friday
    review = world.run_folder("two").read_review()
    assert (
        "a holiday in Alsace-Moselle (Vendredi saint), and everyone is assumed to live elsewhere"
        in review
    )


def test_a_missing_column_is_reported(world: World) -> None:
    with pytest.raises(Exception, match=r"campaign.yaml names 'zip' as its postcode"):
        world.prepare(numbers(1), more="postcode: zip\n")


def test_a_spread_run_is_sent_in_steps(world: World, gateway: Sandbox) -> None:
    files = world.prepare(numbers(4), more="spread_over: 1 hour\n")
    assert hours(files) == [
        ("FR", f"02 {hour}", 1) for hour in ("09:30", "09:45", "10:00", "10:15")
    ]

    for each in files:
        assert world.submit(files[0].stem).stem == each.stem
        world.accepted(each.stem)
    gateway.move_clock(to=TUESDAY + timedelta(hours=1))
    gateway.settle()

    assert len(sent_to(gateway)) == 4
    assert world.ledger.runs.summary("one").balanced


def test_messages_beyond_closing_are_sent_the_next_morning(world: World) -> None:
    world.settings = world.settings.model_copy(update={"messages_per_hour": 6})
    evening = datetime(2027, 3, 6, 21, tzinfo=PARIS)  # a Saturday

    files = world.prepare(numbers(7), more="past_closing: split\n", send_at=evening)

    assert [(f"{each.send_at.astimezone(PARIS):%a %H:%M}", each.messages) for each in files] == [
        *[("Sat 21:00", 5), ("Mon 08:00", 2)],
    ]
    review = world.run_folder("one").read_review()
    assert "- **Expected end:** 2027-03-08 08:20 in Paris" in review


def test_a_replanned_run_keeps_its_name_and_zones(world: World) -> None:
    files = world.prepare(numbers(2), more=ZONES, living_in=["97110", "97110"])
    again = world.prepare(numbers(2), more=ZONES, living_in=["97110", "97110"])

    assert [each.stem for each in files] == [each.stem for each in again]
    assert len(files) == 1
    with world.ledger.engine.connect() as db:
        kept = db.exec_driver_sql("SELECT count(*) FROM sms.submission").scalar_one()
    assert kept == 1


@pytest.mark.parametrize("also", ["local_time: true\n", ZONES])
def test_alsace_moselle_close_applies_without_a_postcode(world: World, also: str) -> None:
    good_friday = datetime(2027, 3, 26, 10, tzinfo=PARIS)

    homes = ["", ""] if also == ZONES else []
    files = world.prepare(
        numbers(2), more="alsace_moselle: close\n" + also, send_at=good_friday, living_in=homes
    )

    assert [each.send_at for each in files] == [datetime(2027, 3, 27, 8, tzinfo=PARIS)]


@pytest.mark.parametrize(
    ("postcode", "country"), [("10001", "US"), ("97201", "US"), ("1000", "BE")]
)
def test_a_foreign_postcode_is_not_read_as_french(
    world: World, postcode: str, country: str
) -> None:
    """10001 is New York, 97201 Portland, 1000 Brussels."""
    more = ZONES + f"local_time: true\nallowed_countries: [FR, {country}]\n"
    geography = Geography.of(world.plan(more=more).campaign)
    region = np.array([REGIONS.index(country)], np.int16)  # what the number says

    [place] = geography.places(region, pa.array([postcode], pa.large_string()))

    assert geography.zones[place].code == country


def test_a_postcode_with_a_prefix_closes_alsace_moselle(world: World) -> None:
    good_friday = datetime(2027, 3, 26, 10, tzinfo=PARIS)

    files = world.prepare(numbers(1), more=ZONES, living_in=["F-67000"], send_at=good_friday)

    assert hours(files) == [("alsace_moselle", "27 08:00", 1)]


def test_every_allowed_country_has_a_zone(world: World) -> None:
    files = world.prepare(numbers(1), more="local_time: true\nallowed_countries: [FR, XK]\n")

    assert hours(files) == [("FR", "02 09:30", 1)]


def test_a_service_message_without_overseas_is_one_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.world.CAMPAIGN", TRANSACTIONAL)
    more = ZONES + "overseas: exclude\n"

    files = world.prepare(numbers(2), more=more, living_in=["75001", "67000"])

    assert len(files) == 1


def test_split_leaves_room_for_a_late_approval(world: World, gateway: Sandbox) -> None:
    world.settings = world.settings.model_copy(update={"messages_per_hour": 4})
    files = world.prepare(numbers(50), more="past_closing: split\n")
    gateway.move_clock(to=TUESDAY + timedelta(hours=1))

    with pytest.raises(WindowClosed, match="or approve sooner") as refused:
        world.submit(files[0].stem)

    assert "write `past_closing: split`" not in str(refused.value)  # the campaign says so


def test_no_file_gets_the_repeated_hour(
    world: World, gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.move_clock(to=datetime(2027, 10, 30, 20, tzinfo=PARIS))
    monkeypatch.setattr("tests.world.CAMPAIGN", TRANSACTIONAL)

    files = world.prepare(
        numbers(8),
        more="spread_over: 1 hour\n",
        send_at=datetime(2027, 10, 31, 1, 30, tzinfo=PARIS),
    )

    assert hours(files) == [
        ("FR", f"31 {hour}", 2) for hour in ("01:30", "01:45", "03:00", "03:15")
    ]


def test_an_hour_closed_after_planning_is_reported_clearly(world: World) -> None:
    plan = world.plan(send_at=datetime(2027, 3, 2, 21, 30, tzinfo=PARIS))
    told = world.settings.model_dump() | {"window_end": "21:00"}
    world.settings = type(world.settings).model_validate(told)
    folder = world.run_folder("one")
    stages.extract(
        [parquet.from_rows(["key", "msisdn", "name"], [("k", numbers(1)[0], "Léa")])], folder
    )

    with pytest.raises(WindowClosed) as refused:
        stages.screen(plan, folder, world.ledger, world.settings)

    assert "None" not in str(refused.value)


def test_a_zone_closed_for_weeks_is_an_error(world: World) -> None:
    told = world.settings.model_dump() | {"window_start": "09:00", "window_end": "20:00"}
    world.settings = type(world.settings).model_validate(told)

    with pytest.raises(WindowClosed, match=r"recipients in Wallis.*Write `overseas: exclude`"):
        world.prepare(numbers(3), more=ZONES, living_in=["75001", "75001", "98600"])


def test_a_run_may_have_over_a_hundred_files(world: World, gateway: Sandbox) -> None:
    files = world.prepare(numbers(130), more="spread_over: 11 hours\nspread_every: 5 minutes\n")

    assert len(files) == 130
    assert files[-1].stem.endswith("p130")
    assert world.submit(files[0].stem).stem == files[0].stem
