"""The door to the ledger: what may change, and what may be asked. Each call is one transaction.

How it is done is beside: `runs` and `submissions` (a file's way out), `stop_list`, `imports`,
`removals` and `hashing` (who said no), `reports`, `deliveries` and `matching` (what comes home),
`erasing` (what expires), `announcements`, `history`, `people`, `overview` and `queries`.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self

import numpy as np
import pyarrow as pa
from sqlalchemy import Engine

import sms.clock
from sms.errors import ConfigurationError, LedgerError
from sms.ledger import (
    announcements,
    database,
    deliveries,
    erasing,
    hashing,
    history,
    imports,
    months,
    overview,
    people,
    quarantine,
    queries,
    removals,
    reports,
    runs,
    sightings,
    stop_list,
    submissions,
    turn,
)
from sms.ledger.copying import Rows
from sms.ledger.database import Transaction
from sms.ledger.pseudonyms import Key
from sms.ledger.records import (
    Ahead,
    Forgotten,
    Hashed,
    History,
    Import,
    KeptRun,
    OpenRun,
    Part,
    PlannedRun,
    Reconciliation,
    Recurring,
    RemoteState,
    Reply,
    ReportFile,
    RunLine,
    Sent,
    Shortfall,
    Sighting,
    Submission,
    Summary,
)
from sms.ledger.states import NEXT, State
from sms.ledger.turn import Turn
from sms.wire.names import ReportName

log = logging.getLogger(__name__)

__all__ = [
    "NEXT",
    "Ledger",
    "Part",
    "PlannedRun",
    "Reconciliation",
    "ReportFile",
    "State",
    "Submission",
    "Summary",
]


def no_key() -> Key:
    """What is asked for a key where nobody gave one."""
    raise ConfigurationError("the stop list is kept as hashes, and their key was not given")


class Ledger:
    """Our memory; `actor` signs every event that this one writes.

    `heard` is told of every move of a file, after it is written down: the ledger, the stem, the
    state. By the one caller whose move it was, so of each move once at most.
    `key` is asked for where the stop list is kept as hashes.
    Every call may raise LedgerUnreachable (try again: each may be repeated), or LedgerError.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime] = sms.clock.now,
        actor: str = "",
        heard: Callable[["Ledger", str, State], None] = lambda ledger, stem, state: None,
        key: Callable[[], Key] = no_key,
    ) -> None:
        self.engine = engine
        self._clock = clock
        self._actor = actor
        self._heard = heard
        self._key = key

    @classmethod
    def connect(cls, url: str, **how: Any) -> Self:
        """The ledger behind any PostgreSQL URL; ConfigurationError if it is none."""
        return cls(database.engine_of(url), **how)

    # The schema

    def upgrade(self) -> None:
        """Bring the schema to this version; safe to call from several processes at once."""
        database.upgrade(self.engine)

    def require_current(self) -> None:
        """LedgerError unless the schema is this version's; LedgerUnreachable without an answer."""
        database.require_current(self.engine)

    # A run before its first byte leaves

    def plan(self, run: PlannedRun, stem: str) -> tuple[PlannedRun, Submission]:
        """Store a run and its first file's name; of a known run, what its first plan stored."""
        with self._transaction() as tx:
            return runs.plan(tx, run, stem)

    def replan(self, run: PlannedRun, stem: str) -> tuple[PlannedRun, Submission]:
        """Another slot and name for a run that no try has claimed yet; LedgerError otherwise."""
        with self._transaction() as tx:
            return runs.replan(tx, run, stem)

    def record_screening(
        self,
        run_key: str,
        *,
        candidates: int,
        audience: int,
        excluded: Mapping[str, int],
        stop_list_size: int,
    ) -> None:
        """Count who was screened out, by Reason; a second screening replaces the first."""
        with self._transaction() as tx:
            runs.record_screening(tx, run_key, candidates, audience, excluded, stop_list_size)

    def record_rendering(
        self, run_key: str, *, excluded: Mapping[str, int], replaced: Mapping[str, int]
    ) -> None:
        """Count who fell out at rendering, beside the screening, and the characters replaced."""
        with self._transaction() as tx:
            runs.record_rendering(tx, run_key, excluded, replaced)

    def record_failure(self, run_key: str, *, task: str, why: str) -> None:
        """A task of a run has failed for good; `why` is a sentence without a number or a text.

        Cleared by whatever goes on with the run. Nothing happens if the run is not planned yet.
        """
        with self._transaction() as tx:
            runs.record_failure(tx, run_key, task, why)

    def prepare(self, run_key: str, parts: Sequence[Part]) -> list[Submission]:
        """Make a run's files exactly these, ready to be claimed; LedgerError once one was."""
        with self._transaction() as tx:
            return runs.prepare(tx, run_key, parts)

    def approve(self, run_key: str, *, by: str, shown: str) -> None:
        """Write down who said yes to the files whose digest is `shown`; LedgerError if others are.

        Prepared anew, a run needs another yes.
        """
        with self._transaction() as tx:
            runs.approve(tx, run_key, by, shown)

    def prepared_digest(self, run_key: str) -> str:
        """A few digits that stand for the very bytes that a run was prepared with."""
        with self._transaction() as tx:
            return runs.digest_of(runs.submissions(tx, run_key))

    def run(self, run_key: str) -> PlannedRun:
        """A run as it was planned."""
        with self._transaction() as tx:
            return runs.run(tx, run_key)

    def submissions(self, run_key: str) -> list[Submission]:
        """A run's live submissions by part; the cancelled ones where none lives."""
        with self._transaction() as tx:
            return runs.submissions(tx, run_key)

    def run_folders(self) -> list[KeptRun]:
        """Where every run left its files, and where its submissions stand."""
        with self._transaction() as tx:
            return runs.folders(tx)

    def attempts(self, run_key: str) -> int:
        """How many times a run was given an hour and a name."""
        with self._transaction() as tx:
            return runs.attempts(tx, run_key)

    # One file's way to the gateway

    def submission(self, stem: str) -> Submission:
        """A file as it stands."""
        with self._transaction() as tx:
            return submissions.known(tx, stem)

    def submissions_named(self, stems: Collection[str]) -> dict[str, Submission]:
        """Those of these stems that are ours, by the stem in lower case."""
        with self._transaction() as tx:
            return submissions.named(tx, stems)

    def submissions_in(self, state: State) -> list[Submission]:
        """Every file in a state, the earliest hour first."""
        with self._transaction() as tx:
            return submissions.standing_at(tx, state)

    def claim(self, stem: str, token: str, *, lease: timedelta) -> Submission:
        """Hold a file for the try `token`; SubmissionTaken while another's claim is in its lease.

        Called again by the holder, it renews the claim. A file that is beyond uploading comes
        back as it stands, unclaimed: look at its state.
        """
        with self._transaction() as tx:
            return submissions.claim(tx, stem, token, lease)

    def release(self, stem: str, token: str) -> None:
        """Give that try's claim back, if it still holds it: it ends, and has left no doubt."""
        with self._transaction() as tx:
            submissions.release(tx, stem, token)

    def holds(self, stem: str, token: str) -> bool:
        """Whether that try still holds the file and may act on it."""
        with self._transaction() as tx:
            return submissions.holds(tx, stem, token)

    def forget_upload(self, stem: str, token: str) -> bool:
        """Write down that what lies at the gateway as `.tmp` is about to be replaced.

        False if that try does not hold the file any more.
        """
        with self._transaction() as tx:
            return submissions.forget_upload(tx, stem, token)

    def record_upload(
        self,
        stem: str,
        token: str,
        *,
        messages: Iterable[pa.RecordBatch],
        sha256: str,
        size_bytes: int,
        late_out: Mapping[str, int] | None = None,
        seconds: float = 0.0,
    ) -> Submission:
        """Write down what the `.tmp` at the gateway holds, every message of it, or nothing at all.

        `late_out` counts by Reason who was prepared but is no longer in the file, `seconds` is
        how long the upload took. SubmissionTaken if another try holds the claim, LedgerError if
        the file is not uploading.
        """
        with self._transaction() as tx:
            return submissions.record_upload(
                tx, stem, token, messages, sha256, size_bytes, late_out or {}, seconds
            )

    def intend_rename(self, stem: str, token: str) -> Submission:
        """Write down that the rename comes next. From here on nobody can cancel it.

        SubmissionTaken if another try holds the claim, LedgerError if the file is not uploading,
        or was not uploaded.
        """
        with self._transaction() as tx:
            return submissions.intend_rename(tx, stem, token)

    def withdraw_rename(self, stem: str, token: str, why: str) -> None:
        """Take an intent back: it is certain that no rename was asked for, or it was refused.

        Nothing changes if that try does not hold the file any more.
        """
        with self._transaction() as tx:
            submissions.withdraw_rename(tx, stem, token, why)

    def end_empty(self, stem: str, token: str, *, left_out: Mapping[str, int]) -> Submission:
        """Cancel a file in which nobody is left, whose `.tmp` the holder has taken away.

        `left_out` counts its people by Reason. SubmissionTaken if another try holds the claim.
        """
        with self._transaction() as tx:
            return submissions.end_empty(tx, stem, token, left_out)

    def upload_pace(self) -> float | None:
        """Bytes a second that the latest uploads went at, the slowest; None before the first."""
        with self._transaction() as tx:
            return submissions.upload_pace(tx)

    def move(
        self,
        stem: str,
        *,
        to: State,
        token: str | None = None,
        detail: Mapping[str, Any] | None = None,
        **moments: datetime,
    ) -> bool:
        """True for the one caller whose move it was; with a token, only if that holds the claim.

        `moments` may set submitted_at, verdict_at, due_at, reported_at; the one that belongs to
        the state is set to now by itself. `detail` goes into the event.
        """
        with self._transaction() as tx:
            moved = submissions.move_stem(tx, stem, to, token, detail, moments)
        if moved:
            self._heard(self, stem, to)
        return moved

    # Who said no

    def opted_out(self, msisdns: pa.Array | pa.ChunkedArray | np.ndarray) -> np.ndarray:
        """Which of these int64 numbers are in the stop list, ascending, each once."""
        with self._transaction() as tx:
            return stop_list.opted_out(tx, msisdns)

    def written_to(
        self, msisdns: np.ndarray, *, kind: str, times: int, since: datetime, but: str
    ) -> np.ndarray:
        """Which of these numbers got `times` messages of a kind since then, or more, ascending.

        By other runs than `but`.
        """
        with self._transaction() as tx:
            return history.written_to(tx, msisdns, kind=kind, times=times, since=since, but=but)

    @contextmanager
    def turn(self, *, alone: bool) -> Iterator[Turn]:
        """The time of a last look and its rename, in which nothing enters the stop list.

        `alone`: and no other file leaves. LedgerBusy if that doesn't come within some seconds.
        """
        over = False
        try:
            with self._transaction() as tx:
                yield turn.take(tx, alone=alone)
                over = True
        except LedgerError as error:
            if not over:
                raise
            # It wrote nothing, and what it looked at was asked for again before the rename.
            log.warning("the ledger ended a turn before its rename was answered: %s", error)

    def failing(self, msisdns: np.ndarray, *, times: int) -> np.ndarray:
        """Which of these numbers the latest `times` messages to them did not reach, ascending."""
        with self._transaction() as tx:
            return history.failing(tx, msisdns, times=times)

    def latest_sent(self, campaign: str, *, but: str, most: int = 5) -> dict[str, int]:
        """How many messages the campaign's latest runs sent, by run, but for one run."""
        with self._transaction() as tx:
            return history.latest_sent(tx, campaign, but, most)

    def open_runs(self, campaign: str, *, but: str, within: timedelta) -> list[OpenRun]:
        """The campaign's runs that are on their way, or wait for an hour later than so long ago."""
        with self._transaction() as tx:
            return history.open_runs(tx, campaign, but, within)

    def stop_list_size(self) -> int:
        """How many numbers are in the stop list."""
        with self._transaction() as tx:
            return stop_list.size(tx)

    def require_safe_stop_list(self) -> int:
        """The stop list's size; StopListUnsafe if it is unreadable or holds less than it did."""
        with self._snapshot() as tx:
            return stop_list.require_safe(tx)

    def add_opt_outs(
        self,
        rows: Rows,
        *,
        source: str,
        stem: str | None = None,
        report: ReportName | None = None,
    ) -> int:
        """Enter opt-outs (msisdn, opted_out_at, message); how many numbers are new.

        `source` is stop_report, reply or import. The earliest opt-out of a number is kept. Those
        of a `report` say which row each is (raw_date, raw_hour, occurrence): a row that was known
        when its number was removed does not bring it back.
        """
        with self._transaction() as tx:
            return stop_list.add(tx, rows, source, stem, report)

    def import_opt_outs(self, rows: Rows, *, named: str, file: str, trial: bool = False) -> Import:
        """Enter another tool's list (msisdn, opted_out_at), `named` so; a trial changes nothing.

        All of it or nothing: what `rows` raises undoes the import.
        """
        with self._transaction() as tx:
            return imports.enter(tx, rows, named, file, trial=trial)

    def stop_list(self) -> Iterator[pa.RecordBatch]:
        """The stop list by number (msisdn, opted_out_at), as one moment saw it, streamed.

        Without the numbers that are hashed: `hashed_opt_outs` says how many those are.
        """
        with self._snapshot() as tx:
            yield from stop_list.rows(tx)

    def hashed_opt_outs(self) -> int:
        """How many numbers of the stop list are kept as hashes."""
        with self._transaction() as tx:
            return hashing.count(tx)

    def remove_opt_out(self, msisdn: int, *, reason: str) -> None:
        """Take a number off the stop list and keep the trace; LedgerError if it isn't in it."""
        with self._transaction() as tx:
            removals.remove(tx, msisdn, reason)

    # What the provider reports

    def find_submission(self, report: ReportName) -> Submission | None:
        """Whose report this is: the exact stem's, else the only one of its campaign id (R34)."""
        with self._transaction() as tx:
            return reports.find_submission(tx, report)

    def load_replies(self, report: ReportName, rows: Rows) -> int:
        """Store a STOP or SMSMO file's rows that aren't stored yet; how many those were."""
        with self._transaction() as tx:
            return reports.load_replies(tx, report, rows)

    def count_on(self, report: ReportName, before: int, rows: pa.Table) -> pa.Table | None:
        """Rows that a STOP or SMSMO file gained, their occurrences counted on from those before.

        `before`: how many rows it had. None if the ledger does not hold exactly these.
        """
        with self._transaction() as tx:
            return reports.count_on(tx, report, before, rows)

    def load_delivery_report(self, stem: str, rows: Rows, *, latest: bool = True) -> None:
        """Merge a delivery report into what is known of a file's messages.

        What it states about a message replaces what was known, unless it is not the `latest`: then
        it only adds what was missing. What it leaves out stays as it was.
        """
        with self._transaction() as tx:
            deliveries.load(tx, stem, rows, latest=latest)

    def drop_months(self, before: date) -> list[date]:
        """Drop the messages and receipts of each month that ended by that day; the months.

        Counts stay. A month stays whole while the gateway may still report on one of its files.
        LedgerUnreachable where somebody reads the tables for too long: try again.
        """
        with self._transaction() as tx:
            return months.drop_months(tx, before)

    def report_file(self, name: str) -> ReportFile | None:
        """A report as it was read last, or None."""
        with self._transaction() as tx:
            return reports.read_before(tx, name)

    def reports_read(self, names: Collection[str]) -> dict[str, ReportFile]:
        """The reports of these names that were read, as they were read last."""
        with self._transaction() as tx:
            return reports.all_read(tx, names)

    def sightings(self, names: Collection[str]) -> dict[str, Sighting]:
        """The states in which reports of these names were fetched last."""
        with self._transaction() as tx:
            return sightings.of_all(tx, names)

    def delivery_report(self, stem: str) -> ReportFile | None:
        """A file's delivery report as it was loaded last, or None."""
        with self._transaction() as tx:
            return reports.delivery_report(tx, stem)

    def report_files(self, stem: str) -> list[ReportFile]:
        """Every report on a file, as it was read last."""
        with self._transaction() as tx:
            return reports.read_of(tx, stem)

    def now(self) -> datetime:
        """What this ledger's clock shows."""
        return self._clock()

    def date_report_file(self, file: ReportFile, modified_at: datetime) -> None:
        """Write down a report's new time, unless another collector has read it since."""
        with self._transaction() as tx:
            if reports.is_still(tx, file.name, file):
                reports.record(tx, replace(file, modified_at=modified_at))

    def sight(self, name: str, state: RemoteState, fetched_at: datetime) -> Sighting:
        """Write down that a report was in this state when a fetch began; since when it is in it."""
        with self._transaction() as tx:
            return sightings.record(tx, name, state, fetched_at)

    def sighting(self, name: str) -> Sighting | None:
        """The state in which a report was fetched last, or None."""
        with self._transaction() as tx:
            return sightings.of_all(tx, [name]).get(name)

    def unmatched_reports(self) -> list[ReportFile]:
        """The reports that were read and tell of no file that was known then, by name."""
        with self._transaction() as tx:
            return reports.unmatched(tx)

    def adopt(self, file: ReportFile, stem: str) -> None:
        """Give a file the report, the replies and the opt-outs that came before it was known."""
        with self._transaction() as tx:
            reports.adopt(tx, file, submissions.known(tx, stem))

    def record_reading(
        self, before: ReportFile | None, file: ReportFile, unreadable: Rows, *, after: int = 0
    ) -> bool:
        """Write down how far a report was read, and what of it can't be; no such row is lost.

        `unreadable` are `quarantine.UNREADABLE` rows behind the line `after`; those of the lines
        before stay as they are. False, and nothing is written down, if another collector has read
        it since it was read as `before`: then the next look reads it again.
        """
        with self._transaction() as tx:
            if not reports.is_still(tx, file.name, before):
                return False
            quarantine.replace(tx, file.name, unreadable, after)
            reports.record(tx, file)
            return True

    def unseen_stops(self) -> dict[str, int]:
        """How many unreadable rows may be a STOP and were seen by nobody, by report."""
        with self._transaction() as tx:
            return quarantine.unseen_stops(tx)

    def see_unreadable(
        self, report: str, lines: Sequence[int] | None = None, *, reason: str
    ) -> list[int]:
        """A person has looked at a report's unreadable rows, or at those; the lines.

        LedgerError if one of them does not wait for that.
        """
        with self._transaction() as tx:
            return quarantine.see(tx, report, lines, reason)

    # What others are told of

    def announce_opt_outs(self) -> int:
        """How many opt-outs were entered since this was last asked: each is told once."""
        with self._transaction() as tx:
            return announcements.opt_outs(tx)

    def announce_delivery_report(self, stem: str) -> bool:
        """Whether a file's delivery report came, or changed, since this was last asked."""
        with self._transaction() as tx:
            return announcements.delivery_report(tx, stem)

    # What expires

    def expired(self, before: datetime) -> list[str]:
        """Files that are over, sent before that moment, with rows about people left."""
        with self._transaction() as tx:
            return erasing.expired(tx, before)

    def expire(self, stem: str, *, most: int) -> dict[str, int]:
        """Erase at most so many messages, strangers and replies of a file that is over.

        Their counts stay. Returns how many of each it was; LedgerError if the file is open.
        """
        with self._transaction() as tx:
            return erasing.expire(tx, stem, most)

    def expire_strays(self, before: datetime, *, most: int) -> int:
        """Erase at most so many replies to files that the ledger doesn't know."""
        with self._transaction() as tx:
            return erasing.expire_strays(tx, before, most)

    def expire_words(self, before: datetime, *, most: int) -> int:
        """Erase at most so many texts of the stop list; its numbers stay for ever."""
        with self._transaction() as tx:
            return erasing.expire_words(tx, before, most)

    def hash_opt_outs(self, before: datetime, *, after: int, most: int) -> Hashed:
        """Hash at most so many of the stop list's numbers that are older than `before`.

        In the order of the numbers, beyond `after`. From then on the ledger needs this very key.
        LedgerUnreachable while a long import goes on: try again.
        """
        with self._transaction() as tx:
            return hashing.hash_old(tx, before, after, most)

    def renew_statistics(self) -> None:
        """Let the server's statistics forget the numbers that were hashed."""
        with self._transaction() as tx:
            hashing.renew_statistics(tx)

    def expire_unreadable(self, before: datetime, *, most: int) -> int:
        """Erase at most so many rows of reports that could not be read; their count stays."""
        with self._transaction() as tx:
            return quarantine.expire(tx, before, most)

    def forget(self, msisdn: int, *, hashed: bool = False) -> Forgotten:
        """Erase one person's messages, outcomes and replies; the opt-out and all counts stay.

        `hashed`: the opt-out stays as a hash. LedgerError while one of their files is open, or the
        key of hashes is not in use yet.
        """
        with self._transaction() as tx:
            return erasing.forget(tx, msisdn, hashed=hashed)

    # What may be asked

    def reconcile(self, stem: str) -> Reconciliation:
        """What became of a file's messages."""
        with self._snapshot() as tx:
            return queries.reconcile(tx, stem)

    def late_stops(self, stem: str) -> int:
        """How many of a sent file's people said STOP after its rename and before its hour."""
        with self._snapshot() as tx:
            return queries.late_stops(tx, stem)

    def summary(self, run_key: str) -> Summary:
        """A run in numbers, from its candidates to its replies."""
        with self._snapshot() as tx:
            return queries.summary(tx, run_key)

    def history(self, msisdn: int) -> History:
        """All that the stop list ever heard of one number, the oldest first."""
        with self._snapshot() as tx:
            return people.history(tx, msisdn)

    def unsure_replies(self, since: datetime) -> list[tuple[int, Reply]]:
        """Replies since then that may ask to stop, by number; of nobody who is in the stop list."""
        with self._transaction() as tx:
            return people.unsure_replies(tx, since)

    def sent_to(self, msisdn: int, *, since: datetime) -> list[Sent]:
        """Every message to one number in a file that was uploaded, the oldest first."""
        with self._snapshot() as tx:
            return people.sent_to(tx, msisdn, since)

    def sent_with_key(self, key: str, *, since: datetime) -> list[Sent]:
        """Every message with a recipient's key, as `sent_to`; reads all messages since then."""
        with self._snapshot() as tx:
            return people.sent_with_key(tx, key, since)

    def lacks_people(self, stem: str) -> bool:
        """Whether rows about people of a file were erased: who is not in it may have been."""
        with self._snapshot() as tx:
            return people.were_erased(tx, stem)

    def recent_runs(self, *, since: datetime, most: int) -> list[PlannedRun]:
        """The runs planned since then, the newest first, at most so many."""
        with self._snapshot() as tx:
            return runs.recent(tx, since, most)

    # What the daily questions ask

    def runs(
        self, *, since: datetime, campaign: str | None = None, most: int | None = None
    ) -> list[RunLine]:
        """The runs for an hour since then, the latest first, of one campaign or of all."""
        with self._snapshot() as tx:
            return overview.runs(tx, since, campaign, most=most)

    def run_line(self, run_key: str) -> RunLine | None:
        """One run in a line; None for a proof."""
        with self._snapshot() as tx:
            return next(
                iter(overview.runs(tx, datetime.min.replace(tzinfo=UTC), run_key=run_key)), None
            )

    def run_named(self, name: str, stem: str = "") -> str:
        """The key of a run by its key, its Airflow id, its file's stem, or of a campaign's latest.

        LedgerError if it is none, or could be several.
        """
        with self._snapshot() as tx:
            return overview.named(tx, name, stem or name)

    def ahead(self, *, since: datetime, until: datetime) -> list[Ahead]:
        """The files that wait for an hour between these, the earliest first."""
        with self._snapshot() as tx:
            return overview.ahead(tx, since, until)

    def rejected(self, *, since: datetime) -> list[str]:
        """The files that the gateway rejected since then, the oldest first."""
        with self._snapshot() as tx:
            return overview.rejected(tx, since)

    def short(self, *, since: datetime) -> list[Shortfall]:
        """The files whose delivery report came since then and lacks messages."""
        with self._snapshot() as tx:
            return overview.short(tx, since)

    def last_submitted(self) -> datetime | None:
        """When a file last reached the gateway; None if none ever did."""
        with self._snapshot() as tx:
            return overview.last_submitted(tx)

    def successes(self) -> dict[Recurring, datetime]:
        """When each task last succeeded that must succeed again and again."""
        with self._snapshot() as tx:
            return overview.successes(tx)

    def record_success(self, task: Recurring) -> None:
        """Write down that a task has succeeded now."""
        with self._transaction() as tx:
            overview.record_success(tx, task)

    def _transaction(self) -> AbstractContextManager[Transaction]:
        return database.transaction(self.engine, self._clock, self._actor, self._key)

    def _snapshot(self) -> AbstractContextManager[Transaction]:
        frozen = self.engine.execution_options(isolation_level="REPEATABLE READ")
        return database.transaction(frozen, self._clock, self._actor, self._key)
