"""Overdue submissions: settled if the gateway proves their state, otherwise reported.

Tasks wait for verdicts and reports, but a DAG may be deleted, or Airflow's database lost. So this
module uses the ledger and the gateway alone, and checks each submission that is not over.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sms import remedies
from sms.delivery.gateway import Folder, Gateway, RemoteFile
from sms.delivery.upload import (
    contradiction,
    look_again,
    look_at,
    proof_of_arrival,
    record_verdict,
    report_due_of,
    unknown,
)
from sms.errors import (
    SUPPORT,
    GatewayUnreachable,
    LedgerUnreachable,
    ReportOverdue,
    SmsError,
    VerdictOverdue,
)
from sms.ledger.ledger import Ledger
from sms.ledger.records import Submission
from sms.ledger.states import State
from sms.remedies import Task
from sms.reports.collection import bring_delivery_report, find_report
from sms.settings import MONTH, Settings
from sms.wire.names import Phase
from sms.words import count

log = logging.getLogger(__name__)

# How long after its hour an upload may still be running: then no retry is left.
TRIES_LAST = timedelta(days=1)


@dataclass
class Desk:
    """The gateway, the ledger and the settings; a directory is listed once, when it is needed."""

    gateway: Gateway
    ledger: Ledger
    archive: Any
    settings: Settings
    now: datetime

    _listings: dict[Folder, list[RemoteFile]] = field(default_factory=dict)

    def listing(self, folder: Folder) -> list[RemoteFile]:
        """The files of a directory."""
        if folder not in self._listings:
            self._listings[folder] = self.gateway.listing(folder)
        return self._listings[folder]

    def proof_of_arrival(self, stem: str) -> str:
        """The proof that the provider has a submission; "" without proof."""
        return proof_of_arrival(stem, self, self.ledger)

    def report(self, stem: str) -> RemoteFile | None:
        """The delivery report on a submission."""
        return find_report(self.listing(Folder.REPORT), stem)


def settle(desk: Desk) -> list[tuple[str, Exception]]:
    """Settle what the gateway proves, and return the other overdue submissions with their errors.

    Raises GatewayUnreachable, LedgerUnreachable.
    """
    problems: list[tuple[str, Exception]] = []
    for state, judge in JUDGES.items():
        for each in desk.ledger.submissions.in_state(state):
            problem: Exception | None
            try:
                problem = judge(each, desk)
            except (GatewayUnreachable, LedgerUnreachable):
                raise
            except Exception as error:
                problem = error
            if problem:
                problems.append((each.stem, problem))
    return problems


def is_abandoned(each: Submission, now: datetime) -> bool:
    """Whether an upload can no longer be running."""
    return now - max(each.send_at, each.claimed_at or each.send_at) >= TRIES_LAST


def lacks_verdict(each: Submission, settings: Settings, now: datetime) -> bool:
    """Whether the verdict on a submitted file is overdue."""
    return now - (each.submitted_at or each.send_at) >= settings.verdict_timeout


def lacks_report(each: Submission, settings: Settings, now: datetime) -> bool:
    """Whether the delivery report of an accepted file is overdue (R29)."""
    return now >= (each.due_at or report_due_of(each)) + settings.report_grace


def _uploading(each: Submission, desk: Desk) -> SmsError | None:
    """Judge a submission whose upload was interrupted."""
    if not is_abandoned(each, desk.now):
        return None
    proof = desk.proof_of_arrival(each.stem)
    if proof and each.may_have_left:
        desk.ledger.submissions.move(each.stem, to=State.SUBMITTED, detail={"shown": proof})
        return _submitted(desk.ledger.submissions.get(each.stem), desk)
    if proof:
        return contradiction(each.stem, proof)
    if each.may_have_left:
        return unknown(each.stem)
    return SmsError(
        "its upload was interrupted, and no task has tried again since: it was not sent, with "
        f"{_messages(each)}. To end it, {remedies.CALL_OFF}; to send it, {remedies.NEW_RUN}"
    )


def _prepared(each: Submission, desk: Desk) -> SmsError | None:
    """Judge a submission that was never uploaded: it must not be at the gateway."""
    if desk.now - each.send_at < TRIES_LAST:
        return None
    proof = desk.proof_of_arrival(each.stem)
    return contradiction(each.stem, proof) if proof else None


def _unknown(each: Submission, desk: Desk) -> SmsError | None:
    """Judge a submission in `unknown`."""
    if look_again(each, desk, desk.ledger).state is State.UNKNOWN:
        return unknown(each.stem)
    log.warning("%s counts as submitted: to go on, %s", each.stem, remedies.clear(Task.SUBMIT))
    return None


def _submitted(each: Submission, desk: Desk) -> SmsError | None:
    """Judge a submission without a verdict: `.done`, `.reject` or a delivery report gives it."""
    if not lacks_verdict(each, desk.settings, desk.now):
        return None
    phases = look_at(desk, each.stem).phases
    if Phase.REJECT in phases:
        record_verdict(each.stem, desk.ledger, desk.now, accepted=False)
        return SmsError(
            "the gateway rejected it, and no task was waiting for the verdict: it was not sent, "
            f"with {_messages(each)}. Ask {SUPPORT} why"
        )
    if Phase.DONE in phases:
        record_verdict(each.stem, desk.ledger, desk.now, accepted=True)
        log.warning("%s was accepted, and no task was waiting for the verdict", each.stem)
        return _accepted(desk.ledger.submissions.get(each.stem), desk)
    if desk.report(each.stem):
        return _accepted(each, desk)
    seen = next((phase for phase in (Phase.LOCK, Phase.CSV) if phase in phases), None)
    return VerdictOverdue(each.stem, seen.value if seen else None)


def _accepted(each: Submission, desk: Desk) -> SmsError | None:
    """Judge an accepted submission without a delivery report."""
    due = each.due_at or report_due_of(each)
    if not lacks_report(each, desk.settings, desk.now):
        return None
    if report := desk.report(each.stem):
        bring_delivery_report(
            each.stem, report.name, desk.gateway, desk.ledger, desk.archive, desk.now
        )
        log.warning("%s was fetched, and no task was waiting for it", report.name)
        return None
    if desk.now - each.sent_at <= MONTH:
        return ReportOverdue(each.stem, each.messages, due)
    why = "no report within a month"
    desk.ledger.submissions.move(each.stem, to=State.CLOSED, detail={"why": why})
    return SmsError(
        "it is closed without a delivery report: the provider keeps reports for a month, and the "
        f"outcome of {_messages(each)} stays unknown"
    )


def _reported(each: Submission, desk: Desk) -> SmsError | None:
    """Judge a reported submission that the gateway still shows as not processed."""
    stays = look_at(desk, each.stem).phases.keys() & {Phase.CSV, Phase.LOCK}
    if not stays or desk.now - each.sent_at < desk.settings.close_after:
        return None
    return SmsError(
        f"its delivery report was loaded, but the gateway still shows it as "
        f"{', '.join(sorted(stays))}, so it can't be closed. Housekeeping never deletes such a "
        f"file: ask {SUPPORT} to remove it"
    )


def _messages(each: Submission) -> str:
    return count(each.messages or 0, "message")


JUDGES: dict[State, Callable[[Submission, Desk], SmsError | None]] = {
    State.PREPARED: _prepared,
    State.UPLOADING: _uploading,
    State.UNKNOWN: _unknown,
    State.SUBMITTED: _submitted,
    State.ACCEPTED: _accepted,
    State.REPORTED: _reported,
}
