"""`sms.prepare`: a campaign's messages and the exact bytes of its files, in memory."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from sms.clock import PARIS
from sms.errors import ConfigurationError
from sms.frames import columns, drawing, request
from sms.run import offline, preparation
from sms.run.offline import UNKNOWN_ACCOUNT
from sms.run.review_page import samples as masked_samples
from sms.run.stores import LocalFolder, Memory, Samples
from sms.settings import Settings
from sms.words import count

SHOWN = 3  # messages of each variant in the drawing


@dataclass(frozen=True, repr=False)
class Prepared:
    """The result of `sms.prepare`, in memory; draws itself in a notebook.

    Its `repr` and its drawing mask numbers. `messages` and `excluded` are ordinary frames with
    whole numbers.
    """

    _prepared_files: offline.PreparedFiles
    _memory: Memory
    _settings: Settings

    @cached_property
    def messages(self) -> pd.DataFrame:
        """The messages in the order of files: key, number, text and file."""
        schema = preparation.messages_schema(self._campaign)
        tables = [
            pa.Table.from_batches(self._memory.messages[stem], schema=schema).append_column(
                "file", pa.array([f"{stem}.csv"] * written.rows, pa.large_string())
            )
            for stem, written in self._prepared_files.files
        ]
        with_file = schema.append(pa.field("file", pa.large_string()))
        table = pa.concat_tables([with_file.empty_table(), *tables])
        number = table.schema.get_field_index("msisdn")
        table = table.set_column(number, "msisdn", columns.spelled(table["msisdn"]))
        variant = ["variant"] if "variant" in table.column_names else []
        order = ["key", "msisdn", "text", "segments", "sender", "country"]
        table = table.rename_columns({"msg": "text", "oadc": "sender"})
        return columns.frame_of(table.select([*order, *variant, "file", "idremote"]))

    @cached_property
    def excluded(self) -> pd.DataFrame:
        """The excluded rows, with Reason and sentence; `row` counts from 1."""
        return columns.excluded(self._memory.excluded)

    @cached_property
    def files(self) -> pd.DataFrame:
        """The files for the gateway: names, hours and sizes."""
        rows = [
            {
                "file": each["name"],
                "send_at": pd.Timestamp(each["send_at"]).tz_convert(PARIS),
                **{name: each[name] for name in ("zone", "messages", "segments", "bytes")},
                **{name: each[name] for name in ("reason", "sha256")},
            }
            for each in self.summary["files"]
        ]
        names = ("file", "send_at", "zone", "messages", "segments", "bytes", "reason", "sha256")
        return pd.DataFrame(rows, columns=pd.Index(names))

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`: counts, hours, faults of the source."""
        return self._prepared_files.as_json()

    def content(self, file: str) -> bytes:
        """The exact bytes of a file, by its name. Raises ConfigurationError for another name."""
        stem = file.removesuffix(".csv")
        if stem not in dict(self._prepared_files.files):
            known = ", ".join(f"{each}.csv" for each, _ in self._prepared_files.files) or "none"
            raise ConfigurationError(f"{file} is no file of this campaign: there are {known}")
        return self._memory.files[stem]

    def write(self, folder: str | Path) -> None:
        """Write the output of `sms prepare`: the files, `excluded.csv` and `summary.json`.

        Raises SourceError for a folder with other files.
        """
        out = LocalFolder(Path(folder))
        out.make_room()
        stems = [stem for stem, _ in self._prepared_files.files]
        try:
            with out.writing_left_out() as leave_out:
                for batch in self._memory.excluded:
                    leave_out(batch)
            for stem in stems:
                out.write_file(stem, self._memory.files[stem])
            out.finish(stems, self._prepared_files.summary)
        except BaseException:
            out.discard(stems, excluded=True)
            raise

    def __repr__(self) -> str:
        counts = self.summary
        left_out = sum(counts["excluded"].values())
        return (
            f"<sms.Prepared {self._campaign.name}: {count(counts['candidates'], 'candidate')}, "
            f"{count(counts['messages'], 'message')} in {counts['segments']:,} SMS, "
            f"{left_out:,} left out, {count(len(counts['files']), 'file')}>"
        )

    def _repr_html_(self) -> str:
        outcome = self._prepared_files.outcome
        sizes = outcome.sizes
        return drawing.card(
            self._campaign.name,
            drawing.funnel(
                outcome.screened.survey.candidates,
                outcome.excluded,
                [("messages", sizes.messages), ("SMS", sizes.sms)],
            ),
            drawing.phones(self._campaign.sender, masked_samples([self._samples()])),
            drawing.table(self.files[["file", "send_at", "zone", "messages", "bytes"]]),
            drawing.note(str(outcome.stop_list)),
            *(drawing.note(str(fault)) for fault in outcome.faults),
            *(drawing.note(sentence) for sentence in outcome.unmet),
        )

    def _samples(self) -> pa.RecordBatch:
        samples = Samples(SHOWN, self._campaign.variants)
        for batches in self._memory.messages.values():
            for batch in batches:
                samples.look_at(batch)
        return samples.found(preparation.messages_schema(self._campaign))

    @property
    def _campaign(self) -> Any:
        return self._prepared_files.outcome.screened.plan.campaign


def prepare(
    campaign: request.Named,
    recipients: request.Rows,
    stop_list: request.Numbers = None,
    at: request.Moment | None = None,
    *,
    limit: int | None = None,
    run_id: str | None = None,
    service_id: str = UNKNOWN_ACCOUNT,
    planned_at: request.Moment | None = None,
    settings: Settings | None = None,
    encoding: str | None = None,
) -> Prepared:
    """Prepare a campaign from frames, with the same bytes as `sms prepare` from files.

    `campaign` is a name or a folder. `recipients` and `stop_list` are frames, or paths of CSV or
    Parquet files; without a stop list no opt-outs are known. `at` is the hour of sending, Paris
    time without an offset; by default the campaign's own hour, or as soon as allowed. Nothing is
    sent, and nothing is written before `write`.

    Raises BadCampaign, SourceError for unreadable recipients, StopListUnsafe for an unreadable stop
    list, WindowClosed if the campaign refuses a closed hour.
    """
    chosen = request.chosen(settings)
    judged = request.judged(
        campaign,
        recipients,
        stop_list,
        at,
        chosen,
        limit=limit,
        run_id=run_id,
        service_id=service_id,
        planned_at=planned_at,
        encoding=encoding,
    )
    memory = Memory()
    return Prepared(offline.make(judged, memory, chosen), memory, chosen)
