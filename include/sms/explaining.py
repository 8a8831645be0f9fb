"""One person's story: every campaign that met their number, and what they said.

Told from the ledger, and from the folders of runs as long as these are kept. It quotes a person's
number and texts, for that person or whoever answers them: nothing of it belongs in a log.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sms import frames, sending
from sms.campaign import Campaign
from sms.clock import PARIS
from sms.errors import StorageGone
from sms.ledger.ledger import Ledger
from sms.ledger.records import History, Listed, OptOut, PlannedRun, Removal, Reply, Sent, Submission
from sms.ledger.states import SENT, State
from sms.msisdn import normalise
from sms.recipients import EXCLUDED_SCHEMA, SENTENCES, Reason
from sms.stop_words import Asks, asks_to_stop

RUNS = 200  # folders that are searched at most
SUBSCRIBER = 8  # digits at a number's end that every spelling has
TEXT_COLUMNS = ["msisdn", "idremote", "oadc", "msg", "segments"]
SOURCES = {
    "stop_report": "the provider's STOP report",
    "reply": "a reply that asks to stop",
    "import": "an import",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: when, a word for machines, a sentence for people, and facts."""

    at: datetime
    what: str
    told: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Story:
    """All entries in the order of time, and whether a campaign would write to the number now.

    `refused` is why none would, `refused_by` why these campaigns would not; `untold` are sentences
    on what could not be looked at.
    """

    msisdn: int
    entries: tuple[Entry, ...]
    refused: str | None
    refused_by: Mapping[str, str]
    untold: tuple[str, ...]


# The stop list


def of_stop_list(history: History) -> list[Entry]:
    """When and how a number came into the stop list, and left it, the oldest first."""
    said = [reply for reply in history.replies if _asks_to_stop(reply)]
    entries = [*map(_heard, said), *map(_listed, history.listed), *map(_removed, history.removals)]
    return sorted(entries, key=lambda entry: entry.at)


def standing(history: History) -> str:
    """Whether a number is in the stop list, in a sentence."""
    if history.opt_out is None:
        return "not in the stop list"
    kept = ", where only a hash of the number is left" if history.hashed else ""
    since = moment(history.opt_out.opted_out_at)
    return f"in the stop list since {since}, {_by(history.opt_out)}{kept}"


def moment(at: datetime) -> str:
    """An instant as people in France read it."""
    return f"{at.astimezone(PARIS):%Y-%m-%d %H:%M}"


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


def _heard(reply: Reply) -> Entry:
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


def _listed(listed: Listed) -> Entry:
    since = f"opted out {moment(listed.opted_out_at)}" if listed.opted_out_at else "no moment told"
    return Entry(
        listed.recorded_at,
        "imported",
        f"imported from the list {listed.list}: {since}",
        {"list": listed.list, "opted_out_at": listed.opted_out_at},
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
    msisdn: int,
    ledger: Ledger,
    campaigns: Iterable[Campaign],
    open_folder: Callable[[str], Any],
    *,
    since: datetime,
    now: datetime,
) -> Story:
    """What campaigns planned since then had to do with a number, and what was ever heard of it.

    `open_folder` makes a path of a run's folder.
    """
    history = ledger.history(msisdn)
    untold: list[str] = []
    search = _Search(msisdn, open_folder, untold)
    sent = ledger.sent_to(msisdn, since=since)
    runs = ledger.recent_runs(since=since, most=RUNS + 1)
    if len(runs) > RUNS:
        untold.append(f"only the latest {RUNS} runs were searched for exclusions")
    if gone := sum(search.is_gone(run.folder) for run in runs[:RUNS]):
        untold.append(f"the folders of {gone} runs have expired, and with them whom they left out")
    entries = [
        *of_stop_list(history),
        *(_heard(reply) for reply in history.replies if not _asks_to_stop(reply)),
        *(entry for each in sent for entry in _sent(each, search.message(each.folder, each.stem))),
        *(entry for run in runs[:RUNS] for entry in _left_out(run, search, ledger, sent)),
    ]
    refused, refused_by = _refusals(msisdn, history, ledger, campaigns, now)
    return Story(
        msisdn,
        tuple(sorted(entries, key=lambda entry: entry.at)),
        refused,
        refused_by,
        tuple(untold),
    )


def _refusals(
    msisdn: int, history: History, ledger: Ledger, campaigns: Iterable[Campaign], now: datetime
) -> tuple[str | None, dict[str, str]]:
    """Why nobody would write to the number now, and why these campaigns would not."""
    numbers = normalise(pa.array([f"+{msisdn}"], pa.large_string()))
    fault, country = numbers.reason[0].as_py(), numbers.country[0].as_py()
    if history.opt_out:
        return standing(history), {}
    if fault:
        return SENTENCES[fault], {}
    asked = np.array([msisdn], np.int64)
    refused: dict[str, str] = {}
    for campaign in campaigns:
        if country not in campaign.allowed_countries:
            refused[campaign.name] = Reason.COUNTRY_NOT_ENABLED.sentence
        if reason := _spared(campaign, ledger, asked, now):
            refused[campaign.name] = reason.sentence
    return None, refused


def _spared(
    campaign: Campaign, ledger: Ledger, asked: npt.NDArray[np.int64], now: datetime
) -> Reason | None:
    """Why a campaign leaves a person alone, by what the ledger knows of earlier runs."""
    if campaign.at_most:
        times, days = campaign.at_most
        since = now - timedelta(days=days)
        if len(ledger.written_to(asked, kind=campaign.kind, times=times, since=since, but="")):
            return Reason.AT_MOST
    failures = campaign.suppress_after_failures
    if failures and len(ledger.failing(asked, times=failures)):
        return Reason.FAILING_NUMBER
    return None


def _sent(sent: Sent, message: Mapping[str, Any] | None) -> Iterator[Entry]:
    facts = {"campaign": sent.campaign, "run_key": sent.run_key, "stem": sent.stem}
    text = message["msg"] if message else None
    what, word = _fate(sent.state)
    quoted = f": “{text}”" if text else "; its text has expired with the run's folder"
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


def _fate(state: State) -> tuple[str, str]:
    if state in SENT:
        return "sent", "sent"
    if state in (State.UPLOADING, State.UNKNOWN):
        return "uncertain", "perhaps sent"
    return "not_sent", "not sent"


def _left_out(
    run: PlannedRun, search: "_Search", ledger: Ledger, sent: Sequence[Sent]
) -> Iterator[Entry]:
    """Why a run did not write to the number, though its query named it."""
    facts = {"campaign": run.campaign, "run_key": run.run_key}
    for row in search.excluded(run.folder):
        sentence = SENTENCES.get(row["reason"], row["reason"])
        detail = f" ({row['detail']})" if row["detail"] else ""
        yield Entry(
            run.chosen_at or run.planned_at,
            "excluded",
            f"left out by {run.campaign}: {sentence}{detail}",
            {**facts, "reason": row["reason"], "detail": row["detail"], "key": row["key"]},
        )
    for file in ledger.submissions(run.run_key):
        if file.stem not in {each.stem for each in sent} and search.message(run.folder, file.stem):
            yield _prepared(run, file, facts, unsure=ledger.lacks_people(file.stem))


def _prepared(run: PlannedRun, file: Submission, facts: Mapping[str, Any], unsure: bool) -> Entry:
    """Of a message that is in the run's folder, and not among those that the ledger has."""
    if file.state not in SENT:
        what, why = "not_sent", f"not sent: the file is {file.state}"
    elif unsure:
        what = "uncertain"
        why = "perhaps sent: rows about people of this file were erased, theirs may be among them"
    else:
        what, why = "excluded", "left out right before it left: in the stop list by then"
    return Entry(
        run.chosen_at or run.planned_at,
        what,
        f"prepared by {run.campaign} in {file.stem}, {why}",
        {**facts, "stem": file.stem, "state": file.state},
    )


class _Search:
    """Looks for one number in what runs left behind; a folder that is gone has no answer."""

    def __init__(self, msisdn: int, open_folder: Callable[[str], Any], untold: list[str]) -> None:
        self._msisdn = msisdn
        self._open = open_folder
        self._untold = untold
        # The end of the number, whatever stands between its digits.
        self._alike = r"\D*".join(str(msisdn)[-SUBSCRIBER:])

    def is_gone(self, folder: str) -> bool:
        """Whether a run's folder is no longer kept."""
        try:
            return not self._open(folder).exists()
        except Exception:  # of any storage: what can't be read is told by whoever reads it
            return False

    def excluded(self, folder: str) -> list[dict[str, Any]]:
        """The rows that were left out for this number, as it was given."""
        return [
            row
            for name in (sending.EXCLUDED, sending.UNRENDERED)
            for row in self._rows(folder, name, list(EXCLUDED_SCHEMA.names), self._is_given)
        ]

    def message(self, folder: str, stem: str) -> dict[str, Any] | None:
        """The message to this number in a file, if it is still kept."""
        name = sending.messages_file(self._open(folder), stem).name
        found = self._rows(folder, name, TEXT_COLUMNS, self._is_number)
        return found[0] if found else None

    def _rows(
        self,
        folder: str,
        name: str,
        columns: list[str],
        chosen: Callable[[pa.RecordBatch], pa.RecordBatch],
    ) -> list[dict[str, Any]]:
        try:
            found = [
                row
                for batch in frames.batches(self._open(folder) / name, columns)
                for row in chosen(batch).to_pylist()
            ]
        except StorageGone:
            return []
        except Exception as error:  # of any storage, or of a run that is being written
            self._untold.append(f"{folder}/{name} can't be read ({type(error).__name__})")
            return []
        return found

    def _is_number(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(pc.equal(batch.column("msisdn"), self._msisdn))

    def _is_given(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        alike = batch.filter(pc.match_substring_regex(batch.column("msisdn"), self._alike))
        same = normalise(alike.column("msisdn")).msisdn == self._msisdn
        return alike.filter(pa.array(same))
