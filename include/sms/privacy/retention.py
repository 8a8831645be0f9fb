"""Retention of personal data: run folders, the archive, the ledger's rows.

Only closed runs expire, in portions that lock no table for long. Each run's counts and the stop
list stay. Every function may be interrupted at any point and run again.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sms.clock import PARIS
from sms.errors import LedgerError
from sms.ledger.ledger import Ledger
from sms.ledger.records import KeptRun
from sms.ledger.states import OVER, State
from sms.wire.names import ReportKind, ReportName
from sms.words import count

log = logging.getLogger(__name__)

PORTION = 20_000  # rows in one transaction: some tenths of a second

# Files that never left; at the age of `run_retention` they are called off.
NEVER_LEFT = frozenset({State.PLANNED, State.PREPARED, State.UPLOADING})


@dataclass(frozen=True, slots=True)
class RunsExpired:
    """The number of deleted run folders, the submissions called off, and the number of folders
    that belong to no run of the ledger.
    """

    folders: int
    called_off: tuple[str, ...]
    unknown: int


def expire_runs(root: Any, ledger: Ledger, keep: timedelta, now: datetime) -> RunsExpired:
    """Delete the folders of runs that are over and whose hour is longer ago than `keep`."""
    runs = {_place(each.folder): each for each in ledger.runs.folders()}
    folders = unknown = 0
    called_off: list[str] = []
    for folder in [each for dag in _folders(root) for each in _folders(dag)]:
        run = runs.get(_place(str(folder)))
        if run is None:
            unknown += 1
        elif now - run.send_at > keep:
            called_off += _call_off(run, ledger)
            if all(ledger.submissions.get(stem).state in OVER for stem in run.stems):
                remove(folder)
                folders += 1
    log.info("%s deleted", count(folders, "run folder"))
    if called_off:
        log.warning("called off, as their hour is too long ago: %s", ", ".join(called_off))
    if unknown:
        log.warning(
            "%s in %s of no run that the ledger knows: check", count(unknown, "folder"), root
        )
    return RunsExpired(folders, tuple(called_off), unknown)


def _call_off(run: KeptRun, ledger: Ledger) -> Iterator[str]:
    """Cancel files that were never sent, as their data would otherwise be kept for ever."""
    for stem, state in run.stems.items():
        why = {"why": "its run's folder expires"}
        if state in NEVER_LEFT and ledger.submissions.move(stem, to=State.CANCELLED, detail=why):
            yield stem


def _place(folder: str) -> tuple[str, ...]:
    """The DAG and the run of a run's folder, independent of the root in the settings."""
    return tuple(folder.rstrip("/").split("/")[-2:])


def expire_archive(archive: Any, ledger: Ledger, keep: timedelta, now: datetime) -> int:
    """Delete archived reports whose hour is longer ago than `keep`; how many reports."""
    expired = 0
    for kind in ReportKind:
        for folder in _folders(archive / kind):
            report = ReportName.parse(f"{folder.name}.csv")
            hour = day_of(report) if report else None
            if report is None or hour is None or now - hour <= keep:
                continue
            owner = ledger.reports.find_submission(report)
            if owner is None or owner.state in OVER:
                remove(folder)
                expired += 1
    log.info("%s deleted from the archive", count(expired, "report"))
    return expired


def day_of(report: ReportName) -> datetime | None:
    """The day in a report's name; file dates change when a store is copied."""
    try:
        day = date.fromisoformat(report.date_hour[:8])
    except ValueError:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=PARIS)


def expire_personal_data(
    ledger: Ledger,
    keep: timedelta,
    now: datetime,
    *,
    hash_stop_list: bool = False,
    portion: int = PORTION,
) -> dict[str, int]:
    """Erase personal data older than `keep`, and return the number of rows of each kind.

    A month of messages is dropped at once if all its files are over; other rows are deleted in
    portions. With `hash_stop_list`, the stop list's numbers of that age become hashes.
    """
    before = now - keep
    erased = {"months": _drop_months(ledger, before), "messages": 0, "strangers": 0, "replies": 0}
    for stem in ledger.people.expired(before):
        while any((found := ledger.people.expire(stem, most=portion)).values()):
            for kind, number in found.items():
                erased[kind] += number
    erased["replies"] += _all(lambda: ledger.people.expire_stray_replies(before, most=portion))
    erased["texts"] = _all(lambda: ledger.stop_list.expire_texts(before, most=portion))
    erased["unreadable"] = _all(lambda: ledger.reports.expire_unreadable(before, most=portion))
    log.info(
        "erased from the ledger: %(months)d whole months, %(messages)d messages, "
        "%(strangers)d strangers, %(replies)d replies, %(unreadable)d unreadable rows, "
        "and %(texts)d texts of the stop list",
        erased,
    )
    if hash_stop_list:
        erased["hashed"] = _hash(ledger, before, portion)
        log.info("New hashes in the stop list: %s", count(erased["hashed"], "number"))
    return erased


def _hash(ledger: Ledger, before: datetime, portion: int) -> int:
    """Hash the stop list's old numbers in portions, and return how many."""
    total = after = 0
    while True:
        done = ledger.stop_list.hash_old(before, after=after, most=portion)
        total += done.numbers
        if done.last is None:
            break
        after = done.last
    if total:
        ledger.stop_list.renew_statistics()
    return total


def _drop_months(ledger: Ledger, before: datetime) -> int:
    """Drop whole months, and return how many; none, with a warning, if the role may not."""
    try:
        return len(ledger.people.drop_months(before.astimezone(PARIS).date()))
    except LedgerError as error:
        if error.retryable:
            raise
        log.warning("whole months can't be dropped, so their rows are deleted instead: %s", error)
        return 0


def _all(portions: Callable[[], int]) -> int:
    """Call a function until it returns 0, and return the sum."""
    total = 0
    while number := portions():
        total += number
    return total


def _folders(folder: Any) -> Iterator[Any]:
    """The folders in a folder; none if it does not exist."""
    if folder.exists():
        yield from [each for each in folder.iterdir() if each.is_dir()]


def remove(folder: Any) -> None:
    """Delete a folder and its content; on an object store a folder ends with its last file."""
    for each in list(folder.iterdir()):
        if each.is_dir():
            remove(each)
        else:
            each.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        folder.rmdir()
