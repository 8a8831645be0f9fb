"""The demo's clock starts where the sample campaign may be sent at once."""

from datetime import date, timedelta

import pytest

from demo.environment import ROOT
from demo.play import CAMPAIGN, HEAD_START, opening
from sms.campaign import definition

MAY_DAY = date(2029, 5, 1)  # a Tuesday


@pytest.mark.parametrize("today", [date(2026, 12, 1) + timedelta(days=n) for n in range(7)])
def test_the_demo_starts_on_a_tuesday_before_the_campaign(today: date) -> None:
    start = opening(today)

    assert start.weekday() == 1
    assert today < start.date() <= today + timedelta(days=7)
    hour = definition.load(ROOT / "include" / "campaigns" / CAMPAIGN).send_at
    assert f"{start + HEAD_START:%H:%M}" == hour


def test_the_demo_avoids_bank_holidays() -> None:
    assert opening(MAY_DAY - timedelta(days=3)).date() > MAY_DAY
