"""A number without a country code is French only where it can be nothing else."""

import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms.campaign.definition import NUMBERS_OF
from sms.telecom.msisdn import FRENCH, normalise
from sms.telecom.national import is_ambiguous, meanings, written_alike

ABROAD = sorted(phonenumbers.SUPPORTED_REGIONS - FRENCH.keys() - NUMBERS_OF.keys())
NATIONAL = ["079 123 45 67", "0470 12 34 56", "06 39 98 00 01", "639980001", "01 23 45 67 89"]
NATIONAL += ["0692 01 23 45", "0708 12 34 56", "0508 41 00 00", "(06) 39.98.00.01", "07700 900123"]
NATIONAL += ["Tél. : 06 39 98 00 01", "'0639980001", "\u00a006\u00a039980001", "612 345 678"]
CODED = ["+33 6 39 98 00 01", "0033639980001", "33639980001", "+33 (0)6 39 98 00 01"]


def judged(*texts, **how):
    return normalise(pa.array(texts, pa.string()), **how)


@pytest.mark.parametrize("text", NATIONAL)
def test_an_ambiguous_national_number_is_refused(text):
    numbers = judged(text, national=False)

    assert numbers.reason.to_pylist() == ["national_msisdn"]
    assert numbers.msisdn.tolist() == [0]


def test_a_number_with_country_code_is_always_read():
    assert judged(*CODED, national=False).msisdn.tolist() == [33639980001] * len(CODED)
    assert judged("+41 79 123 45 67", national=False).country.to_pylist() == ["CH"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *[("", "missing_msisdn"), ("06 39", "too_short_msisdn"), ("poste 12", "malformed_msisdn")],
        *[("06 39 98 00 01 06 39 98 00 02", "too_long_msisdn"), ("639980001.0", "float_msisdn")],
    ],
)
def test_an_invalid_number_keeps_its_own_reason(text, reason):
    assert judged(text, national=False).reason.to_pylist() == [reason]


@pytest.mark.parametrize(
    "country", ["CH", "BE", "NL", "ES", "PT", "PL", "LU", "IT", "MA", "DZ", "CI"]
)
def test_countries_with_french_looking_numbers_are_ambiguous(country):
    assert written_alike(country)
    assert is_ambiguous(["FR", country])


@pytest.mark.parametrize("country", ["FR", "RE", "GP", "PM", "GB", "US", "DK", "TN", "NC"])
def test_other_countries_are_not_ambiguous(country):
    assert not is_ambiguous(["FR", country])


def spellings(country, numbers):
    """Numbers as the country writes them: bare, and with what it dials before them."""
    prefix = phonenumbers.PhoneMetadata.metadata_for_region(country).national_prefix or ""
    return [before + number for number in numbers for before in {"", "0", prefix}]


@pytest.mark.parametrize("country", ABROAD)
def test_no_foreign_mobile_is_read_as_a_french_number(country):
    mobile = phonenumbers.PhoneMetadata.metadata_for_region(country).mobile.national_number_pattern

    @given(st.lists(st.from_regex(f"(?:{mobile})\\Z", fullmatch=True), min_size=4, max_size=8))
    @settings(max_examples=2)
    def read(numbers):
        ascii_only = [number for number in numbers if number.isascii()]
        texts = spellings(country, ascii_only)
        found = judged(*texts, national=not is_ambiguous(["FR", country]))
        assert not found.msisdn.any()

    read()


def test_an_ambiguous_opt_out_stops_each_possible_number():
    texts = pa.array(
        ["079 123 45 67", "0639980001", "+33692012345", "612345678"], pa.large_string()
    )

    assert meanings(texts, ["FR", "CH", "ES"]).tolist() == [
        *[
            33612345678,
            33639980001,
            33791234567,
            34612345678,
            34639980001,
            41791234567,
            262692012345,
        ]
    ]
    assert meanings(texts.slice(0, 0), ["FR", "CH"]).tolist() == []
