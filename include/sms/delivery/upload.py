"""Upload of one file to the gateway, at most once, and its verdict (R27-R29).

The order of steps is the promise: claim the file in the ledger, list the gateway, upload, rename
the whole file to `.tmp`, record its messages. When every file of the run is there: record the
intent, read the stop list again, rename to `.csv`, record the arrival. A try that dies at any step
leaves enough for the next try to decide what it may do. Where it can't decide, it stops and asks
an operator.
"""

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sms import remedies, storage
from sms.clock import in_paris
from sms.delivery.gateway import Folder, Gateway, RemoteFile, Shows
from sms.errors import (
    SUPPORT,
    GatewayError,
    GatewayUnreachable,
    LedgerError,
    LookExpired,
    ReportsFailed,
    SubmissionContradicted,
    SubmissionTaken,
    SubmissionUnknown,
)
from sms.ledger.ledger import Ledger
from sms.ledger.records import Submission
from sms.ledger.states import ACCEPTED_AND_LATER, AHEAD, SENT, State
from sms.remedies import Task
from sms.wire.names import ARRIVED, Phase, draft_name, is_draft, phase_of, reports_on
from sms.words import count

log = logging.getLogger(__name__)

Numbers = npt.NDArray[np.int64]

LOOK_HOLDS = 5.0  # seconds of real time between the last check of a file and its rename
LOOKS = 5  # expired checks before a try gives up
MANY = 10_000  # spec, *Campaign stats*: from this size the statistics take four days


class Parcel(Protocol):
    """The content of one file; it is rebuilt when recipients must be left out."""

    def msisdns(self) -> Numbers:
        """The recipients' numbers."""

    def messages(self) -> Iterable[pa.RecordBatch]:
        """The rows of the file: idremote, msisdn, oadc, msg, segments, key."""

    def path(self) -> Any:
        """The exact bytes, as a path object."""

    def leave_out(self, msisdns: Numbers, reason: str) -> None:
        """Rewrite the file without these numbers."""

    def require_prepared(self, sha256: str) -> None:
        """Raise LedgerError unless the file is as prepared, minus the recipients left out."""

    def late_out(self) -> dict[str, int]:
        """How many recipients were left out after preparation, by Reason."""


class Rules(Protocol):
    """The rules that decide whether a file may leave now, and without which recipients."""

    def require(self, submission: Submission) -> None:
        """Raise if a rule forbids the file to leave now."""

    def left_out(
        self, numbers: Numbers, opted_out: Callable[[Numbers], Numbers]
    ) -> Iterable[tuple[str, Numbers]]:
        """The recipients who must be left out of a file, by Reason."""

    @property
    def need_a_turn_alone(self) -> bool:
        """Whether the file needs the ledger's turn for itself: no other file leaves meanwhile."""


@dataclass(frozen=True, slots=True)
class Try:
    """One try to send files: its token, its lease, and its rules.

    `gateway` opens a session. `rules` are checked before the upload and again right before the
    rename.
    """

    gateway: Callable[[], Any]
    ledger: Ledger
    token: str
    lease: timedelta
    rules: Rules


def submit_next(parcels: Mapping[str, Parcel], this: Try) -> Submission | None:
    """Send the next file of a run, and return the submission whose verdict is awaited.

    None if no file is left, or if all files of this hour are empty: call again for the next hour.
    All files of an hour and zone are uploaded whole, as `.tmp`, before the first is renamed. Each
    call renames one file, so that its verdict is known before the next (R1: all parts or none).
    Files of a later hour wait for a later call: until then they can be called off. Earlier tries
    may have stopped at any step. Raises SubmissionTaken, SubmissionUnknown, GatewayError,
    LedgerError.
    """
    files = [this.ledger.submissions.get(stem) for stem in parcels]
    if any(each.state is State.UNKNOWN for each in files):
        with this.gateway() as session:
            files = [look_again(each, session, this.ledger) for each in files]
    if any(each.state is State.CANCELLED and not each.is_empty for each in files):
        # Calling off one file of a run calls off all its remaining files.
        hold(parcels, this.gateway, this.ledger, "another file of the run was called off")
    ahead = [each for each in files if _is_ahead(each)]
    left = [each.stem for each in next_files(ahead)]
    without_verdict = [each for each in files if each.state is State.SUBMITTED]
    if without_verdict or not left:
        return next(iter(without_verdict), None)
    try:
        with this.gateway() as session:
            found = [_upload(stem, parcels[stem], session, this) for stem in left]
            there = [each for each in found if each.state is State.SUBMITTED]
            waiting = (each.stem for each in found if each.state is State.UPLOADING)
            while not there and (stem := next(waiting, None)):
                released = _release(stem, parcels[stem], session, this)
                there = [released] if released.state is State.SUBMITTED else []
    except Exception:
        # Release the claims, so that the next try need not wait for the lease to expire.
        for stem in left:
            with contextlib.suppress(LedgerError):
                this.ledger.submissions.release(stem, this.token)
        raise
    if not there and all(this.ledger.submissions.get(stem).is_empty for stem in parcels):
        raise LedgerError(
            f"all recipients of {', '.join(parcels)} were left out after preparation, by a STOP or "
            "by frequency_cap: nothing is sent"
        )
    return next(iter(there), None)


def next_files(files: Sequence[Submission]) -> list[Submission]:
    """The files of a run that are sent next.

    They share an hour and a zone, so that a zone that has closed does not hold up another.
    """
    left = sorted(
        (each for each in files if each.state in AHEAD), key=lambda each: (each.send_at, each.part)
    )
    return [each for each in left if (each.send_at, each.zone) == (left[0].send_at, left[0].zone)]


def begins_another_hour(files: Sequence[Submission]) -> bool:
    """Whether files of a run have left, and the next ones are planned for another hour."""
    left = next_files(files)
    gone = [each for each in files if each.state not in AHEAD]
    if not left or not gone or any(each.state is State.SUBMITTED for each in gone):
        return False
    return all(each.send_at != left[0].send_at for each in gone)


def require_accepted(files: Iterable[Submission]) -> None:
    """Raise LedgerError unless each file was accepted or ended empty."""
    left = [f"{each.stem} is {each.state}" for each in files if not is_accepted(each)]
    if left:
        raise LedgerError(f"the run's files were not all accepted: {', '.join(left)}")


def is_accepted(submission: Submission) -> bool:
    """Whether a file was accepted, or ended empty."""
    return submission.state in ACCEPTED_AND_LATER or submission.is_empty


def hold(stems: Iterable[str], gateway: Callable[[], Any], ledger: Ledger, why: str) -> list[str]:
    """Call off files that are not renamed yet, and delete their uploads at the gateway.

    Files that may have left stay as they are. Returns the stems called off.
    """
    held = []
    for stem in stems:
        ledger.submissions.move(stem, to=State.CANCELLED, detail={"why": why})
        if ledger.submissions.get(stem).state is State.CANCELLED:
            held.append(stem)
    if held:
        with gateway() as session:
            for stem in held:
                if not clear_away(stem, session):
                    log.error("%s was called off, and may have been renamed meanwhile", stem)
    return held


def clear_away(stem: str, session: Gateway) -> bool:
    """Delete a file's uploads that were not renamed, as they hold numbers.

    False if the file may have been renamed meanwhile.
    """
    sight = look_at(session, stem)
    left = [
        session.remove(Folder.SEND, file.name)
        for file in (*sight.drafts, *([sight.tmp] if sight.tmp else []))
    ]
    return all(left) and not sight.arrived and not look_at(session, stem).arrived


def _is_ahead(submission: Submission) -> bool:
    """Whether the file must still be sent. Raises if its state forbids that."""
    if submission.state in AHEAD:
        return True
    if submission.is_empty:
        return False
    standing(submission)
    return False


def standing(submission: Submission) -> Submission:
    """The submission, if it needs no upload any more. Raises if it can't be uploaded."""
    if submission.state is State.UNKNOWN:
        raise unknown(submission.stem)
    if submission.state is State.CANCELLED:
        raise LedgerError(f"{submission.stem} was cancelled: {remedies.NEW_RUN} to send it")
    if submission.state is State.PLANNED:
        raise LedgerError(f"{submission.stem} was never prepared: {remedies.clear(Task.RENDER)}")
    log.info("%s is %s already: nothing is uploaded again", submission.stem, submission.state)
    return submission


@dataclass(frozen=True, slots=True)
class Sight:
    """The files of one stem at the gateway: one for each phase, and unfinished uploads."""

    phases: dict[Phase, RemoteFile]
    drafts: tuple[RemoteFile, ...]

    @property
    def arrived(self) -> bool:
        """Whether the provider has the file, accepted or not."""
        return bool(ARRIVED & self.phases.keys())

    def __str__(self) -> str:
        return ", ".join(sorted(ARRIVED & self.phases.keys()))

    @property
    def tmp(self) -> RemoteFile | None:
        """The whole file, not renamed yet."""
        return self.phases.get(Phase.TMP)


def look_at(session: Shows, stem: str) -> Sight:
    """The gateway's files for this stem."""
    listing = session.listing(Folder.SEND)
    phases = {phase_of(file.name, stem): file for file in listing}
    return Sight(
        {phase: file for phase, file in phases.items() if phase is not None},
        tuple(file for file in listing if is_draft(file.name, stem)),
    )


def look_again(submission: Submission, session: Shows, ledger: Ledger) -> Submission:
    """The submission; one in `unknown` becomes `submitted` if the gateway now shows its arrival."""
    if submission.state is not State.UNKNOWN:
        return submission
    proof = proof_of_arrival(submission.stem, session, ledger)
    if not proof:
        return submission
    log.warning("%s had arrived: the gateway shows %s", submission.stem, proof)
    ledger.submissions.move(submission.stem, to=State.SUBMITTED, detail={"shown": proof})
    return ledger.submissions.get(submission.stem)


def proof_of_arrival(stem: str, session: Shows, ledger: Ledger) -> str:
    """The proof that the provider has a file: its phase, or a report on it; "" without proof.

    The provider never reports on a file that it does not have.
    """
    sight = look_at(session, stem)
    if sight.arrived:
        return str(sight)
    read = (each.name for each in ledger.reports.of_submission(stem))
    listed = (file.name for file in session.listing(Folder.REPORT) if reports_on(file.name, stem))
    return next(chain(read, listed), "")


def unknown(stem: str) -> SubmissionUnknown:
    """The error for a file of which the gateway shows no trace after its rename was intended."""
    return SubmissionUnknown(
        f"{stem} may or may not have been delivered: its rename was requested or about to be, and "
        f"the gateway does not show it. Nothing is sent again automatically. Ask {SUPPORT} "
        f"whether {stem} was received, then {remedies.ANSWER}: the DAG continues the run, or sends "
        "the campaign again under a new name"
    )


def what_left(files: Sequence[Submission]) -> str:
    """A sentence on which of a run's files the provider has."""
    has = ", ".join(f"{each.stem} ({each.state})" for each in files if each.state in SENT)
    may = ", ".join(
        each.stem
        for each in files
        if each.state is State.UNKNOWN or (each.state is State.UPLOADING and each.may_have_left)
    )
    sentences = [f"The provider has {has}" if has else "", f"It may have {may}" if may else ""]
    return ". ".join(filter(None, sentences)) or "The provider has no file of this run"


def what_was_sent(files: Sequence[Submission]) -> str:
    """A sentence on a successful run: what the gateway accepted, and for which hours."""
    sent = [each for each in files if each.state in ACCEPTED_AND_LATER]
    if not sent:
        return "Nothing was sent: all recipients had been left out by the time of the upload"
    messages = sum(each.messages or 0 for each in sent)
    segments = sum(each.segments or 0 for each in sent)
    hours = sorted({in_paris(each.sent_at) for each in sent})
    between = hours[0] if len(hours) == 1 else f"{hours[0]} to {hours[-1]}"
    return (
        f"The gateway accepted {count(messages, 'message')} in {segments:,} SMS "
        f"({count(len(sent), 'file')}), for {between}"
    )


def contradiction(stem: str, shown: Sight | str) -> SubmissionContradicted:
    """The error for a file that is at the gateway, and that this ledger never sent."""
    return SubmissionContradicted(
        f"the gateway shows {stem} as {shown}, and this ledger never intended to rename it: "
        "another program sent it, or the ledger was restored from an older backup. Nothing more is "
        "sent, and the ledger does not know the recipients of this file: compare it with the "
        f"backup and with {SUPPORT} before anything is sent again"
    )


def report_due(send_at: datetime, messages: int, segments: int) -> datetime:
    """When the delivery report is due (R29): after one day, or four from MANY messages on."""
    return send_at + timedelta(days=1 if max(messages, segments) < MANY else 4)


def report_due_of(submission: Submission) -> datetime:
    """When a submission's delivery report is due."""
    messages, segments = submission.messages or 0, submission.segments or 0
    return report_due(submission.sent_at, messages, segments)


def record_verdict(stem: str, ledger: Ledger, now: datetime, *, accepted: bool) -> None:
    """Record the gateway's verdict on a file: `.done` or `.reject` (R27, R28)."""
    if accepted:
        due = report_due_of(ledger.submissions.get(stem))
        ledger.submissions.move(stem, to=State.ACCEPTED, verdict_at=now, due_at=due)
        log.info("The gateway accepted %s; its report is due %s", stem, due)
    else:
        ledger.submissions.move(stem, to=State.REJECTED, verdict_at=now)


def _upload(stem: str, parcel: Parcel, session: Gateway, this: Try) -> Submission:
    """Upload the file as `.tmp`, unless it is there or has been renamed already."""
    submission = this.ledger.submissions.claim(stem, this.token, lease=this.lease)
    if submission.state is not State.UPLOADING:
        return standing(submission)
    sight = look_at(session, stem)
    if not sight.phases:
        # A listing is no snapshot: it can miss a file that is renamed meanwhile, but not twice.
        sight = look_at(session, stem)
    if sight.arrived:
        if submission.rename_intended_at is None:
            raise contradiction(stem, sight)
        log.warning("%s had arrived in an earlier try, as %s", stem, ", ".join(sight.phases))
        return _arrived(stem, this.ledger)
    if submission.may_have_left:
        # A `.tmp` is no proof that the rename failed: a server may create the new name before it
        # removes the old one, and the provider may have taken the new one already.
        this.ledger.submissions.move(stem, to=State.UNKNOWN, token=this.token)
        raise unknown(stem)
    for draft in sight.drafts:  # of earlier tries: a deleted file can't be renamed by them
        if not session.remove(Folder.SEND, draft.name):
            raise _vanished(stem, draft.name)
    this.rules.require(submission)
    for reason, numbers in this.rules.left_out(parcel.msisdns(), this.ledger.stop_list.opted_out):
        log.warning("%s is rewritten without %d of its recipients (%s)", stem, len(numbers), reason)
        parcel.leave_out(numbers, reason)
    if not len(parcel.msisdns()):
        return _end_empty(stem, parcel, sight, session, this)
    if submission.prepared_sha256:
        parcel.require_prepared(submission.prepared_sha256)
    content = fingerprint(parcel.path())
    if _waits_for_rename(submission, sight.tmp, content):
        return submission
    started = time.monotonic()
    _put_in_place(stem, parcel.path(), content["sha256"], sight.tmp, session, this)
    return this.ledger.submissions.record_upload(
        stem,
        this.token,
        messages=parcel.messages(),
        late_out=parcel.late_out(),
        seconds=time.monotonic() - started,
        **content,
    )


class Look:
    """The time of the last check of a file; its result holds for LOOK_HOLDS seconds."""

    def __init__(self) -> None:
        self._at = _real_seconds()

    def require(self) -> None:
        """Raise LookExpired if the check is too old."""
        if _real_seconds() - self._at > LOOK_HOLDS:
            raise LookExpired


def _real_seconds() -> float:
    """A clock that also advances while this process or its machine is suspended."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the first: Linux only
    return time.clock_gettime(clock)


def _release(stem: str, parcel: Parcel, session: Gateway, this: Try) -> Submission:
    """Rename the uploaded file, rewritten first if recipients must be left out."""
    expired = 0
    while True:
        submission = _upload(stem, parcel, session, this)
        if submission.state is not State.UPLOADING:
            return submission
        try:
            if left := _leave(submission, parcel, session, this):
                return left
        except LookExpired as error:
            expired += 1
            if expired == LOOKS:
                raise
            log.warning("%s: %s", stem, error)


def _leave(
    submission: Submission, parcel: Parcel, session: Gateway, this: Try
) -> Submission | None:
    """Check a last time, and rename; None if the file must be rewritten first.

    All this happens in one turn of the ledger: a STOP that arrives meanwhile is recorded after it.
    Of two files that together exceed a frequency cap, the second sees the first.
    """
    stem, people = submission.stem, parcel.msisdns()
    with this.ledger.turn(alone=this.rules.need_a_turn_alone) as turn:
        # Recipients may have opted out, or been written to, during the upload.
        if any(this.rules.left_out(people, turn.opted_out)):
            return None
        if unseen := turn.unseen_stops():
            raise ReportsFailed((), (), False, tuple(unseen.items()))
        look = Look()
        this.rules.require(submission)
        # After all other checks, so that a refusal leaves no intent on record.
        this.ledger.submissions.intend_rename(stem, this.token)
        try:
            turn.require()
            look.require()
            _rename(stem, session, this.ledger, this.token, look)
        except LookExpired:
            this.ledger.submissions.withdraw_rename(stem, this.token, "the last look was too old")
            raise
    # Outside the turn: listeners (a mail server, for example) must not delay a STOP.
    return _arrived(stem, this.ledger)


def _end_empty(stem: str, parcel: Parcel, sight: Sight, session: Gateway, this: Try) -> Submission:
    """End a file without recipients; the other files of its run continue."""
    if sight.tmp and not session.remove(Folder.SEND, sight.tmp.name):
        raise _vanished(stem, sight.tmp.name)
    log.warning("all recipients of %s were left out after preparation: it is not sent", stem)
    return this.ledger.submissions.end_empty(stem, this.token, left_out=parcel.late_out())


def _waits_for_rename(
    submission: Submission, tmp: RemoteFile | None, content: Mapping[str, Any]
) -> bool:
    """Whether the file's bytes are the recorded ones, and are at the gateway as `.tmp`."""
    if submission.uploaded_at is None or tmp is None:
        return False
    recorded = {"sha256": submission.sha256, "size_bytes": submission.size_bytes}
    return tmp.size == submission.size_bytes and content == recorded


def _put_in_place(
    stem: str, path: Any, sha256: str, former: RemoteFile | None, session: Gateway, this: Try
) -> None:
    """Upload under a name of this try, then rename the whole file to `stem.tmp`.

    So `stem.tmp` is always a whole file, and a late rename finds either that or nothing: two tries
    never write into the same file, and one `stem.tmp` becomes `.csv` once. The ledger forgets the
    former upload before it is replaced, as a file of other recipients may have the same size.
    """
    name = draft_name(stem, this.token)
    try:
        _upload_draft(name, path, sha256, session)
        look = Look()
        if not this.ledger.submissions.forget_upload(stem, this.token):
            raise _taken(stem)
        if former and not session.remove(Folder.SEND, former.name, look.require):
            raise _vanished(stem, former.name)
        session.rename(name, f"{stem}.{Phase.TMP}", look.require)
    except GatewayUnreachable:
        raise  # the next try lists the gateway and deletes the draft
    except Exception:
        # The draft holds numbers, and no later try may delete it. A `stem.tmp` stays.
        with contextlib.suppress(GatewayError):
            session.remove(Folder.SEND, name)
        raise


def _upload_draft(name: str, path: Any, sha256: str, session: Gateway) -> None:
    """Upload a file under a name that the provider ignores.

    Raises SubmissionTaken if its bytes are no longer those of `sha256`.
    """
    with storage.opened(path, "rb") as source:
        size = source.seek(0, os.SEEK_END)
        source.seek(0)
        read = _Hashed(source)
        arrived = session.upload(name, cast(BinaryIO, read))
    if read.digest.hexdigest() != sha256:
        raise SubmissionTaken(
            f"{path} changed while it was uploaded as {name}: another try is running, this one is "
            "repeated later"
        )
    if arrived != size:
        with contextlib.suppress(GatewayError):
            session.remove(Folder.SEND, name)
        raise GatewayUnreachable(
            f"{name} has {arrived} bytes at the gateway instead of {size}: the upload was cut "
            "short and will be tried again"
        )


class _Hashed:
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = hashlib.sha256()
        self.seek, self.tell = file.seek, file.tell
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        piece = self._file.read(size)
        self.digest.update(piece)
        return piece


def _rename(stem: str, session: Gateway, ledger: Ledger, token: str, look: Look) -> None:
    if not ledger.submissions.holds(stem, token):
        raise _taken(stem)
    try:
        session.rename(f"{stem}.{Phase.TMP}", f"{stem}.{Phase.CSV}", look.require)
    except GatewayUnreachable:
        raise  # the server may have renamed it all the same: the next try checks
    except GatewayError as error:
        sight = look_at(session, stem)
        if not sight.arrived:  # a listing is no snapshot
            sight = look_at(session, stem)
        if not sight.arrived:
            if sight.tmp:  # otherwise another try may have renamed it
                ledger.submissions.withdraw_rename(stem, token, str(error))
            raise
        log.warning("%s was renamed by another try", stem)


def _vanished(stem: str, name: str) -> SubmissionTaken:
    return SubmissionTaken(
        f"{name} disappeared while {stem} was being delivered: another try is running, this one is "
        "repeated later"
    )


def _taken(stem: str) -> SubmissionTaken:
    return SubmissionTaken(f"another try took over {stem}: this one stops")


def _arrived(stem: str, ledger: Ledger) -> Submission:
    ledger.submissions.move(stem, to=State.SUBMITTED)
    return ledger.submissions.get(stem)


def fingerprint(path: Any) -> dict[str, Any]:
    """`sha256` and `size_bytes` of a file."""
    digest = hashlib.sha256()
    size = 0
    with storage.opened(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return {"sha256": digest.hexdigest(), "size_bytes": size}
