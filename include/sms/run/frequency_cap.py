"""The campaign's `frequency_cap`: how often a number may be written to, counted over sent files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import numpy.typing as npt

from sms.audience.screening import Reason
from sms.delivery.upload import next_files
from sms.ledger.ledger import Ledger
from sms.ledger.records import Submission
from sms.run.preparation import Plan


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """`reached` takes numbers and returns those that have reached the cap."""

    reached: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]
    reason = Reason.FREQUENCY_CAP


def of_next_files(
    plan: Plan, ledger: Ledger, files: Sequence[Submission], now: datetime
) -> FrequencyCap | None:
    """The cap at the hour of a run's next files."""
    begins = min((each.send_at for each in next_files(files)), default=plan.send_at)
    return at(max(now, begins), plan, ledger)


def at(send_at: datetime, plan: Plan, ledger: Ledger) -> FrequencyCap | None:
    """The cap at an instant; None if the campaign has none."""
    if not plan.campaign.frequency_cap:
        return None
    times, days = plan.campaign.frequency_cap
    return FrequencyCap(
        partial(
            ledger.people.written_to,
            kind=plan.campaign.kind,
            times=times,
            since=send_at - timedelta(days=days),
            but=plan.run_key,
        )
    )
