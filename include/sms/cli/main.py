"""The command `sms`: checks, previews, the ledger and the stop list without Airflow.

Exit status: 0 success, 1 error, 2 usage error, 3 no recipient where the campaign says
`on_empty: skip`. An error is a sentence on standard error.
"""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from sms import clock
from sms.cli import exit_status, retention, runs, status
from sms.cli.check import check
from sms.cli.explain import explain
from sms.cli.options import (
    MOST_DAYS,
    Encoding,
    LedgerUrl,
    campaign_named,
    campaign_names,
    complain,
    instant,
    loading,
    open_ledger,
    say,
)
from sms.cli.quarantine import quarantine_app
from sms.cli.replies import replies_app
from sms.cli.stop_list import stop_list_app
from sms.clock import PARIS
from sms.words import are, count, listed

# Each command imports its modules itself, so that `--help` and usage errors are fast.
if TYPE_CHECKING:
    from sms.run.offline import Result

app = typer.Typer(no_args_is_help=True, help=__doc__)
ledger_app = typer.Typer(
    no_args_is_help=True, help="The ledger: upgrade its schema, cancel a file."
)
app.add_typer(ledger_app, name="ledger")
app.add_typer(stop_list_app, name="stop-list")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(replies_app, name="replies")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(metadata.version("sms-campaigns"))
        raise typer.Exit


@app.callback()
def sms(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


app.command()(check)


# The send hour of a preview: any open hour; it is not shown.
SOME_MORNING = datetime(2027, 3, 2, 10, 0, tzinfo=PARIS)

CampaignName = Annotated[
    str,
    typer.Argument(
        metavar="CAMPAIGN",
        help="A campaign's folder, or its name.",
        autocompletion=campaign_names,
    ),
]
Recipients = Annotated[
    Path,
    typer.Option("--recipients", help="The recipients: CSV with a header, or Parquet."),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Use at most this number of rows, the first.")
]

NO_RECIPIENTS = 3


@app.command()
def prepare(
    campaign: CampaignName,
    recipients: Recipients,
    stop_list: Annotated[
        Path,
        typer.Option("--stop-list", help="The opted-out numbers: CSV or Parquet."),
    ],
    at: Annotated[
        datetime,
        typer.Option(
            "--at",
            parser=instant,
            metavar="ISO",
            help="When to send, such as 2027-03-15T10:00; Paris time without an offset. A closed "
            "hour moves to the next open one.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="The output folder. Files of an earlier prepare in it are deleted.",
        ),
    ],
    run_id: Annotated[
        str | None,
        typer.Option("--run-id", help="A DAG run's id, to get its names and IDREMOTEs."),
    ] = None,
    service_id: Annotated[
        str,
        typer.Option(
            "--service-id", envvar="SMS_SERVICE_ID", help="The account's, used in file names."
        ),
    ] = "00000",
    limit: Limit = None,
    planned_at: Annotated[
        datetime | None,
        typer.Option(
            "--planned-at",
            parser=instant,
            metavar="ISO",
            help="When the run is planned, for `local_time`; default: at its hour.",
        ),
    ] = None,
    encoding: Encoding = None,
) -> None:
    """Write the exact files that the DAG would upload, and list exclusions with reasons."""
    with loading():
        from sms import settings
        from sms.cli import terminal
        from sms.columnar import text
        from sms.run import offline

    text.use_lean_memory()
    found, chosen = campaign_named(campaign), settings.load()
    plan = offline.plan(
        found,
        at,
        run_id=run_id,
        service_id=service_id,
        limit=limit,
        planned_at=planned_at,
        settings=chosen,
    )
    with terminal.progress(complain) as watch:
        screened = offline.screen(plan, recipients, stop_list, chosen, watch, encoding=encoding)
        prepared = offline.prepare(screened, chosen, out, watch)
    _print_outcome(prepared.outcome)
    for broken in offline.broken_limits(prepared.outcome, chosen):
        complain.print(f"[yellow]limit[/] {escape(broken)}: the DAG would not send this")
    for reason in dict.fromkeys(prepared.hours[stem].reason for stem, _ in prepared.files):
        say.print(f"\n{reason}", markup=False)
    for stem, written in prepared.files:
        say.print(f"{out / stem}.csv: {count(written.rows, 'message')}", markup=False)
    if plan.send_at < clock.now():
        complain.print(
            f"[yellow]past[/] {clock.in_paris(plan.send_at)} has passed: the gateway sends such a "
            "file at once"
        )
    if not prepared.files:
        say.print("No recipient is left: no file was written.")
        raise typer.Exit(NO_RECIPIENTS)


@app.command()
def preview(
    campaign: CampaignName,
    recipients: Annotated[
        Path | None,
        typer.Option("--recipients", help="The recipients: CSV with a header, or Parquet."),
    ] = None,
    stop_list: Annotated[
        Path | None, typer.Option("--stop-list", help="The opted-out numbers: CSV or Parquet.")
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=1, max=1000, help="How many messages.")
    ] = 3,
    limit: Limit = None,
    encoding: Encoding = None,
) -> None:
    """Show sample messages as on a phone, lengths and replaced characters. Writes no file.

    Without recipients, columns are shown by their names.
    """
    with loading():
        from sms import settings
        from sms.cli import terminal
        from sms.columnar import text
        from sms.run import offline

    text.use_lean_memory()
    found, chosen = campaign_named(campaign), settings.load()
    plan = offline.plan(found, SOME_MORNING, limit=limit, settings=chosen)
    if recipients is None:
        seen = offline.preview_of_names(plan, chosen)
    else:
        with terminal.progress(complain) as watch:
            screened = offline.screen(plan, recipients, stop_list, chosen, watch, encoding=encoding)
            seen = offline.preview(screened, chosen, samples, watch)
    say.print(terminal.phones(seen.messages, unicode=chosen.unicode))
    if seen.outcome:
        _print_outcome(seen.outcome)


@app.command()
def slots(
    days: Annotated[int, typer.Option("--days", min=1, max=MOST_DAYS, help="How many days.")] = 14,
    first: Annotated[
        datetime | None,
        typer.Option(
            "--from", parser=instant, metavar="ISO", help="The first day, such as 2027-12-20."
        ),
    ] = None,
    zone: Annotated[
        str,
        typer.Option(
            "--zone",
            help="The recipients' zone: a country code (RE, BE), a French department (974, 67), or "
            "alsace_moselle.",
        ),
    ] = "FR",
) -> None:
    """Show when marketing may be sent: each day's open hours, Paris time, or why it is closed.

    Another zone is open when both Paris and the zone are.
    """
    from sms import clock, settings
    from sms.calendar import send_window, zones

    begin, where = (first or clock.now()).astimezone(PARIS).date(), zones.zone(zone)
    for day in send_window.calendar(begin, days, settings=settings.load(), zone=where):
        say.print(str(day), markup=False)


app.command()(explain)


@ledger_app.command()
def upgrade(url: LedgerUrl) -> None:
    """Create the ledger's tables, or upgrade them to this version."""
    from sms.ledger.ledger import Ledger

    Ledger.connect(url).upgrade()
    say.print("The ledger is up to date.")


@ledger_app.command()
def cancel(stem: str, url: LedgerUrl) -> None:
    """Call off a submission whose file can't have left yet."""
    from sms.delivery import settlement

    ledger = open_ledger(url, "sms ledger cancel")
    say.print(f"{settlement.call_off(stem, ledger)}.", markup=False)


runs.join(app)
status.join(app)
retention.join(app)


def main() -> None:
    """Run the command; an error ends in one sentence, not in a traceback."""
    raise SystemExit(exit_status.of(partial(app, prog_name="sms")))


def _print_outcome(outcome: "Result") -> None:
    """Print the counts of candidates, messages and exclusions, and warnings."""
    from sms.cli import terminal

    tally, sizes, excluded = outcome.tally, outcome.sizes, outcome.excluded
    say.print(
        f"{count(outcome.screened.survey.candidates, 'candidate')}: "
        f"{count(sizes.messages, 'message')} in {sizes.sms:,} SMS, {excluded.total():,} left out"
    )
    say.print(str(outcome.stop_list), markup=False)
    if outcome.unused:
        columns = count(len(outcome.unused), "column")
        say.print(
            f"{columns} of the recipients {are(len(outcome.unused))} not used: "
            f"{listed(map(repr, outcome.unused))}",
            markup=False,
        )
    for title, drawn in (
        ("Variants", terminal.variants(outcome.variants) if outcome.variants else None),
        ("Lengths", terminal.histogram(sizes.by_size) if sizes.messages else None),
        ("Left out", terminal.reasons(excluded) if excluded else None),
        ("Replaced", terminal.replaced(tally.replaced) if tally.replaced else None),
    ):
        if drawn:
            say.print(f"\n[bold]{title}[/]", drawn, sep="\n")
    for column, noun in outcome.read_as.items():
        complain.print(f"[cyan]column[/] {escape(column)}: read as {noun}, as all its values are")
    for note in outcome.notes:
        complain.print(f"[yellow]text[/] line {note.line}: {escape(note.problem)}")
    for warning in outcome.unmet:
        complain.print(f"[yellow]text[/] {escape(warning)}")
    for fault in outcome.faults:
        complain.print(f"[yellow]source[/] {escape(str(fault))}")
    if outcome.slow_because:
        complain.print(f"[yellow]slow[/] {escape(outcome.slow_because)}")
