"""`sms explain`: one person's history, printed on the terminal only."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sms.cli.options import (
    AsJson,
    LedgerUrl,
    complain,
    instant,
    looked_up,
    msisdn,
    open_ledger,
    say,
)

if TYPE_CHECKING:
    from sms.privacy.story import Standing, Story

LOOKED_BACK = timedelta(days=92)


def explain(
    url: LedgerUrl,
    number: Annotated[
        int | None,
        typer.Argument(
            metavar="NUMBER",
            parser=msisdn,
            help="A person's number, national or international, also a landline.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            callback=looked_up,
            help="The person's key in the warehouse, instead of a number.",
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since",
            parser=instant,
            metavar="ISO",
            help="Search campaigns from this time on; default: three months back. The stop list is "
            "searched as a whole.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show one person's history: messages, exclusions with reasons, replies, STOPs.

    The output has the person's number and texts: it is for that person, or for their support.
    """
    from upath import UPath

    from sms import clock, settings
    from sms.campaign.definition import load_all
    from sms.privacy import story as explaining
    from sms.words import shown

    if (number is None) == (key is None):
        raise typer.BadParameter("give either a number or --key", param_hint="NUMBER")
    ledger = open_ledger(url, "sms explain")
    now = clock.now()
    begin = since or now - LOOKED_BACK
    campaigns, broken = load_all(settings.load().campaigns_folder)
    story = explaining.explain(
        ledger, campaigns, UPath, msisdn=number, key=key, since=begin, now=now
    )
    whom = f"+{number}" if key is None else f"key {key}"
    if as_json:
        typer.echo(json.dumps(_plain(story, key), ensure_ascii=False, indent=1))
        return
    say.print(shown(whom), markup=False)
    for entry in story.entries:
        line = f"{entry.sentence}{explaining.rows_of(entry)}"
        say.print(f"{explaining.moment(entry.at)}  {shown(line)}", markup=False)
    if not story.entries:
        say.print(
            f"No campaign and no message since {explaining.moment(begin)}, and no entry of the "
            "stop list."
        )
    for each in story.numbers:
        about = f" (+{each.msisdn})" if key is not None else ""
        say.print(f"Now{about}: {shown(_now(each))}", markup=False)
    for sentence in (*story.not_searched, *_unjudged(len(broken))):
        complain.print(sentence, markup=False)


def _unjudged(broken: int) -> Iterator[str]:
    if broken:
        from sms.words import count

        folders = count(broken, "campaign folder")
        yield f"{folders} can't be read and is not in the last line: run sms check"


def _now(number: "Standing") -> str:
    if number.refused:
        return f"not written to: {number.refused}"
    by = "; ".join(f"{name}: {why}" for name, why in number.refused_by.items())
    but = f", except by these: {by}" if by else ""
    return f"every campaign whose query returns the number would write to it{but}"


def _plain(story: "Story", key: str | None) -> dict[str, Any]:
    return {
        "key": key,
        "numbers": [
            {
                "msisdn": f"+{each.msisdn}",
                "written_to_now": each.refused is None,
                "refused": each.refused,
                "refused_by": dict(each.refused_by),
            }
            for each in story.numbers
        ],
        "story": [
            {
                "at": each.at.isoformat(),
                "what": each.what,
                "sentence": each.sentence,
                "times": each.times,
            }
            | {name: _cell(value) for name, value in each.facts.items()}
            for each in story.entries
        ],
        "not_searched": list(story.not_searched),
    }


def _cell(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
