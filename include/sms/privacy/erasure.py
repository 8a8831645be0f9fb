"""Erasure of one person's data on request; the opt-out stays.

What belongs here: parsing the number, and listing files that still contain it. Files can't be
edited (the archive proves their content by checksum), so they are listed with their expiry date.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sms.errors import ConfigurationError, StillReported
from sms.ledger.ledger import Ledger
from sms.ledger.records import Forgotten
from sms.privacy.dialling import dialled
from sms.privacy.retention import day_of
from sms.reports.archive import place_of
from sms.settings import MONTH, Settings
from sms.wire.names import ReportName


@dataclass(frozen=True, slots=True)
class StillKept:
    """A place that may still contain a person's data, and until when; None: until it is deleted."""

    place: str
    until: datetime | None


def forget(
    number: str, ledger: Ledger, settings: Settings, now: datetime
) -> tuple[Forgotten, list[StillKept]]:
    """Erase a person from the ledger; returns the erased rows, and files that still have them.

    The opt-out stays; with the setting `hash_stop_list`, as a hash.

    Raises ConfigurationError if it is no number, StillReported while one of the person's files is
    open.
    """
    msisdn = _msisdn(number)
    try:
        forgotten = ledger.people.forget(msisdn, hashed=settings.hash_stop_list)
    except StillReported as error:
        day = error.last + _with_a_night(settings.close_after)
        from_when = f": from {day:%Y-%m-%d} on, if all their reports are loaded"
        raise StillReported(error.stems, error.last, from_when) from None
    places = [*_of_files(forgotten, ledger, settings), *_of_reports(forgotten, ledger, settings)]
    return forgotten, [each for each in places if each.until is None or each.until > now]


def _msisdn(number: str) -> int:
    msisdn = dialled(number)
    if msisdn is None:
        raise ConfigurationError(
            "this is no telephone number: write it with its country code, such as +33..."
        )
    return msisdn


def _of_files(forgotten: Forgotten, ledger: Ledger, settings: Settings) -> Iterator[StillKept]:
    for run_key in dict.fromkeys(each.run_key for each in forgotten.files):
        latest = max(each.send_at for each in ledger.submissions.of_run(run_key))
        yield StillKept(
            ledger.runs.get(run_key).folder, latest + _with_a_night(settings.run_retention)
        )
    for each in forgotten.files:
        for file in ledger.reports.of_submission(each.stem):
            states = file.archive.rpartition("/")[0]  # the folder of all states of a report
            yield StillKept(
                f"{settings.archive_folder}/{states}",
                each.send_at + _with_a_night(settings.archive_retention),
            )


def _of_reports(forgotten: Forgotten, ledger: Ledger, settings: Settings) -> Iterator[StillKept]:
    """Reports with the number that do not belong to one of the person's files."""
    stems = {each.stem for each in forgotten.files}
    for name in forgotten.reports:
        report, file = ReportName.parse(name), ledger.reports.get(name)
        if report is None or (file and file.stem in stems):
            continue
        day = day_of(report)
        yield StillKept(
            f"{settings.archive_folder}/{place_of(report.kind, name)}",
            day + _with_a_night(settings.archive_retention) if day else None,
        )
        yield StillKept(
            f"Report/{name} at the gateway, if it was not deleted there,",
            file.modified_at + MONTH if file else None,
        )


def _with_a_night(keep: timedelta) -> timedelta:
    """A retention plus one day, as housekeeping runs once a day."""
    return keep + timedelta(days=1)
