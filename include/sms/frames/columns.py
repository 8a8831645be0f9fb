"""Arrow columns as pandas shows them: typed, numbers as `+336...`, reasons as categories."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sms.audience.screening import EXCLUDED_SCHEMA, SENTENCES, Reason
from sms.columnar.text import TEXT


def frame_of(table: pa.Table) -> pd.DataFrame:
    """A frame of the same Arrow columns."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def spelled(msisdn: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers (int64) in international format."""
    return pc.binary_join_element_wise(pa.scalar("+", TEXT), msisdn.cast(TEXT), pa.scalar("", TEXT))


def excluded(batches: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    """The excluded rows, each with its Reason and sentence."""
    frame = frame_of(pa.Table.from_batches(batches, schema=EXCLUDED_SCHEMA))
    codes = coded(frame.pop("reason"), [str(each) for each in Reason])
    frame.insert(3, "reason", codes)
    frame.insert(4, "sentence", in_sentences(codes, SENTENCES))
    return frame


def coded(codes: "pd.Series[Any]", known: Sequence[str]) -> "pd.Series[Any]":
    """Codes as a category of the present ones, in the order of `known`."""
    there = set(codes.unique())
    kind = pd.CategoricalDtype([each for each in known if each in there])
    return codes.astype("str").astype(kind)


def in_sentences(codes: "pd.Series[Any]", sentences: dict[str, str]) -> "pd.Series[Any]":
    """The sentences of coded values, also as a category."""
    return codes.cat.rename_categories(sentences)
