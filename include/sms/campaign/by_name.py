"""Campaigns by their names among the operator's, or by their folders."""

import os
from pathlib import Path

from sms import settings
from sms.campaign import definition
from sms.campaign.definition import Campaign
from sms.errors import BadCampaign, SmsError


def campaign(named: str | Path) -> Campaign:
    """A campaign by its folder, or by its name among the settings' campaigns.

    Raises BadCampaign, and ConfigurationError for settings that name no folder of campaigns.
    """
    folder = Path(named)
    if not folder.is_dir():
        home = settings.load().campaigns_folder
        folder = home / named
        if not folder.is_dir():
            known = ", ".join(names("")) or "none"
            problem = f"is no folder, and no campaign of {home}: known are {known}"
            raise BadCampaign(str(named), None, problem)
    return definition.load(Path(os.path.abspath(folder)))  # a link is judged as Airflow would


def names(begin: str) -> list[str]:
    """The names of the settings' campaigns that begin so; none where settings are broken."""
    try:
        home = settings.load().campaigns_folder
    except SmsError:
        return []
    return sorted(each.name for each in home.glob("[!._]*/") if each.name.startswith(begin))
