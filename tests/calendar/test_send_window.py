"""Marketing is sent only in the law's hours, and each slot gives its reason."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms import clock
from sms.calendar.send_window import (
    Sending,
    at,
    closures,
    ends,
    first_at,
    in_words,
    is_open,
    next_open,
    require_no_tail,
    require_open,
    require_recent,
    slot,
)
from sms.calendar.zones import MAINLAND, bank_holidays, zone
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

    with pytest.raises(ValueError, match=r"^an instant must be aware$"):
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


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (
            "2026-06-15 10:05",
            "Monday 15 June, 10:05 is 04:05 in Guadeloupe, outside 08:00-22:00, so the file "
            "planned for Monday 15 June, 10:00 can't go up any more: redo it for 14:00 or later",
        ),
        (
            "2026-06-15 10:11",
            "Monday 15 June, 10:00 has passed, by more than max_delay (10 minutes) allows: "
            "redo it with a later send_at, or leave it empty to send as soon as allowed",
        ),
    ],
)
def test_a_refusal_before_the_upload_names_the_remedy(now, reason):
    with pytest.raises(WindowClosed) as caught:
        require_open(
            paris("2026-06-15 10:00"),
            "marketing",
            now=paris(now),
            settings=DEFAULT,
            zone=zone("GP"),
            again="redo it",
        )

    assert str(caught.value) == reason


def test_sendings_end_in_order_of_their_start():
    hour = timedelta(hours=1)
    ten = paris("2026-06-15 10:00")

    late, early = ends(
        [Sending(ten + hour, 100), Sending(ten, 300)], Settings(messages_per_hour=100)
    )

    assert (early, late) == (ten + 3 * hour, ten + 4 * hour)


def test_messages_past_the_closing_hour_are_refused():
    settings = Settings(messages_per_hour=1000)
    begin = paris("2026-06-15 21:00")

    require_no_tail([Sending(begin, 1000)], "marketing", settings=settings)  # until 22:00 exactly
    with pytest.raises(WindowClosed) as caught:
        require_no_tail([Sending(begin, 2000)], "marketing", settings=settings)

    assert str(caught.value) == (
        "2,000 messages from Monday 15 June, 21:00 on would take until Monday 15 June, 23:00 at "
        "1,000 an hour, and marketing closes at 22:00: the rest would be rejected. Nothing more is "
        "sent: send earlier or to fewer, or write `past_closing: split`, or correct "
        "messages_per_hour in the settings"
    )


def test_the_closing_hour_is_the_zones():
    settings = Settings(messages_per_hour=1000)
    begin = paris("2026-06-15 19:30")  # 21:30 in La Réunion

    require_no_tail([Sending(begin, 1000)], "marketing", settings=settings)
    with pytest.raises(WindowClosed, match="marketing closes at 20:00"):
        require_no_tail([Sending(begin, 1000, zone("RE"))], "marketing", settings=settings)


def test_a_run_of_a_past_day_is_refused():
    asked = paris("2026-06-15 10:00")

    require_recent(asked, now=asked + DEFAULT.max_audience_age, settings=DEFAULT)
    with pytest.raises(WindowClosed) as caught:
        require_recent(asked, now=paris("2026-06-15 22:01"), settings=DEFAULT)

    assert str(caught.value) == (
        "this run was to start on Monday 15 June, 10:00, longer ago than max_audience_age "
        "(12 hours) allows: its day is over, so nothing is sent. Trigger a new run to send now"
    )


def test_an_hour_of_a_day_is_paris_time():
    assert at(date(2026, 6, 15), "10:30") == paris("2026-06-15 10:30")
    assert in_words(paris("2026-06-15 10:30")) == "Monday 15 June 2026 at 10:30 in Paris"


def test_an_open_instant_has_no_reason_to_be_closed():
    ten = paris("2026-06-15 10:00")

    assert closures(ten, ten + timedelta(hours=1), "marketing", settings=DEFAULT) == ""


def test_an_opening_is_at_most_thirty_days_away():
    late_start, futuna = Settings(window_start=time(11)), zone("WF")
    # In winter, Paris opens when Wallis-et-Futuna closes.
    opens = paris("2027-03-30 11:00").astimezone(UTC)
    month = timedelta(days=30)

    assert next_open(opens - month, "marketing", settings=late_start, zone=futuna) == opens
    with pytest.raises(WindowClosed) as caught:
        next_open(
            opens - month - timedelta(minutes=1), "marketing", settings=late_start, zone=futuna
        )

    assert str(caught.value) == (
        "no hour within 30 days is open in Paris and in Wallis-et-Futuna at once: "
        "widen window_start and window_end in the settings"
    )
