"""Marketing is sent only in the law's hours, and each slot gives its reason."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms import clock
from sms.calendar.send_window import first_at, is_open, next_open, require_open, slot
from sms.calendar.zones import MAINLAND, bank_holidays
from sms.errors import WindowClosed
from sms.settings import Settings
from sms.wire.names import SubmissionName
from tests.calendar.law import DEFAULT, by_the_law, easter, instants, paris

EARLY_END = Settings(window_end=time(20, 30), window_start=time(9))


whole_years = pytest.mark.parametrize("year", range(2024, 2045))


@whole_years
def test_bank_holidays_are_the_eleven_of_the_labour_code(year):
    known = bank_holidays(MAINLAND, year)

    assert {easter(year) + timedelta(days=after) for after in (1, 39, 50)} <= set(known)
    noons = (datetime(year, 1, 1, 11, tzinfo=UTC) + timedelta(days=n) for n in range(365))
    assert all(is_open(noon, "marketing", settings=DEFAULT) == by_the_law(noon) for noon in noons)


def test_next_years_bank_holidays_are_known():
    for year in (clock.now().year, clock.now().year + 1):
        names = set(bank_holidays(MAINLAND, year).values())
        assert {"Noël", "Lundi de Pâques", "Ascension", "Fête nationale"} <= names
        assert len(bank_holidays(MAINLAND, year)) >= 10  # two of the eleven may fall on one day


@given(instants)
def test_open_hours_match_the_law_to_the_microsecond(instant):
    assert is_open(instant, "marketing", settings=DEFAULT) == by_the_law(instant)


@given(instants, st.sampled_from([DEFAULT, EARLY_END]))
def test_the_next_opening_is_open_stable_and_not_earlier(instant, settings):
    opening = next_open(instant, "marketing", settings=settings)

    assert opening >= instant
    assert is_open(opening, "marketing", settings=settings)
    assert next_open(opening, "marketing", settings=settings) == opening


@given(instants)
def test_no_instant_before_the_next_opening_is_open(instant):
    opening = next_open(instant, "marketing", settings=DEFAULT)

    assert opening - instant <= timedelta(days=5)
    skipped = range(0, int((opening - instant).total_seconds()), 600)
    between = (instant + timedelta(seconds=passed) for passed in skipped)
    assert not any(by_the_law(moment) for moment in between)


@given(instants, instants, st.sampled_from(["marketing", "transactional"]))
def test_a_later_request_never_gets_an_earlier_opening(one, other, kind):
    first, second = sorted((one, other))

    assert next_open(first, kind, settings=DEFAULT) <= next_open(second, kind, settings=DEFAULT)


@given(instants, instants, st.sampled_from(["marketing", "transactional"]))
def test_a_slot_is_an_open_stable_whole_minute(now, wanted, kind):
    made = slot(wanted, kind, now=now, settings=DEFAULT, send_now=True)

    assert (made.send_at.second, made.send_at.microsecond) == (0, 0)
    assert made.send_at > now - timedelta(minutes=1)
    assert is_open(made.send_at, kind, settings=DEFAULT)
    assert SubmissionName("12345", made.send_at, "sale").stem
    again = slot(made.send_at, kind, now=now, settings=DEFAULT)
    assert again.send_at == made.send_at
    assert made.reason


@pytest.mark.parametrize(
    ("wanted", "send_at", "reason"),
    [
        # The four verified examples of section F.
        (
            "2026-12-24 22:00",
            "2026-12-26 08:00",
            "Thursday 24 December, 22:00 is outside 08:00-22:00, Friday 25 is closed (Noël), "
            "moved to Saturday 26, 08:00",
        ),
        (
            "2027-05-05 23:10",
            "2027-05-07 08:00",
            "Wednesday 5 May, 23:10 is outside 08:00-22:00, Thursday 6 is closed (Ascension), "
            "moved to Friday 7, 08:00",
        ),
        (
            "2026-06-15 07:59",
            "2026-06-15 08:00",
            "Monday 15 June, 07:59 is outside 08:00-22:00, moved to 08:00",
        ),
        (
            "2026-10-24 22:30",
            "2026-10-26 08:00",
            "Saturday 24 October, 22:30 is outside 08:00-22:00, Sunday 25 is closed, "
            "moved to Monday 26, 08:00",
        ),
        (
            "2027-08-15 10:00",
            "2027-08-16 08:00",
            "Sunday 15 August is closed, moved to Monday 16, 08:00",
        ),
        (
            "2027-12-31 22:00",
            "2028-01-03 08:00",
            "Friday 31 December, 22:00 is outside 08:00-22:00, Saturday 1 January is closed "
            "(Jour de l'an), Sunday 2 is closed, moved to Monday 3 January, 08:00",
        ),
        ("2026-06-15 21:59", "2026-06-15 21:59", "as requested: Monday 15 June, 21:59"),
        ("2026-06-15 08:00", "2026-06-15 08:00", "as requested: Monday 15 June, 08:00"),
    ],
)
def test_marketing_moves_to_the_next_open_hour(wanted, send_at, reason):
    made = slot(paris(wanted), "marketing", now=paris(wanted), settings=DEFAULT)

    assert made.send_at == paris(send_at)
    assert made.send_at.tzinfo is UTC
    assert made.reason == reason


def test_an_end_that_the_operator_lowered_is_kept():
    made = slot(paris("2026-06-15 20:30"), "marketing", now=paris("2026-06-15"), settings=EARLY_END)

    assert made.send_at == paris("2026-06-16 09:00")
    assert "outside 09:00-20:30" in made.reason


def test_an_unshiftable_campaign_fails_with_the_next_open_hour():
    with pytest.raises(WindowClosed) as caught:
        slot(
            paris("2027-08-15 10:00"),
            "marketing",
            now=paris("2027-08-14 10:00"),
            settings=DEFAULT,
            outside_window="fail",
        )

    assert "Sunday 15 August is closed" in str(caught.value)
    assert "Monday 16, 08:00" in str(caught.value)


def test_transactional_messages_are_sent_on_christmas_night():
    made = slot(
        paris("2026-12-25 23:30"), "transactional", now=paris("2026-12-25"), settings=DEFAULT
    )

    assert made.send_at == paris("2026-12-25 23:30")


@pytest.mark.parametrize("minute", ["00:00", "00:30", "01:00", "01:59"])
def test_nothing_is_sent_in_the_repeated_hour(minute):
    instant = datetime.fromisoformat(f"2026-10-25 {minute}").replace(tzinfo=UTC)

    made = slot(instant, "transactional", now=instant, settings=DEFAULT)

    assert made.send_at == paris("2026-10-25 03:00")
    assert "comes twice" in made.reason
    with pytest.raises(WindowClosed, match="comes twice"):
        slot(instant, "transactional", now=instant, settings=DEFAULT, outside_window="fail")


def test_a_nonexistent_hour_is_read_one_hour_later():
    made = slot(
        paris("2027-03-28 02:30"), "transactional", now=paris("2027-03-27"), settings=DEFAULT
    )

    assert made.send_at == paris("2027-03-28 03:30")
    assert made.reason == "as requested: Sunday 28 March, 03:30"


@pytest.mark.parametrize(("day", "utc_hour"), [("2026-10-24", 6), ("2026-10-26", 7)])
def test_eight_oclock_is_paris_time_in_summer_and_winter(day, utc_hour):
    made = slot(paris(f"{day} 03:00"), "marketing", now=paris(f"{day} 00:00"), settings=DEFAULT)

    assert made.send_at.hour == utc_hour


def test_an_asap_slot_is_the_current_minute_when_open():
    now = paris("2026-06-15 10:20:45")

    made = slot(None, "marketing", now=now, settings=DEFAULT)

    assert made.send_at == paris("2026-06-15 10:20")
    assert made.reason == "as soon as possible: Monday 15 June, 10:20"


def test_an_hour_just_passed_is_sent_at_once():
    made = slot(
        paris("2026-06-15 10:00"), "marketing", now=paris("2026-06-15 10:10"), settings=DEFAULT
    )

    assert made.send_at == paris("2026-06-15 10:10")
    assert made.reason == "Monday 15 June, 10:00 has passed, sent at once: 10:10"


def test_an_hour_long_past_is_refused_unless_send_now():
    wanted, now = paris("2026-06-15 10:00"), paris("2026-06-15 10:11")

    with pytest.raises(WindowClosed, match="leave it empty to send as soon as allowed"):
        slot(wanted, "transactional", now=now, settings=DEFAULT)
    made = slot(wanted, "transactional", now=now, settings=DEFAULT, send_now=True)

    assert made.send_at == now


def test_a_just_passed_hour_that_has_closed_is_moved():
    made = slot(
        paris("2026-06-15 21:58"), "marketing", now=paris("2026-06-15 22:01"), settings=DEFAULT
    )

    assert made.send_at == paris("2026-06-16 08:00")


def test_delay_is_real_time_across_a_clock_change():
    # 02:55 summer time and 02:05 winter time are ten minutes apart, not fifty.
    wanted = paris("2026-10-25 02:55")
    now = paris("2026-10-25 02:05").replace(fold=1)

    made = slot(wanted, "transactional", now=now, settings=DEFAULT)

    assert made.send_at == paris("2026-10-25 03:00")


def test_a_slot_beyond_the_horizon_has_a_note():
    now = paris("2026-06-01 10:00")

    near = slot(now + timedelta(days=25), "marketing", now=now, settings=DEFAULT)
    far = slot(now + timedelta(days=26), "marketing", now=now, settings=DEFAULT)

    assert "ahead" not in near.reason
    assert far.reason.endswith("more than 25 days ahead")


def test_a_naive_datetime_is_refused():
    naive = datetime(2026, 6, 15, 10)  # noqa: DTZ001 - the mistake itself

    with pytest.raises(ValueError, match="aware"):
        is_open(naive, "marketing", settings=DEFAULT)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="spam"):
        is_open(paris("2026-06-15 10:00"), "spam", settings=DEFAULT)


def test_the_hour_is_checked_again_before_the_upload():
    planned = paris("2026-06-15 21:55")

    require_open(planned, "marketing", now=paris("2026-06-15 21:40"), settings=DEFAULT)
    require_open(planned, "marketing", now=paris("2026-06-15 21:59:59"), settings=DEFAULT)
    with pytest.raises(WindowClosed, match="can't go up any more"):
        require_open(planned, "marketing", now=paris("2026-06-15 22:00"), settings=DEFAULT)
    with pytest.raises(WindowClosed, match="max_delay"):
        require_open(planned, "transactional", now=paris("2026-06-15 22:06"), settings=DEFAULT)
    require_open(
        planned, "transactional", now=paris("2026-06-15 22:06"), settings=DEFAULT, send_now=True
    )
    with pytest.raises(WindowClosed, match="Tuesday 16, 08:00"):
        require_open(
            planned, "marketing", now=paris("2026-06-15 22:06"), settings=DEFAULT, send_now=True
        )


@pytest.mark.parametrize(
    ("after", "first"),
    [
        ("2026-06-15 08:30", "2026-06-15 10:30"),
        ("2026-06-15 10:30:59", "2026-06-15 10:30"),
        ("2026-06-15 10:31", "2026-06-16 10:30"),
        ("2026-10-24 22:00", "2026-10-25 10:30"),
    ],
)
def test_the_campaigns_hour_never_precedes_the_runs_time(after, first):
    assert first_at("10:30", after=paris(after)) == paris(first)
