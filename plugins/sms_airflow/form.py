"""The trigger form of a campaign's DAG: what it asks, and what the answers mean.

Airflow's picker of date and time speaks in the time zone that its pages show, and hands over UTC:
nobody could tell afterwards which ten o'clock was meant. So the form asks for a day, which has no
zone, and for one of the hours of Paris. What such answers come to is `sms.sending`'s to say.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from sms.campaign.definition import Campaign, Kind
from sms.errors import ConfigurationError
from sms.settings import Settings
from sms_airflow.documentation import facts

if TYPE_CHECKING:
    from sms.run.plan import Request

STEP = 15  # minutes between two hours of the form
# What Airflow itself puts beside the answers: the form's first field, which only tells, and what
# its own operator adds where lineage is on.
BESIDE = ("campaign", "openlineage")


def params(campaign: Campaign, settings: Settings) -> dict[str, Param]:
    """The fields, in their order. The first one is there for what stands below it."""
    own = campaign.send_at
    hours = list(_hours(campaign, settings))
    return {
        "campaign": Param(
            campaign.name,
            type="string",
            enum=[campaign.name],
            title="Campaign",
            description_md=facts(campaign, settings),
        ),
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Day",
            description_md="The day on which phones ring. Empty: today, or tomorrow if the hour "
            f"has passed.{_closed(campaign)}",
        ),
        "hour": Param(
            None,
            type=["null", "string"],
            enum=[None, *hours],
            # The page looks nothing up by null itself.
            values_display={
                "null": f"{own}, this campaign's own hour" if own else "As soon as allowed"
            },
            title="Hour in Paris",
            description_md="**Paris time**, wherever you are and whatever zone this page shows. "
            "The task *plan* says in words what it made of your choice."
            f"{'' if own else ' A day needs an hour.'}",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description_md="Make and check the very files, write the review, and **send nothing**."
            f"{_arms(campaign)}",
        ),
        "limit": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Limit",
            description_md="Write to the first so many rows of the query at most. Empty: to all.",
        ),
    }


def _arms(campaign: Campaign) -> str:
    """What Airflow's own box below the form does to a paused campaign, whose dry run it is."""
    if not campaign.schedule:
        return ""
    return (
        " If the campaign is paused, Airflow's box *Unpause on trigger* is ticked, and it starts "
        f"the schedule `{campaign.schedule}` as well, which **does send**: pause the campaign "
        "again when the review is there."
    )


def require_known(conf: Mapping[str, Any]) -> None:
    """ConfigurationError for a key that the form has not: `dryrun` must not send to everybody."""
    from sms.run.plan import Request

    for key in conf:
        if key not in (*Request.model_fields, *BESIDE):
            near = get_close_matches(key.casefold(), Request.model_fields, 1, cutoff=0.5)
            hint = f", did you mean {near[0]}?" if near else ""
            raise ConfigurationError(
                f"{key} is no parameter of a campaign's run{hint} There are only "
                f"{', '.join(Request.model_fields)}: correct it in a new run"
            )


def request(answers: Mapping[str, Any]) -> "Request":
    """What the form says, or a program in its place; Airflow has checked the fields' shapes.

    `send_at` is a program's way to say day and hour in one, and any minute.
    """
    from sms.run.plan import Request

    day = answers.get("day")
    return Request(
        send_at=_instant(answers.get("send_at")),
        day=date.fromisoformat(day) if day else None,
        hour=answers.get("hour"),
        dry_run=answers["dry_run"],
        limit=answers.get("limit"),
    )


def _instant(written: Any) -> datetime | None:
    from sms.clock import PARIS

    if written in (None, ""):
        return None
    try:
        instant = datetime.fromisoformat(str(written))
        if instant.time() == time.min and ":" not in str(written):
            raise ValueError("a day alone would mean midnight")
    except ValueError as error:
        raise ConfigurationError(
            f"send_at is {written!r}: write a date and an hour such as 2027-03-15T10:00, French "
            "time unless it says otherwise, and trigger a new run"
        ) from error
    return instant if instant.tzinfo else instant.replace(tzinfo=PARIS)


def _hours(campaign: Campaign, settings: Settings) -> Iterator[str]:
    """The hours that can be chosen: open ones, and none that a night of the year skips (R25)."""
    for minute in range(0, 24 * 60, STEP):
        hour = time(minute // 60, minute % 60)
        if campaign.kind is Kind.MARKETING:
            possible = settings.window_start <= hour < settings.window_end
        else:
            possible = hour.hour != 2
        if possible:
            yield f"{hour:%H:%M}"


def _closed(campaign: Campaign) -> str:
    if campaign.kind is Kind.TRANSACTIONAL:
        return ""
    if campaign.outside_window == "fail":
        return " A Sunday or a bank holiday is refused."
    return " A Sunday or a bank holiday moves on to the next open day."
