"""A value that a spreadsheet would read as a formula is written as text."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.columnar.spreadsheets import harmless
from sms.columnar.text import TEXT

FORMULAS = [
    *("=cmd|' /C calc'!A0", "+cmd", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=", "+", "-"),
    *("+33639980001+cmd|'x'!A0", "-2-3", "+33 6x", "＝1", "＋1", "－1", "＠A1", "+1\n=2", "--1"),
]
TEXTS = [
    *("+33639980001", "+33 6 39 98 00 01", "+33\u00a06.39.98.00.01", "-12", "-12.50", "k1", ""),
    *(" =1", "a=1", "'=1", "1-2", "Zoé", None),
]


def written(texts: list[str | None]) -> list[str | None]:
    return harmless(pa.record_batch({"key": pa.array(texts, TEXT)}))["key"].to_pylist()


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_is_written_as_text(formula):
    assert written(["k1", formula]) == ["k1", f"'{formula}"]


def test_numbers_and_texts_stay_as_they_are():
    assert written(TEXTS) == TEXTS
    batch = pa.record_batch(
        {"row": [1], "key": pa.array(["=1"], TEXT), "detail": pa.nulls(1, TEXT)}
    )
    assert harmless(batch).to_pylist() == [{"row": 1, "key": "'=1", "detail": None}]
    assert harmless(batch.slice(1)).num_rows == 0


@given(st.lists(st.text(st.sampled_from("=+-@\t\r\n 0.a'é＝"), max_size=6)))
def test_only_numbers_may_begin_like_a_formula(texts):
    for before, after in zip(texts, written(texts), strict=True):
        assert after in (before, f"'{before}")
        if after and after[0] in "=@\t\r\n＝":
            raise AssertionError(after)
        if after and after[0] in "+-":
            assert not {*after[1:]} - {*" 0."}
