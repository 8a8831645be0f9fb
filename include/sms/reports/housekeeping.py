"""Cleaning of the gateway: load changes, delete finished files, close submissions (R11, R32).

A report is deleted only if it is archived and loaded: right before, its bytes are downloaded again
and compared. No file of an open submission is deleted. A run that is killed is simply repeated.
Files that need an operator are listed in an error at the end, after all other work.
"""

import logging
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sms import remedies
from sms.delivery.gateway import Folder, Gateway, RemoteFile
from sms.delivery.upload import Look, contradiction
from sms.errors import (
    SUPPORT,
    GatewayError,
    GatewayUnreachable,
    HousekeepingUnfinished,
    LedgerUnreachable,
    LookExpired,
    ReportsFailed,
    ReportUnfinished,
    SmsError,
)
from sms.ledger.ledger import Ledger
from sms.ledger.records import Recurring, ReportFile, Submission
from sms.ledger.states import OVER, State
from sms.remedies import Dag
from sms.reports import overdue
from sms.reports.collection import (
    REPORT_SETTLES,
    archive_file,
    bring_delivery_report,
    collect_replies,
    collect_reply_file,
    misnamed,
    sentence,
    unchanged_for,
)
from sms.settings import UNREAD, Settings
from sms.wire.names import (
    ARRIVED,
    Phase,
    ReportKind,
    ReportName,
    announces_report,
    phase_of,
    reports_on,
    stem_of,
)
from sms.words import count, duration, listed, shown

log = logging.getLogger(__name__)

Owned: TypeAlias = list[tuple[RemoteFile, Submission | None]]  # files in `Send`, and their owners

REPORT_SETTLED = frozenset(
    {State.REPORTED, State.CLOSED}
)  # the delivery report is loaded, or never comes

# Support may want to look at a rejected file.
REJECT_STAYS = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Cleared:
    """The names of deleted files and closed submissions.

    `strange` counts files of other senders at the gateway.
    """

    reports: tuple[str, ...]
    sent: tuple[str, ...]
    closed: tuple[str, ...]
    strange: int


@dataclass(frozen=True, slots=True)
class _Report:
    """A report at the gateway, its submission, and the record of its reading."""

    file: RemoteFile
    kind: ReportKind
    owner: Submission
    known: ReportFile | None

    @property
    def is_read(self) -> bool:
        """Whether its present state was loaded, judged by size and time."""
        return (
            self.known is not None
            and self.known.size_bytes == self.file.size
            and self.file.modified_at in (None, self.known.modified_at)
        )


def clean_gateway(
    gateway: Gateway, ledger: Ledger, archive: Any, settings: Settings, now: datetime
) -> Cleared:
    """Delete loaded reports and finished files, and close submissions; may be repeated at any time.

    Raises HousekeepingUnfinished at the end, if files need an operator; at once GatewayUnreachable,
    LedgerUnreachable.
    """
    failures = _load_changes(gateway, ledger, archive, now)
    failures += overdue.settle(overdue.Desk(gateway, ledger, archive, settings, now))
    listing = gateway.listing(Folder.REPORT)
    reports = list(_reports(listing, ledger))
    deleted: list[str] = []
    for report in reports:
        try:
            if _is_deletable(report, ledger, settings, now):
                deleted += _delete_report(report, gateway, ledger, archive, now)
        except (GatewayUnreachable, LedgerUnreachable):
            raise
        except Exception as error:
            failures.append((report.file.name, error))
    there = gateway.listing(Folder.SEND)
    owners = ledger.submissions.named([stem for each in there if (stem := stem_of(each.name))])
    owned = [(file, owners.get((stem_of(file.name) or "").lower())) for file in there]
    failures += _contradictions(owned, reports)
    left = [each for each in reports if each.file.name not in deleted]
    reported = {each.owner.id for each in left if each.kind is ReportKind.ACK}
    sent, strange = _clear_send(owned, gateway, settings, reported, now)
    closed = tuple(_close(gateway, ledger, settings, now))
    cleared = Cleared(tuple(deleted), sent, closed, strange + len(listing) - len(reports))
    _log(cleared, sorted(file.name for file in listing if not announces_report(file.name)))
    # Misnamed STOPs and replies are reported by `collect_replies`.
    strangers = misnamed(listing, {ReportKind.ACK})
    failed = {name for name, _ in failures}
    unread = [*_unread(reports, failed, now), *((name, str(error)) for name, error in strangers)]
    ledger.reports.record_success(Recurring.CLEAN_GATEWAY)
    if failures or unread:
        raise _unfinished(failures, unread)
    return cleared


def _load_changes(
    gateway: Gateway, ledger: Ledger, archive: Any, now: datetime
) -> list[tuple[str, BaseException]]:
    """Load reports that changed since they were read, and return the failures.

    The first delivery report of a submission is left to `collect_delivery_report`.
    """
    failures: list[tuple[str, BaseException]] = []
    try:
        collect_replies(gateway, ledger, archive, now)
    except ReportsFailed as error:
        failures.append(("STOPs and replies", error))
    for report in _reports(gateway.listing(Folder.REPORT), ledger):
        awaited = report.known is None and report.owner.state not in REPORT_SETTLED
        # A report without a sighting would never be old enough to be deleted.
        is_sure = report.file.modified_at and ledger.reports.sighting(report.file.name)
        is_read = report.is_read and is_sure
        if report.kind is ReportKind.ACK and not is_read and not awaited:
            name, stem = report.file.name, report.owner.stem
            try:
                bring_delivery_report(stem, name, gateway, ledger, archive, now)
            except (GatewayUnreachable, LedgerUnreachable):
                raise
            except ReportUnfinished as error:
                log.info("%s", error)
            except Exception as error:
                failures.append((name, error))
    return failures


def _reports(listing: Iterable[RemoteFile], ledger: Ledger) -> Iterator[_Report]:
    """The reports on submissions of this ledger; those of other senders are ignored."""
    for file in listing:
        name = ReportName.parse(file.name)
        owner = ledger.reports.find_submission(name) if name else None
        if name and owner:
            yield _Report(file, name.kind, owner, ledger.reports.get(file.name))


def _is_deletable(report: _Report, ledger: Ledger, settings: Settings, now: datetime) -> bool:
    """Whether a delivery report is complete, or a growing report's campaign is quiet (R32)."""
    if not report.is_read or report.owner.state not in REPORT_SETTLED:
        return False
    if report.kind is ReportKind.ACK:
        return _is_whole(report, ledger, settings, now)
    return _is_quiet(report.owner, settings, now)


def _is_whole(report: _Report, ledger: Ledger, settings: Settings, now: datetime) -> bool:
    """Whether a delivery report is complete.

    Being unchanged is not enough: a report that does not cover every message may be half written.
    """
    unchanged = unchanged_for(report.file.name, ledger, now)
    if unchanged < REPORT_SETTLES:
        return False
    missing = ledger.submissions.reconcile(report.owner.stem).missing
    if missing and unchanged < settings.incomplete_report_retention:
        log.warning(
            "%s does not cover %s: it stays until it does, or is unchanged for %s",
            report.file.name,
            count(missing, "message"),
            duration(settings.incomplete_report_retention),
        )
        return False
    return True


def _is_quiet(submission: Submission, settings: Settings, now: datetime) -> bool:
    return now - submission.sent_at >= settings.close_after


def _delete_report(
    report: _Report, gateway: Gateway, ledger: Ledger, archive: Any, now: datetime
) -> list[str]:
    """Delete a report if its bytes are the loaded ones, and return its name in a list.

    If the bytes differ, although size and time are the same, it is loaded instead.
    """
    assert report.known
    name = report.file.name
    try:
        archived = archive_file(report.file, gateway, ledger, archive)
    except GatewayUnreachable:
        raise
    except GatewayError:
        if any(each.name == name for each in gateway.listing(Folder.REPORT)):
            raise
        return [name]  # deleted meanwhile by another process
    if archived.sha256 == report.known.sha256:
        return _delete(Folder.REPORT, report.file, gateway)
    log.warning("%s was rewritten with the same size and time: it is loaded again", name)
    if report.kind is ReportKind.ACK:
        bring_delivery_report(report.owner.stem, name, gateway, ledger, archive, now)
    else:
        collect_reply_file(report.file, gateway, ledger, archive, now)
    return []


def _delete(folder: Folder, file: RemoteFile, gateway: Gateway) -> list[str]:
    """Delete a file if it is unchanged since the listing, and return its name in a list.

    The listing may be minutes old, and the provider appends at any time: so the directory is listed
    again. Raises GatewayUnreachable if that second listing is too old when the request is sent.
    """
    look = Look()
    there = [each for each in gateway.listing(folder) if each.name == file.name]
    if there and there != [file]:
        log.info("%s has changed since it was listed: it stays until the next run", file.name)
        return []
    try:
        if there:
            gateway.remove(folder, file.name, look.require)
    except LookExpired as error:
        raise GatewayUnreachable(
            f"this process was suspended between the last check of {file.name} and its deletion: "
            "the file was not deleted"
        ) from error
    return [file.name]


def _contradictions(sent: Owned, reports: Iterable[_Report]) -> list[tuple[str, BaseException]]:
    """Submissions that this ledger has cancelled, and that the provider has nevertheless."""
    shown = {
        owner.stem: str(phase)
        for file, owner in sent
        if owner
        and owner.state is State.CANCELLED
        and (phase := phase_of(file.name, owner.stem)) in ARRIVED
    }
    shown |= {
        each.owner.stem: each.file.name
        for each in reports
        if each.owner.state is State.CANCELLED and reports_on(each.file.name, each.owner.stem)
    }
    return [(stem, contradiction(stem, proof)) for stem, proof in shown.items()]


def _clear_send(
    sent: Owned, gateway: Gateway, settings: Settings, reported: Container[int], now: datetime
) -> tuple[tuple[str, ...], int]:
    """Delete finished files in `Send`; the names, and the number of files of other senders.

    `reported` are the ids of submissions whose delivery report is still at the gateway.
    """
    deleted: list[str] = []
    strange = 0
    for file, owner in sent:
        if owner is None:
            strange += 1
        elif _is_over(file, owner, settings, reported, now):
            deleted += _delete(Folder.SEND, file, gateway)
    return tuple(deleted), strange


def _is_over(
    file: RemoteFile,
    owner: Submission,
    settings: Settings,
    reported: Container[int],
    now: datetime,
) -> bool:
    """Whether a file in `Send` can be deleted; `.csv` and `.lock` belong to the provider."""
    match phase_of(file.name, owner.stem):
        case Phase.DONE:
            return owner.state in REPORT_SETTLED and owner.id not in reported
        case Phase.REJECT:
            rejected_at = owner.verdict_at or now
            return owner.state is State.REJECTED and now - rejected_at >= REJECT_STAYS
        case Phase.TMP | None:  # left behind by a try that died
            touched = file.modified_at or owner.claimed_at or owner.send_at
            dead = now - touched > settings.claim_lease
            return dead and owner.state in OVER | REPORT_SETTLED
        case _:
            return False


def _close(gateway: Gateway, ledger: Ledger, settings: Settings, now: datetime) -> Iterator[str]:
    """Close quiet submissions without a file at the gateway, and yield their stems."""
    reports = list(_reports(gateway.listing(Folder.REPORT), ledger))
    sent = {(stem_of(each.name) or "").lower() for each in gateway.listing(Folder.SEND)}
    shown = {each.owner.id for each in reports}
    for each in ledger.submissions.in_state(State.REPORTED):
        if (
            _is_quiet(each, settings, now)
            and each.id not in shown
            and each.stem.lower() not in sent
        ):
            missing = ledger.submissions.reconcile(each.stem).missing
            ledger.submissions.move(
                each.stem, to=State.CLOSED, detail={"missing": missing} if missing else None
            )
            yield each.stem


def _unread(
    reports: Iterable[_Report], failed: Container[str], now: datetime
) -> list[tuple[str, str]]:
    """Reports that the provider may delete before we read them (R11), except those of `failed`."""
    return [
        (report.file.name, _what_to_do(report))
        for report in reports
        if not report.is_read
        and now - report.owner.sent_at >= UNREAD
        and report.owner.stem not in failed
    ]


def _what_to_do(report: _Report) -> str:
    unread = f"unread {UNREAD.days} days after its hour, and the provider keeps it for a month"
    if report.kind is ReportKind.ACK:
        return f"{unread}: {remedies.COLLECT} with the stem {report.owner.stem}"
    return f"{unread}: check why {Dag.COLLECT_REPLIES} does not read it, and copy it by hand first"


def _unfinished(
    failures: list[tuple[str, BaseException]], unread: list[tuple[str, str]]
) -> HousekeepingUnfinished:
    problems = [(name, sentence(error)) for name, error in failures]
    retryable = any(isinstance(error, SmsError) and error.retryable for _, error in failures)
    return HousekeepingUnfinished((*problems, *unread), retryable)


def _log(cleared: Cleared, unknown: Sequence[str]) -> None:
    for what, names in (
        ("deleted in Report", cleared.reports),
        ("deleted in Send", cleared.sent),
        ("closed", cleared.closed),
    ):
        if names:
            log.info("%d %s: %s", len(names), what, ", ".join(names))
    if cleared.strange:
        log.info("Of other senders at the gateway: %s", count(cleared.strange, "file"))
    if unknown:
        log.warning(
            "Not read, as the name is not a report's: %s in Report (%s). Ask %s what is in there",
            *(count(len(unknown), "file"), listed(map(shown, unknown)), SUPPORT),
        )
