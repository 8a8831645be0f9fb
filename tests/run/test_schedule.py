"""The files of a run: every recipient in one, each file in open hours of its zone."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.calendar.send_window import Sending, ends, is_open, require_no_tail
from sms.calendar.zones import FRENCH, zone
from sms.campaign.definition import Campaign
from sms.errors import WindowClosed
from sms.run.schedule import MOST_FILES, Schedule, hour_there, schedule
from sms.settings import Settings
from tests.calendar.law import paris

MONDAY = paris("2027-03-15 10:30")


def a_campaign(tmp_path_factory=None, **says):
    facts = {"sender": "SHOP", "kind": "marketing", "stop_mention": "STOP 36180", **says}
    return Campaign(**facts, name="tests", folder="/nowhere", sql="SELECT 1", text="Bonjour")


def dealt(people, send_at=MONDAY, *, now=None, settings=None, **says) -> Schedule:
    return schedule(
        a_campaign(**says),
        send_at.astimezone(UTC),
        "as requested",
        people,
        now=(now or send_at - timedelta(hours=2)).astimezone(UTC),
        settings=settings or Settings(),
    )


def told(made: Schedule) -> list[tuple[str, str, int]]:
    hours = [each.send_at.astimezone(MONDAY.tzinfo) for each in made.files]
    return [
        (each.zone, f"{hour:%a %H:%M}", each.people)
        for each, hour in zip(made.files, hours, strict=True)
    ]


def test_an_ordinary_run_is_one_file_at_its_hour():
    made = dealt({"FR": 1000})

    assert told(made) == [("FR", "Mon 10:30", 1000)]
    assert made.files[0].reason == "as requested"


def test_an_empty_audience_needs_no_file():
    assert dealt({}).files == ()
    assert dealt({}).begins is None


def test_a_large_run_is_split_into_equal_simultaneous_files():
    assert told(dealt({"FR": 5}, max_recipients_per_file=2)) == [
        *[("FR", "Mon 10:30", 2), ("FR", "Mon 10:30", 2), ("FR", "Mon 10:30", 1)],
    ]


def test_zones_are_sent_in_the_order_of_open_hours():
    made = dealt({"FR": 10, "RE": 3, "GP": 4, "NC": 2})

    assert told(made) == [
        ("FR", "Mon 10:30", 10),
        ("RE", "Mon 10:30", 3),
        ("NC", "Mon 10:30", 2),
        ("GP", "Mon 13:00", 4),
    ]
    assert "Guadeloupe: Monday 15 March, 10:30 is 05:30 in Guadeloupe" in made.files[3].reason


def test_outside_window_fail_refuses_a_closed_zone():
    with pytest.raises(WindowClosed, match=r"05:30 in Guadeloupe, outside.*outside_window: fail"):
        dealt({"FR": 1, "GP": 1}, outside_window="fail")


def test_a_spread_staggers_files_with_every_recipient_in_one():
    made = dealt({"FR": 10}, spread_over="45 minutes")

    assert told(made) == [
        *[("FR", "Mon 10:30", 4), ("FR", "Mon 10:45", 3), ("FR", "Mon 11:00", 3)],
    ]
    assert told(dealt({"FR": 2}, spread_over="1 hour", spread_every="10 minutes")) == [
        *[("FR", "Mon 10:30", 1), ("FR", "Mon 10:40", 1)],
    ]
    assert told(dealt({"FR": 3}, spread_over="5 minutes")) == [("FR", "Mon 10:30", 3)]


def test_a_spread_beyond_closing_is_refused_or_split():
    evening = paris("2027-03-13 21:30")  # a Saturday

    with pytest.raises(WindowClosed, match="would be sent at 22:00, when marketing is closed"):
        dealt({"FR": 8}, evening, spread_over="1 hour")
    assert told(dealt({"FR": 8}, evening, spread_over="1 hour", past_closing="split")) == [
        *[("FR", "Sat 21:30", 2), ("FR", "Sat 21:45", 2)],
        *[("FR", "Mon 08:00", 2), ("FR", "Mon 08:15", 2)],
    ]


def test_messages_beyond_the_pace_continue_at_the_next_opening():
    slow = Settings(messages_per_hour=60, window_end=time(12))

    made = dealt({"FR": 500}, settings=slow, past_closing="split")

    # From 10:30 to ten minutes before noon, then from 08:00.
    assert told(made) == [
        *[("FR", "Mon 10:30", 80), ("FR", "Tue 08:00", 230), ("FR", "Wed 08:00", 190)],
    ]
    assert told(dealt({"FR": 500}, settings=slow)) == [("FR", "Mon 10:30", 500)]  # refused later
    with pytest.raises(
        WindowClosed, match=r"500 messages .* would take until Monday 15 March, 18:5"
    ):
        require_no_tail([Sending(MONDAY, 500)], "marketing", settings=slow)


def test_zones_share_the_providers_pace():
    slow = Settings(messages_per_hour=60, window_end=time(12))

    made = dealt({"FR": 60, "alsace_moselle": 60}, settings=slow, past_closing="split")

    assert told(made) == [
        ("FR", "Mon 10:30", 60),
        ("alsace_moselle", "Mon 10:30", 20),
        ("alsace_moselle", "Tue 08:00", 40),
    ]


def test_an_impossible_pace_is_reported():
    with pytest.raises(WindowClosed, match="more than 999 files, or 25 days"):
        dealt({"FR": 100_000}, settings=Settings(messages_per_hour=60), past_closing="split")
    with pytest.raises(WindowClosed, match="more than 999 files, or 25 days"):
        dealt({"FR": MOST_FILES + 1}, max_recipients_per_file=1)


def test_a_transactional_run_is_not_split_by_hours():
    made = dealt(
        {"FR": 900},
        kind="transactional",
        past_closing="split",
        settings=Settings(messages_per_hour=10),
    )

    assert told(made) == [("FR", "Mon 10:30", 900)]


@pytest.mark.parametrize(
    ("code", "hour"), [("FR", "10:30"), ("GP", "15:30"), ("RE", "07:30"), ("BE", "10:30")]
)
def test_the_same_local_hour_in_each_zone(code, hour):
    there = hour_there(MONDAY.astimezone(UTC), zone(code))

    assert f"{there.astimezone(MONDAY.tzinfo):%H:%M}" == hour


def test_local_time_is_the_campaigns_hour_if_still_ahead():
    people = {"FR": 1, "GP": 1, "RE": 1, "GB": 1}
    made = dealt(people, local_time=True)

    # 10:30 had come in La Réunion before the run: it goes with Paris.
    assert told(made) == [
        *[("FR", "Mon 10:30", 1), ("RE", "Mon 10:30", 1)],
        *[("GB", "Mon 11:30", 1), ("GP", "Mon 15:30", 1)],
    ]
    evening_before = paris("2027-03-14 18:00")
    assert ("RE", "Mon 08:00", 1) in told(dealt(people, now=evening_before, local_time=True))


def test_a_possible_alsace_moselle_holiday_is_warned_about():
    good_friday = paris("2027-03-26 10:30")

    [warned] = dealt({"FR": 1}, good_friday).files
    [ignored] = dealt({"FR": 1}, good_friday, alsace_moselle="ignore").files
    [known] = dealt({"FR": 1}, good_friday, postcode="zip").files
    [ordinary] = dealt({"FR": 1}).files

    holiday = "it is a holiday in Alsace-Moselle (Vendredi saint), and "
    assert f"{holiday}everyone is assumed to live elsewhere" in warned.reason
    assert f"{holiday}recipients without a readable postcode are assumed to" in known.reason
    assert {each.reason for each in (ignored, ordinary)} == {"as requested"}
    [there] = dealt({"alsace_moselle": 1}, good_friday, postcode="zip").files
    assert there.send_at == paris("2027-03-27 08:00")


paces = st.one_of(st.none(), st.integers(200, 100_000))
everybody = st.dictionaries(
    st.sampled_from([each.code for each in FRENCH]), st.integers(0, 5_000), max_size=4
)
openings = st.datetimes(
    datetime.fromisoformat("2026-12-20"),
    datetime.fromisoformat("2027-06-01"),
    timezones=st.just(UTC),
).filter(lambda moment: is_open(moment, "marketing", settings=Settings()))


@given(
    everybody,
    openings.map(lambda moment: moment.replace(second=0, microsecond=0)),
    paces,
    st.sampled_from([None, "10 minutes", "3 hours", "14 hours"]),
    st.integers(900, 10_000),
)
def test_every_file_is_open_and_ends_before_closing(people, send_at, pace, over, most):
    settings = Settings(messages_per_hour=pace)
    made = dealt(
        people,
        send_at,
        settings=settings,
        past_closing="split",
        spread_over=over,
        max_recipients_per_file=most,
    )

    counts = dict.fromkeys(people, 0)
    for each in made.files:
        counts[each.zone] += each.people
        assert 1 <= each.people <= most
        assert each.send_at >= send_at
        assert is_open(each.send_at, "marketing", settings=settings, zone=zone(each.zone))
    assert counts == people
    hours = [each.send_at for each in made.files]
    assert hours == sorted(hours)
    sendings = [Sending(each.send_at, each.people, zone(each.zone)) for each in made.files]
    require_no_tail(sendings, "marketing", settings=settings)
    assert (ends(sendings, settings) is None) == (pace is None)
