"""The ledger's wings, one class for each subject: a table of contents.

Signature and documentation are those of the implementing function. A wing lists the functions of
its subject, and whether each runs in a transaction or in a snapshot, in which all statements see
the same state.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from sms.ledger import (
    announcements,
    erasure,
    hashed_numbers,
    history,
    imported_lists,
    outcomes,
    overview,
    partitions,
    people,
    quarantine,
    queries,
    removals,
    reports,
    runs,
    sightings,
    stop_list,
    submissions,
)
from sms.ledger.database import Database, Transaction

P = ParamSpec("P")
R = TypeVar("R")


class Wing:
    """The functions of one subject; each call runs in its own transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database


def in_transaction(
    function: Callable[Concatenate[Transaction, P], R],
) -> Callable[Concatenate[Wing, P], R]:
    """A function as a method: commits when it returns, rolls back when it raises."""

    @wraps(function)
    def method(wing: Wing, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with wing._database.transaction() as tx:
            return function(tx, *args, **kwargs)

    return method


def in_snapshot(
    function: Callable[Concatenate[Transaction, P], R],
) -> Callable[Concatenate[Wing, P], R]:
    """A function as a method: all its statements see the same snapshot."""

    @wraps(function)
    def method(wing: Wing, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with wing._database.snapshot() as tx:
            return function(tx, *args, **kwargs)

    return method


def streamed(
    function: Callable[Concatenate[Transaction, P], Iterator[R]],
) -> Callable[Concatenate[Wing, P], Iterator[R]]:
    """A generator as a method: its snapshot is open from the first item to the last."""

    @wraps(function)
    def method(wing: Wing, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        with wing._database.snapshot() as tx:
            yield from function(tx, *args, **kwargs)

    return method


class Runs(Wing):
    """Runs of campaigns: their plan, their counts, their approval."""

    plan = in_transaction(runs.plan)
    replan = in_transaction(runs.replan)
    record_screening = in_transaction(runs.record_screening)
    record_rendering = in_transaction(runs.record_rendering)
    record_failure = in_transaction(runs.record_failure)
    prepare = in_transaction(runs.prepare)
    approve = in_transaction(runs.approve)
    prepared_digest = in_transaction(runs.prepared_digest)

    get = in_transaction(runs.get)
    find_key = in_snapshot(overview.find_run_key)
    attempts = in_transaction(runs.attempts)
    folders = in_transaction(runs.folders)
    recent = in_snapshot(runs.recent)
    latest_sent = in_transaction(history.latest_sent)
    unfinished = in_transaction(history.unfinished_runs)
    line = in_snapshot(overview.run_line)
    lines = in_snapshot(overview.run_lines)
    summary = in_snapshot(queries.summary)


class Submissions(Wing):
    """Files: claim, upload, rename, verdict and outcomes."""

    claim = in_transaction(submissions.claim)
    release = in_transaction(submissions.release)
    holds = in_transaction(submissions.holds)
    forget_upload = in_transaction(submissions.forget_upload)
    record_upload = in_transaction(submissions.record_upload)
    intend_rename = in_transaction(submissions.intend_rename)
    withdraw_rename = in_transaction(submissions.withdraw_rename)
    end_empty = in_transaction(submissions.end_empty)
    move = in_transaction(submissions.move_stem)

    get = in_transaction(submissions.get)
    of_run = in_transaction(submissions.of_run)
    named = in_transaction(submissions.named)
    in_state = in_transaction(submissions.in_state)
    upload_pace = in_transaction(submissions.upload_pace)
    scheduled = in_snapshot(overview.scheduled)
    rejected = in_snapshot(overview.rejected)
    last_submitted = in_snapshot(overview.last_submitted)
    reconcile = in_snapshot(queries.reconcile)
    late_stops = in_snapshot(queries.late_stops)
    shortfalls = in_snapshot(overview.shortfalls)


class StopList(Wing):
    """Opt-outs: entry, look-up, removal, and hashing of old numbers."""

    opted_out = in_transaction(stop_list.opted_out)
    size = in_transaction(stop_list.size)
    require_safe = in_snapshot(stop_list.require_safe)
    rows = streamed(stop_list.rows)
    count_hashed = in_transaction(hashed_numbers.count)

    add = in_transaction(stop_list.add)
    import_list = in_transaction(imported_lists.import_list)
    remove = in_transaction(removals.remove)
    announce = in_transaction(announcements.opt_outs)
    hash_old = in_transaction(hashed_numbers.hash_old)
    renew_statistics = in_transaction(hashed_numbers.renew_statistics)
    expire_texts = in_transaction(erasure.expire_texts)


class Reports(Wing):
    """Report files: their downloads, readings and rows, and unreadable rows."""

    load_delivery_report = in_transaction(outcomes.load)
    load_replies = in_transaction(reports.load_replies)
    count_on = in_transaction(reports.count_on)
    find_submission = in_transaction(reports.find_submission)
    adopt = in_transaction(reports.adopt)
    announce = in_transaction(announcements.delivery_report)

    get = in_transaction(reports.get)
    named = in_transaction(reports.named)
    of_submission = in_transaction(reports.of_submission)
    delivery_report = in_transaction(reports.delivery_report)
    unmatched = in_transaction(reports.unmatched)
    record_reading = in_transaction(reports.record_reading)
    record_modified_at = in_transaction(reports.record_modified_at)

    record_sighting = in_transaction(sightings.record)
    sighting = in_transaction(sightings.get)
    sightings = in_transaction(sightings.named)

    unseen_stops = in_transaction(quarantine.unseen_stops)
    mark_seen = in_transaction(quarantine.mark_seen)
    expire_unreadable = in_transaction(quarantine.expire)

    task_successes = in_snapshot(overview.task_successes)
    record_success = in_transaction(overview.record_success)


class People(Wing):
    """Data on numbers from earlier runs: queries, history and erasure."""

    written_to = in_transaction(history.written_to)
    failing = in_transaction(history.failing)
    history = in_snapshot(people.history)
    sent_to = in_snapshot(people.sent_to)
    sent_with_key = in_snapshot(people.sent_with_key)
    unsure_replies = in_transaction(people.unsure_replies)
    were_erased = in_snapshot(people.were_erased)

    forget = in_transaction(erasure.forget)
    expired = in_transaction(erasure.expired)
    expire = in_transaction(erasure.expire)
    expire_stray_replies = in_transaction(erasure.expire_stray_replies)
    drop_months = in_transaction(partitions.drop_months)
