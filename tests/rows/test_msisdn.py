"""How numbers are read: R17, section F, and the choices that `sms.msisdn` states.

French mobiles are of the block reserved for fiction (ARCEP, +33 6 39 98 xx xx), British ones of
Ofcom's. Overseas and other foreign numbers are synthetic: a plan's prefix and counting digits.
"""

import re

import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata

from sms.msisdn import FRENCH, Fault, normalise

OURS = 33639980001


def read(*texts):
    """(msisdn, country, reason) of each text."""
    numbers = normalise(pa.array(texts, pa.large_string()))
    return list(
        zip(
            numbers.msisdn.tolist(),
            numbers.country.to_pylist(),
            numbers.reason.to_pylist(),
            strict=True,
        )
    )


SPELLINGS = {
    "E.164": "+33639980001",
    "national": "0639980001",
    "pairs and spaces": "06 39 98 00 01",
    "dots": "06.39.98.00.01",
    "dashes": "06-39-98-00-01",
    "slashes": "06/39/98/00/01",
    "commas": "06,39,98,00,01",
    "underscores": "06_39_98_00_01",
    "international, spaced": "+33 6 39 98 00 01",
    "double zero": "0033639980001",
    "double zero, spaced": "00 33 6 39 98 00 01",
    "plus and double zero": "+0033639980001",
    "trunk zero in brackets": "+33 (0)6 39 98 00 01",
    "trunk zero in brackets after 00": "0033 (0) 6 39 98 00 01",
    "trunk zero, bare": "+330639980001",
    "trunk zero, bare, no plus": "330639980001",
    "no plus": "33639980001",
    "no plus, bracketed zero": "33 (0)6 39 98 00 01",
    "code in brackets": "(+33) 6 39 98 00 01",
    "zero in brackets": "(0)6 39 98 00 01",
    "area in brackets": "(06) 39 98 00 01",
    "a lost zero": "639980001",
    "no-break spaces": "06\u00a039\u00a098\u00a000\u00a001",
    "narrow no-break spaces": "06\u202f39\u202f98\u202f00\u202f01",
    "zero width space": "06\u200b39980001",
    "byte order mark": "\ufeff0639980001",
    "direction marks": "\u202a+33639980001\u202c",
    "soft hyphen": "0639\u00ad980001",
    "no-break hyphens": "06\u201139\u201198\u201100\u201101",
    "en dashes": "06–39–98–00–01",
    "minus signs": "06−39−98−00−01",
    "middle dots": "06·39·98·00·01",
    "full width": "＋３３ ６ ３９ ９８ ００ ０１",
    "full width and dashes": "０６–３９–９８–００–０１",
    "Arabic digits": "٠٦٣٩٩٨٠٠٠١",
    "tabs and line ends": "\t06 39 98 00 01\r\n",
    "Excel's apostrophe": "'0639980001",
    "Excel's formula": '="0639980001"',
    "typographic quotes": "’0639980001",
    "tel URI": "tel:+33-6-39-98-00-01",
    "label": "Tél. : 06 39 98 00 01",
    "label, mobile": "Mobile: 06 39 98 00 01",
    "label, portable": "portable 0639980001",
    "one dot, few digits before": "06.39980001",
    "a point at the end": "0639980001.",
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_every_spelling_of_a_french_mobile_is_read_as_the_same_number(text):
    assert read(text) == [(OURS, "FR", "")]


OVERSEAS = {
    "Réunion": ("692012345", 262, "RE"),
    "Réunion, 693": ("693012345", 262, "RE"),
    "Réunion, 709": ("709201234", 262, "RE"),
    "Mayotte": ("639012345", 262, "YT"),
    "Mayotte, 709": ("709351234", 262, "YT"),
    "Guadeloupe": ("690012345", 590, "GP"),
    "Guadeloupe, 691": ("691221234", 590, "GP"),
    "Guadeloupe, 709": ("709001234", 590, "GP"),
    "Guyane": ("694012345", 594, "GF"),
    "Guyane, 709": ("709301234", 594, "GF"),
    "Martinique": ("696012345", 596, "MQ"),
    "Martinique, 697": ("697012345", 596, "MQ"),
    "Martinique, 709": ("709101234", 596, "MQ"),
}


@pytest.mark.parametrize(("number", "code", "country"), OVERSEAS.values(), ids=OVERSEAS.keys())
def test_an_overseas_mobile_gets_its_own_code_unless_it_is_written_with_33(number, code, country):
    found = (int(f"{code}{number}"), country, "")
    own = [f"+{code}{number}", f"00{code}{number}", f"{code}{number}", f"+{code} (0){number}"]
    national = [f"0{number}", number]
    foreign_to_it = [f"+33{number}", f"0033{number}", f"33{number}", f"+33 (0){number}"]

    assert read(*own, *national) == [found] * 6
    assert read(*foreign_to_it) == [(0, "", "overseas_as_metropolitan")] * 4


ABROAD = {
    "Saint-Pierre-et-Miquelon": ("+508 55 12 34", 508551234, "PM"),
    "Saint-Pierre-et-Miquelon, nine digits": ("+508 708 40 12 34", 508708401234, "PM"),
    "New Caledonia": ("+687 75.12.34", 687751234, "NC"),
    "Polynesia": ("+689 87 12 34 56", 68987123456, "PF"),
    "Wallis": ("+681 82 12 34", 681821234, "WF"),
    "fiction, British": ("+44 7700 900123", 447700900123, "GB"),
    "British, trunk zero": ("+44 (0)7700 900123", 447700900123, "GB"),
    "Belgian": ("0032 470 12 34 56", 32470123456, "BE"),
    "Belgian, trunk zero": ("+32 0470 12 34 56", 32470123456, "BE"),
    "Italian": ("+39 312 345 6789", 393123456789, "IT"),
    "American, where landlines and mobiles look alike": ("+1 201 555 0123", 12015550123, "US"),
    "Canadian, of the same code": ("+1 506 234 5678", 15062345678, "CA"),
    "Argentine": ("+54 9 11 2345 6789", 5491123456789, "AR"),
}


@pytest.mark.parametrize(("text", "msisdn", "country"), ABROAD.values(), ids=ABROAD.keys())
def test_the_rest_of_the_world_is_read_with_a_plus_or_00(text, msisdn, country):
    assert read(text) == [(msisdn, country, "")]


FAULTS = {
    "null": (None, Fault.MISSING),
    "empty": ("", Fault.MISSING),
    "blank": (" \u00a0\u200b\t", Fault.MISSING),
    "only punctuation": ("-", Fault.MISSING),
    "a null gone through text": ("nan", Fault.MISSING),
    "None": ("None", Fault.MISSING),
    "a word": ("inconnu", Fault.MALFORMED),
    "an address": ("a@example.org", Fault.MALFORMED),
    "NUL": ("06399800\x0001", Fault.MALFORMED),
    "text behind": ("06 39 98 00 01 (pro)", Fault.MALFORMED),
    "extension": ("0639980001 ext. 12", Fault.MALFORMED),
    "two pluses": ("++33639980001", Fault.MALFORMED),
    "plus inside": ("0033+639980001", Fault.MALFORMED),
    "plus before a national number": ("+0639980001", Fault.MALFORMED),
    "three zeros": ("00033639980001", Fault.MALFORMED),
    "foreign without plus": ("447700900123", Fault.MALFORMED),
    "no such country code": ("+999 123 456 789", Fault.MALFORMED),
    "Overseas code without plus, landline's length": ("2621234567", Fault.MALFORMED),
    "decimal": ("33639980001.0", Fault.FLOAT),
    "decimal, signed": ("+33639980001.00", Fault.FLOAT),
    "decimal, nine digits": ("639980001.0", Fault.FLOAT),
    "decimal, comma": ("639980001,0", Fault.FLOAT),
    "decimal among spaces": (" 33639980001.0 ", Fault.FLOAT),
    "scientific": ("3.3639980001E+10", Fault.FLOAT),
    "scientific, rounded": ("1.23E+09", Fault.FLOAT),
    "scientific, French": ("3,36E+10", Fault.FLOAT),
    "scientific, small e": ("6e8", Fault.FLOAT),
    "nine digits with zero": ("063998000", Fault.TOO_SHORT),
    "eleven digits with zero": ("06399800011", Fault.TOO_LONG),
    "eight after 33": ("+3363998000", Fault.TOO_SHORT),
    "ten after 33": ("+336399800011", Fault.TOO_LONG),
    "eight after 262": ("+26269212345", Fault.TOO_SHORT),
    "ten after 590": ("+5906901234567", Fault.TOO_LONG),
    "short code": ("36180", Fault.TOO_SHORT),
    "two numbers": ("0639980001/0639980002", Fault.TOO_LONG),
    "sixteen digits": ("+4477009001234567", Fault.TOO_LONG),
    "a card's digits": ("1234567890123456789", Fault.TOO_LONG),
    "American, too short": ("+1 201 555 01", Fault.TOO_SHORT),
    "American, too long": ("+1 201 555 01234", Fault.TOO_LONG),
    "six digits in all": ("+44 77 00", Fault.TOO_SHORT),
    "Paris": ("01 23 45 67 89", Fault.LANDLINE),
    "Paris, international": ("+33 1 23 45 67 89", Fault.LANDLINE),
    "a box": ("09 12 34 56 78", Fault.LANDLINE),
    "Réunion, landline": ("0262 12 34 56", Fault.LANDLINE),
    "Guadeloupe, landline": ("+590 590 12 34 56", Fault.LANDLINE),
    "German landline": ("+49 30 123456", Fault.LANDLINE),
    "08": ("0892 12 34 56", Fault.PREMIUM),
    "free": ("+33 800 12 34 56", Fault.PREMIUM),
    "Réunion, 08": ("+262 892 12 34 56", Fault.PREMIUM),
    "British premium": ("+44 909 879 0123", Fault.PREMIUM),
    "070": ("07 00 12 34 56", Fault.NOT_A_MOBILE),
    "071": ("+33 7 11 23 45 67", Fault.NOT_A_MOBILE),
    "072": ("+33 7 21 23 45 67", Fault.NOT_A_MOBILE),
    "overseas block that nobody has": ("0691 99 12 34", Fault.NOT_A_MOBILE),
    "metropolitan with an overseas code": ("+262 6 12 34 56 78", Fault.NOT_A_MOBILE),
    "Réunion's with Martinique's code": ("+596 692 12 34 56", Fault.NOT_A_MOBILE),
    "overseas block, as +33": ("+33 691 99 12 34", Fault.OVERSEAS_AS_METROPOLITAN),
    "Mayotte beside the fiction block, as +33": (
        "+33 6 39 97 12 34",
        Fault.OVERSEAS_AS_METROPOLITAN,
    ),
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_what_is_no_mobile_number_says_why(text, fault):
    assert read(text) == [(0, "", str(fault))]


def test_the_whole_fiction_block_is_accepted_and_what_lies_beside_it_is_overseas():
    assert read("0639979999", "0639980000", "0639989999", "0639990000") == [
        (262639979999, "YT", ""),
        (33639980000, "FR", ""),
        (33639989999, "FR", ""),
        (262639990000, "YT", ""),
    ]


def test_every_fault_has_a_case_here_and_a_sentence():
    assert {fault for _, fault in FAULTS.values()} == set(Fault)
    assert all(fault.sentence and not fault.sentence.endswith(".") for fault in Fault)


def test_a_column_may_be_chunked_sliced_encoded_or_empty():
    texts = [None, "0639980001", "x", "", "+44 7700 900123"]
    wanted = read(*texts)
    small = pa.array(texts)
    for column in (
        pa.chunked_array([small.slice(0, 2), small.slice(2)]),
        small.dictionary_encode(),
        pa.concat_arrays([pa.array(["before"]), small]).slice(1),
    ):
        numbers = normalise(column)
        assert numbers.msisdn.tolist() == [msisdn for msisdn, _, _ in wanted]
        assert numbers.reason.to_pylist() == [reason for _, _, reason in wanted]
    assert len(normalise(pa.array([], pa.string()))) == 0
    assert normalise(pa.nulls(2)).reason.to_pylist() == ["missing_msisdn"] * 2


def test_bytes_hidden_under_a_null_are_not_read():
    column = pa.array(["0639980001", "0639980002"])
    masked = pa.StringArray.from_buffers(
        2, column.buffers()[1], column.buffers()[2], pa.py_buffer(b"\x02")
    )

    assert normalise(masked).msisdn.tolist() == [0, 33639980002]


def test_a_column_that_is_not_text_is_refused():
    with pytest.raises(TypeError, match="numbers are read from text"):
        normalise(pa.array([33639980001.0]))


def test_a_bracket_at_a_rows_end_takes_no_zero_from_the_next_row():
    assert read("+33(", "0)639980001") == [(0, "", "too_short_msisdn"), (OURS, "FR", "")]


# The table of French blocks is built from one number of each block: these two make that right.


def test_in_french_plans_the_last_four_digits_decide_nothing():
    for region in FRENCH:
        pattern = PhoneMetadata.metadata_for_region(region).mobile.national_number_pattern
        matches = re.compile(pattern).fullmatch
        for block in range(60_000, 80_000, 7):
            answers = {bool(matches(f"{block}{last}")) for last in ("0000", "4821", "9999")}
            assert len(answers) == 1, (region, block)


def test_no_block_of_mobiles_belongs_to_two_french_plans():
    patterns = [
        re.compile(PhoneMetadata.metadata_for_region(region).mobile.national_number_pattern)
        for region in FRENCH
    ]
    for block in range(60_000, 80_000):
        assert sum(bool(pattern.fullmatch(f"{block}0000")) for pattern in patterns) <= 1


FICTION = st.integers(33639980000, 33639989999)
GAPS = st.text(st.sampled_from(" .-/()\u00a0\u202f\u200b\t–"), max_size=3)
ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NUMBERISH = st.text(st.sampled_from("0123456789+33(0). ,-e\u00a0Té"), max_size=22)


@given(FICTION, st.data())
@settings(max_examples=100, deadline=None)
def test_gaps_anywhere_change_nothing(msisdn, data):
    prefix = data.draw(st.sampled_from(["+33", "0033", "33", "0"]))
    written = prefix + str(msisdn)[2:]
    gaps = data.draw(st.lists(GAPS, min_size=len(written), max_size=len(written)))
    spelled = "".join(char + gap for char, gap in zip(written, gaps, strict=True))
    if re.search(r"[.,]", spelled) or re.search(r"\d\((?=0\))", spelled):
        return  # a decimal or a bracketed zero: their own rules

    assert read(spelled) == [(msisdn, "FR", "")]


@given(st.lists(ANYTHING | NUMBERISH | st.none(), max_size=20))
@settings(max_examples=120, deadline=None)
def test_any_text_is_a_number_or_has_one_fault_and_reading_it_again_changes_nothing(texts):
    for msisdn, country, reason in read(*texts):
        assert bool(msisdn) == bool(country) == (not reason)
        if msisdn:
            assert re.fullmatch(r"[1-9]\d{7,14}", str(msisdn))
            assert read(f"+{msisdn}") == [(msisdn, country, "")]


@given(st.lists(ANYTHING | NUMBERISH | st.none(), max_size=12))
@settings(max_examples=60, deadline=None)
def test_a_number_is_judged_by_itself_whatever_stands_beside_it(texts):
    assert read(*texts) == [verdict for text in texts for verdict in read(text)]


def test_phonenumbers_is_the_full_library_and_knows_the_regions_we_name():
    assert set(FRENCH) <= phonenumbers.SUPPORTED_REGIONS
