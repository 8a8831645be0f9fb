"""Collection of reports in stages: find, archive, load, reconcile (R29-R35).

A report's bytes are archived before they are read, and the report is recorded as read only after it
is loaded: a stage that dies is run again. Reading a report again, grown or not, adds only new rows.
Log lines and errors contain names of files and counts, no personal data.
"""

import logging
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from sms import storage
from sms.columnar.text import use_lean_memory
from sms.delivery.gateway import Folder, Gateway, RemoteFile
from sms.errors import (
    SUPPORT,
    GatewayError,
    LedgerUnreachable,
    ReportMisnamed,
    ReportOverdue,
    ReportsFailed,
    ReportUnfinished,
    ReportUnreadable,
    SmsError,
    StopTorn,
)
from sms.ledger.ledger import Ledger
from sms.ledger.records import (
    Reconciliation,
    Recurring,
    RemoteState,
    ReportFile,
    Sighting,
    Submission,
)
from sms.ledger.states import State
from sms.reports.archive import PIECE, Archived, find, keep, opened
from sms.reports.notices import shortfall
from sms.wire import reports
from sms.wire.names import STEM, ReportKind, ReportName, is_compressed, misnamed_report
from sms.wire.report_rows import LONGEST_ROW
from sms.wire.reports import Report
from sms.wire.stop_words import may_opt_out, opts_out
from sms.wire.unreadable import raw_rows
from sms.words import count, shown

log = logging.getLogger(__name__)

Read = TypeVar("Read")

# A delivery report is written at once: unchanged for so long, it is complete, even if its last line
# has no end. This is shorter than the retries of a task last.
REPORT_SETTLES = timedelta(minutes=5)

# The coarsest file systems count times in steps of two seconds: within one step a file may be
# written again and keep its time.
CLOCK_STEP = timedelta(seconds=2)

# A last line without an end counts as unfinished for so long after the last change of its file.
# After that it is read as it is, as it may hold a STOP.
TAIL_WAITS = timedelta(minutes=30)

# A file that has grown by more than this since it was read is read from its beginning, in blocks.
MOST_GAINED = 8 << 20  # bytes

PROVEN = (State.SUBMITTED, State.ACCEPTED, State.REPORTED)  # states that a delivery report proves
SOURCE = {ReportKind.STOP: "stop_report", ReportKind.SMSMO: "reply"}  # of an opt-out


@dataclass(frozen=True, slots=True)
class Collected:
    """The result of reading one report: counts, and `notes` for the operator.

    `stem` is None for a report on a file that the ledger does not have. `opt_outs` and `replies`
    count new rows only.
    """

    name: str
    kind: ReportKind
    stem: str | None
    archived: str
    rows: int
    unreadable: int
    opt_outs: int = 0
    replies: int = 0
    reconciliation: Reconciliation | None = None
    notes: tuple[str, ...] = ()


# One delivery report


def find_report(listing: Iterable[RemoteFile], stem: str) -> RemoteFile | None:
    """The delivery report of a submission: by its exact name, else by a name of another hour (R34).

    Of several with other hours, the latest.
    """
    match = STEM.fullmatch(stem)
    if match is None:
        return None
    service_id, date, hour, campaign_id = match.groups()
    found = {
        report.date_hour: file
        for file in listing
        if (report := ReportName.parse(file.name))
        and report.kind is ReportKind.ACK
        and _same(report.service_id, service_id)
        and _same(report.campaign_id, campaign_id)
    }
    return found.get(f"{date}-{hour}") or (found[max(found)] if found else None)


def collect_delivery_report(
    stem: str, gateway: Gateway, ledger: Ledger, archive: Any, now: datetime
) -> Collected:
    """Download and load a submission's delivery report; a second call changes nothing.

    Raises ReportOverdue if there is no report, ReportUnfinished, ReportUnreadable, GatewayError.
    """
    found = find_report(gateway.listing(Folder.REPORT), stem) or ledger.reports.delivery_report(
        stem
    )
    if found is None:
        raise overdue(stem, ledger)
    return bring_delivery_report(stem, found.name, gateway, ledger, archive, now)


def bring_delivery_report(
    stem: str, name: str, gateway: Gateway, ledger: Ledger, archive: Any, now: datetime
) -> Collected:
    """Archive, load and reconcile the delivery report with this name."""
    archived = archive_delivery_report(stem, name, gateway, ledger, archive, now)
    collected = load_delivery_report(stem, archived, ledger, archive)
    counts, notes = reconcile(stem, ledger)
    return replace(collected, reconciliation=counts, notes=collected.notes + notes)


def archive_delivery_report(
    stem: str, name: str, gateway: Gateway, ledger: Ledger, archive: Any, now: datetime
) -> Archived:
    """Copy a delivery report into the archive, if it is complete and belongs to this submission."""
    require_owner(stem, name, ledger)
    archived = archive_report(name, gateway, ledger, archive)
    if not archived.ends_whole and unchanged_for(archived.name, ledger, now) < REPORT_SETTLES:
        raise ReportUnfinished(name)
    return archived


def unchanged_for(name: str, ledger: Ledger, now: datetime) -> timedelta:
    """How long a report has been unchanged, by our own downloads.

    The server's clock may be hours off.
    """
    seen = ledger.reports.sighting(name)
    return now - seen.since if seen else timedelta(0)


def require_owner(stem: str, name: str, ledger: Ledger) -> None:
    """Raise ReportOverdue if a report with another hour belongs to another submission (R34)."""
    report = ReportName.parse(name)
    owner = ledger.reports.find_submission(report) if report else None
    if owner is None or owner.stem != stem:
        raise overdue(stem, ledger)


def overdue(stem: str, ledger: Ledger) -> ReportOverdue:
    """The error for a missing delivery report."""
    submission = ledger.submissions.get(stem)
    return ReportOverdue(stem, submission.messages, submission.due_at)


def load_delivery_report(stem: str, archived: Archived, ledger: Ledger, archive: Any) -> Collected:
    """Merge an archived delivery report into the ledger, and move its submission to `reported`.

    A message that an earlier report has and this one lacks keeps its status. Raises
    ReportUnfinished if it is the first report and has no row.
    """
    use_lean_memory()
    recorded = ledger.reports.get(archived.name)
    before = [each for each in ledger.reports.of_submission(stem) if each.kind == ReportKind.ACK]
    if not before and _read(archived, archive, reports.is_blank):
        raise ReportUnfinished(archived.name)
    # Reports of one name are ordered by their download, as the server's clock may be wrong.
    others = (each.modified_at for each in before if each.name != archived.name)
    latest = all(modified_at <= archived.modified_at for modified_at in others)
    load = partial(_load, stem=stem, ledger=ledger, latest=latest)
    report = _read(archived, archive, load)
    read = _as_read(archived, report, ledger.submissions.get(stem))
    _record(read, recorded, archived, report.unreadable, ledger, archive)
    notes = (*_notes(report), *_mark_reported(stem, archived.name, ledger))
    return Collected(
        name=archived.name,
        kind=ReportKind.ACK,
        stem=stem,
        archived=archived.place,
        rows=report.count,
        unreadable=report.unreadable.num_rows,
        notes=notes,
    )


def reconcile(stem: str, ledger: Ledger) -> tuple[Reconciliation, tuple[str, ...]]:
    """A submission's messages by outcome, and sentences on what is missing or unexpected."""
    counts = ledger.submissions.reconcile(stem)
    notes = (*shortfall(stem, counts), *_late_stops(stem, ledger))
    for note in notes:
        log.warning("%s", note)
    return counts, notes


def _mark_reported(stem: str, name: str, ledger: Ledger) -> Iterator[str]:
    """Move a submission through the states that its delivery report proves."""
    for state in PROVEN:
        ledger.submissions.move(stem, to=state, detail={"proven_by": name})
    state = ledger.submissions.get(stem).state
    if state not in {State.REPORTED, State.CLOSED}:
        yield (
            f"{stem} is {state} in the ledger, but {name} reports on it: messages may have been "
            "sent. Ask the provider"
        )


def _load(file: BinaryIO, stem: str, ledger: Ledger, *, latest: bool) -> Report:
    """Load a delivery report into the ledger, in blocks."""
    deliveries = reports.Deliveries(file)
    ledger.reports.load_delivery_report(stem, deliveries, latest=latest)
    return deliveries.report()


def _late_stops(stem: str, ledger: Ledger) -> Iterator[str]:
    """A sentence on STOPs that came too late (spec, *File name*: none after the upload)."""
    late = ledger.submissions.late_stops(stem)
    if late:
        people = count(late, "person", "people")
        yield (
            f"{people} of {stem} opted out after the upload and before its hour: the provider may "
            "have texted them, and no later campaign will"
        )


# STOPs and replies


def collect_replies(
    gateway: Gateway, ledger: Ledger, archive: Any, now: datetime
) -> list[Collected]:
    """Download and load each STOP and SMSMO file that changed since it was last read, STOPs first.

    Also archives each delivery report on a file that the ledger does not have: no other task does.
    A broken file does not stop the others: ReportsFailed is raised at the end, with all failures.
    It is also raised, each time, while the ledger has unreadable rows that may be a STOP and that
    no operator has seen. Raises at once only if the gateway or the ledger does not answer.
    """
    match_late(ledger, archive)
    collected: list[Collected] = []
    failures: list[tuple[str, BaseException]] = []
    listing = gateway.listing(Folder.REPORT)
    names = [file.name for file in listing]
    read, seen = ledger.reports.named(names), ledger.reports.sightings(names)
    for file in reply_files(listing):
        if is_unchanged(file, read.get(file.name), seen.get(file.name)):
            continue
        try:
            loaded = collect_reply_file(file, gateway, ledger, archive, now)
        except LedgerUnreachable:
            raise
        except Exception as error:
            failures.append((file.name, error))
            loaded = error.brought if isinstance(error, StopTorn) else None
        if loaded:
            collected.append(loaded)
    failures += misnamed(listing, SOURCE)
    for name, problem in misnamed(listing, {ReportKind.ACK}):  # an ACK holds no STOP
        log.error("%s: %s", name, problem)
    for file in listing:
        if is_unchanged(file, recorded := read.get(file.name), seen.get(file.name)):
            continue
        if kept := keep_unmatched(file, recorded, gateway, ledger, archive):
            collected.append(kept)
    # Of the whole ledger: later calls must fail too, until an operator has seen these rows.
    unseen = ledger.reports.unseen_stops()
    if failures or unseen:
        raise _failed(failures, collected, unseen)
    ledger.reports.record_success(Recurring.COLLECT_REPLIES)
    return collected


def misnamed(
    listing: Iterable[RemoteFile], kinds: Container[ReportKind]
) -> Iterator[tuple[str, ReportMisnamed]]:
    """Files that may be reports of these kinds, but whose names can't be parsed."""
    for file in listing:
        kind = misnamed_report(file.name)
        if kind and kind in kinds:
            yield shown(file.name), ReportMisnamed(kind, stops=kind in SOURCE)


def reply_files(listing: Iterable[RemoteFile]) -> list[RemoteFile]:
    """The STOP and SMSMO files of a listing; STOPs first, as a send may wait for them."""
    named = [(report.kind, file) for file in listing if (report := ReportName.parse(file.name))]
    return [
        file
        for wanted in (ReportKind.STOP, ReportKind.SMSMO)
        for kind, file in sorted(named, key=lambda each: each[1].name)
        if kind is wanted
    ]


def collect_reply_file(
    file: RemoteFile, gateway: Gateway, ledger: Ledger, archive: Any, now: datetime
) -> Collected | None:
    """Download and load one STOP or SMSMO file; None if it holds nothing new."""
    recorded = ledger.reports.get(file.name)
    archived = archive_file(file, gateway, ledger, archive)
    if recorded is None or recorded.sha256 != archived.sha256:
        return load_replies(archived, ledger, archive)
    if recorded.size_bytes == archived.size_bytes:
        _record_time(recorded, archived, ledger)
        return None
    # The bytes are the same, and the last line has no end: it is read after TAIL_WAITS.
    if recorded.loaded_at and now - recorded.loaded_at >= TAIL_WAITS:
        return load_replies(archived, ledger, archive, grows=False)
    if _tail(archived, recorded.size_bytes, archive).undecided:
        raise StopTorn(file.name)
    return None


def is_unchanged(file: RemoteFile, known: ReportFile | None, seen: Sighting | None) -> bool:
    """Whether a listed report is unchanged since it was read.

    A file fetched within CLOCK_STEP of its first sight may have been rewritten since with the same
    size and time: it counts as changed, and is fetched again.
    """
    return (
        known is not None
        and seen is not None
        and file.modified_at is not None
        and (known.size_bytes, known.modified_at) == (file.size, file.modified_at)
        and seen.state == RemoteState(file.size, file.modified_at, known.sha256)
        and seen.fetched_at - seen.since >= CLOCK_STEP
    )


def _record_time(known: ReportFile, archived: Archived, ledger: Ledger) -> None:
    """Record a new time of a report at the gateway whose bytes are the same."""
    if known.modified_at != archived.modified_at:
        ledger.reports.record_modified_at(known, archived.modified_at)


def load_replies(
    archived: Archived, ledger: Ledger, archive: Any, *, grows: bool = True
) -> Collected:
    """Load an archived STOP or SMSMO file: opt-outs first, then all rows.

    A row that disappears from the file stays in the ledger. With `grows=False`, the last line is
    read even without an end. Otherwise its opt-out is entered at once, and its row once it is
    complete. Raises StopTorn, after the rest is loaded, if the last line may be a STOP and its
    number can't be read.
    """
    name = archived.report
    recorded = ledger.reports.get(archived.name)
    owner = ledger.reports.find_submission(name)
    loading = _ReplyLoading(archived, recorded, owner, ledger, archive, grows=grows)
    report = loading.go_on() or loading.begin()
    opt_outs, replies = loading.opt_outs, loading.replies
    tail = _tail(archived, report.size_read, archive)
    opt_outs += loading.enter(_entered(tail.rows))
    notes = tuple(_notes(report))
    if recorded and recorded.rows > report.count:
        rows = count(recorded.rows, "row")
        notes += (f"it had {rows}, and has fewer now: the rows read before stay",)
    if owner is None:
        notes += ("it belongs to a file that the ledger does not have; it was loaded anyway",)
    for note in notes:
        log.warning("%s: %s", archived.name, note)
    collected = Collected(
        name=archived.name,
        kind=name.kind,
        stem=owner.stem if owner else None,
        archived=archived.place,
        rows=report.count,
        unreadable=report.unreadable.num_rows,
        opt_outs=opt_outs,
        replies=replies,
        notes=notes,
    )
    if tail.undecided:
        raise StopTorn(archived.name, collected)
    return collected


class _ReplyLoading:
    """The loading of a STOP or SMSMO file into the ledger: opt-outs first, then all rows."""

    def __init__(
        self,
        archived: Archived,
        known: ReportFile | None,
        owner: Submission | None,
        ledger: Ledger,
        archive: Any,
        *,
        grows: bool,
    ) -> None:
        self.opt_outs = 0
        self.replies = 0
        self._archived = archived
        self._known = known
        self._name = archived.report
        self._owner = owner
        self._ledger = ledger
        self._archive = archive
        self._grows = grows and not is_compressed(archived.name)

    def begin(self) -> Report:
        """Load the whole file, in blocks."""
        report = self._read(reports.BEGINNING, self._store)
        self._record(_as_read(self._archived, report, self._owner), report)
        return report

    def go_on(self) -> Report | None:
        """Load the rows appended since the last reading; None if the file changed otherwise."""
        known = self._known
        start = _start(known, self._archived, self._archive) if known else None
        if known is None or start is None:
            return None
        blocks = [reports.REPLIES.empty_table()]
        report = self._read(start, blocks.append)
        rows = self._ledger.reports.count_on(self._name, known.rows, pa.concat_tables(blocks))
        if rows is None:
            return None
        self._store(rows)
        read = _as_read(self._archived, report, self._owner)
        unreadable = known.unreadable + report.unreadable.num_rows
        self._record(replace(read, unreadable=unreadable), report, after=start.lines)
        return report

    def _record(self, read: ReportFile, report: Report, after: int = 0) -> None:
        ledger, archive = self._ledger, self._archive
        _record(read, self._known, self._archived, report.unreadable, ledger, archive, after=after)

    def _store(self, rows: pa.Table) -> None:
        self.opt_outs += self.enter(_opt_outs(self._name.kind, rows))
        new = self._ledger.reports.load_replies(self._name, rows)
        self.replies += new
        if new and self._name.kind is ReportKind.SMSMO:
            _warn_of_unsure(self._name, rows)

    def enter(self, opt_outs: pa.Table) -> int:
        """Enter opt-outs into the stop list, and return how many are new."""
        return self._ledger.stop_list.add(
            opt_outs,
            source=SOURCE[self._name.kind],
            stem=self._owner.stem if self._owner else self._name.stem,
            report=self._name,
        )

    def _read(self, start: reports.Start, store: Callable[[pa.Table], None]) -> Report:
        def read(file: BinaryIO) -> Report:
            replies = reports.Replies(file, self._name.kind, grows=self._grows, start=start)
            for block in replies:
                store(pa.Table.from_batches([block]))
            return replies.report()

        return _read(self._archived, self._archive, read)


def _start(known: ReportFile, archived: Archived, archive: Any) -> reports.Start | None:
    """Where the appended rows of a file begin; None if it must be read from its beginning."""
    gained = archived.size_bytes - known.size_bytes
    if not known.rows or not 0 < gained <= MOST_GAINED or is_compressed(archived.name):
        return None
    before, lines, left, piece = archive / known.archive, 0, known.size_bytes, b""
    if not storage.exists(before):
        return None
    with storage.opened(before, "rb") as former, opened(archived, archive) as file:
        while left:
            piece = file.read(min(left, PIECE))
            if not piece or former.read(len(piece)) != piece:
                return None
            lines += piece.count(b"\n")
            left -= len(piece)
    # A last line that was read without an end may be longer now.
    return reports.Start(known.size_bytes, lines, known.rows) if piece.endswith(b"\n") else None


def _opt_outs(kind: ReportKind, rows: pa.Table) -> pa.Table:
    """All rows of a STOP file, whatever their text; the rows of an SMSMO that ask to stop (R35)."""
    if kind is ReportKind.SMSMO:
        rows = rows.filter(opts_out(rows["message"]))
    return _entered(rows)


def _warn_of_unsure(report: ReportName, rows: pa.Table) -> None:
    if unsure := pc.sum(may_opt_out(rows["message"])).as_py():
        log.warning(
            "%s has %s that may ask to stop and did not count as a STOP: see `sms replies unsure`",
            report,
            count(unsure, "reply", "replies"),
        )


def _entered(replies: pa.Table) -> pa.Table:
    """Replies with the stop list's column names."""
    return replies.rename_columns({"replied_at": "opted_out_at"})


def _tail(archived: Archived, size_read: int, archive: Any) -> reports.Tail:
    """The unfinished last line of a report."""
    with opened(archived, archive) as file:
        file.seek(size_read)
        return reports.read_tail(file.read(LONGEST_ROW), archived.report.kind)


# Reports on files that the ledger does not have


def match_late(ledger: Ledger, archive: Any) -> None:
    """Match reports to submissions that the ledger did not have when the reports were read.

    A delivery report is loaded from the archive, unless another one was read meanwhile; without
    its archived bytes it stays unmatched. A report that can't be loaded is only logged, as no send
    may wait for it.
    """
    for file in ledger.reports.unmatched():
        report = ReportName.parse(file.name)
        owner = ledger.reports.find_submission(report) if report else None
        if owner is None:
            continue
        try:
            if file.kind == ReportKind.ACK and not ledger.reports.delivery_report(owner.stem):
                archived = find(file.archive, file.name, file.modified_at, archive)
                if archived is None:
                    continue
                load_delivery_report(owner.stem, archived, ledger, archive)
        except LedgerUnreachable:
            raise
        except SmsError as error:
            log.warning("%s is not matched to %s: %s", file.name, owner.stem, error)
            continue
        ledger.reports.adopt(file, owner.stem)
        log.warning(
            "%s was read before the ledger had its file: matched to %s", file.name, owner.stem
        )


def keep_unmatched(
    file: RemoteFile, known: ReportFile | None, gateway: Gateway, ledger: Ledger, archive: Any
) -> Collected | None:
    """Archive and record a delivery report if the ledger does not have its file; None otherwise.

    An error is only logged, as no send may wait for a report on another file.
    """
    report = ReportName.parse(file.name)
    if report is None or report.kind is not ReportKind.ACK:
        return None
    if known and known.stem:
        return None
    if ledger.reports.find_submission(report):
        return None
    try:
        archived = archive_file(file, gateway, ledger, archive)
        if known and known.sha256 == archived.sha256:
            _record_time(known, archived, ledger)
            return None
        read = _read(archived, archive, reports.look_through)
        _record(
            *(_as_read(archived, read, None), known, archived, read.unreadable, ledger, archive)
        )
    except LedgerUnreachable:
        raise
    except SmsError as error:
        log.warning("%s reports on a file that the ledger does not have: %s", file.name, error)
        return None
    notes = (
        "it reports on a file that the ledger does not have: it is kept in the archive, and listed "
        "in the ledger's view sms.unmatched_report",
    )
    log.warning("%s: %s", file.name, notes[0])
    return Collected(
        name=file.name,
        kind=report.kind,
        stem=None,
        archived=archived.place,
        rows=read.count,
        unreadable=read.unreadable.num_rows,
        notes=notes,
    )


def _failed(
    failures: list[tuple[str, BaseException]], collected: list[Collected], unseen: dict[str, int]
) -> ReportsFailed:
    retryable = any(isinstance(error, SmsError) and error.retryable for _, error in failures)
    problems = tuple((name, sentence(error)) for name, error in failures)
    return ReportsFailed(problems, tuple(collected), retryable, tuple(unseen.items()))


def sentence(error: BaseException) -> str:
    """An error's sentence; of an unexpected error only its type and place, as it may quote data."""
    if isinstance(error, SmsError):
        return str(error)
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_globals.get('__name__')}, line {trace.tb_lineno}" if trace else "?"
    return f"an unexpected {type(error).__name__} at {place}"


# Any report


def archive_report(name: str, gateway: Gateway, ledger: Ledger, archive: Any) -> Archived:
    """Copy the report with this name into the archive.

    Raises ReportUnfinished if it grows meanwhile. A report that was loaded, and was deleted at the
    gateway since, is taken from the archive.
    """
    listed = [file for file in gateway.listing(Folder.REPORT) if file.name == name]
    if not listed:
        recorded = ledger.reports.get(name)
        kept = recorded and find(recorded.archive, name, recorded.modified_at, archive)
        if not recorded or not kept or kept.sha256 != recorded.sha256:
            raise GatewayError(
                f"{name} is neither at the gateway nor in our archive: if it was not deleted by "
                f"hand, ask {SUPPORT}"
            )
        return kept
    archived = archive_file(listed[0], gateway, ledger, archive)
    if archived.size_bytes != listed[0].size:
        raise ReportUnfinished(name)
    return archived


def archive_file(file: RemoteFile, gateway: Gateway, ledger: Ledger, archive: Any) -> Archived:
    """Copy the present bytes of a listed report into the archive.

    If the server gives no time, its modification time is that of our first download of its bytes.
    """
    began = ledger.now()
    with storage.scratch() as copy:
        gateway.fetch(Folder.REPORT, file.name, copy)
        archived = keep(copy, file.name, file.modified_at or began, archive)
    seen = None if file.modified_at else ledger.reports.sighting(file.name)
    if seen and seen.state.sha256 == archived.sha256:
        archived = replace(archived, modified_at=seen.state.modified_at)
    state = RemoteState(archived.size_bytes, archived.modified_at, archived.sha256)
    ledger.reports.record_sighting(file.name, state, began)
    return archived


def _read(archived: Archived, archive: Any, read: Callable[[BinaryIO], Read]) -> Read:
    """The result of a reader on an archived report. Raises ReportUnreadable with its name."""
    try:
        with opened(archived, archive) as file:
            return read(file)
    except ReportUnreadable as error:
        raise ReportUnreadable(
            f"{archived.name} is not a readable report: {error}. Its bytes are in the archive as "
            f"{archived.place}; ask {SUPPORT} for a correct one"
        ) from error


def _notes(report: Report) -> Iterator[str]:
    yield from report.warnings
    if report.unreadable.num_rows:
        first = report.unreadable.slice(0, 5).to_pylist()
        more = ", ..." if report.unreadable.num_rows > len(first) else ""
        lines = ", ".join(f"line {each['line']} {each['reason']}" for each in first)
        yield (
            f"{count(report.unreadable.num_rows, 'row')} can't be read ({lines}{more}): see the "
            "ledger's view sms.quarantine"
        )


def _record(
    read: ReportFile,
    before: ReportFile | None,
    archived: Archived,
    unreadable: pa.Table,
    ledger: Ledger,
    archive: Any,
    *,
    after: int = 0,
) -> None:
    """Record how far a report was read, and its unreadable rows (those after the line `after`).

    `before` is the record when this reading began. If another task has read the report meanwhile,
    its record stays.
    """
    if before is not None and replace(before, loaded_at=None) == read:
        return
    with opened(archived, archive) as file:
        rows = _weighed(archived.report.kind, raw_rows(file, unreadable))
        if not ledger.reports.record_reading(before, read, rows, after=after):
            log.warning("%s was read by another task meanwhile: the next run reads it", read.name)


def _as_read(archived: Archived, report: Report, owner: Submission | None) -> ReportFile:
    """The record of a reading; it leaves out an unfinished last line, so the file is read again."""
    return ReportFile(
        name=archived.name,
        kind=archived.report.kind,
        stem=owner.stem if owner else None,
        submission_id=owner.id if owner else None,
        # A compressed file is complete: an incomplete one was refused before.
        size_bytes=archived.size_bytes if is_compressed(archived.name) else report.size_read,
        modified_at=archived.modified_at,
        sha256=archived.sha256,
        rows=report.count,
        unreadable=report.unreadable.num_rows,
        archive=archived.place,
    )


def _weighed(kind: ReportKind, rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Unreadable rows, marked if they may be a STOP: all rows of a STOP file, replies by words."""
    for batch in rows:
        may = [
            kind is ReportKind.STOP or (kind is ReportKind.SMSMO and reports.may_hold_stop(raw))
            for raw in batch["raw"].to_pylist()
        ]
        yield batch.append_column("may_be_stop", pa.array(may, pa.bool_()))


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()
