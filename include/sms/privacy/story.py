"""One person's history: the campaigns that had their number or key, and their replies.

It is read from the ledger and from run folders, while these are kept. It quotes the person's number
and texts, for that person or their support: it must not be logged.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sms.audience.screening import SENTENCES, Reason
from sms.campaign.definition import Campaign
from sms.clock import PARIS
from sms.ledger.ledger import Ledger
from sms.ledger.records import (
    History,
    Listed,
    OptOut,
    PlannedRun,
    Removal,
    Reply,
    Sent,
    Submission,
    is_proof,
)
from sms.ledger.states import SENT, State
from sms.privacy.search import LeftOut, Search
from sms.telecom.msisdn import normalise
from sms.wire.stop_words import Asks, asks_to_stop
from sms.words import count, listed

RUNS = 200  # folders searched at most
SOURCES = {
    "stop_report": "the provider's STOP report",
    "reply": "a reply that asks to stop",
    "import": "an import",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One event: its time, a code (`what`), a sentence (`sentence`), and facts.

    Identical events are one entry; `times` is their number.
    """

    at: datetime
    what: str
    sentence: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    times: int = 1


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether campaigns would write to a number now.

    `refused` is the reason why no campaign would; `refused_by` are reasons of single campaigns.
    """

    msisdn: int
    refused: str | None
    refused_by: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Story:
    """All entries in the order of time, and the present status of each of the person's numbers.

    `not_searched` are sentences on sources that could not be searched.
    """

    entries: tuple[Entry, ...]
    numbers: tuple[Standing, ...]
    not_searched: tuple[str, ...]


# The stop list


def of_stop_list(history: History) -> list[Entry]:
    """The entries and removals of a number in the stop list, the oldest first."""
    stops = [reply for reply in history.replies if _asks_to_stop(reply)]
    entries = [
        *map(_reply_entry, stops),
        *map(_imported, history.listed),
        *map(_removed, history.removals),
    ]
    return _in_order(entries)


def standing(history: History) -> str:
    """A sentence on whether a number is in the stop list."""
    if history.opt_out is None:
        return "not in the stop list"
    kept = ", where only a hash of the number is left" if history.hashed else ""
    since = moment(history.opt_out.opted_out_at)
    return f"in the stop list since {since}, {_by(history.opt_out)}{kept}"


def moment(at: datetime) -> str:
    """An instant as date and time in Paris."""
    return f"{at.astimezone(PARIS):%Y-%m-%d %H:%M}"


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Entries by time; identical ones are joined."""
    found: dict[tuple[datetime, str, str], Entry] = {}
    for each in entries:
        first = found.setdefault((each.at, each.what, each.sentence), each)
        if first is not each:
            joined = replace(first, times=first.times + each.times)
            found[each.at, each.what, each.sentence] = joined
    return sorted(found.values(), key=lambda entry: entry.at)


def _by(opt_out: OptOut) -> str:
    by = SOURCES[opt_out.source]
    named = f" of the list {opt_out.list}" if opt_out.list else ""
    return f"by {by}{named}{_in_answer(opt_out.campaign, opt_out.stem)}"


def _in_answer(campaign: str | None, stem: str | None) -> str:
    if stem is None:
        return ""
    return f" on {stem}" if campaign is None else f" on {stem} of {campaign}"


def _asks_to_stop(reply: Reply) -> bool:
    return reply.kind == "STOP" or asks_to_stop(reply.message) is Asks.YES


def _reply_entry(reply: Reply) -> Entry:
    stop = _asks_to_stop(reply)
    word = "said STOP" if stop else "answered"
    late = reply.recorded_at - (reply.replied_at or reply.recorded_at)
    learned = f"; learned {moment(reply.recorded_at)}" if late > timedelta(hours=1) else ""
    return Entry(
        reply.replied_at or reply.recorded_at,
        "stop" if stop else "reply",
        f"{word}{_in_answer(reply.campaign, reply.stem)}: “{reply.message}”{learned}",
        {
            "text": reply.message,
            "report": reply.report,
            "campaign": reply.campaign,
            "stem": reply.stem,
            "learned_at": reply.recorded_at,
        },
    )


def _imported(row: Listed) -> Entry:
    since = f"opted out {moment(row.opted_out_at)}" if row.opted_out_at else "no date given"
    return Entry(
        row.recorded_at,
        "imported",
        f"imported from the list {row.list}: {since}",
        {"list": row.list, "opted_out_at": row.opted_out_at},
    )


def _removed(removal: Removal) -> Entry:
    was = removal.removed
    return Entry(
        removal.removed_at,
        "removed",
        f"taken off the stop list by {removal.actor}: {removal.reason} (was in it since "
        f"{moment(was.opted_out_at)}, {_by(was)})",
        {"actor": removal.actor, "reason": removal.reason, "opted_out_at": was.opted_out_at},
    )


# The whole story


def explain(
    ledger: Ledger,
    campaigns: Iterable[Campaign],
    open_folder: Callable[[str], Any],
    *,
    msisdn: int | None = None,
    key: str | None = None,
    since: datetime,
    now: datetime,
) -> Story:
    """What campaigns planned after `since` did with a number, or with the rows of a key.

    Also all replies ever received from the number, or from the key's numbers. `open_folder` turns a
    run's folder into a path.
    """
    search = Search(open_folder, msisdn, key)
    sent = _sent_to(ledger, msisdn, key, since)
    runs, not_searched = _searched(ledger, search, since)
    entries = [
        *(entry for run in runs for entry in _left_out(run, search, ledger, sent)),
        *(entry for each in sent for entry in _sent(each, search)),
    ]
    numbers = [msisdn] if msisdn is not None else sorted({e.msisdn for e in sent} | search.given)
    histories = {number: ledger.people.history(number) for number in numbers}
    for history in histories.values():
        entries += of_stop_list(history)
        entries += [_reply_entry(reply) for reply in history.replies if not _asks_to_stop(reply)]
    all_campaigns = list(campaigns)
    return Story(
        tuple(_in_order(entries)),
        tuple(_standing(each, histories[each], ledger, all_campaigns, now) for each in numbers),
        (*not_searched, *_unread(search, sent)),
    )


def _sent_to(ledger: Ledger, msisdn: int | None, key: str | None, since: datetime) -> list[Sent]:
    """The messages in uploaded files.

    Proofs are left out for a key: they have a recipient's key, but go to the team's own phones.
    """
    if key is None:
        return ledger.people.sent_to(msisdn or 0, since=since)
    found = ledger.people.sent_with_key(key, since=since)
    return [each for each in found if not is_proof(each.run_key)]


def _searched(
    ledger: Ledger, search: Search, since: datetime
) -> tuple[list[PlannedRun], list[str]]:
    """The runs whose folders are searched, and sentences on those that are not."""
    runs = ledger.runs.recent(since=since, most=RUNS + 1)
    not_searched = (
        [f"only the latest {RUNS} runs were searched for exclusions"] if runs[RUNS:] else []
    )
    gone = {run.run_key for run in runs[:RUNS] if search.is_gone(run.folder)}
    if gone:
        expired = count(len(gone), "run")
        not_searched.append(
            f"the folders of {expired} are deleted: their exclusions are no longer known"
        )
    kept = [run for run in runs[:RUNS] if run.run_key not in gone]
    if search.key is not None:
        kept = [run for run in kept if not is_proof(run.run_key)]
    return kept, not_searched


def _unread(search: Search, sent: Sequence[Sent]) -> Iterator[str]:
    """A sentence on unreadable files, except those of runs that wrote to the person."""
    sent_from = {each.folder for each in sent}
    unread = {folder: why for folder, why in search.unread.items() if folder not in sent_from}
    if unread:
        first, why = next(iter(unread.items()))
        runs = count(len(unread), "run")
        yield (
            f"the files of {runs} can't be read ({'' if len(unread) == 1 else 'first: '}{first}/"
            f"{why}): whether they excluded this person is not known"
        )


def _standing(
    msisdn: int, history: History, ledger: Ledger, campaigns: Iterable[Campaign], now: datetime
) -> Standing:
    """The reasons why no campaign, or single campaigns, would write to the number now."""
    numbers = normalise(pa.array([f"+{msisdn}"], pa.large_string()))
    fault, country = numbers.reason[0].as_py(), numbers.country[0].as_py()
    if history.opt_out:
        return Standing(msisdn, standing(history), {})
    if fault:
        return Standing(msisdn, SENTENCES[fault], {})
    asked = np.array([msisdn], np.int64)
    refused: dict[str, str] = {}
    for campaign in campaigns:
        if country not in campaign.allowed_countries:
            refused[campaign.name] = Reason.COUNTRY_NOT_ENABLED.sentence
        if reason := _spared(campaign, ledger, asked, now):
            refused[campaign.name] = reason.sentence
    return Standing(msisdn, None, refused)


def _spared(
    campaign: Campaign, ledger: Ledger, asked: npt.NDArray[np.int64], now: datetime
) -> Reason | None:
    """Why a campaign excludes a number by earlier runs: frequency cap or failures; None if not."""
    if campaign.frequency_cap:
        times, days = campaign.frequency_cap
        since = now - timedelta(days=days)
        if len(
            ledger.people.written_to(asked, kind=campaign.kind, times=times, since=since, but="")
        ):
            return Reason.FREQUENCY_CAP
    failures = campaign.suppress_after_failures
    if failures and len(ledger.people.failing(asked, times=failures)):
        return Reason.FAILING_NUMBER
    return None


def _sent(sent: Sent, search: Search) -> Iterator[Entry]:
    message = search.message(sent.folder, sent.stem)
    proof = is_proof(sent.run_key)
    facts = {
        **{"campaign": sent.campaign, "run_key": sent.run_key, "stem": sent.stem, "proof": proof},
        "msisdn": f"+{sent.msisdn}",
    }
    text = message["msg"] if message else None
    what, word = _fate(sent.state, proof)
    lost = "can't be read" if sent.folder in search.unread else "has expired with the run's folder"
    quoted = f": “{text}”" if text else f"; its text {lost}"
    yield Entry(
        max(sent.send_at, sent.submitted_at or sent.send_at),
        what,
        f"{word} by {sent.campaign} in {sent.stem} ({sent.state}), {sent.segments} SMS{quoted}",
        {
            **facts,
            "state": sent.state,
            "text": text,
            "sender": message["oadc"] if message else None,
            "segments": sent.segments,
        },
    )
    if sent.outcome and sent.reported_at:
        yield Entry(
            sent.reported_at,
            "reported",
            f"reported: {sent.outcome} ({sent.raw_status}), of {sent.stem}",
            {**facts, "outcome": sent.outcome, "status": sent.raw_status},
        )


def _fate(state: State, proof: bool) -> tuple[str, str]:
    as_proof = " as a proof" if proof else ""
    if state in SENT:
        return ("proof" if proof else "sent"), f"sent{as_proof}"
    if state in (State.UPLOADING, State.UNKNOWN):
        return "uncertain", f"perhaps sent{as_proof}"
    return "not_sent", f"not sent{as_proof}"


def _left_out(
    run: PlannedRun, search: Search, ledger: Ledger, sent: Sequence[Sent]
) -> Iterator[Entry]:
    """Entries for a run whose query returned the person, and that did not write to them."""
    at = run.chosen_at or run.planned_at
    facts = {"campaign": run.campaign, "run_key": run.run_key, "dry_run": run.dry_run}
    for rows in search.excluded(run.folder):
        yield Entry(at, "excluded", _excluded(run, rows), {**facts, **_facts_of(rows)}, rows.rows)
    for file in ledger.submissions.of_run(run.run_key):
        if file.stem not in {each.stem for each in sent} and search.message(run.folder, file.stem):
            yield _prepared(run, file, facts, unsure=ledger.people.were_erased(file.stem))


def _excluded(run: PlannedRun, rows: LeftOut) -> str:
    sentence = SENTENCES.get(rows.reason, rows.reason)
    detail = f" ({rows.detail})" if rows.detail else ""
    return f"excluded by {_named(run)}: {sentence}{detail}"


def _facts_of(rows: LeftOut) -> dict[str, Any]:
    return {"reason": rows.reason, "detail": rows.detail, "keys": list(rows.keys)}


def _named(run: PlannedRun) -> str:
    """A run's campaign, with "dry run" or "proof" if it is one."""
    if run.dry_run:
        return f"a dry run of {run.campaign}"
    if is_proof(run.run_key):
        return f"a proof of {run.campaign}"
    return run.campaign


def _prepared(run: PlannedRun, file: Submission, facts: Mapping[str, Any], unsure: bool) -> Entry:
    """The entry for a message that is in the run's folder, and not in the ledger."""
    if run.dry_run:
        what, why = "dry_run", "which sends nothing"
    elif file.state not in SENT:
        what, why = "not_sent", f"not sent: the file is {file.state}"
    elif unsure:
        what = "uncertain"
        why = "perhaps sent: personal data of this file was erased, perhaps theirs too"
    else:
        what, why = "excluded", "left out right before the upload, as it was in the stop list"
    return Entry(
        run.chosen_at or run.planned_at,
        what,
        f"prepared by {_named(run)} in {file.stem}, {why}",
        {**facts, "stem": file.stem, "state": file.state},
    )


def rows_of(entry: Entry) -> str:
    """The number of identical events, or "" for one."""
    if entry.times == 1:
        return ""
    if keys := entry.facts.get("keys"):
        return f" ({count(entry.times, 'row')}, with the keys {listed(keys)})"
    return f" ({count(entry.times, 'time')})"
