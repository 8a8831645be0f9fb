"""Protection against texts that a spreadsheet would run as formulas (OWASP, *CSV Injection*).

Only for CSV files that people may open. Files for programs (Parquet) keep the exact values.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sms.columnar.text import TEXT, bytes_of, flags_of

# A full-width sign works like the ASCII one.
FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"
LEADS = np.frombuffer(b"=+-@\t\r\n\xef", np.uint8)  # their first bytes
NUMBER = r"^[+-][\d .\x{a0}\x{202f}]*\d$"  # a phone number, or a negative number


def harmless(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, with an apostrophe before each text that would be a formula."""
    for place, column in enumerate(batch.schema):
        if column.type == TEXT:
            texts = _harmless(batch.column(place))
            batch = batch.set_column(place, column, texts)
    return batch


def _harmless(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    data, offsets = bytes_of(texts)
    filled = np.flatnonzero(np.diff(offsets))
    suspect = filled[np.isin(data[offsets[filled]], LEADS)]
    if suspect.size:  # most are phone numbers
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
