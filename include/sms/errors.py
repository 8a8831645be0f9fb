"""All exceptions of the product, and whether a retry can help.

The text of an error is one sentence: what, where, what to do. No error contains a number or a text
of a recipient. Airflow's side reads only `retryable`.
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
    """Base of all errors that an operator can act on."""

    retryable = False


class ConfigurationError(SmsError):
    """A missing or wrong setting, variable or connection of the operator."""


class ClockMoved(ConfigurationError):
    """A sandbox clock is in use, and the gateway is not the sandbox of that clock."""

    def __init__(self, gateway: str) -> None:
        super().__init__(gateway)
        self.gateway = gateway

    def __str__(self) -> str:
        return (
            f"SMS_SANDBOX_CLOCK moves the clock, but {self.gateway} is not its sandbox: "
            "unset the variable, or point the connection at the sandbox"
        )


class BadCampaign(SmsError):
    """An unusable campaign folder: the file, the line and the problem.

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
        others = (f"; also {each._sentence(each.path.rpartition('/')[2])}" for each in self.others)
        return f"{self._sentence(self.path)}{''.join(others)}"

    def _sentence(self, path: str) -> str:
        where = path if self.line is None else f"{path}, line {self.line}"
        return f"{where}: {self.problem}"

    def each(self) -> "list[BadCampaign]":
        """Every fault as one error, with its whole path."""
        return [BadCampaign(self.path, self.line, self.problem), *self.others]


class StorageFailed(SmsError):
    """A disk or an object store of the product failed or refused access."""

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
    """A file or folder of the product is missing."""


class Unforeseen(SmsError):
    """An unexpected exception: its type and place, without its message."""

    retryable = True

    def __init__(self, kind: str, place: str) -> None:
        super().__init__(kind, place)
        self.kind = kind
        self.place = place

    def __str__(self) -> str:
        return (
            f"an unexpected {self.kind} in {self.place}. Its message may contain personal data and "
            "is withheld; the log shows what led to it"
        )


class SourceError(SmsError):
    """An unusable answer of the warehouse: a SQL error, a missing column, no recipients."""


class WarehouseUnreachable(SourceError):
    """The warehouse did not answer."""

    retryable = True


class NotApproved(SmsError):
    """The run needed an approval and did not get it."""


class LimitTripped(SmsError):
    """A run exceeds a limit of its campaign: nothing is uploaded."""

    def __init__(self, campaign: str, tripped: tuple[str, ...]) -> None:
        super().__init__(campaign, tripped)
        self.campaign = campaign
        self.tripped = tripped

    def __str__(self) -> str:
        return (
            f"{self.campaign} stops before its upload: {'; '.join(self.tripped)}. "
            "If this is correct, change the limit in campaign.yaml or the settings and "
            f"{remedies.clear(Task.PLAN)}"
        )


class WindowClosed(SmsError):
    """The requested hour is closed to this kind of message."""


class GatewayError(SmsError):
    """A failure of the gateway, or an unexpected file on it."""


class GatewayUnreachable(GatewayError):
    """The gateway did not answer, or the connection broke: what the gateway did is unknown."""

    retryable = True


class GatewayRefused(GatewayError):
    """The gateway refused the connection: its host key, our key, our address, a directory."""


class UploadRefused(GatewayRefused):
    """The gateway stopped an upload without a reason: its disk may be full."""

    retryable = True


class FileRejected(GatewayError):
    """The verdict `.reject`: final, never retried.

    `causes` are likely causes as text; `sent` and `held` are the other files of the run: the ones
    already at the gateway, and the ones that were called off.
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
        sentences = [f"the gateway rejected {self.stem}: no SMS was sent of this file"]
        if self.causes:
            sentences.append(f"Likely causes: {'; '.join(self.causes)}")
        if self.held:
            sentences.append(f"Held back and called off: {', '.join(self.held)}")
        if self.sent:
            sentences.append(
                f"Already at the gateway: {', '.join(self.sent)}. A new run must leave out every "
                "recipient in sms.delivery"
            )
        sentences.append(
            "Its bytes are kept in the run's folder. Correct the cause, then trigger a run"
        )
        return ". ".join(sentences)


class SendingHalted(SmsError):
    """Sending is halted: nothing is uploaded or renamed until the halt is removed."""

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
    """No verdict arrived in time; `phase` is the last seen extension. The file may yet be sent."""

    def __init__(self, stem: str, phase: str | None) -> None:
        super().__init__(stem, phase)
        self.stem = stem
        self.phase = phase

    def __str__(self) -> str:
        seen = {
            "lock": "is still processing it (.lock), so it may yet be sent",
            "csv": "has not taken it (.csv)",
            None: "no longer shows a file of that name",
        }[self.phase]
        return (
            f"no verdict on {self.stem} in time: the gateway {seen}. It is not sent again. Ask "
            f"{SUPPORT} what became of it, and {remedies.clear(Task.SUBMIT)}: the run "
            "waits once more"
        )


class CampaignRepeated(SmsError):
    """The campaign was triggered twice within a minute; this run is skipped."""

    def __init__(self, campaign: str, other: str) -> None:
        super().__init__(campaign, other)
        self.campaign = campaign
        self.other = other

    def __str__(self) -> str:
        return (
            f"{self.campaign} was triggered twice within a minute: {self.other} was first, and "
            "this run was skipped and sends nothing. If the first run is not to go on, "
            f"{remedies.CALL_OFF}; then, or to write to everyone twice, "
            f"{remedies.NEW_RUN}"
        )


class SubmissionUnknown(GatewayError):
    """The product can't know whether the file arrived: an operator must check."""


class SubmissionContradicted(GatewayError):
    """The gateway shows a file that, by the ledger, never left: an operator must check."""


class LookExpired(SmsError):
    """The checks before a rename are too old: nothing was renamed, and all checks run again."""

    retryable = True

    def __str__(self) -> str:
        return (
            "this process, or the connection to the ledger, paused between the checks (stop list, "
            "hour, halt) and the rename: nothing was renamed after these checks, and all of them "
            "run again"
        )


class SubmissionTaken(SmsError):
    """Another process holds the claim on this submission; this one stops."""

    retryable = True


class LedgerError(SmsError):
    """The ledger refuses a change: a forbidden state change or a broken promise."""


class LedgerUnreachable(LedgerError):
    """The ledger did not answer."""

    retryable = True


class LedgerReadOnly(LedgerUnreachable):
    """The ledger answers but takes no writes: a standby, usually during a failover."""


class LedgerBusy(LedgerError):
    """A retry can help: another process holds a lock, or the server lacks room."""

    retryable = True


class StillReported(LedgerError):
    """A number is in files that the provider may still report on; `last` is the last one's hour."""

    def __init__(self, stems: Sequence[str], last: datetime, from_when: str = "") -> None:
        super().__init__(
            f"this number is in {', '.join(stems)}; the provider may still report on them, and the "
            "reports would store the number again: nothing was erased. Enter an opt-out if no more "
            f"messages are wanted, and repeat this when {Dag.HOUSEKEEPING} has closed these files"
            + from_when
        )
        self.stems = stems
        self.last = last


class StopListUnsafe(LedgerError):
    """The stop list may be incomplete, so nothing may be sent."""


class ReportUnreadable(SmsError):
    """A file that is no report: binary data or another format."""


class ReportUnfinished(SmsError):
    """A delivery report that the provider is still writing."""

    retryable = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"{self.name} is still being written: it is read again later, nothing was loaded"


class ReportMisnamed(SmsError):
    """A file in `Report` with a report's content and a name that no report has."""

    retryable = True  # the provider may be about to rename it

    def __init__(self, kind: str, *, stops: bool) -> None:
        super().__init__(kind, stops)
        self.kind = kind
        self.stops = stops

    def __str__(self) -> str:
        stopped = (
            "it may hold STOPs, so nothing is sent until an operator has checked it: enter its "
            "STOPs (sms stop-list import), then rename it at the gateway as the provider's page "
            "does, or remove it"
            if self.stops
            else "rename it at the gateway as the provider's page does, or remove it"
        )
        return (
            f"it is named like {self.kind} and has no report's name, so it is not read, "
            f"and the provider deletes it after a month. Ask {SUPPORT} what it is; {stopped}"
        )


class StopTorn(SmsError):
    """A file ends inside a row that may be a STOP; `brought` is what was read from it."""

    retryable = True

    def __init__(self, name: str, brought: Any = None) -> None:
        super().__init__(name, brought)
        self.name = name
        self.brought = brought

    def __str__(self) -> str:
        return (
            f"{self.name} ends in the middle of a row that may be a STOP: nothing is sent "
            "until the rest of the row arrives, or until none has arrived for half an hour and the "
            "row counts as it is"
        )


class ReportsFailed(SmsError):
    """Some reports failed, or some of their rows need an operator; all others were collected.

    `failures` are (name, sentence) pairs; `collected` are the results of the other reports.
    `unseen` are (name, rows) pairs: unreadable rows that may be a STOP and are not yet reviewed.
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
        sentences = [self._unseen(), self._failures()]
        return ". ".join(filter(None, sentences))

    def _unseen(self) -> str:
        if not self.unseen:
            return ""
        rows = ", ".join(f"{count(number, 'row')} of {name}" for name, number in self.unseen)
        return (
            f"{rows} can't be read and may be a STOP: nothing is sent until an operator has "
            "looked. Read them in the ledger's view sms.quarantine, enter the STOPs among them, "
            f"then mark them as seen: sms quarantine seen {self.unseen[0][0]} --reason ..."
        )

    def _failures(self) -> str:
        if not self.failures:
            return ""
        failures = "; ".join(f"{name}: {sentence}" for name, sentence in self.failures)
        return (
            f"{count(len(self.failures), 'report')} could not be collected, "
            f"{len(self.collected):,} others were. Nothing is lost: each is read again at the "
            f"next look. {failures}"
        )


class ReplayUnfinished(SmsError):
    """Some reports could not be loaded again; `failures` are (path, sentence) pairs."""

    def __init__(self, failures: tuple[tuple[str, str], ...], loaded: int) -> None:
        super().__init__(failures, loaded)
        self.failures = failures
        self.loaded = loaded

    def __str__(self) -> str:
        failures = "\n".join(f"{path}: {sentence}" for path, sentence in self.failures)
        return f"{count(self.loaded, 'report')} loaded, {len(self.failures):,} not:\n{failures}"


class HousekeepingUnfinished(SmsError):
    """Some files at the gateway need an operator; the rest of housekeeping is done.

    `failures` are (name, sentence) pairs.
    """

    def __init__(self, failures: tuple[tuple[str, str], ...], retryable: bool) -> None:
        super().__init__(failures, retryable)
        self.failures = failures
        self.retryable = retryable

    def __str__(self) -> str:
        failures = "; ".join(f"{name}: {sentence}" for name, sentence in self.failures)
        files = count(len(self.failures), "file")
        return f"{files} to check, everything else is done: {failures}"


class ReportOverdue(GatewayError):
    """A delivery report is missing after `due_at`, for `messages` messages."""

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
