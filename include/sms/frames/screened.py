"""`sms.screen`: the audience, the excluded candidates, and the reasons."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import pyarrow as pa

from sms.audience.screening import OWN_COLUMNS
from sms.clock import PARIS
from sms.frames import columns, drawing, request
from sms.message.samples import rows_at
from sms.run import offline, screened
from sms.run.stores import Memory
from sms.settings import Settings
from sms.words import count


@dataclass(frozen=True, repr=False)
class Screened:
    """The screened candidates of a campaign; draws itself in a notebook."""

    _judged: offline.Judged
    _memory: Memory

    @cached_property
    def audience(self) -> pd.DataFrame:
        """The audience: key, number, country, zone and hour, then the text's columns.

        `row` is a row's place among the candidates, from 1. The text's columns have the candidates'
        values; one that is called zone or send_at gets the suffix `_given`.
        """
        screened = self._judged.screened
        schema = screened.audience_schema
        table = pa.Table.from_batches(self._memory.audience, schema=schema)
        table = table.select(list(OWN_COLUMNS))
        numbers = columns.spelled(table["msisdn"])
        frame = columns.frame_of(table.set_column(2, "msisdn", numbers))
        files = pd.DataFrame(
            [(each.zone, each.send_at) for each in screened.schedule.files],
            columns=["zone", "send_at"],
        )
        hours = files.iloc[frame.pop("of_file").astype("int64")].reset_index(drop=True)
        frame["zone"] = hours["zone"].astype("category")
        frame["send_at"] = pd.to_datetime(hours["send_at"], utc=True).dt.tz_convert(PARIS)
        carried = [name for name in schema.names if name not in OWN_COLUMNS]
        given = pd.DataFrame(columns=pd.Index(carried))
        if carried and len(frame):
            rows = rows_at(screened.candidates.batches(carried), (frame["row"] - 1).tolist())
            given = columns.frame_of(pa.Table.from_batches(rows))
        return frame.join(given.rename(columns={name: f"{name}_given" for name in frame.columns}))

    @cached_property
    def excluded(self) -> pd.DataFrame:
        """The excluded rows, with Reason and sentence."""
        return columns.excluded(self._memory.excluded)

    @property
    def summary(self) -> dict[str, int]:
        """Counts: candidates, audience, and each Reason."""
        survey = self._judged.screened.survey
        counts = {"candidates": survey.candidates, "audience": survey.audience}
        return counts | dict(survey.reasons.most_common())

    def __repr__(self) -> str:
        name, survey = self._judged.screened.plan.campaign.name, self._judged.screened.survey
        left_out = survey.candidates - survey.audience
        return (
            f"<sms.Screened {name}: {count(survey.candidates, 'candidate')}, "
            f"{survey.audience:,} to write to, {left_out:,} left out>"
        )

    def _repr_html_(self) -> str:
        survey = self._judged.screened.survey
        return drawing.card(
            self._judged.screened.plan.campaign.name,
            drawing.funnel(survey.candidates, survey.reasons, [("to write to", survey.audience)]),
            drawing.note(str(self._judged.stop_list)),
        )


def screen(
    recipients: request.Rows,
    campaign: request.Named,
    stop_list: request.Numbers = None,
    at: request.Moment | None = None,
    *,
    limit: int | None = None,
    settings: Settings | None = None,
    encoding: str | None = None,
) -> Screened:
    """Screen recipients for a campaign, without rendering texts.

    Takes the arguments of `sms.prepare` and raises the same errors.
    """
    chosen = request.chosen(settings)
    judged = request.judged(
        campaign, recipients, stop_list, at, chosen, limit=limit, encoding=encoding
    )
    memory = Memory()
    screened.divide(judged.screened, memory)
    return Screened(judged, memory)
