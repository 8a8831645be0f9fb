"""Campaigns by name or by folder, for the command line and notebooks."""

import os
from pathlib import Path

from sms import settings
from sms.campaign import definition
from sms.campaign.definition import Campaign
from sms.errors import BadCampaign, SmsError


def campaign(named: str | Path) -> Campaign:
    """Load a campaign by its folder, or by its name in the settings' campaigns_folder.

    Raises BadCampaign, and ConfigurationError if the settings can't be read.
    """
    folder = Path(named)
    if not folder.is_dir():
        home = settings.load().campaigns_folder
        folder = home / named
        if not folder.is_dir():
            known = ", ".join(names("")) or "none"
            problem = f"is no folder, and no campaign of {home}: known are {known}"
            raise BadCampaign(str(named), None, problem)
    return definition.load(Path(os.path.abspath(folder)))  # keeps links, as Airflow does


def names(begin: str) -> list[str]:
    """The names of the settings' campaigns with this prefix; none if the settings are broken."""
    try:
        home = settings.load().campaigns_folder
    except SmsError:
        return []
    return sorted(each.name for each in home.glob("[!._]*/") if each.name.startswith(begin))
