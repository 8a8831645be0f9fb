"""Cells of a CSV that somebody may open in a spreadsheet, which takes some texts for formulas.

What belongs here: how a text is written so that it stays one (OWASP, *CSV Injection*). What
doesn't: files that programs alone read, whose values stay exact: Parquet.
"""

import pyarrow as pa
import pyarrow.compute as pc

from sms.columns import TEXT

# Full-width signs are read like those of ASCII.
FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"
NUMBER = r"^[+-][\d .\x{a0}\x{202f}]*\d$"  # a phone number, or a negative one


def harmless(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same; a text that would be a formula begins with an apostrophe."""
    for place, column in enumerate(batch.schema):
        if column.type == TEXT:
            texts = _harmless(batch.column(place))
            batch = batch.set_column(place, column, texts)
    return batch


def _harmless(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    formulas = pc.match_substring_regex(texts, FORMULA)
    if not pc.any(formulas).as_py():
        return texts
    formulas = pc.and_not(formulas, pc.match_substring_regex(texts, NUMBER))
    quoted = pc.binary_join_element_wise(pa.scalar("'", TEXT), texts, pa.scalar("", TEXT))
    return pc.if_else(formulas, quoted, texts)
