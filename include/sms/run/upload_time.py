"""The time to upload a run's next files: as late as is safe before their hour."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sms.delivery.upload import next_files
from sms.ledger.records import Submission
from sms.ledger.states import SENT
from sms.settings import Settings

SLOWEST_PACE = 1e6  # bytes a second: assumed until an upload was measured
MARGIN = 2  # the next upload may be so many times slower than the latest ones


def upload_at(files: Sequence[Submission], settings: Settings, pace: float | None) -> datetime:
    """When to upload a run's next files: as late as is safe before their hour.

    `pace` is the speed of the latest uploads, in bytes a second.
    """
    first = next_files(files)
    begins = min(each.send_at for each in first)
    if late := _lateness(files, settings):
        return (
            begins + late
        )  # the hour in its name has passed: it is sent as soon as it is uploaded
    size = sum(each.size_bytes or 0 for each in first)
    takes = timedelta(seconds=MARGIN * size / (pace or SLOWEST_PACE))
    return begins - settings.upload_lead - takes


def _lateness(files: Sequence[Submission], settings: Settings) -> timedelta:
    """By how much a run began late: its later files keep their planned distance."""
    gone = [each for each in files if each.state in SENT and each.submitted_at]
    late = [each.submitted_at - each.send_at for each in gone if each.submitted_at]
    return max(late) if late and min(late) > settings.max_delay else timedelta(0)
