"""May this file leave now? The rules that decide it, from top to bottom.

They are checked before the upload and again right before the rename, in the same turn of the ledger
as the last read of the stop list (`delivery`). An earlier result does not count.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from sms import remedies
from sms.audience.screening import Reason
from sms.calendar import send_window
from sms.calendar.send_window import Sending
from sms.calendar.zones import zone
from sms.errors import NotApproved, StopListUnsafe, WindowClosed
from sms.ledger.ledger import Ledger
from sms.ledger.records import PlannedRun, Submission
from sms.ledger.states import SENT
from sms.remedies import Task
from sms.run import approval
from sms.run.frequency_cap import FrequencyCap
from sms.run.preparation import Plan
from sms.settings import Settings
from sms.words import count, duration

Numbers = npt.NDArray[np.int64]

# What to do about the rest of a run whose first files have left.
LEFT_OF_A_RUN = (
    "other files of its run have been sent: for the rest, trigger a new run whose query leaves out "
    "the recipients in sms.delivery"
)


@dataclass(frozen=True, slots=True)
class DepartureRules:
    """The rules for the files of one run.

    `require_not_halted` raises while an operator has halted all sending. `now` is called for each
    check. `cap` is the campaign's frequency cap, if it has one.
    """

    plan: Plan
    ledger: Ledger
    settings: Settings
    require_not_halted: Callable[[], None]
    now: Callable[[], datetime]
    cap: FrequencyCap | None = None

    def require(self, submission: Submission) -> None:
        """Check all rules in order, and raise for the first that forbids the file to leave now.

        Raises SendingHalted, WindowClosed, NotApproved, StopListUnsafe.
        """
        now = self.now()
        files = self.ledger.submissions.of_run(submission.run_key)
        run = self.ledger.runs.get(submission.run_key)
        self.require_not_halted()
        self._require_open_hour(submission, files, now)
        self._require_done_by_closing(files, now)
        approval.require_proved(self.plan, self.ledger)
        self._require_approved(submission, run)
        self._require_recent_audience(submission, run, files, now)
        require_stop_list(self.ledger, self.settings)

    def left_out(
        self, numbers: Numbers, opted_out: Callable[[Numbers], Numbers]
    ) -> Iterator[tuple[str, Numbers]]:
        """The recipients who must be left out of a file, by Reason."""
        if len(found := opted_out(numbers)):
            yield str(Reason.OPTED_OUT), found
        if self.cap and len(found := self.cap.reached(numbers)):
            yield str(self.cap.reason), found

    @property
    def need_a_turn_alone(self) -> bool:
        """Whether files must leave one by one: a cap needs the recipients of the file before."""
        return self.cap is not None

    def _require_open_hour(
        self, submission: Submission, files: Sequence[Submission], now: datetime
    ) -> None:
        """Check the send window. Once a run has begun, a late file leaves at once if it is open.

        A new run could send the rest only by writing to some recipients a second time.
        """
        send_window.require_open(
            submission.send_at,
            self.plan.campaign.kind,
            now=now,
            settings=self.settings,
            send_now=self.plan.at_once or _has_begun(files),
            zone=zone(submission.zone),
            again=_advice(files),
        )

    def _require_done_by_closing(self, files: Sequence[Submission], now: datetime) -> None:
        """Check the end of the whole run: no file may leave if another would end after closing."""
        send_window.require_no_tail(
            sendings(files, now),
            self.plan.campaign.kind,
            settings=self.settings,
            advice=tail_advice(self.plan),
        )

    def _require_approved(self, submission: Submission, run: PlannedRun) -> None:
        if run.approved_at is None and approval.is_needed(self.plan, self.ledger):
            raise NotApproved(
                f"{submission.stem} has not been approved as it is prepared now: "
                f"{remedies.clear(Task.APPROVE)}"
            )

    def _require_recent_audience(
        self, submission: Submission, run: PlannedRun, files: Sequence[Submission], now: datetime
    ) -> None:
        chosen_at = run.chosen_at or run.planned_at
        if now - max(submission.send_at, chosen_at) > self.settings.max_audience_age:
            raise WindowClosed(
                f"the recipients of {submission.stem} were selected more than "
                f"{duration(self.settings.max_audience_age)} ago, and some may have opted out "
                f"since: {_advice(files)}"
            )


def require_stop_list(ledger: Ledger, settings: Settings) -> int:
    """The stop list's size. Raises StopListUnsafe if the list may be incomplete."""
    size = ledger.stop_list.require_safe()
    if size < settings.stop_list_minimum:
        raise StopListUnsafe(
            f"the stop list has {count(size, 'number')}, fewer than the setting stop_list_minimum "
            f"({settings.stop_list_minimum:,}): nothing is sent. Check that this is the right "
            "ledger"
        )
    return size


def sendings(files: Sequence[Submission], now: datetime | None = None) -> list[Sending]:
    """When each file leaves: its planned hour, its actual one, or `now` if it is late."""
    return [
        Sending(
            max(each.send_at, each.submitted_at or now or each.send_at),
            each.messages or 0,
            zone(each.zone),
            gone=each.state in SENT,
        )
        for each in files
    ]


def tail_advice(plan: Plan) -> str:
    """What to do about a run that can't finish before closing."""
    if plan.campaign.past_closing == "split":
        return "send earlier or to fewer recipients, or approve sooner"
    return "send earlier or to fewer recipients, or write `past_closing: split`"


def _has_begun(files: Sequence[Submission]) -> bool:
    return any(each.state in SENT for each in files)


def _advice(files: Sequence[Submission]) -> str:
    """What to do about a file that can no longer leave."""
    return LEFT_OF_A_RUN if _has_begun(files) else remedies.NEW_RUN
