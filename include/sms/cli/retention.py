"""`sms forget` erases a person from the ledger; `sms replay` loads archived reports again."""

import sys
from typing import Annotated

import typer

from sms.cli.options import LedgerUrl, open_ledger, say
from sms.words import count


def forget(
    number: Annotated[
        str,
        typer.Argument(
            metavar="NUMBER",
            help="The number; - reads it from standard input, so that it is in no shell history.",
        ),
    ],
    url: LedgerUrl,
) -> None:
    """Erase a person's messages and replies from the ledger; their opt-out stays."""
    from sms import clock, settings
    from sms.privacy.erasure import forget as forget_person

    wanted = sys.stdin.readline().strip() if number == "-" else number
    ledger = open_ledger(url, "sms forget")
    rules = settings.load()
    forgotten, kept = forget_person(wanted, ledger, rules, clock.now())
    stays = "the number is not in the stop list"
    if forgotten.opted_out:
        stays = f"their opt-out is kept{_how(forgotten.hashed, rules.hash_stop_list)}"
    say.print(
        f"Erased: {count(forgotten.messages, 'message')} with outcome, "
        f"{count(forgotten.strangers, 'other row', 'other rows')} of reports, "
        f"{count(forgotten.replies, 'reply', 'replies')}, "
        f"{count(forgotten.unreadable, 'unreadable row')}; {stays}.",
        markup=False,
    )
    for each in kept:
        end = f"{each.until:%Y-%m-%d}" if each.until else "it is deleted by hand"
        say.print(f"still in {each.place} until {end}", markup=False)
    say.print(
        "Folders of other runs may have the person among their candidates, until they expire too.",
        markup=False,
    )


def _how(hashed: bool, wanted: bool) -> str:
    if hashed:
        return ", as a hash"
    return ", still as a number, as its hash is in the list too" if wanted else ""


def replay(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Reports in the archive, or folders of them: paths, or URLs such as s3://....",
        ),
    ],
    url: LedgerUrl,
) -> None:
    """Load archived reports again, into a ledger that has lost them."""
    from upath import UPath

    from sms import settings
    from sms.reports.replay import replay as replay_files

    ledger = open_ledger(url, "sms replay")
    archive = UPath(settings.load().archive_folder)
    loaded = replay_files([UPath(file) for file in files], ledger, archive)
    for each in loaded:
        say.print(
            f"{each.name}: {count(each.rows, 'row')}, {count(each.opt_outs, 'new opt-out')}, "
            f"{count(each.replies, 'new reply', 'new replies')}, {each.unreadable:,} unreadable",
            markup=False,
        )
    say.print(f"{count(len(loaded), 'report')} loaded.", markup=False)
    for name, rows in ledger.reports.unseen_stops().items():
        say.print(
            f"{count(rows, 'row')} of {name} can't be read and may be a STOP: nothing is sent "
            "until they are marked by `sms quarantine seen`.",
            markup=False,
        )


def join(app: typer.Typer) -> None:
    """Add these commands to `sms`."""
    app.command()(forget)
    app.command()(replay)
