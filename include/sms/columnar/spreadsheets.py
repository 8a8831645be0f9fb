"""Cells of a CSV that somebody may open in a spreadsheet, which takes some texts for formulas.

What belongs here: how a text is written so that it stays one (OWASP, *CSV Injection*). What
doesn't: files that programs alone read, whose values stay exact: Parquet.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sms.columnar.text import TEXT, bytes_of, flags_of

# Full-width signs are read like those of ASCII.
FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"
LEADS = np.frombuffer(b"=+-@\t\r\n\xef", np.uint8)  # what any of them begins with
NUMBER = r"^[+-][\d .\x{a0}\x{202f}]*\d$"  # a phone number, or a negative one


def harmless(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same; a text that would be a formula begins with an apostrophe."""
    for place, column in enumerate(batch.schema):
        if column.type == TEXT:
            texts = _harmless(batch.column(place))
            batch = batch.set_column(place, column, texts)
    return batch


def _harmless(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    data, offsets = bytes_of(texts)
    filled = np.flatnonzero(np.diff(offsets))
    suspect = filled[np.isin(data[offsets[filled]], LEADS)]
    if suspect.size:  # phone numbers, most of them
        some = texts.take(pa.array(suspect))
        number = pc.match_substring_regex(some, NUMBER)
        formulas = pc.and_not(pc.match_substring_regex(some, FORMULA), number)
        suspect = suspect[flags_of(pc.fill_null(formulas, False))]
    if not suspect.size:
        return texts
    chosen = np.zeros(len(texts), np.bool_)
    chosen[suspect] = True
    quoted = pc.binary_join_element_wise(pa.scalar("'", TEXT), texts, pa.scalar("", TEXT))
    return pc.if_else(pa.array(chosen), quoted, texts)
