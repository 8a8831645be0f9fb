"""What the ledger is told and what it tells: plain, frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import Row

from sms.calendar.zones import FRANCE
from sms.ledger.states import State

PROOF = "proof"  # in the key of a run that proves another one


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a campaign: what was decided before the first row was read."""

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
    row_limit: int | None = None  # of a trial that writes to the first so many alone
    chosen_at: datetime | None = None  # when its people were screened
    approved_by: str | None = None  # of what is prepared now
    approved_at: datetime | None = None


def is_proof(run_key: str) -> bool:
    """Whether a run is another's proof."""
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
    send_at: datetime | None = None  # None: the run's own hour
    zone: str = FRANCE  # where its people live


@dataclass(frozen=True, slots=True)
class Submission:
    """One file at the gateway, as the ledger knows it."""

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
        """Whether a rename was intended, and nothing shows that none came of it."""
        return self.rename_intended_at is not None and self.rename_withdrawn_at is None

    @property
    def sent_at(self) -> datetime:
        """When its messages go out: at its hour, or at once if that had passed."""
        return max(self.send_at, self.submitted_at or self.send_at)

    @property
    def is_empty(self) -> bool:
        """Whether it ended because everybody in it had to be left out: nobody called it off."""
        return self.state is State.CANCELLED and self.messages == 0

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """The submission that a row of the table holds."""
        columns = row._asdict()
        return cls(**{**columns, "state": State(columns["state"])})


@dataclass(frozen=True, slots=True)
class UnfinishedRun:
    """A run that waits for its hour or is under way: its messages (once prepared), and states."""

    run_key: str
    send_at: datetime
    messages: int | None
    states: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A report as it was read last; `loaded_at` is the ledger's to say."""

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
    """A report at the gateway, by its size, its modification time and its bytes."""

    size_bytes: int
    modified_at: datetime
    sha256: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """A state of a report at the gateway, when it was first fetched in it, and when last."""

    state: RemoteState
    since: datetime
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What became of the messages sent: by outcome, and what the reports said beyond them.

    `rows` counts the latest report's readable rows: duplicates and strangers are among them.
    `kept` are outcomes that an earlier report stated and the latest one leaves out; a message that
    no report ever covered is `missing`.
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
        """Every message has one outcome or is missing, and every row is accounted for."""
        reported = self.delivered + self.refused + self.not_delivered + self.pending + self.unknown
        return (
            self.sent == reported + self.missing
            and self.rows == reported - self.kept + self.strangers + self.duplicates
        )


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased of one person; `files` are the submissions that held it.

    `reports` are the names of those whose rows belonged to no file, or could not be read.
    `opted_out` says whether they are in the stop list, where they stay; `hashed`, that they do so
    as a hash alone.
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
        """How many rows that was in all, without the receipts of the messages."""
        return self.messages + self.strangers + self.replies + self.unreadable


@dataclass(frozen=True, slots=True)
class KeptRun:
    """Where a run left its files, the latest hour of its submissions, and where these stand."""

    folder: str
    send_at: datetime
    stems: Mapping[str, State]


@dataclass(frozen=True, slots=True)
class Summary:
    """A run from its candidates to its reports, in numbers.

    `audience` is whom we write to: `excluded` holds everybody else, by Reason, whether they fell
    out at screening, at rendering, or by a STOP right before the rename.
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
        """Nobody is lost: candidates = audience + excluded, and the outcomes add up."""
        everybody = self.audience + sum(self.excluded.values())
        return self.candidates == everybody and self.outcomes.balanced


@dataclass(frozen=True, slots=True)
class Import:
    """What an import found: distinct numbers, those `new` to the stop list, and of these those
    that had been removed once (`again`); `removed` is how many stay removed."""

    numbers: int
    new: int
    again: int
    removed: int


@dataclass(frozen=True, slots=True)
class Hashed:
    """How many numbers became pseudonyms, and the last that was looked at; None: there is none."""

    numbers: int
    last: int | None


@dataclass(frozen=True, slots=True)
class OptOut:
    """One row of the stop list, and how we know it."""

    opted_out_at: datetime
    source: str
    list: str | None
    campaign: str | None
    stem: str | None
    message: str | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Removal:
    """A row that a person took off the stop list, and the row as it was."""

    removed_at: datetime
    actor: str
    reason: str
    removed: OptOut


@dataclass(frozen=True, slots=True)
class Listed:
    """What an import said of a number; `opted_out_at` is None where the list has no moment."""

    list: str
    opted_out_at: datetime | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Reply:
    """A row of a STOP or SMSMO file; `campaign` and `stem` are None where nobody's."""

    kind: str
    replied_at: datetime | None
    recorded_at: datetime
    message: str
    campaign: str | None
    stem: str | None
    report: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A message in a file that was uploaded, whatever became of the file and of the message."""

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
    """All that the stop list ever heard of one number; `hashed`: it stands there as a hash."""

    opt_out: OptOut | None
    hashed: bool
    removals: tuple[Removal, ...]
    listed: tuple[Listed, ...]
    replies: tuple[Reply, ...]


class Recurring(StrEnum):
    """A task that must succeed again and again; the ledger knows when each last did."""

    COLLECT_REPLIES = "collect_replies"
    CLEAN_GATEWAY = "clean_gateway"


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run in one line: how far it is, and its counts; of a failed one, where and why."""

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
    """A file of whose messages the delivery report lacks some: it may have been sent in part."""

    stem: str
    sent: int
    missing: int
