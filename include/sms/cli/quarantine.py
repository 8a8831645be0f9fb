"""`sms quarantine`: marks unreadable rows of reports as seen."""

from typing import Annotated

import typer

from sms.cli.options import LedgerUrl, open_ledger, person, say
from sms.words import count

quarantine_app = typer.Typer(
    no_args_is_help=True, help="Unreadable rows of reports: mark them as seen."
)


@quarantine_app.callback()
def quarantine() -> None:
    """Unreadable rows of reports: mark them as seen."""


@quarantine_app.command()
def seen(
    report: Annotated[
        str, typer.Argument(metavar="REPORT", help="The report's name, such as STOP-….csv.")
    ],
    reason: Annotated[
        str,
        typer.Option(
            "--reason", help="How the rows were handled; it is stored with them and your name."
        ),
    ],
    url: LedgerUrl,
    line: Annotated[
        list[int] | None,
        typer.Option("--line", help="Only the row at this line; may be given several times."),
    ] = None,
) -> None:
    """Mark a report's unreadable rows as seen, after each STOP among them was entered.

    Then files are sent again. A row that comes later needs a new mark.
    """
    if not reason.strip():
        raise typer.BadParameter("say how the rows were handled", param_hint="--reason")
    ledger = open_ledger(url, f"{person()} by sms quarantine seen")
    lines = ledger.reports.mark_seen(report, line or None, reason=reason.strip())
    say.print(
        f"{count(len(lines), 'row')} of {report} marked as seen: line "
        f"{', '.join(map(str, lines))}.",
        markup=False,
    )
    for name, rows in ledger.reports.unseen_stops().items():
        say.print(f"Not yet seen: {count(rows, 'row')} of {name}.", markup=False)
