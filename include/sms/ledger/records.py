"""The records that the ledger takes and returns: plain, frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import Row

from sms.calendar.zones import FRANCE
from sms.ledger.states import State

PROOF = "proof"  # part of the run key of a proof


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a campaign, as decided before the first row is read."""

    run_key: str
    campaign: str
    kind: str
    service_id: str
    send_at: datetime
    slot_reason: str
    dry_run: bool
    planned_at: datetime
    folder: str
    asked_at: datetime | None = None  # when it was to start
    row_limit: int | None = None  # of a trial: only the first rows of the query
    chosen_at: datetime | None = None  # when its recipients were screened
    approved_by: str | None = None  # of the present preparation
    approved_at: datetime | None = None


def is_proof(run_key: str) -> bool:
    """Whether a run is the proof of another run."""
    return f"/{PROOF}-" in run_key


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a run as it was prepared; `part` counts from 1 to `parts`."""

    stem: str
    part: int
    parts: int
    messages: int
    segments: int
    sha256: str
    size_bytes: int
    send_at: datetime | None = None  # None: the run's hour
    zone: str = FRANCE  # of its recipients


@dataclass(frozen=True, slots=True)
class Submission:
    """One file at the gateway, as recorded in the ledger."""

    id: int
    run_key: str
    stem: str
    service_id: str
    campaign_id: str
    part: int
    parts: int
    state: State
    send_at: datetime
    zone: str
    messages: int | None
    segments: int | None
    sha256: str | None
    size_bytes: int | None
    prepared_sha256: str | None
    claim: str | None
    claimed_at: datetime | None
    uploaded_at: datetime | None
    rename_intended_at: datetime | None
    rename_withdrawn_at: datetime | None
    submitted_at: datetime | None
    verdict_at: datetime | None
    due_at: datetime | None
    reported_at: datetime | None

    @property
    def may_have_left(self) -> bool:
        """Whether a rename was intended, and not withdrawn."""
        return self.rename_intended_at is not None and self.rename_withdrawn_at is None

    @property
    def sent_at(self) -> datetime:
        """When its messages are sent: at its hour, or at its upload if that is later."""
        return max(self.send_at, self.submitted_at or self.send_at)

    @property
    def is_empty(self) -> bool:
        """Whether it ended because all its recipients were left out; it was not called off."""
        return self.state is State.CANCELLED and self.messages == 0

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """The submission of a table row."""
        columns = row._asdict()
        return cls(**{**columns, "state": State(columns["state"])})


@dataclass(frozen=True, slots=True)
class UnfinishedRun:
    """A run that waits for its hour or is being sent; `messages` is None before preparation."""

    run_key: str
    send_at: datetime
    messages: int | None
    states: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportFile:
    """The last reading of a report; the ledger sets `loaded_at`."""

    name: str
    kind: str
    stem: str | None
    submission_id: int | None
    size_bytes: int
    modified_at: datetime
    sha256: str
    rows: int
    unreadable: int
    archive: str
    loaded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RemoteState:
    """The state of a report at the gateway: size, modification time and digest."""

    size_bytes: int
    modified_at: datetime
    sha256: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """A state of a report at the gateway, with the times of its first and last download."""

    state: RemoteState
    since: datetime
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The sent messages by outcome, and the rows of the latest delivery report.

    `rows` are its readable rows, with duplicates and strangers. `kept` are outcomes of an earlier
    report that the latest one lacks. A message that no report ever covered is `missing`.
    """

    sent: int
    delivered: int
    refused: int
    not_delivered: int
    pending: int
    unknown: int
    missing: int
    rows: int
    strangers: int
    duplicates: int
    kept: int = 0

    @property
    def balanced(self) -> bool:
        """Whether each message has one outcome or is missing, and all rows are accounted for."""
        reported = self.delivered + self.refused + self.not_delivered + self.pending + self.unknown
        return (
            self.sent == reported + self.missing
            and self.rows == reported - self.kept + self.strangers + self.duplicates
        )


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The counts of one person's erased rows; `files` are the submissions that had them.

    `reports` are the names of reports with erased rows that belonged to no file or were unreadable.
    `opted_out` is true if the person is in the stop list, and stays there; `hashed`, if only as a
    hash.
    """

    messages: int
    strangers: int
    replies: int
    unreadable: int
    opted_out: bool
    hashed: bool
    files: tuple[Submission, ...]
    reports: tuple[str, ...]

    @property
    def rows(self) -> int:
        """The number of all erased rows, without the messages' receipts."""
        return self.messages + self.strangers + self.replies + self.unreadable


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run's folder, the latest hour of its submissions, and their states."""

    folder: str
    send_at: datetime
    stems: Mapping[str, State]


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts of a run, from its candidates to its replies.

    `audience` are the recipients. `excluded` are all others, by Reason: left out at screening, at
    rendering, or by a STOP right before the rename.
    """

    run: PlannedRun
    candidates: int
    audience: int
    excluded: Mapping[str, int]
    replaced: Mapping[str, int]
    sent: int
    segments: int
    submissions: Mapping[State, int]
    outcomes: Reconciliation
    stops: int
    replies: int
    stop_list_size: int | None = field(default=None)

    @property
    def balanced(self) -> bool:
        """Whether candidates = audience + excluded, and the outcomes add up."""
        total = self.audience + sum(self.excluded.values())
        return self.candidates == total and self.outcomes.balanced


@dataclass(frozen=True, slots=True)
class Import:
    """The counts of an import: distinct numbers, those `new` to the stop list, and of these the
    ones that had been removed once (`again`); `removed` numbers stay removed."""

    numbers: int
    new: int
    again: int
    removed: int


@dataclass(frozen=True, slots=True)
class Hashed:
    """How many numbers were hashed, and the last number checked; None if there was none."""

    numbers: int
    last: int | None


@dataclass(frozen=True, slots=True)
class OptOut:
    """One row of the stop list, with its source."""

    opted_out_at: datetime
    source: str
    list: str | None
    campaign: str | None
    stem: str | None
    message: str | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Removal:
    """A removal from the stop list, with the removed row."""

    removed_at: datetime
    actor: str
    reason: str
    removed: OptOut


@dataclass(frozen=True, slots=True)
class Listed:
    """A number's row in an imported list; `opted_out_at` is None if the list has no time."""

    list: str
    opted_out_at: datetime | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Reply:
    """A row of a STOP or SMSMO file; `campaign` and `stem` are None if its file is unknown."""

    kind: str
    replied_at: datetime | None
    recorded_at: datetime
    message: str
    campaign: str | None
    stem: str | None
    report: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A message in an uploaded file, whatever the file's state and the message's outcome."""

    campaign: str
    run_key: str
    folder: str
    msisdn: int
    stem: str
    state: State
    send_at: datetime
    submitted_at: datetime | None
    segments: int
    idremote: str
    outcome: str | None
    raw_status: str | None
    reported_at: datetime | None


@dataclass(frozen=True, slots=True)
class History:
    """All records of the stop list on one number; `hashed` is true if it is stored as a hash."""

    opt_out: OptOut | None
    hashed: bool
    removals: tuple[Removal, ...]
    listed: tuple[Listed, ...]
    replies: tuple[Reply, ...]


class Recurring(StrEnum):
    """A recurring task, of which the ledger records the last success."""

    COLLECT_REPLIES = "collect_replies"
    CLEAN_GATEWAY = "clean_gateway"


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run in one line: its status and counts; of a failed run also the task and the reason."""

    run_key: str
    campaign: str
    send_at: datetime
    status: str
    candidates: int | None
    excluded: int
    sent: int
    delivered: int
    missing: int
    stops: int
    failed_at: datetime | None
    failed_task: str | None
    failed_why: str | None


@dataclass(frozen=True, slots=True)
class ScheduledFile:
    """A file that waits for its hour."""

    campaign: str
    run_key: str
    stem: str
    state: State
    send_at: datetime
    messages: int | None
    zone: str


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A file whose delivery report lacks messages: it may have been sent only in part."""

    stem: str
    sent: int
    missing: int
