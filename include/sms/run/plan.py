"""The stage `plan`: a run's hour and name, fixed in the ledger before anything is read."""

import logging
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from pydantic import BaseModel, ConfigDict

from sms.calendar import send_window
from sms.campaign.definition import Campaign, campaign_id
from sms.clock import PARIS
from sms.errors import ConfigurationError
from sms.ledger.ledger import Ledger
from sms.ledger.records import PlannedRun, Submission
from sms.ledger.states import State
from sms.run.folder import RunFolder
from sms.run.preparation import Plan
from sms.settings import Settings

log = logging.getLogger(__name__)

# A run may start so late after its trigger, and the campaign's hour still means today's.
STARTING = timedelta(minutes=5)


class Request(BaseModel):
    """The params of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    send_at: datetime | None = None  # or, in Paris time,
    day: date | None = None
    hour: str | None = None  # "HH:MM"
    dry_run: bool = False
    limit: int | None = None


def is_under_way(run_key: str, ledger: Ledger) -> bool:
    """Whether a file of this run has been claimed for upload: then no stage is repeated."""
    before = (State.PLANNED, State.PREPARED, State.CANCELLED)
    return any(each.state not in before for each in ledger.submissions.of_run(run_key))


def plan(
    campaign: Campaign,
    request: Request,
    *,
    run_key: str,
    service_id: str,
    folder: RunFolder,
    ledger: Ledger,
    settings: Settings,
    now: datetime,
    asked_at: datetime | None = None,
) -> Plan:
    """Fix hour and name in the ledger. A repeated `plan` keeps both while the hour is ahead.

    `asked_at` is when the run was to start: a run that starts late must not take the next run's
    hour, and a run that starts after the end of its day must not send. Raises WindowClosed, and
    CampaignRepeated for the second of two runs that were triggered at the same time.
    """
    if is_under_way(run_key, ledger):
        log.info("%s is being uploaded already: it is not planned again", run_key)
        return folder.read_plan()
    known = ledger.submissions.of_run(run_key)
    kept = _kept_plan(folder, [each for each in known if each.state is not State.CANCELLED])
    if kept and _is_ahead(kept, folder, now, settings):
        # The hour and the name stay; the campaign may have been corrected meanwhile.
        changes = {"dry_run": request.dry_run, "limit": request.limit, "campaign": campaign}
        return folder.write_plan(kept.model_copy(update=changes))
    wanted = _wanted(campaign, request, after=(asked_at or now) - STARTING)
    if wanted is None:
        send_window.require_recent(asked_at or now, now=now, settings=settings)
    slot = send_window.slot(
        wanted,
        campaign.kind,
        now=now,
        settings=settings,
        outside_window=campaign.outside_window,
    )
    drawn = Plan(
        run_key=run_key,
        campaign=campaign,
        campaign_id=campaign_id(campaign.name, run_key, ledger.runs.attempts(run_key) + 1),
        service_id=service_id,
        send_at=slot.send_at,
        slot_reason=slot.reason,
        at_once=wanted is None,
        dry_run=request.dry_run,
        limit=request.limit,
        planned_at=now,
    )
    record_plan(drawn, folder, ledger, asked_at)
    return folder.write_plan(drawn)


def record_plan(
    drawn: Plan, folder: RunFolder, ledger: Ledger, asked_at: datetime | None = None
) -> None:
    """Fix a plan's hour and name in the ledger; a run that is there already gets a new attempt."""
    run = PlannedRun(
        run_key=drawn.run_key,
        campaign=drawn.campaign.name,
        kind=drawn.campaign.kind,
        service_id=drawn.service_id,
        send_at=drawn.send_at,
        slot_reason=drawn.slot_reason,
        dry_run=drawn.dry_run,
        planned_at=drawn.planned_at,
        folder=str(folder),
        asked_at=asked_at,
        row_limit=drawn.limit,
    )
    known = ledger.submissions.of_run(drawn.run_key)
    (ledger.runs.replan if known else ledger.runs.plan)(run, drawn.stem(1, 1))


def _wanted(campaign: Campaign, request: Request, *, after: datetime) -> datetime | None:
    """When a run is to be sent; None means as soon as allowed.

    An hour without a day is the first such hour `after` an instant. Raises ConfigurationError if
    the request gives the hour twice, or a day without an hour.
    """
    hour = request.hour or campaign.send_at
    if request.send_at:
        if request.day or request.hour:
            raise ConfigurationError(
                "send_at contains the day and the hour already: trigger a new run with send_at, or "
                "with day and hour, not with both"
            )
        return request.send_at
    if request.day and not hour:
        raise ConfigurationError(
            f"the day {request.day} was given without an hour, and the campaign {campaign.name} "
            "has no send_at: trigger a new run with an hour, or without a day to send as soon as "
            "allowed"
        )
    if request.day and hour:
        return send_window.at(request.day, hour)
    return send_window.first_at(hour, after=after) if hour else None


def _is_ahead(kept: Plan, folder: RunFolder, now: datetime, settings: Settings) -> bool:
    """Whether a plan's first hour can still be kept."""
    begins = kept.send_at
    if folder.has_schedule:
        begins = folder.read_schedule().begins or begins
    if kept.at_once and begins.astimezone(PARIS).date() == now.astimezone(PARIS).date():
        return True
    return begins >= now - settings.max_delay


def _kept_plan(folder: RunFolder, live: Sequence[Submission]) -> Plan | None:
    """The plan in the folder, if the ledger has the same."""
    if not live or not folder.has_plan:
        return None
    kept = folder.read_plan()
    # A file's own id is the plan's, or begins with it where it is one of several.
    return kept if live[0].campaign_id.startswith(kept.campaign_id) else None


def call_off(plan: Plan, ledger: Ledger, why: str) -> None:
    """Cancel a run's files; planned again, the run gets a new name."""
    for each in ledger.submissions.of_run(plan.run_key):
        ledger.submissions.move(each.stem, to=State.CANCELLED, detail={"why": why})
