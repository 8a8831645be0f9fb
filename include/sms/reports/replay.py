"""Replay of archived reports into a ledger that has lost them.

Reports are loaded in the order of their archiving; at the same time STOPs and replies come first.
Rows that are loaded already are skipped, so a replay may be repeated.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sms import storage
from sms.errors import (
    ConfigurationError,
    LedgerError,
    LedgerUnreachable,
    ReplayUnfinished,
    ReportUnreadable,
    SmsError,
    StopTorn,
)
from sms.ledger.ledger import Ledger
from sms.reports.archive import Archived, keep
from sms.reports.collection import (
    Collected,
    load_delivery_report,
    load_replies,
    reconcile,
    sentence,
)
from sms.wire.names import ReportKind, ReportName, is_compressed

log = logging.getLogger(__name__)


def replay(paths: Iterable[Any], ledger: Ledger, archive: Any) -> list[Collected]:
    """Load reports again, from files or from folders with all their files.

    A delivery report needs its submission in the ledger; STOPs and replies do not. A failure does
    not stop the others: ReplayUnfinished lists all at the end. Raises ConfigurationError if there
    is nothing to read, LedgerUnreachable at once.
    """
    loaded: list[Collected] = []
    failures: list[tuple[str, str]] = []
    reports = sorted((each for path in paths for each in _found(path)), key=_in_order)
    latest = dict(reports)
    for name, path in reports:
        try:
            archived = _archived(name, path, archive)
            loaded.append(_load(archived, ledger, archive, grows=latest[name] is not path))
        except LedgerUnreachable:
            raise
        except SmsError as error:
            failures.append((f"{path}", sentence(error)))
    if failures:
        raise ReplayUnfinished(tuple(failures), len(loaded))
    return loaded


def _found(path: Any) -> list[tuple[str, Any]]:
    """The reports below a path. Raises ConfigurationError if there are none."""
    try:
        found = list(_files(path)) if path.exists() else []
    except (OSError, ImportError, ValueError) as error:
        raise ConfigurationError(f"{path} can't be read: {error}") from error
    if not found:
        raise ConfigurationError(
            f"there is no report in {path}: give the archive, a folder of it, or files, as a local "
            "path or a URL"
        )
    return found


def _files(path: Any) -> Iterator[tuple[str, Any]]:
    """Each report below a path: its name at the gateway, and its path."""
    if path.is_dir():
        for each in path.iterdir():
            yield from _files(each)
    else:
        yield _name(path), path


def _name(path: Any) -> str:
    """A report's name: that of the file (`ACK-….csv`), or of its folder in the archive."""
    if ReportName.parse(path.name):
        return str(path.name)
    return f"{path.parent.name}.csv{'.gz' if is_compressed(path.name) else ''}"


def _in_order(report: tuple[str, Any]) -> tuple[float, bool, int]:
    """Sort key: the time of archiving, then STOPs and replies first, then smaller files first."""
    name, path = report
    found, parsed = path.stat(), ReportName.parse(name)
    is_delivery = parsed is not None and parsed.kind is ReportKind.ACK
    return found.st_mtime, is_delivery, found.st_size


def _archived(name: str, path: Any, archive: Any) -> Archived:
    if ReportName.parse(name) is None:
        raise ReportUnreadable(
            "neither its name nor its folder's name is that of a report: give files as they are in "
            "the archive, or name them as the provider does (ACK-….csv)"
        )
    # The time at the gateway is lost; if the file is still there, the next run reads it again.
    at = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
    with storage.opened(path, "rb") as source:
        return keep(source, name, at, archive)


def _load(archived: Archived, ledger: Ledger, archive: Any, *, grows: bool) -> Collected:
    """Load one state of a report; only in its last state may a line without an end count."""
    report = archived.report
    if report.kind is not ReportKind.ACK:
        try:
            return load_replies(archived, ledger, archive, grows=grows)
        except StopTorn as torn:  # a later state has the whole row
            loaded: Collected = torn.brought
            return loaded
    owner = ledger.reports.find_submission(report)
    if owner is None:
        raise LedgerError(
            f"the ledger has no file {report.stem}, and outcomes need their file's messages: "
            "restore sms.campaign_run, sms.submission and sms.message first"
        )
    loaded = load_delivery_report(owner.stem, archived, ledger, archive)
    counts, notes = reconcile(owner.stem, ledger)
    return replace(loaded, reconciliation=counts, notes=loaded.notes + notes)
