"""Notices to the operator on a file: facts and a sentence, without phone numbers or texts.

What belongs here: the content. The setting `notify` and `sms_airflow` decide who gets it, and how.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sms import remedies
from sms.calendar.send_window import in_words
from sms.errors import SUPPORT
from sms.ledger.ledger import Ledger
from sms.ledger.records import Reconciliation, Submission
from sms.ledger.states import State
from sms.settings import Event
from sms.words import are, count

# The states that cause a notice; the provider's optional e-mails cover the second.
EVENTS: Mapping[State, Event] = {
    State.SUBMITTED: "submitted",
    State.ACCEPTED: "accepted",
    State.REJECTED: "rejected",
    State.UNKNOWN: "unknown",
    State.REPORTED: "reported",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One event of one file; times are ISO with zone, `counts` exist for `reported` only."""

    event: Event
    sentence: str
    campaign: str
    run_key: str
    stem: str
    messages: int
    segments: int
    send_at: str
    due_at: str | None
    counts: Mapping[str, int] | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """The fields that a notifier's templates may use."""
        return asdict(self)


def of_move(ledger: Ledger, stem: str, to: State) -> Notice | None:
    """The notice of a file's new state; None for states without a notice."""
    if to not in EVENTS:
        return None
    counts = ledger.submissions.reconcile(stem) if to is State.REPORTED else None
    submission = ledger.submissions.get(stem)
    return _notice(EVENTS[to], submission, ledger, _sentence(to, submission, counts), counts)


def of_overdue(ledger: Ledger, stem: str, sentence: str) -> Notice:
    """The notice of an overdue verdict or report."""
    return _notice("overdue", ledger.submissions.get(stem), ledger, sentence)


def shortfall(stem: str, counts: Reconciliation) -> Iterator[str]:
    """Sentences on what is missing or unexpected in a file's loaded delivery reports."""
    if counts.missing:
        covered = counts.sent - counts.missing
        yield (
            f"the delivery report of {stem} covers {covered:,} of its "
            f"{count(counts.sent, 'message')}: {counts.missing:,} {are(counts.missing)} missing. "
            "They may never have been sent, as the balance was too low (R8): check the account, "
            "and ask the provider"
        )
    if counts.kept:
        yield (
            f"{count(counts.kept, 'message')} of {stem} {are(counts.kept)} in an earlier delivery "
            "report and not in the latest: the earlier status stays. Ask "
            f"{SUPPORT} which is right"
        )
    if counts.pending:
        yield f"{_messages(counts.pending, stem)} no final status"
    if counts.unknown:
        yield f"{_messages(counts.unknown, stem)} an unknown status"
    if counts.strangers:
        rows = count(counts.strangers, "row")
        verb = "reports" if counts.strangers == 1 else "report"
        yield f"{rows} {verb} on messages that {stem} never held"
    if counts.duplicates:
        rows = count(counts.duplicates, "row")
        verb = "reports" if counts.duplicates == 1 else "report"
        yield f"{rows} {verb} again on a message of {stem}: the last row counts"


def _messages(number: int, stem: str) -> str:
    return f"{count(number, 'message')} of {stem} {'has' if number == 1 else 'have'}"


def _notice(
    event: Event,
    submission: Submission,
    ledger: Ledger,
    sentence: str,
    counts: Reconciliation | None = None,
) -> Notice:
    return Notice(
        event=event,
        sentence=sentence,
        campaign=ledger.runs.get(submission.run_key).campaign,
        run_key=submission.run_key,
        stem=submission.stem,
        messages=submission.messages or 0,
        segments=submission.segments or 0,
        send_at=submission.send_at.isoformat(),
        due_at=submission.due_at.isoformat() if submission.due_at else None,
        counts=asdict(counts) if counts else None,
    )


def _sentence(to: State, submission: Submission, counts: Reconciliation | None) -> str:
    stem, messages = submission.stem, count(submission.messages or 0, "message")
    if counts is not None:
        outcomes = ", ".join(
            f"{number:,} {outcome.replace('_', ' ')}"
            for outcome, number in asdict(counts).items()
            if outcome in OUTCOMES and number
        )
        return ". ".join(
            [f"{stem}, {count(counts.sent, 'message')}: {outcomes}", *shortfall(stem, counts)]
        )
    return {
        State.SUBMITTED: f"{stem} is at the gateway, which has not yet accepted it: {messages}, "
        f"for {in_words(submission.send_at)}",
        State.ACCEPTED: f"the gateway accepted {stem}: {messages}, for "
        f"{in_words(submission.send_at)}",
        State.REJECTED: f"the gateway rejected {stem} with {messages}: nothing of it is sent",
        State.UNKNOWN: f"it is unknown whether {stem} ({messages}) reached the gateway: ask "
        f"{SUPPORT}, then {remedies.ANSWER}",
    }[to]


OUTCOMES = ("delivered", "refused", "not_delivered", "pending", "unknown", "missing")
