"""`sms check`: checks campaigns without reading rows.

With --warehouse it also reads the columns of their queries.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.markup import escape

from sms.cli.options import (
    AsJson,
    campaign_named,
    campaign_names,
    complain,
    loading,
    print_json,
    say,
)
from sms.errors import BadCampaign, ConfigurationError

if TYPE_CHECKING:
    from sms.campaign.definition import Campaign
    from sms.run.query_columns import Answer
    from sms.settings import Settings

    Good: TypeAlias = tuple[Campaign, Answer | None]


def check(
    campaigns: Annotated[
        list[str] | None,
        typer.Argument(
            help="Campaigns' folders, or their names. Default: all in the settings' folder.",
            autocompletion=campaign_names,
        ),
    ] = None,
    warehouse: Annotated[
        bool,
        typer.Option(
            "--warehouse",
            help="Also read the names and types of each query's columns from its warehouse, "
            "without running the query. Needs Airflow and its connections.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check campaigns against the settings, and print each fault with its file and line.

    Lists the columns that the query must return; with --warehouse, those that it returns. Exit
    status, for CI: 0 no fault, 1 a fault in a campaign, in the settings or in the connection to a
    warehouse.
    """
    with loading():
        from sms import settings
        from sms.campaign.definition import load_all
        from sms.run import checks

    faults: list[BadCampaign | ConfigurationError] = []
    chosen: Settings | None = None
    try:
        chosen = settings.load()
    except ConfigurationError as error:
        faults.append(error)
    found: list[Campaign] = []
    if campaigns:
        found, broken = _named(campaigns, chosen)
        faults += broken
    elif chosen:
        found, bad = load_all(chosen.campaigns_folder)
        faults += bad
        if not found and not bad:
            complain.print(f"{chosen.campaigns_folder} has no campaign", markup=False)
    faults = [one for each in faults for one in _each(each)]
    answers: list[Answer] | None = None
    if warehouse:
        try:
            answers = _asked(found)
        except ConfigurationError as error:
            faults.append(error)
    good: list[Good] = []
    for place, each in enumerate(found):
        answer = answers[place] if answers is not None else None
        own = [*(checks.faults(each, chosen) if chosen else ())]
        own += _of_query(each, answer) if answer else []
        faults += own
        if chosen and not own and (answer or not warehouse):
            good.append((each, answer))
    if as_json:
        _print_json(good, faults)
    else:
        _print(good, faults)
    if faults:
        raise typer.Exit(1)


def _named(
    names: Iterable[str], chosen: "Settings | None"
) -> tuple[list["Campaign"], list[BadCampaign]]:
    good, broken = [], []
    for each in names:
        try:
            good.append(campaign_named(each))
        except BadCampaign as error:
            broken.append(error)
        except ConfigurationError:  # reported already: the name needs the settings' folder
            if chosen:
                raise
    return good, broken


def _each(
    fault: BadCampaign | ConfigurationError,
) -> "Iterable[BadCampaign | ConfigurationError]":
    return fault.each() if isinstance(fault, BadCampaign) else [fault]


def _asked(campaigns: Iterable["Campaign"]) -> "list[Answer]":
    from sms.run import query_columns

    return query_columns.ask(
        [query_columns.Query(each.warehouse, each.sql, str(each.sql_path)) for each in campaigns]
    )


def _of_query(campaign: "Campaign", answer: "Answer") -> list[BadCampaign]:
    """Faults of a query and its columns; those of a connection, at the campaign's key."""
    from sms.run import checks, query_checks

    if answer.fault is None:
        return list(query_checks.faults(campaign, answer.columns))
    if answer.fault.path:
        return [answer.fault]
    return [checks.at_key("warehouse", campaign, answer.fault.problem)]


def _print(good: Iterable["Good"], faults: Iterable[Exception]) -> None:
    for campaign, answer in good:
        say.print(f"{campaign.name}: no fault found; {_columns(campaign, answer)}", markup=False)
        for note in _notes(campaign, answer):
            complain.print(f"[yellow]note[/]  {escape(note)}")
    for error in faults:
        for line in str(error).splitlines():
            complain.print(f"[red]fault[/] {escape(line)}")


def _columns(campaign: "Campaign", answer: "Answer | None") -> str:
    """The columns that the query must return, or those that it returns."""
    from sms.run import checks, query_checks

    if answer is None:
        return f"needs from the query: {', '.join(checks.needs(campaign))}"
    returned = ", ".join(map(str, answer.columns))
    opted_out = " and ".join(query_checks.opted_out(answer.columns))
    return f"{campaign.warehouse} returns: {returned}; " + (
        f"opted out by: {opted_out}" if opted_out else "no column for opt-outs"
    )


def _notes(campaign: "Campaign", answer: "Answer | None") -> list[str]:
    from sms.run import checks, query_checks

    asked = () if answer is None else query_checks.notes(campaign, answer.columns)
    return [*checks.notes(campaign), *asked]


def _print_json(good: Iterable["Good"], faults: Iterable[Exception]) -> None:
    from sms.run import checks

    print_json(
        {
            "campaigns": [
                {
                    "name": each.name,
                    "folder": each.folder,
                    "needs": checks.needs(each),
                    "notes": _notes(each, answer),
                    **({} if answer is None else _answered(each, answer)),
                }
                for each, answer in good
            ],
            "faults": [
                {
                    "path": getattr(each, "path", None),
                    "line": getattr(each, "line", None),
                    "problem": getattr(each, "problem", str(each)),
                }
                for each in faults
            ],
        }
    )


def _answered(campaign: "Campaign", answer: "Answer") -> dict[str, object]:
    from sms.run import query_checks

    return {
        "warehouse": campaign.warehouse,
        "columns": [asdict(each) for each in answer.columns],
        "opted_out": query_checks.opted_out(answer.columns),
    }
