"""Recipients outside the mainland get messages in hours open in Paris and in their zone."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.calendar.send_window import (
    OpenDay,
    calendar,
    closing,
    closures,
    is_open,
    next_open,
    slot,
)
from sms.calendar.zones import FRENCH, MAINLAND, zone, zone_of_postcode
from sms.clock import PARIS
from sms.errors import ConfigurationError, WindowClosed
from sms.settings import Settings
from tests.calendar.law import DEFAULT, by_the_law, easter, instants, paris


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def miquelon(instant: datetime) -> timedelta:
    """Three hours behind Greenwich, two from March's second Sunday to November's first."""
    year = (instant - hours(3)).year
    march, november = date(year, 3, 8), date(year, 11, 1)
    begin = march + timedelta(days=6 - march.weekday())
    end = november + timedelta(days=6 - november.weekday())
    from_, to = (datetime.combine(day, time(), UTC) for day in (begin, end))
    return -hours(2) if from_ + hours(5) <= instant < to + hours(4) else -hours(3)


# Restated by hand: how far each clock is from Greenwich, and the holidays beside the common eleven,
# as days from Easter or as (month, day).
OFFSETS = {
    **{"GP": [-4], "MQ": [-4], "GF": [-3], "RE": [4], "YT": [3], "WF": [12], "NC": [11]},
    "PF": [-10, -9.5, -9],
}
BESIDE: dict[str, list[int | tuple[int, int]]] = {
    "GP": [-2, -24, (5, 27), (5, 28), (7, 21), (10, 9)],
    "MQ": [(5, 22), (7, 21)],
    "GF": [(6, 10)],
    "RE": [(12, 20)],
    "YT": [(4, 27)],
    "PM": [],
    "WF": [(4, 28), (6, 29), (7, 29)],
    "NC": [(9, 24)],
    "PF": [-2, (3, 5)],
    "alsace_moselle": [-2, (12, 26)],
}
MATARII_SINCE = 2025  # in French Polynesia, in the place of the day of its autonomy
elsewhere = st.sampled_from([each for each in FRENCH if each != MAINLAND])


def locals_of(code: str, instant: datetime) -> list[datetime]:
    if code == "PM":
        return [instant + miquelon(instant)]
    if code == "alsace_moselle":
        return [instant.astimezone(PARIS)]
    return [instant + hours(offset) for offset in OFFSETS[code]]


def may_ring(code: str, instant: datetime) -> bool | None:
    """Whether people of a zone may be rung, by hand; None where the library knows more holidays."""
    for local in locals_of(code, instant.astimezone(UTC)):
        days = {
            easter(local.year) + timedelta(days=told)
            if isinstance(told, int)
            else date(local.year, *told)
            for told in (*BESIDE[code], 1, 39, 50, (1, 1), (5, 1), (5, 8), (7, 14))
        } | {date(local.year, *told) for told in ((8, 15), (11, 1), (11, 11), (12, 25))}
        if code == "PF":
            days.add(date(local.year, *((11, 20) if local.year >= MATARII_SINCE else (6, 29))))
        if local.isoweekday() == 7 or local.date() in days or not 8 <= local.hour < 22:
            return False
    return by_the_law(instant)


@given(instants, elsewhere)
def test_open_hours_match_a_hand_written_table(instant, where):
    opened = is_open(instant, "marketing", settings=DEFAULT, zone=where)
    by_hand = may_ring(where.code, instant)

    assert not (opened and not by_hand), "an illegal hour"
    if by_hand:  # only a holiday that this test does not list may be closed beside
        assert opened or "(" in closures(
            instant, instant + hours(72), "marketing", settings=DEFAULT, zone=where
        )


@pytest.mark.parametrize("code", sorted(BESIDE))
@pytest.mark.parametrize("year", range(2024, 2045, 4))
def test_open_hours_match_a_check_of_every_minute(code, year):
    around = [date(year, 3, 31), date(year, 10, 27), date(year, 7, 21), easter(year)]
    for day in around:  # the nights of the clocks, a summer's day, Easter with its Friday
        begin = datetime.combine(day - timedelta(days=2), time(), UTC)
        for passed in range(0, 4 * 24 * 60, 15):
            for more in (0, 14):
                moment = begin + timedelta(minutes=passed + more)
                opened = is_open(moment, "marketing", settings=DEFAULT, zone=zone(code))
                assert opened <= may_ring(code, moment), moment


@given(instants, elsewhere)
def test_the_next_opening_is_open_stable_and_not_earlier(instant, where):
    opening = next_open(instant, "marketing", settings=DEFAULT, zone=where)

    assert instant <= opening <= instant + timedelta(days=9)
    assert is_open(opening, "marketing", settings=DEFAULT, zone=where)
    assert is_open(opening, "marketing", settings=DEFAULT)
    assert next_open(opening, "marketing", settings=DEFAULT, zone=where) == opening
    assert opening >= next_open(instant, "marketing", settings=DEFAULT)


@given(instants, elsewhere)
def test_no_instant_before_the_next_opening_is_open(instant, where):
    opening = next_open(instant, "marketing", settings=DEFAULT, zone=where)

    passed = range(0, int((opening - instant).total_seconds()), 1800)
    between = [instant + timedelta(seconds=seconds) for seconds in passed]
    assert not any(is_open(each, "marketing", settings=DEFAULT, zone=where) for each in between)
    if opening > instant:
        why = closures(instant, opening, "marketing", settings=DEFAULT, zone=where)
        assert "closed" in why or "outside" in why


@given(instants, instants, elsewhere)
def test_a_later_request_never_gets_an_earlier_opening(one, other, where):
    first, second = sorted((one, other))

    assert next_open(first, "marketing", settings=DEFAULT, zone=where) <= next_open(
        second, "marketing", settings=DEFAULT, zone=where
    )


@given(instants, elsewhere)
def test_the_hours_end_at_the_closing_time(instant, where):
    opening = next_open(instant, "marketing", settings=DEFAULT, zone=where)
    closes = closing(opening, settings=DEFAULT, zone=where)

    assert opening < closes <= opening + timedelta(hours=14)
    assert not is_open(closes, "marketing", settings=DEFAULT, zone=where)
    last = closes - timedelta(microseconds=1)
    assert is_open(last, "marketing", settings=DEFAULT, zone=where)


@pytest.mark.parametrize(
    ("code", "winter", "summer"),
    [  # section F's table, cut to Paris' own hours
        ("RE", "08:00-19:00", "08:00-20:00"),
        ("YT", "08:00-20:00", "08:00-21:00"),
        ("GP", "13:00-22:00", "14:00-22:00"),
        ("MQ", "13:00-22:00", "14:00-22:00"),
        ("GF", "12:00-22:00", "13:00-22:00"),
        ("PM", "12:00-22:00", "12:00-22:00"),
        ("NC", "08:00-12:00", "08:00-13:00"),
        ("WF", "08:00-11:00, 21:00-22:00", "08:00-12:00"),
    ],
)
def test_the_hours_of_the_requirements(code, winter, summer):
    for day, wanted in ((date(2027, 1, 19), winter), (date(2027, 6, 22), summer)):
        [told] = calendar(day, 1, settings=DEFAULT, zone=zone(code))
        assert told.hours.split(" (")[0] == wanted


def test_a_closed_day_of_a_zone_has_its_reason():
    told = [str(day) for day in calendar(date(2027, 3, 26), 3, settings=DEFAULT, zone=zone("67"))]

    assert told == [
        "Friday 26 March 2027: closed (Vendredi saint in Alsace-Moselle)",
        "Saturday 27 March 2027: 08:00-22:00",
        "Sunday 28 March 2027: closed (Sunday)",
    ]


def test_a_closed_day_has_its_reason():
    futuna, late_start = zone("WF"), Settings(window_start=time(11))
    day, friday = date(2027, 1, 18), date(2027, 3, 26)
    spans = [("08:00", "11:00"), ("21:00", "22:00")]

    assert calendar(day, 1, settings=DEFAULT, zone=futuna) == [
        OpenDay(
            day,
            "08:00-11:00, 21:00-22:00 (19:00-22:00, 08:00-09:00 there)",
            spans=tuple((paris(f"{day} {opens}"), paris(f"{day} {ends}")) for opens, ends in spans),
        )
    ]
    assert calendar(date(2027, 1, 17), 1, settings=DEFAULT) == [
        OpenDay(date(2027, 1, 17), "", "Sunday")
    ]
    assert calendar(friday, 1, settings=DEFAULT, zone=zone("67")) == [
        OpenDay(friday, "", "Vendredi saint in Alsace-Moselle")
    ]
    assert calendar(date(2027, 3, 23), 1, settings=late_start, zone=futuna) == [
        OpenDay(
            date(2027, 3, 23),
            "",
            "Tuesday 23 March, 11:00 is 22:00 in Wallis-et-Futuna, outside 11:00-22:00",
        )
    ]


def test_all_three_clocks_of_polynesia_count():
    [told] = calendar(date(2027, 1, 18), 1, settings=DEFAULT, zone=zone("PF"))

    # Tahiti alone would be open until 09:00 in Paris; on Gambier it is 22:00 by 08:00.
    assert str(told) == "Monday 18 January 2027: 19:00-22:00 (08:00-11:00 there)"


@pytest.mark.parametrize(
    ("wanted", "code", "send_at", "reason"),
    [
        (
            "2027-03-15 10:30",
            "GP",
            "2027-03-15 13:00",
            "Monday 15 March, 10:30 is 05:30 in Guadeloupe, outside 08:00-22:00, moved to 13:00",
        ),
        (
            "2027-12-20 10:00",
            "RE",
            "2027-12-21 08:00",
            "Monday 20 December is closed in La Réunion (Abolition de l'esclavage), "
            "moved to Tuesday 21, 08:00",
        ),
        (
            "2026-12-24 22:00",
            "57",
            "2026-12-28 08:00",
            "Thursday 24 December, 22:00 is outside 08:00-22:00, Friday 25 is closed (Noël), "
            "Saturday 26 December is closed in Alsace-Moselle (Saint-Étienne), "
            "Sunday 27 is closed in Alsace-Moselle, moved to Monday 28, 08:00",
        ),
    ],
)
def test_the_reason_names_the_closed_zone(wanted, code, send_at, reason):
    made = slot(
        paris(wanted), "marketing", now=paris("2026-12-01 09:00"), settings=DEFAULT, zone=zone(code)
    )

    assert made.send_at == paris(send_at)
    assert made.reason.startswith(reason), made.reason


def test_a_window_too_narrow_for_a_zone_is_reported():
    morning = Settings(window_start=time(10), window_end=time(12))

    with pytest.raises(WindowClosed, match="no hour within 30 days is open in Paris and in Poly"):
        next_open(paris("2027-03-15 10:30"), "marketing", settings=morning, zone=zone("PF"))


@pytest.mark.parametrize("country", ["BE", "US", "RU", "JP", "IN", "AU"])
def test_all_clocks_of_a_country_must_be_open(country):
    where = zone(country)
    opening = next_open(paris("2027-03-16 03:00"), "marketing", settings=DEFAULT, zone=where)

    for clock in where.clocks:
        local = opening.astimezone(ZoneInfo(clock))
        assert 8 <= local.hour < 22


@pytest.mark.parametrize(
    ("written", "code"),
    [
        *[("57000", "alsace_moselle"), ("67", "alsace_moselle"), ("68100.0", "alsace_moselle")],
        *[("75001", "FR"), ("2A", "FR"), ("20000", "FR"), ("01000", "FR"), ("1000", "FR")],
        *[("5700", "FR"), ("97400", "RE"), ("974", "RE"), ("97600", "YT"), ("97133", "GP")],
        *[("97150", "GP"), ("98800", "NC"), ("98713", "PF"), ("98600", "WF"), ("97500", "PM")],
        *[("98000", "FR"), ("1", "FR"), ("95", "FR"), ("97700", "GP"), ("97800", "GP")],
        *[("", None), ("B-1000", None), ("123", None), ("123456", None), ("0", None)],
        *[("00000", None), ("٥٧٠٠٠", None), ("00", None), ("000", None)],
    ],
)
def test_a_postcode_or_department_gives_the_zone(written, code):
    assert zone_of_postcode(written) == code


@pytest.mark.parametrize(
    ("written", "code"),
    [
        *[("F-97100", "GP"), ("FR-97100", "GP"), ("f 97100", "GP"), ("FR97100", "GP")],
        *[("F - 97100", "GP"), ("France 67000", "alsace_moselle"), ("GP-97100", "GP")],
        *[("97100 BASSE-TERRE", "GP"), ("97100 Basse-Terre", "GP"), ("97100, Basse-Terre", "GP")],
        *[("97100-Basse-Terre", "GP"), ("97100BASSE-TERRE", "GP"), ("97400 Saint-Denis", "RE")],
        *[
            ("97129 LAMENTIN CEDEX 09", "GP"),
            ("75008 PARIS 08", "FR"),
            ("67000 ÉPFIG", "alsace_moselle"),
        ],
        *[("97 100", "GP"), ("97\u00a0100", "GP"), ("97\u202f100", "GP"), ("971 00", "GP")],
        *[("97 100 Basse-Terre", "GP"), ("F-97 100", "GP"), ("97,100", "GP"), ("97.100", "GP")],
        *[("067", "alsace_moselle"), ("001", "FR"), ("068", "alsace_moselle"), ("075", "FR")],
        *[("97100 ", "GP"), (" 97100\r\n", "GP"), ('"97100 "', "GP"), ("'97100", "GP")],
        *[('="97100"', "GP"), ("97100\u200b", "GP"), ("\ufeff97100", "GP"), ("９７１００", "GP")],
        *[("97100.0", "GP"), ("97100,00", "GP"), ("971.0", "GP"), ("67.0", "alsace_moselle")],
        *[
            ("FR-67", "alsace_moselle"),
            ("FR-971", "GP"),
            ("FR-2A", "FR"),
            ("FR-6AE", "alsace_moselle"),
        ],
        *[("2A004", "FR"), ("2b", "FR"), ("02A", "FR"), ("20 200 Bastia", "FR")],
    ],
)
def test_a_postcode_is_read_in_every_spelling(written, code):
    assert zone_of_postcode(written) == code


@pytest.mark.parametrize(
    "written",
    [
        *[
            "97",
            "98",
            "96",
            "99",
            "99999",
            "96000",
            "97000",
            "97900",
            "98400",
            "00100",
            "970",
            "979",
        ],
        *["B-1000", "D-67059", "DE-57072", "CH-1200", "US-97201", "97201-1234", "97100/97110"],
        *[
            "75008, 97100",
            "12 rue de la Paix",
            "12 rue de la Paix, 97100 Basse-Terre",
            "Basse-Terre",
        ],
        *["971 - Guadeloupe", "9710O", "97l00", "n/a", "-", "?", "+33639980001", "1e5", "97100 12"],
        *["97100 Basse-Terre 97110", "2C", "2A 97100", "FR", "F-", "75 rue", "9 71 00", "-97100"],
    ],
)
def test_an_invalid_postcode_gives_no_zone(written):
    assert zone_of_postcode(written) is None


@given(st.text(max_size=12))
def test_any_text_gives_a_known_zone_or_none(written):
    assert zone_of_postcode(written) in {None, *(each.code for each in FRENCH)}


@given(
    st.sampled_from(["97100", "97410", "98800", "67000", "75001", "97500"]),
    st.sampled_from(["", "F-", "FR-", "F ", "fr-", "'", '"', '="', " ", "\u00a0"]),
    st.sampled_from(["", " ", "\u00a0", "\u202f", "\u2009"]),
    st.sampled_from(["", " VILLE", " Ville-sur-Mer", ", Ville", " ", '"', "\t", ".0"]),
)
def test_characters_around_a_postcode_are_ignored(digits, before, gap, behind):
    written = before + digits[:2] + gap + digits[2:] + behind

    assert zone_of_postcode(written) == zone_of_postcode(digits) is not None


def test_a_zone_is_named_by_country_department_or_name():
    assert zone("re") == zone("974") == zone("RE") == zone("97400")
    assert zone("75") == zone("2A") == zone("01") == zone("FR")
    assert zone("Alsace_Moselle") == zone("67")
    assert zone("MF") == zone("GP")
    with pytest.raises(ConfigurationError, match="'XX' is no zone"):
        zone("XX")
