"""`sms status` and `sms upcoming`: open problems, and upcoming files."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer
from rich.markup import escape

from sms.cli.options import (
    AsJson,
    LedgerUrl,
    complain,
    open_ledger,
    print_json,
    print_table,
    say,
)

LISTED = 20  # cases of one check
STYLE = {"ok": "green", "notice": "yellow", "problem": "red"}


def status(
    url: LedgerUrl,
    days: Annotated[
        int,
        typer.Option(
            "--days", min=1, max=366, help="Show failed runs and rejected files of so many days."
        ),
    ] = 7,
    as_json: AsJson = False,
) -> None:
    """Check for problems: open cases, overdue reports, unread STOPs, broken folders.

    Reads the ledger and the campaigns' folders, neither Airflow nor the gateway. Exit status 1 if
    there is a problem.
    """
    from sms import clock, settings
    from sms.campaign.definition import load_all
    from sms.overview.status import checks, is_well
    from sms.words import shown

    chosen, now = settings.load(), clock.now()
    good, broken = load_all(chosen.campaigns_folder)
    since = now - timedelta(days=days)
    ledger = open_ledger(url, "sms status")
    found = checks(ledger, chosen, len(good), broken, since=since, now=now)
    if as_json:
        print_json({"well": is_well(found), "at": now, "checks": [asdict(each) for each in found]})
    else:
        for each in found:
            style = STYLE[each.level]
            say.print(f"[{style}]{each.level:<8}[/] {escape(each.sentence)}")
            for case in each.cases[:LISTED]:
                say.print(f"         {shown(case)}", markup=False)
            if each.cases[LISTED:]:
                say.print(f"         and {len(each.cases) - LISTED:,} more")
        say.print("No problem found." if is_well(found) else "There are problems: see above.")
    if not is_well(found):
        raise typer.Exit(1)


def upcoming(
    url: LedgerUrl,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="How far ahead.")] = 7,
    as_json: AsJson = False,
) -> None:
    """List upcoming files and scheduled starts of campaigns.

    Paused campaigns are listed too, as only Airflow knows which are paused.
    """
    from sms import clock, settings
    from sms.campaign.definition import load_all
    from sms.overview import upcoming as schedules
    from sms.words import count

    chosen, now = settings.load(), clock.now()
    until = now + timedelta(days=days)
    campaigns, broken = load_all(chosen.campaigns_folder)
    waiting = open_ledger(url, "sms upcoming").submissions.scheduled(
        since=now - chosen.max_audience_age, until=until
    )
    starts = schedules.starts(campaigns, chosen, now=now, until=until)
    if as_json:
        print_json(
            {
                "files": [asdict(each) for each in waiting],
                "starts": [asdict(each) for each in starts],
                "broken": [str(each) for each in broken],
            }
        )
        return
    if waiting:
        say.print("Files", style="bold")
        print_table(
            ("hour", "campaign", "state", "messages", "file"),
            ((e.send_at, e.campaign, e.state, e.messages, e.stem) for e in waiting),
        )
    else:
        say.print(f"No file waits for an hour in the next {count(days, 'day')}.")
    if starts:
        say.print("\nStarts by schedule, unless the campaign is paused", style="bold")
        print_table(
            ("start", "campaign", "sends at", "because"),
            ((e.starts_at, e.campaign, e.send_at or "not at all", e.why) for e in starts),
        )
        for name in dict.fromkeys(each.campaign for each in starts if each.more):
            say.print(f"{name} has more starts: only the first are listed", markup=False)
    else:
        say.print(f"No campaign starts by schedule in the next {count(days, 'day')}.")
    for error in broken:
        complain.print(str(error), markup=False)


def join(app: typer.Typer) -> None:
    """Add these commands to `sms`."""
    app.command()(status)
    app.command()(upcoming)
