"""The law's hours, as the provider's page gives them; all times are those of Paris."""

from datetime import datetime

import pytest

from sms_sandbox.hours import moment_of_sending
from sms_sandbox.names import FRANCE

SENT = {
    "a Wednesday at ten": ("2026-07-15 10:00", "2026-07-15 10:00"),
    "at opening": ("2026-07-15 08:00", "2026-07-15 08:00"),
    "a minute before closing": ("2026-07-15 21:59", "2026-07-15 21:59"),
    "at closing": ("2026-07-15 22:00", "2026-07-16 08:00"),
    "before opening": ("2026-07-15 07:59", "2026-07-15 08:00"),
    "on a Sunday": ("2026-07-19 10:00", None),
    "on a Saturday night": ("2026-07-18 22:30", None),
    "on the national holiday": ("2026-07-14 10:00", None),
    "on the eve of a holiday, at night": ("2026-12-24 23:00", None),
    "on a winter evening": ("2026-01-15 22:00", "2026-01-16 08:00"),
}


@pytest.mark.parametrize(("asked", "sent"), SENT.values(), ids=SENT)
def test_the_time_of_sending_follows_the_laws_hours(asked, sent):
    moment = moment_of_sending(datetime.fromisoformat(asked).replace(tzinfo=FRANCE))

    assert moment == (datetime.fromisoformat(sent).replace(tzinfo=FRANCE) if sent else None)
