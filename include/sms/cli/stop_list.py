"""`sms stop-list`: the opted-out numbers, which hold for all campaigns."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from sms.cli.options import Encoding, LedgerUrl, Msisdn, complain, open_ledger, person, say
from sms.errors import SourceError, StorageFailed
from sms.words import count

if TYPE_CHECKING:
    from sms.audience.opt_out_files import OptOutReading
    from sms.ledger.ledger import Ledger
    from sms.ledger.records import Import

stop_list_app = typer.Typer(
    no_args_is_help=True, help="The opted-out numbers: import, export, look up, remove."
)

STDOUT = Path("-")
SUFFIXES = (".csv", ".parquet")
LINES = 5  # named in a sentence


@stop_list_app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV or Parquet. The numbers are in the column msisdn, or in the only column with "
            "mobile numbers; other telephones in the same row are entered, too. The time of the "
            "opt-out is in the column opted_out_at, if there is one.",
        ),
    ],
    source: Annotated[
        str,
        typer.Option("--source", help="The tool or list; its name is stored with each number."),
    ],
    url: LedgerUrl,
    date_column: Annotated[
        str | None,
        typer.Option(
            "--date-column",
            help="The column with the time of the opt-out, Paris time without an offset; 'column "
            "2' in a CSV without a header.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what an import would do, and change nothing.")
    ] = False,
    encoding: Encoding = None,
) -> None:
    """Enter another tool's opt-outs. A number keeps its earliest one; importing again is safe.

    Exit status 1 if a row can't be read, as it may be an opt-out; all other rows are entered.
    """
    from sms import clock
    from sms.audience.opt_out_files import OptOutReading
    from sms.columnar import text

    if not source.strip():
        raise typer.BadParameter("name the tool or list", param_hint="--source")
    text.use_lean_memory()
    ledger = _ledger(url, "import")
    reading = OptOutReading.of(file, clock.now(), date_column, encoding, _countries())
    done = ledger.stop_list.import_list(
        reading.batches(), named=source.strip(), file=file.name, trial=dry_run
    )
    if dry_run:
        say.print("Nothing was changed. An import would do this:")
    for line in _summary(reading, done, source.strip()):
        say.print(line, markup=False)
    if reading.rejects:
        raise _rejected(reading)


def _countries() -> list[str]:
    """The allowed countries of the campaigns in the settings' folder."""
    from sms import settings
    from sms.campaign.definition import load_all

    campaigns, broken = load_all(settings.load().campaigns_folder)
    for error in broken:
        complain.print(f"[yellow]note[/] its countries are not known: {escape(str(error))}")
    return sorted({country for each in campaigns for country in each.allowed_countries})


def _summary(reading: "OptOutReading", done: "Import", source: str) -> Iterator[str]:
    from sms.telecom.national import is_ambiguous

    known = done.numbers - done.new - done.removed
    yield (
        f"{count(done.numbers, 'number')} in {count(reading.rows, 'row')}, from "
        f"{reading.columns}: {done.new:,} new to the stop list, {known:,} in it already"
    )
    if is_ambiguous(reading.countries):
        yield (
            "A number without a country code is entered for each allowed country in which it can "
            f"be a mobile: {', '.join(reading.countries)}"
        )
    if done.again:
        yield (
            f"{done.again:,} of the new were removed from the stop list once, and {source} still "
            "has them: to send to them again, remove them there too"
        )
    if done.removed:
        yield (f"{done.removed:,} stay removed: the list has no later opt-out of them")
    if reading.left_out:
        reasons = ", ".join(f"{rows:,} {reason}" for reason, rows in reading.left_out.items())
        rows = count(reading.left_out.total(), "row")
        yield f"{rows} without a number that campaigns can write to: {reasons}"
    if reading.strange:
        yield (
            f"{count(reading.strange, 'date')} can't be read or in the future: "
            "such a number is opted out from now on"
        )


def _rejected(reading: "OptOutReading") -> SourceError:
    """The error for unreadable rows; writes them into a file beside the list."""
    file, beside = (
        reading.file,
        reading.file.path.with_name(f"{reading.file.path.name}.rejects.csv"),
    )
    lines = [*islice(file.places([row for row, _ in reading.rejects]), LINES)]
    more = ", ..." if len(reading.rejects) > LINES else ""
    word = file.place + ("" if len(reading.rejects) == 1 else "s")
    message = (
        f"{count(len(reading.rejects), 'row')} of {file.path} can't be read and may be an opt-out "
        f"({word} {', '.join(map(str, lines))}{more}; numbers were looked for in "
        f"{reading.numbers!r})"
    )
    try:
        reading.write_rejects(beside)
    except StorageFailed as error:
        return SourceError(
            f"{message}. They can't be listed in {beside} ({error.why}). Correct them in the list "
            "and import it again"
        )
    return SourceError(
        f"{message}: all are listed in {beside}. Correct them in the list and import it again"
    )


@stop_list_app.command()
def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .csv or .parquet to write; - prints CSV.")
    ],
    url: LedgerUrl,
) -> None:
    """Write the stop list in the format of import and prepare --stop-list."""
    from sms.audience import opt_out_files

    ledger = _ledger(url, "export")
    if file == STDOUT:
        opt_out_files.write_csv(ledger.stop_list.rows(), sys.stdout.buffer)
        _tell_of_hashes(ledger)
        return
    if file.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"{file} ends neither in .csv nor in .parquet", param_hint="FILE")
    written = opt_out_files.write(ledger.stop_list.rows(), file)
    say.print(f"{file}: {count(written, 'number')}", markup=False)
    _tell_of_hashes(ledger)


def _tell_of_hashes(ledger: "Ledger") -> None:
    if hashed := ledger.stop_list.count_hashed():
        complain.print(
            f"{count(hashed, 'number')} kept as a hash can't be exported: this file alone does not "
            "protect people who opted out",
            markup=False,
        )


@stop_list_app.command()
def show(number: Msisdn, url: LedgerUrl) -> None:
    """Show whether a number is in the stop list, since when and why, and its history."""
    from sms.privacy import story

    history = _ledger(url, "show").people.history(number)
    say.print(f"+{number}: {story.standing(history)}", markup=False)
    for entry in story.of_stop_list(history):
        say.print(f"{story.moment(entry.at)}  {entry.sentence}", markup=False)


@stop_list_app.command()
def remove(
    number: Msisdn,
    reason: Annotated[
        str, typer.Option("--reason", help="The reason; it is stored for ever, with your name.")
    ],
    url: LedgerUrl,
) -> None:
    """Remove a number from the stop list. Its history stays, and a new STOP enters it again."""
    if not reason.strip():
        raise typer.BadParameter("give a reason: it is stored for ever", param_hint="--reason")
    _ledger(url, "remove").stop_list.remove(number, reason=reason.strip())
    say.print(
        "Removed from the stop list, and kept in its history. Campaigns may write to this number "
        "again, until its next STOP."
    )


def _ledger(url: str, doing: str) -> "Ledger":
    return open_ledger(url, f"{person()} by sms stop-list {doing}")
