"""`sms check`: is a campaign right, as far as that can be known without its rows."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from sms.cli_options import (
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
    from sms.campaign import Campaign
    from sms.settings import Settings


def check(
    campaigns: Annotated[
        list[str] | None,
        typer.Argument(
            help="Campaigns' folders, or their names; without any, all of the settings' folder.",
            autocompletion=campaign_names,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check campaigns, also by the settings: every fault with its file and line.

    Lists the columns that the query must return, which is not asked. For a CI: exit status 0
    means that no fault was found, 1 that one was, in a campaign or in the settings.
    """
    with loading():
        from sms import checking, settings
        from sms.campaign import load_all

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
            complain.print(f"{chosen.campaigns_folder} holds no campaign", markup=False)
    faults = [one for each in faults for one in _each(each)]
    good = []
    for each in found:
        own = list(checking.faults(each, chosen)) if chosen else []
        faults += own
        good += [] if own or not chosen else [each]
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
        except ConfigurationError:  # told already, and the name is one of the settings' folder
            if chosen:
                raise
    return good, broken


def _each(
    fault: BadCampaign | ConfigurationError,
) -> "Iterable[BadCampaign | ConfigurationError]":
    return fault.each() if isinstance(fault, BadCampaign) else [fault]


def _print(good: Iterable["Campaign"], faults: Iterable[Exception]) -> None:
    from sms import checking

    for campaign in good:
        needs = ", ".join(checking.needs(campaign))
        say.print(f"{campaign.name}: no fault found; needs from the query: {needs}", markup=False)
        for note in checking.notes(campaign):
            complain.print(f"[yellow]note[/]  {escape(note)}")
    for error in faults:
        for line in str(error).splitlines():
            complain.print(f"[red]fault[/] {escape(line)}")


def _print_json(good: Iterable["Campaign"], faults: Iterable[Exception]) -> None:
    from sms import checking

    print_json(
        {
            "campaigns": [
                {
                    "name": each.name,
                    "folder": each.folder,
                    "needs": checking.needs(each),
                    "notes": list(checking.notes(each)),
                }
                for each in good
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
