"""`sms runs` and `sms report`: the results of runs, read from the ledger."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sms.cli.options import (
    MOST_DAYS,
    AsJson,
    LedgerUrl,
    campaign_names,
    complain,
    looked_up,
    open_ledger,
    print_json,
    print_table,
    say,
)

if TYPE_CHECKING:
    from sms.ledger.ledger import Ledger
    from sms.ledger.records import RunLine, Submission, Summary


def runs(
    url: LedgerUrl,
    campaign: Annotated[
        str | None,
        typer.Option(
            "--campaign",
            help="Only the runs of this campaign.",
            autocompletion=campaign_names,
        ),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=MOST_DAYS, help="How far back.")] = 7,
    as_json: AsJson = False,
) -> None:
    """List the runs of the last days and the coming ones: status, recipients, deliveries.

    Proofs are not listed.
    """
    from sms import clock
    from sms.words import count

    since = clock.now() - timedelta(days=days)
    found = open_ledger(url, "sms runs").runs.lines(since=since, campaign=campaign)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    if not found:
        of = f" of {campaign}" if campaign else ""
        say.print(f"The ledger has no run{of} in the last {count(days, 'day')}.", markup=False)
        return
    print_table(
        ("hour", "campaign", "status", "candidates", "excluded", "sent", "delivered", "run"),
        (
            (
                *(each.send_at, each.campaign, _status(each), each.candidates, each.excluded),
                *(each.sent, each.delivered, each.run_key.partition("/")[2]),
            )
            for each in found
        ),
    )
    for each in found:
        if each.failed_why:
            complain.print(f"{each.run_key}: {_failure(each)}", markup=False)


def report(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            callback=looked_up,
            help="A run's key or Airflow id, the name of one of its files, or a campaign, for its "
            "latest run.",
        ),
    ],
    url: LedgerUrl,
    as_json: AsJson = False,
) -> None:
    """Show one run: its hour, recipients, exclusions by reason, files, deliveries and replies."""
    from sms.wire.names import stem_of

    ledger = open_ledger(url, "sms report")
    run_key = ledger.runs.find_key(run, stem_of(run) or run)
    summary, files = ledger.runs.summary(run_key), ledger.submissions.of_run(run_key)
    line = ledger.runs.line(run_key)
    late = sum(ledger.submissions.late_stops(each.stem) for each in files)
    if as_json:
        print_json(_plain(summary, files, line, late))
        return
    _print_head(summary, line)
    _print_recipients(summary)
    _print_files(files)
    _print_outcomes(summary, late)
    for sentence in _shortfalls(files, ledger):
        complain.print(f"note: {sentence}", markup=False)


def _status(line: "RunLine") -> str:
    return f"failed in {line.failed_task}" if line.failed_task else line.status


def _failure(line: "RunLine") -> str:
    from sms.privacy.story import moment

    at = f", {moment(line.failed_at)}" if line.failed_at else ""
    return f"failed in {line.failed_task}{at}: {line.failed_why}"


def _print_head(summary: "Summary", line: "RunLine | None") -> None:
    from sms.privacy.story import moment
    from sms.words import count

    run = summary.run
    lines = {
        "run": run.run_key,
        "campaign": f"{run.campaign}, {run.kind}",
        "status": line.status if line else "a proof",
        "failure": _failure(line) if line and line.failed_why else None,
        "hour": f"{moment(run.send_at)} in Paris ({run.slot_reason})",
        "limit": f"the first {count(run.row_limit, 'row')}" if run.row_limit else None,
        "approved": run.approved_at and f"by {run.approved_by}, {moment(run.approved_at)}",
        "folder": run.folder,
    }
    width = max(map(len, lines))
    for name, value in lines.items():
        if value:
            say.print(f"{name:<{width}}  {value}", markup=False)


def _print_recipients(summary: "Summary") -> None:
    from sms.audience.screening import SENTENCES

    say.print("\nRecipients", style="bold")
    excluded = sorted(summary.excluded.items(), key=lambda item: (-item[1], item[0]))
    print_table(
        ("people", "", ""),
        [
            (summary.candidates, "candidates", ""),
            *((number, code, SENTENCES.get(code, "")) for code, number in excluded),
            (summary.audience, "to be written to", ""),
        ],
    )


def _print_files(files: "list[Submission]") -> None:
    say.print("\nFiles", style="bold")
    print_table(
        ("hour", "state", "messages", "SMS", "file"),
        ((each.send_at, each.state, each.messages, each.segments, each.stem) for each in files),
    )


def _print_outcomes(summary: "Summary", late: int) -> None:
    from sms.words import count

    if not summary.sent:
        say.print("\nNothing was sent.")
        return
    from sms.reports.notices import OUTCOMES

    say.print("\nDelivery", style="bold")
    outcomes = asdict(summary.outcomes)
    print_table(
        ("messages", ""),
        [
            (summary.sent, f"sent, in {count(summary.segments, 'SMS', 'SMS')}"),
            *((outcomes[name], name.replace("_", " ")) for name in OUTCOMES if outcomes[name]),
        ],
    )
    answers = f"{count(summary.stops, 'STOP')}, {count(summary.replies, 'reply', 'replies')}"
    say.print(f"\n{answers}")
    if late:
        say.print(f"{count(late, 'STOP')} came between the upload and the hour")


def _shortfalls(files: "list[Submission]", ledger: "Ledger") -> Iterator[str]:
    from sms.ledger.states import State
    from sms.reports.notices import shortfall

    for each in files:
        if each.state in (State.REPORTED, State.CLOSED):
            yield from shortfall(each.stem, ledger.submissions.reconcile(each.stem))


def _plain(
    summary: "Summary", files: "list[Submission]", line: "RunLine | None", late: int
) -> dict[str, Any]:
    names = ("stem", "state", "send_at", "zone", "messages", "segments", "due_at", "reported_at")
    fields = asdict(summary)
    return {
        **fields.pop("run"),
        "status": line.status if line else "proof",
        "failed_at": line and line.failed_at,
        "failed_task": line and line.failed_task,
        "failed_why": line and line.failed_why,
        **fields,
        "late_stops": late,
        "files": [{name: getattr(each, name) for name in names} for each in files],
    }


def join(app: typer.Typer) -> None:
    """Add these commands to `sms`."""
    app.command()(runs)
    app.command()(report)
