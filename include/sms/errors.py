"""What can go wrong, and whether trying again can help.

Every error here speaks in one sentence that says what, where and what to do; none carries a
number or a text of a recipient. `retryable` is the only thing that Airflow's side asks.
A bad row is never an exception: it is an excluded row with its Reason.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sms import remedies
from sms.remedies import Dag, Task
from sms.words import count

SUPPORT = "support@mtarget.fr"  # spec, *Registration*


class SmsError(Exception):
    """A failure that a person can act on."""

    retryable = False


class ConfigurationError(SmsError):
    """Something that the operator set up is missing or wrong."""


class ClockMoved(ConfigurationError):
    """A sandbox clock meets a gateway that is not that clock's sandbox."""

    def __init__(self, gateway: str) -> None:
        super().__init__(gateway)
        self.gateway = gateway

    def __str__(self) -> str:
        return (
            f"SMS_SANDBOX_CLOCK moves the clock, but {self.gateway} is not its sandbox: "
            "unset the variable, or point the connection at the sandbox"
        )


class BadCampaign(SmsError):
    """A campaign's folder that can't be used: where, and what is wrong there.

    `others` are the folder's other faults; the sentence names their files without the folder.
    """

    def __init__(
        self,
        path: str,
        line: int | None,
        problem: str,
        others: "tuple[BadCampaign, ...]" = (),
    ) -> None:
        super().__init__(path, line, problem, others)
        self.path = path
        self.line = line
        self.problem = problem
        self.others = others

    def __str__(self) -> str:
        others = (f"; also {each._told(each.path.rpartition('/')[2])}" for each in self.others)
        return f"{self._told(self.path)}{''.join(others)}"

    def _told(self, path: str) -> str:
        where = path if self.line is None else f"{path}, line {self.line}"
        return f"{where}: {self.problem}"

    def each(self) -> "list[BadCampaign]":
        """Every fault by itself, with its whole path."""
        return [BadCampaign(self.path, self.line, self.problem), *self.others]


class StorageFailed(SmsError):
    """A disk or a store of ours fails, or refuses us."""

    def __init__(self, where: str, doing: str, why: str, advice: str, retryable: bool) -> None:
        super().__init__(where, doing, why, advice, retryable)
        self.where = where
        self.doing = doing
        self.why = why
        self.advice = advice
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.where} can't be {self.doing} ({self.why}): {self.advice}"


class StorageGone(StorageFailed):
    """A file or folder of ours is not there."""


class Unforeseen(SmsError):
    """Something that nobody thought of: its kind and place, and not its words."""

    retryable = True

    def __init__(self, kind: str, place: str) -> None:
        super().__init__(kind, place)
        self.kind = kind
        self.place = place

    def __str__(self) -> str:
        return (
            f"an unforeseen {self.kind} in {self.place}. Its words may quote somebody's data and "
            "are withheld; the log shows what led to it"
        )


class SourceError(SmsError):
    """The warehouse's answer can't be used: a SQL error, a missing column, nobody to write to."""


class WarehouseUnreachable(SourceError):
    """The warehouse did not answer."""

    retryable = True


class NotApproved(SmsError):
    """A person had to say yes, and nobody did."""


class LimitTripped(SmsError):
    """A run is larger, dearer or worse than its campaign allows: nothing is uploaded."""

    def __init__(self, campaign: str, tripped: tuple[str, ...]) -> None:
        super().__init__(campaign, tripped)
        self.campaign = campaign
        self.tripped = tripped

    def __str__(self) -> str:
        return (
            f"{self.campaign} stops before its upload: {'; '.join(self.tripped)}. "
            "If all is as it should be, correct campaign.yaml or the settings and "
            f"{remedies.clear(Task.PLAN)}"
        )


class WindowClosed(SmsError):
    """The hour asked for is closed to this kind of message."""


class GatewayError(SmsError):
    """The gateway, or what lies on it, is not as it must be."""


class GatewayUnreachable(GatewayError):
    """The gateway did not answer, or the line broke: nothing is known of what it did."""

    retryable = True


class GatewayRefused(GatewayError):
    """The gateway refused us: its host key, our key, our address, a directory."""


class UploadRefused(GatewayRefused):
    """The gateway took no more bytes of an upload, and did not say why: its disk may be full."""

    retryable = True


class FileRejected(GatewayError):
    """The verdict `.reject`: final, never retried.

    `causes` are what may be behind it, in words; `sent` and `held` are the run's other files, those
    that the gateway has and those that were called off.
    """

    def __init__(
        self,
        stem: str,
        causes: tuple[str, ...] = (),
        sent: tuple[str, ...] = (),
        held: tuple[str, ...] = (),
    ) -> None:
        super().__init__(stem, causes, sent, held)
        self.stem = stem
        self.causes = causes
        self.sent = sent
        self.held = held

    def __str__(self) -> str:
        told = [f"the gateway rejected {self.stem}: no SMS was sent of this file"]
        if self.causes:
            told.append(f"Likely causes: {'; '.join(self.causes)}")
        if self.held:
            told.append(f"Held back and called off: {', '.join(self.held)}")
        if self.sent:
            told.append(
                f"Already at the gateway: {', '.join(self.sent)}. A new run must leave out whoever "
                "is in sms.delivery"
            )
        told.append("Its bytes are kept in the run's folder. Correct the cause, then trigger a run")
        return ". ".join(told)


class SendingHalted(SmsError):
    """Somebody has stopped all sending: nothing is uploaded or renamed until they let it go on."""

    def __init__(self, variable: str) -> None:
        super().__init__(variable)
        self.variable = variable

    def __str__(self) -> str:
        return (
            f"the Airflow variable {self.variable} halts all sending: nothing more is renamed. "
            "Delete it when sending may go on, then clear all that failed in this run; or "
            f"{remedies.CALL_OFF}"
        )


class VerdictOverdue(GatewayError):
    """No verdict came in time; `phase` is the extension last seen: the file may yet be sent."""

    def __init__(self, stem: str, phase: str | None) -> None:
        super().__init__(stem, phase)
        self.stem = stem
        self.phase = phase

    def __str__(self) -> str:
        seen = {
            "lock": "is still at work on it (.lock), so it may yet be sent",
            "csv": "has not taken it (.csv)",
            None: "shows no file of that name any more",
        }[self.phase]
        return (
            f"no verdict on {self.stem} in time: the gateway {seen}. It is not sent again. Ask "
            f"{SUPPORT} what became of it, and {remedies.clear(Task.SUBMIT)}: the run "
            "waits once more"
        )


class CampaignRepeated(SmsError):
    """The same campaign was asked for twice at once; this run stands aside for the other."""

    def __init__(self, campaign: str, other: str) -> None:
        super().__init__(campaign, other)
        self.campaign = campaign
        self.other = other

    def __str__(self) -> str:
        return (
            f"{self.campaign} was asked for twice within a minute: {self.other} was first, and "
            "this run was skipped and sends nothing. If that one is not to go on, "
            f"{remedies.CALL_OFF}; then, or if everybody is to be written to twice, "
            f"{remedies.NEW_RUN}"
        )


class SubmissionUnknown(GatewayError):
    """Whether the file arrived can't be known from here: a person must look."""


class SubmissionContradicted(GatewayError):
    """The gateway shows a file that the ledger knows not to have left: a person must look."""


class LookExpired(SmsError):
    """Too long since the last look at what forbids a rename: nothing was renamed by it."""

    retryable = True

    def __str__(self) -> str:
        return (
            "this process, or the line to the ledger, stood still between the last look at the "
            "stop list, the hour and the halt, and the rename: nothing was renamed by that look, "
            "and all of it is asked again"
        )


class SubmissionTaken(SmsError):
    """Another try holds this submission; this one stands aside."""

    retryable = True


class LedgerError(SmsError):
    """The ledger refuses: a state that can't be reached from here, a promise that would break."""


class LedgerUnreachable(LedgerError):
    """The ledger did not answer."""

    retryable = True


class LedgerReadOnly(LedgerUnreachable):
    """The ledger answers and takes no writing: a standby, most often while another takes over."""


class LedgerBusy(LedgerError):
    """Not now: somebody holds what only one may hold at a time, or the server lacks room."""

    retryable = True


class StillReported(LedgerError):
    """Somebody is in files of which the provider may still report; the last one's hour."""

    def __init__(self, stems: Sequence[str], last: datetime, from_when: str = "") -> None:
        super().__init__(
            f"this person is in {', '.join(stems)}, of which the provider may still report, and "
            "would be written down again: nothing was erased. Enter their opt-out if they want no "
            f"more messages, and ask again when {Dag.HOUSEKEEPING} has closed these files"
            + from_when
        )
        self.stems = stems
        self.last = last


class StopListUnsafe(LedgerError):
    """The stop list can't be trusted, so nothing may be sent."""


class ReportUnreadable(SmsError):
    """A report that is no report at all: binary junk, another format."""


class ReportUnfinished(SmsError):
    """A delivery report that is still being written."""

    retryable = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"{self.name} is still being written: it is read again later, nothing was loaded"


class ReportMisnamed(SmsError):
    """A file in `Report` that may be a report of ours, under a name that is none's."""

    retryable = True  # it may be on its way to its name

    def __init__(self, kind: str, *, stops: bool) -> None:
        super().__init__(kind, stops)
        self.kind = kind
        self.stops = stops

    def __str__(self) -> str:
        stopped = (
            "it may hold STOPs, so nothing is sent until somebody has looked: enter whoever said "
            "STOP (sms stop-list import), then rename it at the gateway as the provider's page "
            "does, or remove it"
            if self.stops
            else "rename it at the gateway as the provider's page does, or remove it"
        )
        return (
            f"it begins like {self.kind} and has no report's name, so nobody reads it, "
            f"and the provider deletes it after a month. Ask {SUPPORT} what it is; {stopped}"
        )


class StopTorn(SmsError):
    """A file ends in the middle of a row that may be a STOP; `brought` is what else it brought."""

    retryable = True

    def __init__(self, name: str, brought: Any = None) -> None:
        super().__init__(name, brought)
        self.name = name
        self.brought = brought

    def __str__(self) -> str:
        return (
            f"{self.name} ends in the middle of a row that may be somebody's STOP: nothing is sent "
            "until the rest of it is there, or until it has not come for half an hour and the row "
            "counts as it is"
        )


class ReportsFailed(SmsError):
    """Some reports could not be brought home, or rows of them wait for a person; all else is home.

    `failures` are (name, sentence) pairs; `collected` is what the others brought. `unseen` are
    reports with how many of their rows can't be read, may be a STOP, and were seen by nobody.
    """

    def __init__(
        self,
        failures: tuple[tuple[str, str], ...],
        collected: tuple[object, ...],
        retryable: bool,
        unseen: tuple[tuple[str, int], ...] = (),
    ) -> None:
        super().__init__(failures, collected, retryable, unseen)
        self.failures = failures
        self.collected = collected
        self.retryable = retryable
        self.unseen = unseen

    def __str__(self) -> str:
        told = [self._unseen(), self._failures()]
        return ". ".join(filter(None, told))

    def _unseen(self) -> str:
        if not self.unseen:
            return ""
        rows = ", ".join(f"{count(number, 'row')} of {name}" for name, number in self.unseen)
        return (
            f"{rows} can't be read and may be a STOP: nothing is sent until a person has looked. "
            "Read them in the ledger's view sms.quarantine, enter the STOPs among them, then say "
            f"so: sms quarantine seen {self.unseen[0][0]} --reason ..."
        )

    def _failures(self) -> str:
        if not self.failures:
            return ""
        told = "; ".join(f"{name}: {sentence}" for name, sentence in self.failures)
        return (
            f"{count(len(self.failures), 'report')} could not be collected, "
            f"{len(self.collected):,} others were. Nothing is lost: each is read again at the "
            f"next look. {told}"
        )


class ReplayUnfinished(SmsError):
    """Some reports could not be loaded again; `failures` are (path, sentence) pairs."""

    def __init__(self, failures: tuple[tuple[str, str], ...], loaded: int) -> None:
        super().__init__(failures, loaded)
        self.failures = failures
        self.loaded = loaded

    def __str__(self) -> str:
        told = "\n".join(f"{path}: {sentence}" for path, sentence in self.failures)
        return f"{count(self.loaded, 'report')} loaded, {len(self.failures):,} not:\n{told}"


class HousekeepingUnfinished(SmsError):
    """Files at the gateway that a person must look at; all that could be done without is done.

    `failures` are (name, sentence) pairs.
    """

    def __init__(self, failures: tuple[tuple[str, str], ...], retryable: bool) -> None:
        super().__init__(failures, retryable)
        self.failures = failures
        self.retryable = retryable

    def __str__(self) -> str:
        told = "; ".join(f"{name}: {sentence}" for name, sentence in self.failures)
        files = count(len(self.failures), "file")
        return f"{files} to look at, everything else is done: {told}"


class ReportOverdue(GatewayError):
    """A delivery report that should be there is not, on so many messages, due at that instant."""

    def __init__(
        self, stem: str, messages: int | None = None, due_at: datetime | None = None
    ) -> None:
        super().__init__(stem, messages, due_at)
        self.stem = stem
        self.messages = messages
        self.due_at = due_at

    def __str__(self) -> str:
        on = "" if self.messages is None else f" on {count(self.messages, 'message')}"
        since = "" if self.due_at is None else f": it was due {self.due_at:%Y-%m-%d %H:%M} UTC"
        return (
            f"the delivery report of {self.stem}{on} is overdue{since}. Ask {SUPPORT} for it, "
            f"then {remedies.COLLECT} with this stem; the provider keeps reports for a "
            "month"
        )
