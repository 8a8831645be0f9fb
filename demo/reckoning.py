"""Comparison of the ledger's counts with the sandbox's journal."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from sms.ledger.ledger import Ledger
from sms.ledger.records import Submission, Summary
from sms.ledger.states import State
from sms.words import count

Journal = Sequence[Mapping[str, Any]]
# A STOP waits for a rename that is under way, unless the ledger has ended that turn: then it may be
# recorded before the gateway, which is slow now and then, has renamed the file.
ON_ITS_WAY = timedelta(seconds=2)
# How long a STOP may be at the gateway before it is fetched for a file that leaves: the gateway may
# be away meanwhile.
FETCHED_WITHIN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class OptOut:
    """When a person said STOP, and when the ledger recorded it."""

    said_at: datetime
    recorded_at: datetime

    def precedes(self, renamed_at: datetime) -> bool:
        """Whether a file that was renamed at this moment had to leave the person out."""
        recorded_before = self.recorded_at <= renamed_at - ON_ITS_WAY
        return recorded_before or self.said_at <= renamed_at - FETCHED_WITHIN


def faults(
    summary: Summary,
    submissions: Collection[Submission],
    journal: Journal,
    stop_list: Mapping[int, OptOut],
) -> list[str]:
    """A sentence for each mismatch; none if all counts match."""
    stems = {each.stem for each in submissions}
    sent = [line for line in journal if line["what"] == "sent" and line["stem"] in stems]
    return [
        *_candidate_faults(summary),
        *_sending_faults(summary, submissions, sent),
        *_rename_faults(stems, journal),
        *_stop_list_faults(sent, journal, stop_list),
        *_answer_faults(summary, stems, journal),
    ]


def stop_list(ledger: Ledger) -> dict[int, OptOut]:
    """The opt-outs by number."""
    with ledger.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT msisdn, opted_out_at, recorded_at FROM sms.opt_out"
        )
        return {row.msisdn: OptOut(row.opted_out_at, row.recorded_at) for row in rows}


def _candidate_faults(summary: Summary) -> Iterator[str]:
    left_out = sum(summary.excluded.values())
    if summary.candidates == 0:
        yield "the warehouse gave no candidates"
    if summary.candidates != summary.audience + left_out:
        yield (
            f"{summary.candidates} candidates are not {summary.audience} to write to and "
            f"{left_out} left out"
        )
    if summary.audience != summary.sent:
        yield f"{summary.audience} were to be written to, {summary.sent} were sent"


def _sending_faults(
    summary: Summary, submissions: Collection[Submission], sent: Journal
) -> Iterator[str]:
    for each in submissions:
        if each.state not in (State.REPORTED, State.CLOSED):
            yield f"{each.stem} is {each.state}, not reported"
    if summary.sent != len(sent):
        yield f"the ledger says {summary.sent} sent, the gateway sent {len(sent)}"
    twice = [count for count in Counter(line["msisdn"] for line in sent).values() if count > 1]
    if twice:
        yield f"{count(len(twice), 'number')} got the text more than once"
    if not summary.outcomes.balanced:
        yield f"sent messages and outcomes do not match: {summary.outcomes}"


def _rename_faults(stems: Collection[str], journal: Journal) -> Iterator[str]:
    renames = Counter(
        PurePosixPath(line["to"]).stem
        for line in journal
        if line["what"] == "rename" and PurePosixPath(line["to"]).suffix == ".csv"
    )
    for stem in sorted({*stems, *renames}):
        if renames[stem] != 1:
            yield f"{stem} was renamed to .csv {renames[stem]} times instead of once"


def _stop_list_faults(
    sent: Journal, journal: Journal, stop_list: Mapping[int, OptOut]
) -> Iterator[str]:
    renamed = {
        PurePosixPath(line["to"]).stem: datetime.fromisoformat(line["at"])
        for line in journal
        if line["what"] == "rename" and PurePosixPath(line["to"]).suffix == ".csv"
    }
    wronged = []
    for line in sent:
        known = stop_list.get(int(line["msisdn"].removeprefix("+")))
        renamed_at = renamed.get(line["stem"])
        if known and renamed_at and known.precedes(renamed_at):
            wronged.append((known, renamed_at))
    if wronged:
        known, renamed_at = wronged[0]
        yield (
            f"{count(len(wronged), 'number')} got a text after a STOP: said at {known.said_at}, "
            f"recorded at {known.recorded_at}, the file was renamed at {renamed_at}"
        )


def _answer_faults(summary: Summary, stems: Collection[str], journal: Journal) -> Iterator[str]:
    rows: Counter[str] = Counter()
    for line in journal:
        if line["what"] == "grown" and line["stem"] in stems:
            rows[line["name"].partition("-")[0]] += line["rows"]
    for kind, loaded in (("STOP", summary.stops), ("SMSMO", summary.replies)):
        if rows[kind] != loaded:
            yield f"the gateway has {rows[kind]} {kind} rows, the ledger {loaded}"
