"""What is no longer needed at the gateway: brought home, deleted there, closed here (R11, R32).

Nothing is deleted that we did not archive and load in the very state in which it lies there, and
nothing of a file whose story is still open. Whoever is killed in between is simply run again. What
can't be done without a person is told at the end, by name, when all else is done.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sms.archive import holds
from sms.collecting import (
    archive_file,
    bring_delivery_report,
    collect_replies,
    has_settled,
    misnamed,
    sentence,
)
from sms.delivery import Folder, Gateway, RemoteFile, look_again
from sms.errors import (
    GatewayUnreachable,
    HousekeepingUnfinished,
    LedgerUnreachable,
    ReportsFailed,
    ReportUnfinished,
    SmsError,
)
from sms.ledger.ledger import Ledger
from sms.ledger.records import ReportFile, Submission
from sms.ledger.states import OVER, State
from sms.settings import MONTH, UNREAD, Settings
from sms.wire.names import Phase, ReportKind, ReportName, phase_of, stem_of

log = logging.getLogger(__name__)

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
        """Whether it was loaded as it lies there."""
        return self.known is not None and (self.known.size_bytes, self.known.modified_at) == (
            self.file.size,
            self.file.modified_at,
        )


def clear_gateway(
    gateway: Gateway, ledger: Ledger, archive: Any, settings: Settings, now: datetime
) -> Cleared:
    """Delete what is home, close what is over; run again, it goes on where it was stopped.

    Raises HousekeepingUnfinished at the end, when files need a person; at once GatewayUnreachable,
    LedgerUnreachable.
    """
    failures = _bring_changes_home(gateway, ledger, archive, now)
    listing = gateway.listing(Folder.REPORT)
    ours = list(_reports(listing, ledger))
    deleted: list[str] = []
    for report in ours:
        try:
            if _may_go(report, settings, now) and _is_kept(report, gateway, archive):
                deleted += _delete(Folder.REPORT, report.file, gateway)
        except (GatewayUnreachable, LedgerUnreachable):
            raise
        except SmsError as error:
            failures.append((report.file.name, error))
    _settle_unknown(gateway, ledger)
    sent, strange = _clear_send(gateway, ledger, settings, now)
    closed = tuple(_close(gateway, ledger, settings, now))
    cleared = Cleared(tuple(deleted), sent, closed, strange + len(listing) - len(ours))
    _tell(cleared)
    # Of STOPs and replies every look of their collector says so.
    strangers = misnamed(listing, {ReportKind.ACK})
    unread = [*_unread(ours, now), *((name, str(error)) for name, error in strangers)]
    if failures or unread:
        raise _unfinished(failures, unread)
    return cleared


def _bring_changes_home(
    gateway: Gateway, ledger: Ledger, archive: Any, now: datetime
) -> list[tuple[str, SmsError]]:
    """Read again what changed since it was read; what could not be.

    A delivery report that was never read is its own collector's, who waits for it.
    """
    failures: list[tuple[str, SmsError]] = []
    try:
        collect_replies(gateway, ledger, archive, now)
    except ReportsFailed as error:
        failures.append(("STOPs and replies", error))
    for report in _reports(gateway.listing(Folder.REPORT), ledger):
        if report.kind is ReportKind.ACK and report.known and not report.is_read:
            name, stem = report.file.name, report.owner.stem
            try:
                bring_delivery_report(stem, name, gateway, ledger, archive, now)
            except (GatewayUnreachable, LedgerUnreachable):
                raise
            except ReportUnfinished as error:
                log.info("%s", error)
            except SmsError as error:
                failures.append((name, error))
    return failures


def _reports(listing: Iterable[RemoteFile], ledger: Ledger) -> Iterator[_Report]:
    """The reports on files of ours; others are other people's."""
    for file in listing:
        name = ReportName.parse(file.name)
        owner = ledger.find_submission(name) if name else None
        if name and owner:
            yield _Report(file, name.kind, owner, ledger.report_file(file.name))


def _may_go(report: _Report, settings: Settings, now: datetime) -> bool:
    """A delivery report once it has settled; what may grow, when its campaign is quiet (R32)."""
    if not report.is_read or report.owner.state not in HOME:
        return False
    if report.kind is ReportKind.ACK:
        return has_settled(report.file.modified_at, now)
    return _is_quiet(report.owner, settings, now)


def _is_quiet(submission: Submission, settings: Settings, now: datetime) -> bool:
    return now - _hour(submission) >= settings.reports_quiet


def _hour(submission: Submission) -> datetime:
    """When it went out: at its hour, or at once if that had passed."""
    return max(submission.send_at, submission.submitted_at or submission.send_at)


def _is_kept(report: _Report, gateway: Gateway, archive: Any) -> bool:
    """Whether the archive gives back the bytes that were loaded; if it lost them, once more."""
    assert report.known
    if holds(archive / report.known.archive, report.known.sha256):
        return True
    log.warning("%s is no longer in the archive: it is archived again", report.file.name)
    return archive_file(report.file, gateway, archive).sha256 == report.known.sha256


def _delete(folder: Folder, file: RemoteFile, gateway: Gateway) -> list[str]:
    """Delete a file that still is what was judged; its name, or nothing if it has changed.

    A listing may be minutes old by now, and the provider appends at any time.
    """
    there = [each for each in gateway.listing(folder) if each.name == file.name]
    if there and there != [file]:
        log.info("%s has changed since it was looked at: it stays until the next time", file.name)
        return []
    if there:
        gateway.remove(folder, file.name)
    return [file.name]


def _settle_unknown(gateway: Gateway, ledger: Ledger) -> None:
    """Let the gateway say what became of files of unknown fate."""
    for each in ledger.submissions_in(State.UNKNOWN):
        if look_again(each, gateway, ledger).state is not State.UNKNOWN:
            log.warning(
                "%s counts as submitted: clear its task submit, and the run goes on", each.stem
            )


def _clear_send(
    gateway: Gateway, ledger: Ledger, settings: Settings, now: datetime
) -> tuple[tuple[str, ...], int]:
    """Delete what is ours and over in `Send`; the names, and how many files are nobody's."""
    listing = gateway.listing(Folder.SEND)
    owners = ledger.submissions_named([stem for each in listing if (stem := stem_of(each.name))])
    deleted: list[str] = []
    strange = 0
    for file in listing:
        owner = owners.get((stem_of(file.name) or "").lower())
        if owner is None:
            strange += 1
        elif _is_over(file, owner, ledger, settings, now):
            deleted += _delete(Folder.SEND, file, gateway)
    return tuple(deleted), strange


def _is_over(
    file: RemoteFile, owner: Submission, ledger: Ledger, settings: Settings, now: datetime
) -> bool:
    """Whether a file of ours in `Send` is of no more use; `.csv` and `.lock` are the provider's."""
    match phase_of(file.name, owner.stem):
        case Phase.DONE:
            return owner.state in HOME and _is_reported(owner, ledger, now)
        case Phase.REJECT:
            heard = owner.verdict_at or now
            return owner.state is State.REJECTED and now - heard >= REJECT_STAYS
        case Phase.TMP | None:  # left behind by a try that died
            dead = now - file.modified_at > settings.claim_lease
            return dead and owner.state in OVER | HOME
        case _:
            return False


def _is_reported(owner: Submission, ledger: Ledger, now: datetime) -> bool:
    """Whether its delivery report is home for good; one that never came keeps nothing."""
    report = ledger.delivery_report(owner.stem)
    return report is None or has_settled(report.modified_at, now)


def _close(gateway: Gateway, ledger: Ledger, settings: Settings, now: datetime) -> Iterator[str]:
    """Close what is quiet and of which nothing lies at the gateway any more; by stem."""
    reports = list(_reports(gateway.listing(Folder.REPORT), ledger))
    sent = {(stem_of(each.name) or "").lower() for each in gateway.listing(Folder.SEND)}
    shown = {each.owner.id for each in reports}
    acknowledged = {each.owner.id for each in reports if each.kind is ReportKind.ACK}
    for each in ledger.submissions_in(State.REPORTED):
        if (
            _is_quiet(each, settings, now)
            and each.id not in shown
            and each.stem.lower() not in sent
        ):
            ledger.move(each.stem, to=State.CLOSED)
            yield each.stem
    for each in ledger.submissions_in(State.ACCEPTED):
        if now - _hour(each) > MONTH and each.id not in acknowledged:
            log.warning(
                "%s is closed without a delivery report: the provider's month is over", each.stem
            )
            ledger.move(each.stem, to=State.CLOSED, detail={"why": "no report within a month"})
            yield each.stem


def _unread(reports: Iterable[_Report], now: datetime) -> list[tuple[str, str]]:
    """What the provider may delete before we have read it (R11)."""
    return [
        (report.file.name, _what_to_do(report))
        for report in reports
        if not report.is_read and now - _hour(report.owner) >= UNREAD
    ]


def _what_to_do(report: _Report) -> str:
    lies = f"unread {UNREAD.days} days after its hour, and the provider keeps it for a month"
    if report.kind is ReportKind.ACK:
        return f"{lies}: trigger collect_delivery_report with the stem {report.owner.stem}"
    return f"{lies}: see why collect_replies does not read it, and copy it by hand until then"


def _unfinished(
    failures: list[tuple[str, SmsError]], unread: list[tuple[str, str]]
) -> HousekeepingUnfinished:
    told = [(name, sentence(error)) for name, error in failures]
    retryable = any(error.retryable for _, error in failures)
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
