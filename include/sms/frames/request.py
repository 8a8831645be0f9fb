"""Arguments of the pandas functions: campaign, tables, hour and settings in several forms."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from sms import clock
from sms import settings as operator
from sms.audience import table_files
from sms.audience.table_files import NO_NUMBERS, StopList, TableFile
from sms.audience.table_frames import TableFrame, stop_list_of
from sms.calendar import send_window
from sms.campaign import by_name
from sms.campaign.definition import Campaign
from sms.clock import PARIS
from sms.errors import ConfigurationError
from sms.run import offline
from sms.run.offline import UNKNOWN_ACCOUNT, Judged
from sms.settings import Settings

Named: TypeAlias = str | Path | Campaign  # a campaign, its name in the settings, or its folder
Rows: TypeAlias = "pd.DataFrame | str | Path"
Numbers: TypeAlias = "pd.DataFrame | pd.Series[Any] | str | Path | None"
Moment: TypeAlias = datetime | str  # Paris time without an offset


def judged(
    campaign: Named,
    recipients: Rows,
    stop_list: Numbers,
    at: Moment | None,
    settings: Settings,
    *,
    limit: int | None = None,
    run_id: str | None = None,
    service_id: str = UNKNOWN_ACCOUNT,
    planned_at: Moment | None = None,
    encoding: str | None = None,
) -> Judged:
    """Screen candidates as `sms prepare` does."""
    definition = campaign if isinstance(campaign, Campaign) else by_name.campaign(campaign)
    plan = offline.plan(
        definition,
        _own_hour(definition) if at is None else moment(at),
        run_id=run_id,
        service_id=service_id,
        limit=limit,
        planned_at=None if planned_at is None else moment(planned_at),
        settings=settings,
    )
    read = partial(_stop_list, stop_list, definition.allowed_countries, encoding)
    if isinstance(recipients, str | Path):
        return offline.judge(plan, TableFile.open(Path(recipients), encoding), read, settings)
    frame = TableFrame.of(recipients, "recipients")
    frame.require_no_floats(definition.key, definition.msisdn)
    return offline.judge(plan, frame, read, settings)


def chosen(settings: Settings | None) -> Settings:
    """The given settings, else the operator's."""
    return operator.load() if settings is None else settings


def moment(written: Moment) -> datetime:
    """An instant, Paris time without an offset. Raises ConfigurationError for other texts."""
    try:
        read = datetime.fromisoformat(written) if isinstance(written, str) else written
        if isinstance(read, pd.Timestamp):
            read = read.to_pydatetime()
        if not isinstance(read, datetime) or pd.isna(read):
            raise ValueError
    except ValueError:
        raise ConfigurationError(
            f"{written!r} is no date and hour: write them such as '2027-03-15T10:00'"
        ) from None
    return read if read.tzinfo else read.replace(tzinfo=PARIS)


def _own_hour(campaign: Campaign) -> datetime:
    """The next time of the campaign's own hour, else now."""
    now = clock.now()
    if campaign.send_at is None:
        return now
    return send_window.first_at(campaign.send_at, after=now)


def _stop_list(given: Numbers, countries: Sequence[str], encoding: str | None) -> StopList:
    if given is None:
        return StopList(NO_NUMBERS)
    if isinstance(given, str | Path):
        return table_files.read_stop_list(Path(given), encoding, countries)
    return stop_list_of(given, "stop_list", countries)
