"""When a run's next files go up: as late as is safe before their hour."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sms.delivery.upload import next_files
from sms.ledger.records import Submission
from sms.ledger.states import SENT
from sms.settings import Settings

SLOWEST_PACE = 1e6  # bytes a second: a slow line, taken for ours until an upload was measured
MARGIN = 2  # times as slow as the latest uploads may the next one be


def upload_at(files: Sequence[Submission], settings: Settings, pace: float | None) -> datetime:
    """When the next of a run's files should go up: as late as is safe before their hour.

    `pace` is what the latest uploads went at, in bytes a second.
    """
    first = next_files(files)
    begins = min(each.send_at for each in first)
    if late := _lateness(files, settings):
        return begins + late  # in the past by its name, it goes out as soon as it is up
    size = sum(each.size_bytes or 0 for each in first)
    takes = timedelta(seconds=MARGIN * size / (pace or SLOWEST_PACE))
    return begins - settings.upload_lead - takes


def _lateness(files: Sequence[Submission], settings: Settings) -> timedelta:
    """By how much a run began late, whose steps must be as far apart as they were planned."""
    gone = [each for each in files if each.state in SENT and each.submitted_at]
    late = [each.submitted_at - each.send_at for each in gone if each.submitted_at]
    return max(late) if late and min(late) > settings.max_delay else timedelta(0)
