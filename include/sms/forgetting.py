"""Somebody wants to be forgotten: their rows go, their opt-out stays.

What belongs here: whose number it is, and where else it still lies. Files can't be edited (the
archive proves what came, by checksum), so they are told with the day on which they expire.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from sms.columns import TEXT
from sms.errors import ConfigurationError
from sms.ledger.ledger import Ledger
from sms.ledger.records import Forgotten
from sms.msisdn import normalise
from sms.settings import Settings


@dataclass(frozen=True, slots=True)
class StillKept:
    """Somewhere that a person may still be found, and until when."""

    place: str
    until: datetime


def forget(
    number: str, ledger: Ledger, settings: Settings, now: datetime
) -> tuple[Forgotten, list[StillKept]]:
    """Erase a person from the ledger; what was erased, and which files still hold them.

    Raises ConfigurationError if it is no number, LedgerError while a file of theirs is open.
    """
    [msisdn] = normalise(pa.array([number], TEXT)).msisdn
    if not msisdn:
        raise ConfigurationError(
            "this is no number of a mobile phone: write it with its country, such as +33..."
        )
    forgotten = ledger.forget(int(msisdn))
    kept = [each for each in _still_kept(forgotten, ledger, settings) if each.until > now]
    return forgotten, kept


def _still_kept(forgotten: Forgotten, ledger: Ledger, settings: Settings) -> Iterator[StillKept]:
    for run_key in dict.fromkeys(each.run_key for each in forgotten.files):
        latest = max(each.send_at for each in ledger.submissions(run_key))
        yield StillKept(ledger.run(run_key).folder, latest + _with_a_night(settings.keep_runs))
    for each in forgotten.files:
        for file in ledger.report_files(each.stem):
            states = file.archive.rpartition("/")[0]  # of a report that grew, all lie side by side
            yield StillKept(
                f"{settings.archive_folder}/{states}",
                each.send_at + _with_a_night(settings.keep_archive),
            )


def _with_a_night(keep: timedelta) -> timedelta:
    """Housekeeping comes once a day."""
    return keep + timedelta(days=1)
