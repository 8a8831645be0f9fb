"""What the commands share: the two consoles, and options that mean the same everywhere."""

import getpass
import os
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console

from sms.clock import PARIS

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


def instant(written: str) -> datetime:
    """A moment as it is written on the command line; Paris time unless it says otherwise."""
    try:
        read = datetime.fromisoformat(written)
    except ValueError as error:
        raise typer.BadParameter(
            f"{written!r} is no date and hour: write them such as 2027-03-15T10:00"
        ) from error
    return read if read.tzinfo else read.replace(tzinfo=PARIS)


def person() -> str:
    """Who is at the keyboard, as far as the machine knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"


def msisdn(written: str) -> int:
    """A person's number on the command line, in any spelling that a stop list may have."""
    from sms.wire.report_rows import number

    read = number(written.encode())
    if read is None:
        raise typer.BadParameter("this is no phone number: write it such as +33639980001")
    return read


Msisdn = Annotated[
    int,
    typer.Argument(
        metavar="NUMBER", parser=msisdn, help="A person's number, national or international."
    ),
]
