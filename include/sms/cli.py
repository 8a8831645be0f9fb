"""The command `sms`: what people and their CI do without Airflow.

Exit status: 0 as wished, 1 a refusal with its sentence on standard error, 2 a wrong call.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sms import settings
from sms.campaign import Campaign, load, load_all
from sms.errors import SUPPORT, BadCampaign, SmsError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
ledger_app = typer.Typer(no_args_is_help=True, help="The ledger: its schema, and its open cases.")
app.add_typer(ledger_app, name="ledger")

say = Console(highlight=False, soft_wrap=True)
complain = Console(stderr=True, highlight=False, soft_wrap=True)

LedgerUrl = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="SMS_LEDGER_URL",
        help="The ledger's database, as postgresql://user@host/database.",
    ),
]


@app.command()
def check(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Campaign folders; without any, all of the settings' folder."),
    ] = None,
) -> None:
    """Judge campaign folders: every fault, with its file and line."""
    if folders:
        good, broken = _judged(folders)
    else:
        good, broken = load_all(settings.load().campaigns_folder)
    for campaign in good:
        say.print(f"{campaign.name}: good", markup=False)
    for error in broken:
        complain.print(str(error), markup=False)
    if broken:
        raise typer.Exit(1)


@ledger_app.command()
def upgrade(url: LedgerUrl) -> None:
    """Create the ledger's tables, or bring them to this version."""
    from sms.ledger.ledger import Ledger

    Ledger.connect(url).upgrade()
    say.print("The ledger is up to date.")


@ledger_app.command()
def settle(
    stem: str,
    url: LedgerUrl,
    arrived: Annotated[
        bool,
        typer.Option(
            "--arrived/--never-arrived", help="What the provider's support told you of the file."
        ),
    ],
) -> None:
    """Say what became of a submission whose fate could not be known."""
    from sms.ledger.ledger import Ledger
    from sms.ledger.states import State

    ledger = Ledger.connect(url, actor="sms ledger settle")
    to = State.SUBMITTED if arrived else State.CANCELLED
    if ledger.submission(stem).state is not State.UNKNOWN or not ledger.move(stem, to=to):
        raise SmsError(f"{stem} is {ledger.submission(stem).state}, not unknown: nothing to settle")
    if arrived:
        say.print(f"{stem} counts as submitted. Clear its task submit, and the run goes on.")
    else:
        say.print(f"{stem} is cancelled. Trigger a new run to send the campaign.")
        parts = ledger.submission(stem).parts
        if parts > 1:
            say.print(
                f"It was one of {parts} parts: if others went out, the new run's query must leave "
                "out whoever is in sms.delivery."
            )


@ledger_app.command()
def cancel(stem: str, url: LedgerUrl) -> None:
    """Call off a submission whose file can't have left yet."""
    from sms.ledger.ledger import Ledger
    from sms.ledger.states import State

    ledger = Ledger.connect(url, actor="sms ledger cancel")
    ahead = State.PLANNED, State.PREPARED, State.UPLOADING
    if ledger.submission(stem).state not in ahead or not ledger.move(stem, to=State.CANCELLED):
        raise SmsError(
            f"{stem} is {ledger.submission(stem).state} and may be at the gateway: only "
            f"{SUPPORT} can stop it now"
        )
    say.print(f"{stem} is cancelled and will never be sent.")


def main() -> None:
    """Run the command; a refusal ends in one sentence, not in a traceback."""
    try:
        app()
    except SmsError as error:
        complain.print(str(error), markup=False)
        raise SystemExit(1) from None


def _judged(folders: list[Path]) -> tuple[list[Campaign], list[BadCampaign]]:
    good, broken = [], []
    for folder in folders:
        try:
            good.append(load(folder.resolve()))
        except BadCampaign as error:
            broken.append(error)
    return good, broken
