"""The trigger form of a campaign's DAG: its fields, and how its answers are read.

Airflow's date and time picker uses the time zone that its pages show, and passes UTC: the zone that
the user meant is lost. So the form asks for a day, without a zone, and for an hour in Paris.
`sms.run.plan` turns the answers into an instant.
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
# Keys of the conf that are no answers: the form's first field, which is only displayed, and the key
# that Airflow's own operator adds if lineage is on.
BESIDE = ("campaign", "openlineage")


def params(campaign: Campaign, settings: Settings) -> dict[str, Param]:
    """The fields in order. The first exists only for its description, the campaign's facts."""
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
            description_md="The day of sending. Empty: today, or tomorrow if the hour has passed."
            f"{_closed(campaign)}",
        ),
        "hour": Param(
            None,
            type=["null", "string"],
            enum=[None, *hours],
            # The page does not look up a display value for null itself.
            values_display={
                "null": f"{own}, this campaign's own hour" if own else "As soon as allowed"
            },
            title="Hour in Paris",
            description_md="**Paris time**, independent of the time zone that this page shows. "
            "The log of the task *plan* confirms the hour."
            f"{'' if own else ' A day needs an hour.'}",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description_md="Prepare and check the files, write the review, **send nothing**."
            f"{_arms(campaign)}",
        ),
        "limit": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Limit",
            description_md="Use only the first rows of the query, so many. Empty: all rows.",
        ),
    }


def _arms(campaign: Campaign) -> str:
    """A warning: Airflow's box below the form unpauses the campaign, even for a dry run."""
    if not campaign.schedule:
        return ""
    return (
        " If the campaign is paused, Airflow's box *Unpause on trigger* is ticked: it also starts "
        f"the schedule `{campaign.schedule}`, which **does send**. Untick it, or pause the "
        "campaign again after the review."
    )


def require_known(conf: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for an unknown key: `dryrun` must not send to all recipients."""
    from sms.run.plan import Request

    for key in conf:
        if key not in (*Request.model_fields, *BESIDE):
            near = get_close_matches(key.casefold(), Request.model_fields, 1, cutoff=0.5)
            hint = f", did you mean {near[0]}?" if near else "."
            raise ConfigurationError(
                f"{key} is no parameter of a campaign's run{hint} The parameters are "
                f"{', '.join(Request.model_fields)}: correct it in a new run"
            )


def request(answers: Mapping[str, Any]) -> "Request":
    """The answers of the form, or of a program's conf; Airflow has checked their types.

    `send_at` is for programs: day and hour in one, with any minute.
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
            f"send_at is {written!r}: write a date and an hour such as 2027-03-15T10:00 (French "
            "time without an offset), and trigger a new run"
        ) from error
    return instant if instant.tzinfo else instant.replace(tzinfo=PARIS)


def _hours(campaign: Campaign, settings: Settings) -> Iterator[str]:
    """The hours of the form: open ones, without the hour that a clock change skips (R25)."""
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
