"""`sms quarantine`: what a person says of rows of reports that can't be read."""

from typing import Annotated

import typer

from sms.cli.options import LedgerUrl, open_ledger, person, say
from sms.words import count

quarantine_app = typer.Typer(
    no_args_is_help=True, help="Rows of reports that can't be read: say that you have looked."
)


@quarantine_app.callback()
def quarantine() -> None:
    """Rows of reports that can't be read: say that you have looked."""


@quarantine_app.command()
def seen(
    report: Annotated[
        str, typer.Argument(metavar="REPORT", help="The report's name, such as STOP-….csv.")
    ],
    reason: Annotated[
        str,
        typer.Option(
            "--reason", help="What became of the rows; it is kept beside them, with your name."
        ),
    ],
    url: LedgerUrl,
    line: Annotated[
        list[int] | None,
        typer.Option("--line", help="Only the row at this line; may be given several times."),
    ] = None,
) -> None:
    """Say that a report's unreadable rows were looked at, and every STOP among them entered.

    Files are sent again from then on. A row that comes later is asked about anew.
    """
    if not reason.strip():
        raise typer.BadParameter("say what became of them", param_hint="--reason")
    ledger = open_ledger(url, f"{person()} by sms quarantine seen")
    lines = ledger.reports.mark_seen(report, line or None, reason=reason.strip())
    say.print(
        f"{count(len(lines), 'row')} of {report} marked as seen: line "
        f"{', '.join(map(str, lines))}.",
        markup=False,
    )
    for name, rows in ledger.reports.unseen_stops().items():
        say.print(f"Not yet seen: {count(rows, 'row')} of {name}.", markup=False)
