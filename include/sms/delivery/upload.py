"""Getting one file to the gateway at most once, and reading what became of it (R27-R29).

The order is the promise: claim in the ledger, look at the gateway, upload, call it `.tmp` once it
is whole, record its messages; when every file of the run lies there, record the intent, read the
stop list once more, rename to `.csv`, record the arrival. A try that dies anywhere leaves enough
behind for the next one to know what it may do; where it can't know, it stops and asks a person.
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
from sms.ledger.states import AHEAD, HEARD, SENT, State
from sms.remedies import Task
from sms.wire.names import ARRIVED, Phase, draft_name, is_draft, phase_of, reports_on
from sms.words import count

log = logging.getLogger(__name__)

Numbers = npt.NDArray[np.int64]

LOOK_HOLDS = 5.0  # seconds of real time from asking whether a file may leave to asking for it
LOOKS = 5  # that may expire before a try gives up
MANY = 10_000  # spec, *Campaign stats*: from here on the statistics take four days


class Parcel(Protocol):
    """What is to be sent as one file; built anew when somebody must be left out meanwhile."""

    def msisdns(self) -> Numbers:
        """Everyone in the file."""

    def messages(self) -> Iterable[pa.RecordBatch]:
        """The rows of the file: idremote, msisdn, oadc, msg, segments, key."""

    def path(self) -> Any:
        """The exact bytes, as a path object."""

    def leave_out(self, msisdns: Numbers, reason: str) -> None:
        """Write the file anew without these numbers."""

    def require_prepared(self, sha256: str) -> None:
        """LedgerError unless rows and bytes are those prepared, but for whoever is left out."""

    def late_out(self) -> dict[str, int]:
        """How many were left out since the file was first written, by Reason."""


class Rules(Protocol):
    """What decides whether a file may leave now, and for whom."""

    def require(self, submission: Submission) -> None:
        """Raise for the first rule that forbids that a file leaves now."""

    def left_out(
        self, numbers: Numbers, opted_out: Callable[[Numbers], Numbers]
    ) -> Iterable[tuple[str, Numbers]]:
        """The recipients of a file that must not get it, by Reason; nothing if there are none."""

    @property
    def need_a_turn_alone(self) -> bool:
        """Whether no other file may leave in the same turn of the ledger."""


@dataclass(frozen=True, slots=True)
class Try:
    """One try at bringing files to the gateway: who it is, and what it must ask.

    `gateway` opens a session; `rules` are asked before a byte is uploaded and again right before a
    rename.
    """

    gateway: Callable[[], Any]
    ledger: Ledger
    token: str
    lease: timedelta
    rules: Rules


def submit_next(parcels: Mapping[str, Parcel], this: Try) -> Submission | None:
    """The next of a run's files, by stem, whose verdict must be heard; None if there is none left.

    None, too, if all of this hour's files turn out to be empty: look again for the next hour's. It
    is brought to the gateway if it is not there yet. All files of its hour and zone lie there as
    `.tmp`, whole, before the first is renamed; and one is renamed a call, so that its verdict can
    be heard before the next (R1: all parts or none). Those of a later hour wait for a later call:
    until then they can be called off. Earlier tries may have got anywhere. Raises SubmissionTaken,
    SubmissionUnknown, GatewayError, LedgerError.
    """
    files = [this.ledger.submissions.get(stem) for stem in parcels]
    if any(each.state is State.UNKNOWN for each in files):
        with this.gateway() as session:
            files = [look_again(each, session, this.ledger) for each in files]
    if any(each.state is State.CANCELLED and not each.is_empty for each in files):
        # Whoever calls off one file of a run calls off what is left of it.
        hold(parcels, this.gateway, this.ledger, "another file of the run was called off")
    ahead = [each for each in files if _is_ahead(each)]
    left = [each.stem for each in next_files(ahead)]
    unheard = [each for each in files if each.state is State.SUBMITTED]
    if unheard or not left:
        return next(iter(unheard), None)
    try:
        with this.gateway() as session:
            found = [_upload(stem, parcels[stem], session, this) for stem in left]
            there = [each for each in found if each.state is State.SUBMITTED]
            waiting = (each.stem for each in found if each.state is State.UPLOADING)
            while not there and (stem := next(waiting, None)):
                released = _release(stem, parcels[stem], session, this)
                there = [released] if released.state is State.SUBMITTED else []
    except Exception:
        # This try ends in good order, so the next need not wait for the lease to run out.
        for stem in left:
            with contextlib.suppress(LedgerError):
                this.ledger.submissions.release(stem, this.token)
        raise
    if not there and all(this.ledger.submissions.get(stem).is_empty for stem in parcels):
        raise LedgerError(
            f"everybody in {', '.join(parcels)} had to be left out since it was written, by a STOP "
            "or by frequency_cap: nothing is sent"
        )
    return next(iter(there), None)


def next_files(files: Sequence[Submission]) -> list[Submission]:
    """Those of a run's files that must still go to the gateway and go out next.

    They share an hour and a zone: where one zone has closed meanwhile, others must not wait for it.
    """
    left = sorted(
        (each for each in files if each.state in AHEAD), key=lambda each: (each.send_at, each.part)
    )
    return [each for each in left if (each.send_at, each.zone) == (left[0].send_at, left[0].zone)]


def begins_another_hour(files: Sequence[Submission]) -> bool:
    """Whether some of a run's files have left, and those to go next go out at another hour."""
    left = next_files(files)
    gone = [each for each in files if each.state not in AHEAD]
    if not left or not gone or any(each.state is State.SUBMITTED for each in gone):
        return False
    return all(each.send_at != left[0].send_at for each in gone)


def require_heard(files: Iterable[Submission]) -> None:
    """Raise LedgerError if a run is to end well, and one of its files was not accepted."""
    left = [f"{each.stem} is {each.state}" for each in files if not is_heard(each)]
    if left:
        raise LedgerError(f"the run's files were not all accepted: {', '.join(left)}")


def is_heard(submission: Submission) -> bool:
    """Whether a file was accepted, or nobody was left in it."""
    return submission.state in HEARD or submission.is_empty


def hold(stems: Iterable[str], gateway: Callable[[], Any], ledger: Ledger, why: str) -> list[str]:
    """Call off files that are not renamed yet, and remove what lies at the gateway of them.

    Those that may have left stay as they are. Returns the stems that are called off.
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
    """Remove what lies at the gateway of a file and was not renamed: numbers of people.

    False if it may have been renamed meanwhile.
    """
    sight = look_at(session, stem)
    left = [
        session.remove(Folder.SEND, file.name)
        for file in (*sight.drafts, *([sight.tmp] if sight.tmp else []))
    ]
    return all(left) and not sight.arrived and not look_at(session, stem).arrived


def _is_ahead(submission: Submission) -> bool:
    """Whether the file must still go to the gateway; an error says why it can't."""
    if submission.state in AHEAD:
        return True
    if submission.is_empty:
        return False
    standing(submission)
    return False


def standing(submission: Submission) -> Submission:
    """A submission that needs no upload any more, or a sentence on why it can't have one."""
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
    """What the gateway shows of one stem: a file for each phase, and uploads under way."""

    phases: dict[Phase, RemoteFile]
    drafts: tuple[RemoteFile, ...]

    @property
    def arrived(self) -> bool:
        """Whether the provider has it, whatever it made of it."""
        return bool(ARRIVED & self.phases.keys())

    def __str__(self) -> str:
        """As what the provider has it."""
        return ", ".join(sorted(ARRIVED & self.phases.keys()))

    @property
    def tmp(self) -> RemoteFile | None:
        """The whole file that waits for its rename."""
        return self.phases.get(Phase.TMP)


def look_at(session: Shows, stem: str) -> Sight:
    """Every file that the gateway shows for this stem."""
    listing = session.listing(Folder.SEND)
    phases = {phase_of(file.name, stem): file for file in listing}
    return Sight(
        {phase: file for phase, file in phases.items() if phase is not None},
        tuple(file for file in listing if is_draft(file.name, stem)),
    )


def look_again(submission: Submission, session: Shows, ledger: Ledger) -> Submission:
    """A submission as it stands, once the gateway was asked about one in `unknown`.

    What shows there now settles it; what doesn't leaves it as it is.
    """
    if submission.state is not State.UNKNOWN:
        return submission
    proof = proof_of_arrival(submission.stem, session, ledger)
    if not proof:
        return submission
    log.warning("%s had arrived: the gateway shows %s", submission.stem, proof)
    ledger.submissions.move(submission.stem, to=State.SUBMITTED, detail={"shown": proof})
    return ledger.submissions.get(submission.stem)


def proof_of_arrival(stem: str, session: Shows, ledger: Ledger) -> str:
    """What proves that the provider has a file: its phase, or a report on it; "" if nothing does.

    The provider reports on nothing that it never had.
    """
    sight = look_at(session, stem)
    if sight.arrived:
        return str(sight)
    known = (each.name for each in ledger.reports.of_submission(stem))
    shown = (file.name for file in session.listing(Folder.REPORT) if reports_on(file.name, stem))
    return next(chain(known, shown), "")


def unknown(stem: str) -> SubmissionUnknown:
    """The sentence for a file whose fate can't be read from the gateway."""
    return SubmissionUnknown(
        f"{stem} may or may not have been delivered: its rename was about to happen, and the "
        f"gateway does not show that it did. Nothing is sent again by itself. Ask {SUPPORT} "
        f"whether {stem} was received, then {remedies.ANSWER}, which goes "
        "on with it or sends the campaign again under a new name"
    )


def what_left(files: Sequence[Submission]) -> str:
    """A sentence on which of a run's files the provider has."""
    has = ", ".join(f"{each.stem} ({each.state})" for each in files if each.state in SENT)
    may = ", ".join(
        each.stem
        for each in files
        if each.state is State.UNKNOWN or (each.state is State.UPLOADING and each.may_have_left)
    )
    told = [f"The provider has {has}" if has else "", f"It may have {may}" if may else ""]
    return ". ".join(filter(None, told)) or "The provider has no file of this run"


def what_was_sent(files: Sequence[Submission]) -> str:
    """A sentence on a run that ended well: what the gateway accepted, for when."""
    sent = [each for each in files if each.state in HEARD]
    if not sent:
        return "Nothing was sent: no recipient was left when the files were uploaded"
    messages = sum(each.messages or 0 for each in sent)
    segments = sum(each.segments or 0 for each in sent)
    hours = sorted({in_paris(each.sent_at) for each in sent})
    between = hours[0] if len(hours) == 1 else f"{hours[0]} to {hours[-1]}"
    return (
        f"The gateway accepted {count(messages, 'message')} in {segments:,} SMS "
        f"({count(len(sent), 'file')}), for {between}"
    )


def contradiction(stem: str, shown: Sight | str) -> SubmissionContradicted:
    """The sentence for a file that is at the gateway, and that this ledger never let go."""
    return SubmissionContradicted(
        f"the gateway shows {stem} as {shown}, and this ledger never meant to rename it: somebody "
        "else has put it there, or the ledger was restored from an older backup. Nothing more is "
        "sent, and the ledger does not know who was written to: compare it with the backup and "
        f"with {SUPPORT} before anything is sent again"
    )


def report_due(send_at: datetime, messages: int, segments: int) -> datetime:
    """When the delivery report may be looked for (R29): after one day, or four for many."""
    return send_at + timedelta(days=1 if max(messages, segments) < MANY else 4)


def report_due_of(submission: Submission) -> datetime:
    """When a submission's delivery report may be looked for."""
    messages, segments = submission.messages or 0, submission.segments or 0
    return report_due(submission.sent_at, messages, segments)


def record_verdict(stem: str, ledger: Ledger, now: datetime, *, accepted: bool) -> None:
    """Write down what the gateway made of a file: `.done`, or `.reject` (R27, R28)."""
    if accepted:
        due = report_due_of(ledger.submissions.get(stem))
        ledger.submissions.move(stem, to=State.ACCEPTED, verdict_at=now, due_at=due)
        log.info("The gateway accepted %s; its report is due %s", stem, due)
    else:
        ledger.submissions.move(stem, to=State.REJECTED, verdict_at=now)


def _upload(stem: str, parcel: Parcel, session: Gateway, this: Try) -> Submission:
    """See to it that the file lies at the gateway as `.tmp`, or find that it went further."""
    submission = this.ledger.submissions.claim(stem, this.token, lease=this.lease)
    if submission.state is not State.UPLOADING:
        return standing(submission)
    sight = look_at(session, stem)
    if not sight.phases:
        # A listing is no snapshot: a file that is renamed meanwhile can be missed, but not twice.
        sight = look_at(session, stem)
    if sight.arrived:
        if submission.rename_intended_at is None:
            raise contradiction(stem, sight)
        log.warning("%s had arrived in an earlier try, as %s", stem, ", ".join(sight.phases))
        return _arrived(stem, this.ledger)
    if submission.may_have_left:
        # A `.tmp` alone is no proof: a server may give a file its new name before it takes the old
        # one away, and the provider may have been quicker.
        this.ledger.submissions.move(stem, to=State.UNKNOWN, token=this.token)
        raise unknown(stem)
    for draft in sight.drafts:  # of tries before this one: what is gone can't be renamed late
        if not session.remove(Folder.SEND, draft.name):
            raise _vanished(stem, draft.name)
    this.rules.require(submission)
    for reason, people in this.rules.left_out(parcel.msisdns(), this.ledger.stop_list.opted_out):
        log.warning("%d of %s are left out (%s): it is written anew", len(people), stem, reason)
        parcel.leave_out(people, reason)
    if not len(parcel.msisdns()):
        return _end_empty(stem, parcel, sight, session, this)
    if submission.prepared_sha256:
        parcel.require_prepared(submission.prepared_sha256)
    made = fingerprint(parcel.path())
    if _waits_for_rename(submission, sight.tmp, made):
        return submission
    started = time.monotonic()
    _put_in_place(stem, parcel.path(), made["sha256"], sight.tmp, session, this)
    return this.ledger.submissions.record_upload(
        stem,
        this.token,
        messages=parcel.messages(),
        late_out=parcel.late_out(),
        seconds=time.monotonic() - started,
        **made,
    )


class Look:
    """When it was last asked whether a file may leave; what was said holds for a few seconds."""

    def __init__(self) -> None:
        self._at = _real_seconds()

    def require(self) -> None:
        """LookExpired once it is too old."""
        if _real_seconds() - self._at > LOOK_HOLDS:
            raise LookExpired


def _real_seconds() -> float:
    """Seconds that pass while this process, or its machine, stands still."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the first is Linux's
    return time.clock_gettime(clock)


def _release(stem: str, parcel: Parcel, session: Gateway, this: Try) -> Submission:
    """Rename the file that lies there, without whoever must be left out since."""
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
    """Ask for the last time, and rename; None if the file must be written anew first.

    All of it is one turn: whoever says STOP meanwhile waits until it is over. Of two files that
    would write to somebody once too often, the second sees the first.
    """
    stem, people = submission.stem, parcel.msisdns()
    with this.ledger.turn(alone=this.rules.need_a_turn_alone) as turn:
        # Recipients who opted out or were written to while the file was uploaded are found here.
        if any(this.rules.left_out(people, turn.opted_out)):
            return None
        if unseen := turn.unseen_stops():
            raise ReportsFailed((), (), False, tuple(unseen.items()))
        look = Look()
        this.rules.require(submission)
        # Last of all, so that whatever refuses before leaves no doubt behind.
        this.ledger.submissions.intend_rename(stem, this.token)
        try:
            turn.require()
            look.require()
            _rename(stem, session, this.ledger, this.token, look)
        except LookExpired:
            this.ledger.submissions.withdraw_rename(stem, this.token, "the last look was too old")
            raise
    # Outside the turn: whoever is told of it, a mail server perhaps, holds up nobody's STOP.
    return _arrived(stem, this.ledger)


def _end_empty(stem: str, parcel: Parcel, sight: Sight, session: Gateway, this: Try) -> Submission:
    """End a file in which nobody is left; the others of its run go on."""
    if sight.tmp and not session.remove(Folder.SEND, sight.tmp.name):
        raise _vanished(stem, sight.tmp.name)
    log.warning("everybody in %s had to be left out since it was written: it is not sent", stem)
    return this.ledger.submissions.end_empty(stem, this.token, left_out=parcel.late_out())


def _waits_for_rename(
    submission: Submission, tmp: RemoteFile | None, made: Mapping[str, Any]
) -> bool:
    """Whether the bytes that were made are those recorded, and lie at the gateway as `.tmp`."""
    if submission.uploaded_at is None or tmp is None:
        return False
    recorded = {"sha256": submission.sha256, "size_bytes": submission.size_bytes}
    return tmp.size == submission.size_bytes and made == recorded


def _put_in_place(
    stem: str, path: Any, sha256: str, former: RemoteFile | None, session: Gateway, this: Try
) -> None:
    """Upload under this try's own name, and call it `stem.tmp` once it is whole.

    So `stem.tmp` is a whole file at every moment, and whoever is late with a rename finds either
    that or nothing: two tries never write into each other's bytes, and one `stem.tmp` becomes
    `.csv` once. What the ledger knows of the former one is forgotten before it is replaced: of
    other people the file may have the same size.
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
        raise  # nobody answers: the next try looks, and removes it
    except Exception:
        # Numbers of people, and nobody would look for them. What is `stem.tmp` by now stays.
        with contextlib.suppress(GatewayError):
            session.remove(Folder.SEND, name)
        raise


def _upload_draft(name: str, path: Any, sha256: str, session: Gateway) -> None:
    """Upload all bytes of a file under a name that means nothing to the provider.

    SubmissionTaken if they are not those that were looked at.
    """
    with storage.opened(path, "rb") as source:
        size = source.seek(0, os.SEEK_END)
        source.seek(0)
        read = _Hashed(source)
        arrived = session.upload(name, cast(BinaryIO, read))
    if read.digest.hexdigest() != sha256:
        raise SubmissionTaken(
            f"{path} changed while it was uploaded as {name}: another try is at work, this one "
            "looks again later"
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
        raise  # the server may have done it all the same: the next try looks
    except GatewayError as error:
        sight = look_at(session, stem)
        if not sight.arrived:  # a listing is no snapshot
            sight = look_at(session, stem)
        if not sight.arrived:
            if sight.tmp:  # else it may have been somebody else's rename that took it away
                ledger.submissions.withdraw_rename(stem, token, str(error))
            raise
        log.warning("%s was renamed by another try", stem)


def _vanished(stem: str, name: str) -> SubmissionTaken:
    return SubmissionTaken(
        f"{name} vanished while {stem} was being delivered: another try is at work, this one looks "
        "again later"
    )


def _taken(stem: str) -> SubmissionTaken:
    return SubmissionTaken(f"another try took over {stem}: this one stands aside")


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
