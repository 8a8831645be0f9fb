"""Shared parts of the commands: the two consoles, and common options."""

import gc
import getpass
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sms.clock import PARIS

if TYPE_CHECKING:
    from sms.campaign.definition import Campaign
    from sms.ledger.ledger import Ledger
    from sms.ledger.pseudonyms import Key

STOP_LIST_KEY = "SMS_STOP_LIST_KEY"
YEARS = range(1970, 2100)  # well inside Python's own calendar
MOST_DAYS = 3660
PAGE = 10_000  # columns without a terminal, so that no line is cut

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


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers are right-aligned, unprintable characters are escaped."""
    from rich.table import Table
    from rich.text import Text

    from sms.words import shown

    found = [list(row) for row in rows]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for place, name in enumerate(columns):
        numbers = all(isinstance(row[place], int | None) for row in found)
        table.add_column(name, justify="right" if numbers else "left", no_wrap=not say.is_terminal)
    for row in found:
        table.add_row(*(Text(shown(_cell(each))) for each in row))
    wide = say if say.is_terminal else Console(width=PAGE, highlight=False)
    wide.print(table)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(PARIS):%Y-%m-%d %H:%M}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def print_json(value: object) -> None:
    """Print a value as JSON; times are ISO 8601, in UTC."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value)


def open_ledger(url: str, actor: str) -> "Ledger":
    """A command's ledger, after a check of its schema; `actor` is recorded in its events."""
    from sms.ledger.ledger import Ledger

    ledger = Ledger.connect(url, actor=actor, key=_stop_list_key)
    ledger.require_current()
    return ledger


def _stop_list_key() -> "Key":
    from sms.errors import ConfigurationError
    from sms.ledger.pseudonyms import Key

    written = os.environ.get(STOP_LIST_KEY, "")
    if not written:
        raise ConfigurationError(
            f"the stop list is kept as hashes: set {STOP_LIST_KEY} to the key that Airflow's "
            "connection sms_stop_list_key has as its password"
        )
    return Key.of(written)


@contextmanager
def loading() -> Iterator[None]:
    """Import modules without garbage collection, which saves a tenth of a second."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


def campaign_named(named: str) -> "Campaign":
    """A campaign by its folder, or by its name among the settings' campaigns."""
    from sms.campaign import by_name

    return by_name.campaign(named)


def campaign_names(incomplete: str) -> list[str]:
    """The campaigns whose names begin with `incomplete`, for the shell's completion."""
    from sms.campaign import by_name

    return by_name.names(incomplete)


def instant(written: str) -> datetime:
    """A date and time from the command line; Paris time without an offset."""
    try:
        read = datetime.fromisoformat(written)
    except ValueError as error:
        raise typer.BadParameter(
            f"{written!r} is no date and hour: write them such as 2027-03-15T10:00"
        ) from error
    if read.year not in YEARS:
        raise typer.BadParameter(
            f"{written!r} is out of range: write a day of the years {YEARS[0]} to {YEARS[-1]}"
        )
    return read if read.tzinfo else read.replace(tzinfo=PARIS)


def encoding(written: str) -> str:
    """An encoding by any of its names."""
    from sms.columnar.csv_files import codec_name

    read = codec_name(written)
    if read is None:
        raise typer.BadParameter(
            f"{written!r} is no known encoding: write one such as cp1252 or utf-16-le"
        )
    return read


def person() -> str:
    """The name of the user who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"


def looked_up(written: str | None) -> str | None:
    """A key or a name that the ledger can look up. Raises BadParameter for any other text."""
    if written is None:
        return None
    if not written.strip():
        raise typer.BadParameter("is blank: write what to look up")
    if "\0" in written or any("\ud800" <= sign <= "\udfff" for sign in written):
        raise typer.BadParameter("holds a zero byte or bytes that are no UTF-8: write it anew")
    return written


def msisdn(written: str) -> int:
    """A person's number from the command line, in any notation."""
    from sms.privacy.dialling import dialled

    read = dialled(written)
    if read is None:
        raise typer.BadParameter("this is no phone number: write it such as +33639980001")
    return read


Msisdn = Annotated[
    int,
    typer.Argument(
        metavar="NUMBER", parser=msisdn, help="A person's number, national or international."
    ),
]

Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        parser=encoding,
        metavar="NAME",
        help="The encoding of a CSV that is not UTF-8, such as cp1252 (Excel's plain CSV on "
        "Windows).",
    ),
]
