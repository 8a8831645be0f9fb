"""Keyed hashes of numbers, computed as the RFC defines them."""

from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.errors import ConfigurationError
from sms.ledger.pseudonyms import Key

SECRET = "a-secret-of-forty-characters_or-so-it-is"
MSISDN = st.integers(min_value=1_000_000, max_value=10**15 - 1)


@given(st.lists(MSISDN, max_size=50))
def test_each_pseudonym_is_a_negative_keyed_hash(numbers):
    made = Key.of(SECRET).pseudonyms(np.array(numbers, dtype=np.int64))

    key = blake2b(SECRET.encode()).digest()
    for number, pseudonym in zip(numbers, made.tolist(), strict=True):
        digest = blake2b(
            number.to_bytes(8, "big"), key=key, digest_size=8, person=b"sms stop list"
        ).digest()
        assert pseudonym < 0
        assert pseudonym % 2**63 == int.from_bytes(digest, "big") % 2**63


def test_pseudonyms_never_change():
    """A list that was hashed with an older version must be found by this one."""
    key = Key.of("the-same-secret-in-every-version")

    assert key.pseudonyms(np.array([33639980000, 33639980001])).tolist() == [
        -7_155_691_061_620_797_016,
        -2_733_419_177_591_358_659,
    ]
    assert key.fingerprint.hex() == "6a153b71a92398d0bd81e4f75f92153f"


def test_another_key_gives_other_pseudonyms_and_fingerprint():
    one, other = Key.of(SECRET), Key.of(SECRET + "x")
    numbers = np.arange(33639980000, 33639990000)

    assert len(np.intersect1d(one.pseudonyms(numbers), other.pseudonyms(numbers))) == 0
    assert len(np.unique(one.pseudonyms(numbers))) == len(numbers)
    assert one.fingerprint != other.fingerprint


def test_a_strided_column_is_hashed_by_its_values():
    numbers = np.arange(33639980000, 33639980100)

    assert np.array_equal(
        Key.of(SECRET).pseudonyms(numbers[::7]), Key.of(SECRET).pseudonyms(numbers)[::7]
    )


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("x" * 31, "has 31 characters, and needs 32"),
        (f"  {'x' * 31}\n", "has 31 characters, and needs 32"),
        # Each would be another key for Airflow, which reads it from a URL, than for a shell.
        *((f"{'x' * 40}{odd}xxx", "each a letter, a digit, _ or -") for odd in "%/@: é"),
    ],
)
def test_a_weak_or_ambiguous_key_is_refused_unquoted(written, why):
    with pytest.raises(ConfigurationError, match=why) as error:
        Key.of(written)

    assert "xxx" not in str(error.value)


def test_a_key_ignores_line_ends_and_hides_its_value():
    assert Key.of(f"{SECRET}\n") == Key.of(SECRET)
    assert SECRET not in repr(Key.of(SECRET))
    assert repr(Key.of(SECRET).secret)[2:20] not in repr(Key.of(SECRET))
