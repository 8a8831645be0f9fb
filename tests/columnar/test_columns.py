"""The bytes of Arrow columns, and the search for words in them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sms.columnar.text import bytes_of, distinct, flags_of, holding, is_utf8, nulls_of

FEW = settings(max_examples=60)
SOME = st.lists(st.text(st.sampled_from("STOP 36é€"), max_size=12), max_size=8)


def column(*texts: str | None) -> pa.Array:
    return pa.array(texts, pa.large_string())


@FEW
@given(SOME, st.integers(0, 3))
def test_only_the_bytes_of_the_values_are_returned(texts, start):
    data, offsets = bytes_of(column(*texts).slice(start))

    assert bytes(data) == "".join(texts[start:]).encode()
    assert np.diff(offsets).tolist() == [len(text.encode()) for text in texts[start:]]
    assert offsets[0] == 0


@FEW
@given(SOME, st.sampled_from(["STOP 36", "OP", "é€", "€€€"]))
@example(["STOP 3", "6"], "STOP 36")  # across two values it is in neither
@example(["", "STOP 36", ""], "STOP 36")
@example(["ST", "OP"], "STOP 36")
@example([], "OP")
def test_a_word_is_found_in_the_values_containing_it(texts, word):
    assert holding(column(*texts), word).tolist() == [word in text for text in texts]
    assert holding(column("OP", *texts).slice(1), word).tolist() == [word in text for text in texts]


@FEW
@given(st.lists(st.integers(-3, 3), max_size=9))
def test_distinct_numbers_are_sorted_and_unique(numbers):
    assert distinct(np.array(numbers, np.int64)).tolist() == sorted(set(numbers))


@FEW
@given(st.binary(max_size=9))
@example(b"")
@example("é".encode()[:1])
def test_bytes_are_text_if_python_can_decode_them(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        assert not is_utf8(data)
    else:
        assert is_utf8(data)
        assert is_utf8(np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("start", [0, 1, 3])
def test_nulls_and_flags_of_a_slice(start):
    texts = ["a", None, "", None]

    assert nulls_of(column(*texts).slice(start)).tolist() == [
        each is None for each in texts[start:]
    ]
    assert (
        flags_of(pa.array([True, False, True, True]).slice(start)).tolist()
        == [
            True,
            False,
            True,
            True,
        ][start:]
    )
