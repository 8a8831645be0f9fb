"""Status checks: open cases, overdue files and tasks, and past failures.

They read only the ledger and the campaigns' folders, neither the gateway nor Airflow.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sms import remedies
from sms.clock import PARIS
from sms.errors import SUPPORT, BadCampaign, LedgerUnreachable, StopListUnsafe
from sms.ledger.ledger import Ledger
from sms.ledger.records import Recurring, Submission
from sms.ledger.states import State
from sms.remedies import Dag
from sms.reports import overdue
from sms.settings import Settings
from sms.words import count, duration

REPLIES_LOOKED_BACK = timedelta(days=30)
# They run every five minutes, and every night: after this time several runs are missing.
LATE = {Recurring.COLLECT_REPLIES: timedelta(hours=1), Recurring.CLEAN_GATEWAY: timedelta(days=2)}
DONE_BY = {
    Recurring.COLLECT_REPLIES: ("STOPs", "fetched", Dag.COLLECT_REPLIES),
    Recurring.CLEAN_GATEWAY: ("the gateway", "cleared", Dag.HOUSEKEEPING),
}


class Level(StrEnum):
    """The result of a check: `problem` needs an operator, `notice` is past and can't be undone."""

    OK = "ok"
    NOTICE = "notice"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its name, its result, and its cases; without phone numbers or texts."""

    name: str
    level: Level
    sentence: str
    cases: tuple[str, ...] = ()


def checks(
    ledger: Ledger,
    settings: Settings,
    campaigns: int,
    broken: Sequence[BadCampaign],
    *,
    since: datetime,
    now: datetime,
) -> list[Check]:
    """All checks; past events are listed from `since` on.

    Raises LedgerUnreachable, LedgerError.
    """
    return [
        *_files(ledger, settings, now),
        _quarantined(ledger),
        _stop_list(ledger, settings),
        *_recurring(ledger, now),
        _folders(campaigns, broken),
        *_past(ledger, since, now),
    ]


def is_well(found: Iterable[Check]) -> bool:
    """Whether no check is a problem."""
    return all(each.level is not Level.PROBLEM for each in found)


def _files(ledger: Ledger, settings: Settings, now: datetime) -> Iterable[Check]:
    def those(state: State, late: Callable[[Submission], bool]) -> list[str]:
        return [each.stem for each in ledger.submissions.in_state(state) if late(each)]

    yield _cases(
        "unknown_files",
        those(State.UNKNOWN, lambda each: True),
        "no file is unknown",
        f"of which it is unknown whether the gateway has them: ask {SUPPORT}, then "
        f"{remedies.ANSWER}",
    )
    yield _cases(
        "broken_uploads",
        those(State.UPLOADING, lambda each: overdue.is_abandoned(each, now)),
        "no upload was interrupted",
        f"with an interrupted upload that no task continues: see {Dag.HOUSEKEEPING}, and "
        f"{remedies.CALL_OFF}",
    )
    yield _cases(
        "overdue_verdicts",
        those(State.SUBMITTED, lambda each: overdue.lacks_verdict(each, settings, now)),
        "no verdict is overdue",
        f"without a verdict of the gateway: ask {SUPPORT}",
    )
    yield _cases(
        "overdue_reports",
        those(State.ACCEPTED, lambda each: overdue.lacks_report(each, settings, now)),
        "no delivery report is overdue",
        f"without a delivery report: ask {SUPPORT}, then {remedies.COLLECT}",
    )


def _quarantined(ledger: Ledger) -> Check:
    rows = [
        f"{name}: {count(number, 'row')}" for name, number in ledger.reports.unseen_stops().items()
    ]
    return _cases(
        "unread_stops",
        rows,
        "every STOP could be read",
        "with rows that can't be read and may be a STOP, so nothing is sent: read them in the "
        "view sms.quarantine, enter the STOPs, then sms quarantine seen",
        "report",
    )


def _stop_list(ledger: Ledger, settings: Settings) -> Check:
    try:
        size = ledger.stop_list.require_safe()
    except LedgerUnreachable:
        raise
    except StopListUnsafe as error:
        return Check("stop_list", Level.PROBLEM, str(error))
    if size < settings.stop_list_minimum:
        least = f"the setting stop_list_minimum is {settings.stop_list_minimum:,}"
        sentence = f"the stop list has {count(size, 'number')}, and {least}: nothing is sent"
        return Check("stop_list", Level.PROBLEM, sentence)
    return Check("stop_list", Level.OK, f"the stop list has {count(size, 'number')}")


def _recurring(ledger: Ledger, now: datetime) -> Iterable[Check]:
    successes, sent = ledger.reports.task_successes(), ledger.submissions.last_submitted()
    for task, late in LATE.items():
        what, done, dag = DONE_BY[task]
        at = successes.get(task)
        verb = "were" if what == "STOPs" else "was"
        look = f"check the DAG {dag}, and whether it is paused"
        if at is None and sent is None:
            yield Check(task, Level.OK, f"{what} {verb} never {done}, and no file was ever sent")
        elif at is None:
            yield Check(task, Level.PROBLEM, f"{what} {verb} never {done}: {look}")
        else:
            ago = f"{what} {verb} last {done} {ago_of(at, now)}"
            is_late = now - at > late
            level = Level.PROBLEM if is_late else Level.OK
            yield Check(task, level, f"{ago}: {look}" if is_late else ago)


def _folders(campaigns: int, broken: Sequence[BadCampaign]) -> Check:
    return _cases(
        "campaign_folders",
        [str(each) for each in broken],
        f"{count(campaigns, 'campaign folder')} can be read",
        "in campaign folders that can't be used",
        "fault",
    )


def _past(ledger: Ledger, since: datetime, now: datetime) -> Iterable[Check]:
    """Past events that can't be undone."""
    period = f"in the last {duration(now - since)}"
    failed = [
        f"{each.run_key}{f', in {each.failed_task}: {each.failed_why}' if each.failed_task else ''}"
        for each in ledger.runs.lines(since=since)
        if each.status == "failed"
    ]
    yield _happened("failed_runs", failed, f"no run failed {period}", f"failed {period}", "run")
    yield _happened(
        "rejected_files",
        ledger.submissions.rejected(since=since),
        f"no file was rejected {period}",
        f"rejected by the gateway {period}",
    )
    yield _happened(
        "partial_sends",
        [
            f"{each.stem}: {each.missing:,} of {count(each.sent, 'message')}"
            for each in ledger.submissions.shortfalls(since=since)
        ],
        f"every delivery report {period} covers all messages of its file",
        f"with messages that their delivery report does not cover, {period}: see the balance",
    )
    unsure = len(ledger.people.unsure_replies(now - REPLIES_LOOKED_BACK))
    replies = f"{count(unsure, 'reply', 'replies')} may ask to stop: sms replies unsure"
    level = Level.NOTICE if unsure else Level.OK
    yield Check("unsure_replies", level, replies if unsure else "no reply is unsure")


def _cases(name: str, cases: Sequence[str], none: str, some: str, noun: str = "file") -> Check:
    if not cases:
        return Check(name, Level.OK, none)
    return Check(name, Level.PROBLEM, f"{count(len(cases), noun)} {some}", tuple(cases))


def _happened(name: str, cases: Sequence[str], none: str, some: str, noun: str = "file") -> Check:
    if not cases:
        return Check(name, Level.OK, none)
    return Check(name, Level.NOTICE, f"{count(len(cases), noun)} {some}", tuple(cases))


def ago_of(at: datetime, now: datetime) -> str:
    """An instant as the time passed, and the date and time in Paris."""
    return f"{duration(now - at)} ago, {at.astimezone(PARIS):%Y-%m-%d %H:%M}"
