"""What is no longer needed at the gateway: brought home, deleted there, closed here (R11, R32).

Nothing is deleted that we did not archive and load: its bytes are fetched once more and compared,
and that is the last thing that happens to a report. Nothing goes of a file whose story is open.
Whoever is killed in between is simply run again. What can't be done without a person is told at
the end, by name, when all else is done.
"""

import logging
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sms import remedies
from sms.delivery.gateway import Folder, Gateway, RemoteFile
from sms.delivery.upload import Look, contradiction
from sms.errors import (
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
from sms.wire.names import ARRIVED, Phase, ReportKind, ReportName, phase_of, reports_on, stem_of

log = logging.getLogger(__name__)

Owned: TypeAlias = list[tuple[RemoteFile, Submission | None]]  # files in `Send`, and whose

HOME = frozenset({State.REPORTED, State.CLOSED})  # the delivery report is, or will never come

# Support is asked why a file was rejected, and may want to look at it.
REJECT_STAYS = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was deleted at the gateway and which submissions were closed, by name.

    `strange` counts what lies there and is no business of ours.
    """

    reports: tuple[str, ...]
    sent: tuple[str, ...]
    closed: tuple[str, ...]
    strange: int


@dataclass(frozen=True, slots=True)
class _Report:
    """A report at the gateway, whose it is, and as what it was read."""

    file: RemoteFile
    kind: ReportKind
    owner: Submission
    known: ReportFile | None

    @property
    def is_read(self) -> bool:
        """Whether it was loaded as it lies there, as far as size and time tell."""
        return (
            self.known is not None
            and self.known.size_bytes == self.file.size
            and self.file.modified_at in (None, self.known.modified_at)
        )


def clean_gateway(
    gateway: Gateway, ledger: Ledger, archive: Any, settings: Settings, now: datetime
) -> Cleared:
    """Delete what is home, close what is over; run again, it goes on where it was stopped.

    Raises HousekeepingUnfinished at the end, when files need a person; at once GatewayUnreachable,
    LedgerUnreachable.
    """
    failures = _bring_changes_home(gateway, ledger, archive, now)
    failures += overdue.settle(overdue.Desk(gateway, ledger, archive, settings, now))
    listing = gateway.listing(Folder.REPORT)
    ours = list(_reports(listing, ledger))
    deleted: list[str] = []
    for report in ours:
        try:
            if _may_go(report, ledger, settings, now):
                deleted += _let_go(report, gateway, ledger, archive, now)
        except (GatewayUnreachable, LedgerUnreachable):
            raise
        except Exception as error:
            failures.append((report.file.name, error))
    there = gateway.listing(Folder.SEND)
    owners = ledger.submissions.named([stem for each in there if (stem := stem_of(each.name))])
    owned = [(file, owners.get((stem_of(file.name) or "").lower())) for file in there]
    failures += _contradictions(owned, ours)
    left = [each for each in ours if each.file.name not in deleted]
    reported = {each.owner.id for each in left if each.kind is ReportKind.ACK}
    sent, strange = _clear_send(owned, gateway, settings, reported, now)
    closed = tuple(_close(gateway, ledger, settings, now))
    cleared = Cleared(tuple(deleted), sent, closed, strange + len(listing) - len(ours))
    _tell(cleared)
    # Of STOPs and replies every look of their collector says so.
    strangers = misnamed(listing, {ReportKind.ACK})
    told = {name for name, _ in failures}
    unread = [*_unread(ours, told, now), *((name, str(error)) for name, error in strangers)]
    ledger.reports.record_success(Recurring.CLEAN_GATEWAY)
    if failures or unread:
        raise _unfinished(failures, unread)
    return cleared


def _bring_changes_home(
    gateway: Gateway, ledger: Ledger, archive: Any, now: datetime
) -> list[tuple[str, BaseException]]:
    """Read again what changed since it was read; what could not be.

    A delivery report of a file that none was read of is its own collector's, who waits for it.
    """
    failures: list[tuple[str, BaseException]] = []
    try:
        collect_replies(gateway, ledger, archive, now)
    except ReportsFailed as error:
        failures.append(("STOPs and replies", error))
    for report in _reports(gateway.listing(Folder.REPORT), ledger):
        awaited = report.known is None and report.owner.state not in HOME
        # One that was never seen by our own clock would never be old enough to go.
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
    """The reports on files of ours; others are other people's."""
    for file in listing:
        name = ReportName.parse(file.name)
        owner = ledger.reports.find_submission(name) if name else None
        if name and owner:
            yield _Report(file, name.kind, owner, ledger.reports.get(file.name))


def _may_go(report: _Report, ledger: Ledger, settings: Settings, now: datetime) -> bool:
    """A delivery report once it is whole; what may grow, when its campaign is quiet (R32)."""
    if not report.is_read or report.owner.state not in HOME:
        return False
    if report.kind is ReportKind.ACK:
        return _is_whole(report, ledger, settings, now)
    return _is_quiet(report.owner, settings, now)


def _is_whole(report: _Report, ledger: Ledger, settings: Settings, now: datetime) -> bool:
    """Whether nothing more is expected in a delivery report.

    Standing still is not enough: one that does not cover every message may be half written.
    """
    unchanged = unchanged_for(report.file.name, ledger, now)
    if unchanged < REPORT_SETTLES:
        return False
    missing = ledger.submissions.reconcile(report.owner.stem).missing
    if missing and unchanged < settings.incomplete_report_retention:
        log.warning(
            "%s does not cover %d messages: it stays until it does, or for %d days unchanged",
            *(report.file.name, missing, settings.incomplete_report_retention.days),
        )
        return False
    return True


def _is_quiet(submission: Submission, settings: Settings, now: datetime) -> bool:
    return now - submission.sent_at >= settings.close_after


def _let_go(
    report: _Report, gateway: Gateway, ledger: Ledger, archive: Any, now: datetime
) -> list[str]:
    """Delete a report whose bytes are those that were loaded; its name, or nothing.

    A size and a time tell less than the bytes: what differs is loaded instead.
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
        return [name]  # somebody else has deleted it
    if archived.sha256 == report.known.sha256:
        return _delete(Folder.REPORT, report.file, gateway)
    log.warning("%s was written anew with the same size and time: it is loaded again", name)
    if report.kind is ReportKind.ACK:
        bring_delivery_report(report.owner.stem, name, gateway, ledger, archive, now)
    else:
        collect_reply_file(report.file, gateway, ledger, archive, now)
    return []


def _delete(folder: Folder, file: RemoteFile, gateway: Gateway) -> list[str]:
    """Delete a file that still is what was judged; its name, or nothing if it has changed.

    A listing may be minutes old by now, and the provider appends at any time: so it is looked at
    once more, and GatewayUnreachable if that look is too old by the time the request leaves.
    """
    look = Look()
    there = [each for each in gateway.listing(folder) if each.name == file.name]
    if there and there != [file]:
        log.info("%s has changed since it was looked at: it stays until the next time", file.name)
        return []
    try:
        if there:
            gateway.remove(folder, file.name, look.require)
    except LookExpired as error:
        raise GatewayUnreachable(
            f"this process stood still between the last look at {file.name} and its deletion: "
            "nothing was deleted by that look"
        ) from error
    return [file.name]


def _contradictions(sent: Owned, reports: Iterable[_Report]) -> list[tuple[str, BaseException]]:
    """Files that this ledger has called off, and that the provider has all the same."""
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
    """Delete what is ours and over in `Send`; the names, and how many files are nobody's.

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
    """Whether a file of ours in `Send` is of no more use; `.csv` and `.lock` are the provider's."""
    match phase_of(file.name, owner.stem):
        case Phase.DONE:
            return owner.state in HOME and owner.id not in reported
        case Phase.REJECT:
            heard = owner.verdict_at or now
            return owner.state is State.REJECTED and now - heard >= REJECT_STAYS
        case Phase.TMP | None:  # left behind by a try that died
            touched = file.modified_at or owner.claimed_at or owner.send_at
            dead = now - touched > settings.claim_lease
            return dead and owner.state in OVER | HOME
        case _:
            return False


def _close(gateway: Gateway, ledger: Ledger, settings: Settings, now: datetime) -> Iterator[str]:
    """Close what is quiet and of which nothing lies at the gateway any more; by stem."""
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
    reports: Iterable[_Report], told: Container[str], now: datetime
) -> list[tuple[str, str]]:
    """What the provider may delete before we have read it (R11), and is not told of already."""
    return [
        (report.file.name, _what_to_do(report))
        for report in reports
        if not report.is_read
        and now - report.owner.sent_at >= UNREAD
        and report.owner.stem not in told
    ]


def _what_to_do(report: _Report) -> str:
    lies = f"unread {UNREAD.days} days after its hour, and the provider keeps it for a month"
    if report.kind is ReportKind.ACK:
        return f"{lies}: {remedies.COLLECT} with the stem {report.owner.stem}"
    return f"{lies}: see why {Dag.COLLECT_REPLIES} does not read it, and copy it by hand until then"


def _unfinished(
    failures: list[tuple[str, BaseException]], unread: list[tuple[str, str]]
) -> HousekeepingUnfinished:
    told = [(name, sentence(error)) for name, error in failures]
    retryable = any(isinstance(error, SmsError) and error.retryable for _, error in failures)
    return HousekeepingUnfinished((*told, *unread), retryable)


def _tell(cleared: Cleared) -> None:
    for what, names in (
        ("deleted in Report", cleared.reports),
        ("deleted in Send", cleared.sent),
        ("closed", cleared.closed),
    ):
        if names:
            log.info("%d %s: %s", len(names), what, ", ".join(names))
    if cleared.strange:
        log.info("%d files at the gateway are not ours to delete", cleared.strange)
