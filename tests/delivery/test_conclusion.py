"""The summary of a run."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from sms.delivery.upload import what_was_sent
from sms.ledger.records import Submission
from sms.ledger.states import State


def a_file(**known: Any) -> Submission:
    """A file of which no more is known."""
    blank = dict.fromkeys(field.name for field in fields(Submission))
    return Submission(**{**blank, "send_at": TEN, **known})


TEN = datetime(2027, 3, 2, 9, tzinfo=UTC)


def test_the_summary_of_a_run_counts_what_was_sent() -> None:
    one = a_file(state=State.ACCEPTED, messages=1, segments=1)
    two = a_file(
        state=State.REPORTED, messages=1200, segments=1300, send_at=TEN + timedelta(hours=1)
    )
    empty = a_file(state=State.CANCELLED, messages=0, segments=0)

    assert what_was_sent([one, empty]) == (
        "The gateway accepted 1 message in 1 SMS (1 file), for 2027-03-02 10:00 in Paris"
    )
    assert what_was_sent([one, two]) == (
        "The gateway accepted 1,201 messages in 1,301 SMS (2 files), for 2027-03-02 10:00 in Paris "
        "to 2027-03-02 11:00 in Paris"
    )
    assert what_was_sent([empty]).startswith("Nothing was sent: all recipients had been left out")
