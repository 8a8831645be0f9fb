"""National numbers without a country code: which countries write them as France, and meanings.

0791234567 is a mobile in Bern and one in Lyon; 612 345 678 is one in Madrid and one in Paris that
lost its zero. The number alone does not show which country is meant.
"""

from collections.abc import Iterable
from functools import cache

import numpy as np
import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
from phonenumbers import PhoneMetadata

from sms.columnar.text import TEXT, Ints, distinct
from sms.telecom.msisdn import FRENCH, normalise

SUBSCRIBER = 9  # digits of a French number without its zero


def is_ambiguous(countries: Iterable[str]) -> bool:
    """Whether a number written as in France may belong to one of these other countries."""
    return any(map(written_alike, countries))


@cache
def written_alike(country: str) -> bool:
    """Whether a country's mobiles have nine digits without a code, or ten with a leading zero."""
    metadata = PhoneMetadata.metadata_for_region(country)
    if country in FRENCH or metadata is None or metadata.mobile is None:
        return False
    mobile, whole = metadata.mobile, metadata.general_desc
    lengths = mobile.possible_length or (whole.possible_length if whole else ())
    example = mobile.example_number or ""
    return SUBSCRIBER in lengths or (SUBSCRIBER + 1 in lengths and example.startswith("0"))


def meanings(texts: pa.LargeStringArray, countries: Iterable[str]) -> Ints:
    """All mobile numbers that these texts may mean, in France and in `countries`, sorted.

    For opt-outs: a number too many costs one message, a number too few breaks the law.
    """
    return distinct(meanings_by_row(texts, countries)[1])


def meanings_by_row(texts: pa.LargeStringArray, countries: Iterable[str]) -> tuple[Ints, Ints]:
    """The numbers of `meanings` with their row (from 0); a row may have several numbers."""
    digits = pc.replace_substring_regex(texts, r"\D+", "")
    readings = [_after("0", pc.utf8_slice_codeunits(digits, -SUBSCRIBER))]
    for country in filter(written_alike, countries):
        code = f"+{phonenumbers.country_code_for_region(country)}"
        readings += [_after(code, digits), _after(code, pc.utf8_ltrim(digits, "0"))]
    msisdns = np.concatenate([normalise(each).msisdn for each in readings])
    rows = np.tile(np.arange(len(texts)), len(readings))
    return rows[msisdns != 0], msisdns[msisdns != 0]


def _after(code: str, digits: pa.Array) -> pa.Array:
    """A code before each text of digits."""
    return pc.binary_join_element_wise(pa.scalar(code, TEXT), digits, pa.scalar("", TEXT))
