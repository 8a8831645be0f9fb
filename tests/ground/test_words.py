"""Counts and durations in plain words."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.words import count, duration, listed


def test_a_count_agrees_with_its_noun() -> None:
    assert [count(number, "row") for number in (0, 1, 2, 1200)] == [
        *("0 rows", "1 row", "2 rows", "1,200 rows")
    ]
    assert [count(number, "reply", "replies") for number in (1, 2)] == ["1 reply", "2 replies"]


@pytest.mark.parametrize(
    ("length", "told"),
    [
        (timedelta(hours=12), "12 hours"),
        (timedelta(days=2, hours=3, minutes=9), "2 days 3 hours"),
        (timedelta(days=2, minutes=9), "2 days"),
        (timedelta(minutes=1, seconds=1), "1 minute 1 second"),
        (timedelta(microseconds=123_456), "0 seconds"),
        (timedelta(seconds=59, microseconds=999_999), "1 minute"),
        (timedelta(hours=-1), "1 hour"),
        (timedelta(0), "0 seconds"),
    ],
)
def test_a_duration_is_two_units_at_most(length: timedelta, told: str) -> None:
    assert duration(length) == told


@given(st.timedeltas(timedelta(0), timedelta(days=4000)))
def test_no_duration_shows_a_colon_or_a_fraction(length: timedelta) -> None:
    told = duration(length)

    assert not set(told) & set(":._")
    assert len(told.split()) in (2, 4)


def test_a_list_of_names_is_cut_and_says_so() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(iter("abcdefgh"), 3) == "a, b, c, ..."
