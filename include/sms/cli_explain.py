"""`sms explain`: one person's story on the terminal, and nowhere else."""

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sms.cli_options import LedgerUrl, Msisdn, complain, instant, open_ledger, say

if TYPE_CHECKING:
    from sms.explaining import Story

LOOKED_BACK = timedelta(days=92)


def explain(
    number: Msisdn,
    url: LedgerUrl,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since",
            parser=instant,
            metavar="ISO",
            help="How far back campaigns are searched; without it, three months. What was said to "
            "the stop list is told from the beginning.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
) -> None:
    """Tell one person's story: sent what, left out why, what came back, and written to now or not.

    Shows the person's number and texts: for that person, or whoever answers them.
    """
    from upath import UPath

    from sms import clock, explaining, settings
    from sms.campaign import load_all

    ledger = open_ledger(url, "sms explain")
    now = clock.now()
    begin = since or now - LOOKED_BACK
    story = explaining.explain(
        number,
        ledger,
        load_all(settings.load().campaigns_folder)[0],
        UPath,
        since=begin,
        now=now,
    )
    if as_json:
        typer.echo(json.dumps(_plain(story), ensure_ascii=False, indent=1))
        return
    say.print(f"+{story.msisdn}")
    for entry in story.entries:
        say.print(f"{explaining.moment(entry.at)}  {entry.told}", markup=False)
    if not story.entries:
        say.print(
            f"No campaign and no message is known since {explaining.moment(begin)}, and nothing "
            "that the stop list ever heard."
        )
    say.print(f"Now: {_now(story)}", markup=False)
    for sentence in story.untold:
        complain.print(sentence, markup=False)


def _now(story: "Story") -> str:
    if story.refused:
        return f"not written to: {story.refused}"
    by = "; ".join(f"{name}: {why}" for name, why in story.refused_by.items())
    but = f", but not by these campaigns: {by}" if by else ""
    return f"written to by any campaign whose query names the number{but}"


def _plain(story: "Story") -> dict[str, Any]:
    return {
        "msisdn": f"+{story.msisdn}",
        "written_to_now": story.refused is None,
        "refused": story.refused,
        "refused_by": dict(story.refused_by),
        "story": [
            {"at": each.at.isoformat(), "what": each.what, "told": each.told}
            | {name: _cell(value) for name, value in each.facts.items()}
            for each in story.entries
        ],
        "untold": list(story.untold),
    }


def _cell(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
