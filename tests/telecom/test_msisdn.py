"""How numbers are read: R17, section F, and the choices documented in `sms.telecom.msisdn`.

French mobiles are of the block reserved for fiction (ARCEP, +33 6 39 98 xx xx), British ones of
Ofcom's. Overseas and other foreign numbers are synthetic: a plan's prefix and counting digits.
"""

import random
import re

import numpy as np
import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata

from sms.columnar.text import bytes_of
from sms.columnar.threads import ordered
from sms.telecom import msisdn as rules
from sms.telecom.msisdn import FRENCH, NumberFault, normalise

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


def columns_of(numbers):
    return numbers.msisdn.tolist(), numbers.country.to_pylist(), numbers.reason.to_pylist()


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
    "label, two words": "Tél. mobile : 06 39 98 00 01",
    "label, messenger": "whatsapp:+33639980001",
    "label, number": "N° 06 39 98 00 01",
    "label, decomposed accent": "Te\u0301l 0639980001",
    "a telephone's picture": "📞 06 39 98 00 01",
    "a telephone's picture, as text": "☎\ufe0f 0639980001",
    "marks of writing from right to left": "\u200f+33 6 39 98 00 01\u200e",
    "colons": "06:39:98:00:01",
    "a semicolon behind": "0639980001;",
    "bars": "|0639980001|",
    "a list of one": "['0639980001']",
    "vertical tab and form feed": "0639980001\v\f",
    "code, dashes and a trunk zero": "+33-06-39-98-00-01",
    "code in brackets, no plus": "(33) 6 39 98 00 01",
    "code in brackets, 00": "(0033) 6 39 98 00 01",
    "code in brackets after the plus": "+(33) 6 39 98 00 01",
    "code and zero in one bracket": "+33 (06) 39 98 00 01",
    "double zero, bracketed zero, no gap": "0033(0)639980001",
    "no plus, spaced": "33 6 39 98 00 01",
    "threes": "0639 980 001",
    "threes with dots": "06.399.800.01",
    "threes with commas, a lost zero": "639,980,001",
    "a dash before": "- 06 39 98 00 01",
    "full width, brackets": "（０６）３９９８０００１",
    "mathematical digits": "𝟎𝟔𝟑𝟗𝟗𝟖𝟎𝟎𝟎𝟏",
    "10,000 characters of gaps": "+33639980001" + " " * 9_988,
    "one dot, few digits before": "06.39980001",
    "a point at the end": "0639980001.",
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_all_spellings_of_a_french_mobile_are_equal(text):
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


MIQUELON = {
    "mobile of nine digits": ("708401234", 508708401234),
    "mobile of six digits": ("508551234", 508551234),
}


@pytest.mark.parametrize(("number", "msisdn"), MIQUELON.values(), ids=MIQUELON.keys())
def test_miquelon_is_called_with_0508_or_0708_from_france(number, msisdn):
    found = (msisdn, "PM", "")

    assert read(f"0{number}", number, f"+{msisdn}", f"00{msisdn}", str(msisdn)) == [found] * 5


@pytest.mark.parametrize(("number", "code", "country"), OVERSEAS.values(), ids=OVERSEAS.keys())
def test_an_overseas_mobile_has_its_code_except_under_33(number, code, country):
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
    "British, bare trunk zero": ("+4407911123456", 447911123456, "GG"),
    "Italian, a zero in brackets": ("0039 (0)312 345 6789", 393123456789, "IT"),
    "Portuguese, a zero in brackets": ("00351 (0)912 345 678", 351912345678, "PT"),
    "Ivorian, whose mobiles begin with a zero": ("+225 01 23 45 67 89", 2250123456789, "CI"),
    "Argentine": ("+54 9 11 2345 6789", 5491123456789, "AR"),
}


@pytest.mark.parametrize(("text", "msisdn", "country"), ABROAD.values(), ids=ABROAD.keys())
def test_foreign_numbers_are_read_with_plus_or_00(text, msisdn, country):
    assert read(text) == [(msisdn, country, "")]


FAULTS = {
    "null": (None, NumberFault.MISSING),
    "empty": ("", NumberFault.MISSING),
    "blank": (" \u00a0\u200b\t", NumberFault.MISSING),
    "only punctuation": ("-", NumberFault.MISSING),
    "a null gone through text": ("nan", NumberFault.MISSING),
    "None": ("None", NumberFault.MISSING),
    "a word": ("inconnu", NumberFault.MALFORMED),
    "an address": ("a@example.org", NumberFault.MALFORMED),
    "NUL": ("06399800\x0001", NumberFault.MALFORMED),
    "text behind": ("06 39 98 00 01 (pro)", NumberFault.MALFORMED),
    "extension": ("0639980001 ext. 12", NumberFault.MALFORMED),
    "extension, French": ("01 23 45 67 89 poste 12", NumberFault.MALFORMED),
    "extension, short": ("0639980001x12", NumberFault.MALFORMED),
    "extension, numeric sign": ("0639980001 #12", NumberFault.MALFORMED),
    "a letter for a digit": ("O639980001", NumberFault.MALFORMED),
    "letters for keys": ("06 39 98 FLOW", NumberFault.MALFORMED),
    "label alone": ("Tél :", NumberFault.MALFORMED),
    "NUL behind": ("0639980001\x00", NumberFault.MALFORMED),
    "10,000 letters": ("x" * 10_000, NumberFault.MALFORMED),
    "a label a thousand times": ("telephone" * 1_000, NumberFault.MALFORMED),
    "a null in brackets": ("(null)", NumberFault.MISSING),
    "a spreadsheet's error": ("#VALUE!", NumberFault.MISSING),
    "two pluses": ("++33639980001", NumberFault.MALFORMED),
    "plus inside": ("0033+639980001", NumberFault.MALFORMED),
    "plus before a national number": ("+0639980001", NumberFault.MALFORMED),
    "three zeros": ("00033639980001", NumberFault.MALFORMED),
    "foreign without plus": ("447700900123", NumberFault.MALFORMED),
    "no such country code": ("+999 123 456 789", NumberFault.MALFORMED),
    "Overseas code without plus, landline's length": ("2621234567", NumberFault.MALFORMED),
    "decimal": ("33639980001.0", NumberFault.FLOAT),
    "decimal, signed": ("+33639980001.00", NumberFault.FLOAT),
    "decimal, nine digits": ("639980001.0", NumberFault.FLOAT),
    "decimal, comma": ("639980001,0", NumberFault.FLOAT),
    "decimal among spaces": (" 33639980001.0 ", NumberFault.FLOAT),
    "decimal, many zeros": ("639980001.0000000000", NumberFault.FLOAT),
    "decimal in a formula": ('="33639980001.0"', NumberFault.FLOAT),
    "decimal, in threes": ("33 639 980 001,00", NumberFault.FLOAT),
    "decimal, in threes, English": ("639,980,001.0", NumberFault.FLOAT),
    "decimal, full width": ("３３６３９９８０００１．０", NumberFault.FLOAT),
    "decimal, overseas": ("0692012345.0", NumberFault.FLOAT),
    "decimal whose digits would do": ("+3363998000.1", NumberFault.FLOAT),
    "scientific": ("3.3639980001E+10", NumberFault.FLOAT),
    "scientific, rounded": ("1.23E+09", NumberFault.FLOAT),
    "scientific, French": ("3,36E+10", NumberFault.FLOAT),
    "scientific, small e": ("6e8", NumberFault.FLOAT),
    "nine digits with zero": ("063998000", NumberFault.TOO_SHORT),
    "eleven digits with zero": ("06399800011", NumberFault.TOO_LONG),
    "eight after 33": ("+3363998000", NumberFault.TOO_SHORT),
    "ten after 33": ("+336399800011", NumberFault.TOO_LONG),
    "eight after a bracketed zero": ("+33(0)12.34.56.78", NumberFault.TOO_SHORT),
    "eight after a bracketed zero and 00": ("0033(0)12 34 56 78", NumberFault.TOO_SHORT),
    "a bracketed zero before the code": ("(0)33 6 39 98 00 01", NumberFault.TOO_LONG),
    "Philippine, too short, like a French one": ("00639980001", NumberFault.TOO_SHORT),
    "nobody's code, sixteen digits": ("+999 1234567890123", NumberFault.TOO_LONG),
    "eight after 262": ("+26269212345", NumberFault.TOO_SHORT),
    "ten after 590": ("+5906901234567", NumberFault.TOO_LONG),
    "short code": ("36180", NumberFault.TOO_SHORT),
    "two numbers": ("0639980001/0639980002", NumberFault.TOO_LONG),
    "two numbers, semicolon": ("0639980001;0639980002", NumberFault.TOO_LONG),
    "two numbers, a word between": ("06 39 98 00 01 ou 06 39 98 00 02", NumberFault.TOO_LONG),
    "two numbers, two pluses": ("+33639980001 +33639980002", NumberFault.TOO_LONG),
    "two numbers, line end": ("0639980001\n0639980002", NumberFault.TOO_LONG),
    "10,000 digits": ("1" * 10_000, NumberFault.TOO_LONG),
    "10,000 zeros": ("0" * 10_000, NumberFault.TOO_LONG),
    "sixteen digits": ("+4477009001234567", NumberFault.TOO_LONG),
    "a card's digits": ("1234567890123456789", NumberFault.TOO_LONG),
    "American, too short": ("+1 201 555 01", NumberFault.TOO_SHORT),
    "American, too long": ("+1 201 555 01234", NumberFault.TOO_LONG),
    "six digits in all": ("+44 77 00", NumberFault.TOO_SHORT),
    "Paris": ("01 23 45 67 89", NumberFault.LANDLINE),
    "Paris, international": ("+33 1 23 45 67 89", NumberFault.LANDLINE),
    "a box": ("09 12 34 56 78", NumberFault.LANDLINE),
    "Miquelon, landline": ("0508 41 12 34", NumberFault.LANDLINE),
    "Réunion, landline": ("0262 12 34 56", NumberFault.LANDLINE),
    "Guadeloupe, landline": ("+590 590 12 34 56", NumberFault.LANDLINE),
    "German landline": ("+49 30 123456", NumberFault.LANDLINE),
    "08": ("0892 12 34 56", NumberFault.PREMIUM),
    "free": ("+33 800 12 34 56", NumberFault.PREMIUM),
    "Réunion, 08": ("+262 892 12 34 56", NumberFault.PREMIUM),
    "British premium": ("+44 909 879 0123", NumberFault.PREMIUM),
    "070": ("07 00 12 34 56", NumberFault.NOT_A_MOBILE),
    "071": ("+33 7 11 23 45 67", NumberFault.NOT_A_MOBILE),
    "072": ("+33 7 21 23 45 67", NumberFault.NOT_A_MOBILE),
    "overseas block that nobody has": ("0691 99 12 34", NumberFault.NOT_A_MOBILE),
    "metropolitan with an overseas code": ("+262 6 12 34 56 78", NumberFault.NOT_A_MOBILE),
    "Réunion's with Martinique's code": ("+596 692 12 34 56", NumberFault.NOT_A_MOBILE),
    "Miquelon, as +33": ("+33 708 40 12 34", NumberFault.OVERSEAS_AS_METROPOLITAN),
    "British, neither with the trunk zero": ("+4407700900123", NumberFault.NOT_A_MOBILE),
    "overseas block, as +33": ("+33 691 99 12 34", NumberFault.OVERSEAS_AS_METROPOLITAN),
    "Mayotte beside the fiction block, as +33": (
        "+33 6 39 97 12 34",
        NumberFault.OVERSEAS_AS_METROPOLITAN,
    ),
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_an_unusable_number_has_its_reason(text, fault):
    assert read(text) == [(0, "", str(fault))]


def test_the_fictional_block_is_french_and_its_neighbours_overseas():
    assert read("0639979999", "0639980000", "0639989999", "0639990000") == [
        (262639979999, "YT", ""),
        (33639980000, "FR", ""),
        (33639989999, "FR", ""),
        (262639990000, "YT", ""),
    ]


def test_every_fault_has_a_test_case_and_a_sentence():
    # Of a national number the campaign decides: tests/rows/test_national.py
    assert {fault for _, fault in FAULTS.values()} == set(NumberFault) - {NumberFault.NATIONAL}
    assert all(fault.sentence and not fault.sentence.endswith(".") for fault in NumberFault)


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


def test_a_rows_final_bracket_takes_no_later_zero():
    assert read("+33(", "0)639980001") == [(0, "", "too_short_msisdn"), (OURS, "FR", "")]


# The table of French blocks is built from one number of each block: these two make that right.


def test_in_french_plans_the_last_four_digits_are_irrelevant():
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
@settings(max_examples=100)
def test_separators_anywhere_change_nothing(msisdn, data):
    prefix = data.draw(st.sampled_from(["+33", "0033", "33", "0"]))
    written = prefix + str(msisdn)[2:]
    gaps = data.draw(st.lists(GAPS, min_size=len(written), max_size=len(written)))
    spelled = "".join(char + gap for char, gap in zip(written, gaps, strict=True))
    if re.search(r"[.,]", spelled) or re.search(r"\d\((?=0\))", spelled):
        return  # a decimal or a bracketed zero: their own rules

    assert read(spelled) == [(msisdn, "FR", "")]


@given(st.lists(ANYTHING | NUMBERISH | st.none(), max_size=20))
@settings(max_examples=120)
def test_any_text_is_a_stable_number_or_a_fault(texts):
    for msisdn, country, reason in read(*texts):
        assert bool(msisdn) == bool(country) == (not reason)
        if msisdn:
            assert re.fullmatch(r"[1-9]\d{7,14}", str(msisdn))
            assert read(f"+{msisdn}") == [(msisdn, country, "")]


@given(st.lists(ANYTHING | NUMBERISH | st.none(), max_size=12))
@settings(max_examples=60)
def test_a_number_is_judged_independently_of_its_neighbours(texts):
    assert read(*texts) == [verdict for text in texts for verdict in read(text)]


def test_phonenumbers_is_complete_and_knows_our_regions():
    assert set(FRENCH) <= phonenumbers.SUPPORTED_REGIONS


# Plain spellings are read, and plain mobiles judged, by shorter ways than the general rules.


def by_general_rules(column):
    """What the rules say without the shorter ways."""
    written = rules._generally_written(rules._texts(column))
    return rules._numbers(rules._judge_generally(written))


STARTS = [
    *("", "+", "0", "00", "000", "+0", "+00", "33", "+33", "0033", "+330", "0590", "262", "+262"),
    *("0033262", "+44", "0044", "+15", "+508", "0508", "0708", "508708"),
]
MIDDLES = ["", "6", "7", "63998", "692", "639", "690", "709", "708401", "1"]
DIGITS = st.text("0123456789", max_size=12) | st.text("0123456789", min_size=8, max_size=8)
BETWEEN = st.text(st.sampled_from(" .-/_,()'"), min_size=6, max_size=6) | st.sampled_from(
    [gap * 6 for gap in " .-/_,(\u00a0x"]
)


def set_apart(text, shape, gaps):
    """A number's digits in the places of a shape's zeros, gaps in those of its spaces."""
    digit, gap = iter(text.lstrip("+").ljust(len(shape), "0")), iter(gaps)
    places = ("+" if char == "+" else next(gap if char == " " else digit) for char in shape)
    return "".join(places)


@st.composite
def plain_but_for_a_flaw(draw):
    """A usual spelling of a number, often with something wrong in one place."""
    text = draw(st.sampled_from(STARTS)) + draw(st.sampled_from(MIDDLES)) + draw(DIGITS)
    shape = draw(st.sampled_from([*rules._SPACED, None, None, None]))
    if shape:
        text = set_apart(text, shape, draw(BETWEEN))
    if text and draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, len(text) - 1))
        text = text[:place] + draw(st.sampled_from("0+ .,:/;-(e\x00é٣９")) + text[place + 1 :]
    return text


def test_fast_rules_match_general_rules_on_listed_spellings():
    texts = [*SPELLINGS.values(), *[text for text, *_ in [*ABROAD.values(), *FAULTS.values()]]]
    for number, code, _ in OVERSEAS.values():
        texts += [
            f"{start}{number}" for start in (f"+{code}", code, "0", "", "+33", f"+{code} (0)")
        ]
    for number, msisdn in MIQUELON.values():
        texts += [number, f"0{number}", str(msisdn), f"+{msisdn}", f"00{msisdn}"]
    column = pa.array(texts, pa.large_string())

    assert columns_of(normalise(column)) == columns_of(by_general_rules(column))


@given(st.lists(plain_but_for_a_flaw() | NUMBERISH | ANYTHING | st.none(), max_size=40))
@settings(max_examples=400)
def test_fast_rules_match_general_rules(texts):
    column = pa.array(texts, pa.large_string())

    assert columns_of(normalise(column)) == columns_of(by_general_rules(column))


# Each with a beginning that makes most of them mobiles.
USUAL = {
    "00 00 00 00 00": "06 1",
    "+00 0 00 00 00 00": "+33 6 1",
    "0000 0 00 00 00 00": "0033 7 8",
    "00 00 0 00 00 00 00": "00 33 6 1",
    "+00000000000": "+336",
    "+000000000000": "+262692",
    "0000000000": "075",
    "0000000000000": "00336",
    "000000000": "6",
    "+0000000000000000": "",
}


def mess(chance, rows):
    """Usual spellings, most with any character of ASCII, or a digit, in any one place."""
    texts = []
    for _ in range(rows):
        shape, begin = chance.choice(list(USUAL.items()))
        text = re.sub("0", lambda _: chance.choice("0123456789"), shape)
        text = begin + text[len(begin) :] if chance.random() < 0.9 else text
        place = chance.randrange(len(text))
        char = chance.choice([chr(chance.randrange(128)), chance.choice("0123456789"), text[place]])
        texts.append(text[:place] + char + text[place + 1 :])
    return texts


def test_fast_rules_match_general_rules_despite_wrong_bytes():
    column = pa.array(mess(random.Random(11), 60_000), pa.large_string())

    short, general = normalise(column), by_general_rules(column)

    assert (short.msisdn == general.msisdn).all()
    assert short.country.equals(general.country)
    assert short.reason.equals(general.reason)
    assert np.count_nonzero(short.msisdn) > 10_000


def test_usual_spellings_use_the_fast_rules():
    usual = [
        *("+33639980001", "0639980001", "0033639980001", "33639980001", "639980001"),
        *("06 39 98 00 01", "06.39.98.00.01", "06-39-98-00-01", "06/39/98/00/01"),
        *("+33 6 39 98 00 01", "0033 6 39 98 00 01", "00 33 6 39 98 00 01", "+33.6.39.98.00.01"),
        *("+262692012345", "+447700900123", "0692012345", "0123456789", "36180"),
    ]

    written = rules._plainly_written(*bytes_of(pa.array(usual, pa.large_string())))

    assert not written.odd.any()
    assert written.plus.tolist() == [text.startswith("+") for text in usual]
    assert written.value.tolist() == [int(re.sub(r"\D", "", text)) for text in usual]


def test_threads_may_read_batches_at_the_same_time():
    texts = mess(random.Random(12), 4_000) + [
        f"+44{n}" for n in range(7_400_000_000, 7_400_000_999)
    ]
    column = pa.array(texts, pa.large_string())
    batches = [column.slice(start, 500) for start in range(0, len(column), 500)]
    rules._plan.cache_clear()
    rules._plans.cache_clear()
    rules._verdict.cache_clear()

    found = [columns_of(numbers) for numbers in ordered(normalise, batches, threads=4)]

    assert found == [columns_of(normalise(batch)) for batch in batches]


def test_many_numbers_of_a_country_match_single_checks():
    chance = random.Random(13)
    texts = [
        f"+{code}{chance.choice(['', '0', '7', '9'])}{chance.randrange(10**length)}"
        for code in (1, 7, 44, 49, 32, 39, 54, 269, 508, 687, 690, 870, 979, 999)
        for length in range(5, 11)
        for _ in range(15)
    ]
    texts += [f"+27082{rest:03}" for rest in range(60)]  # too short without the zero

    assert read(*texts) == [verdict for text in texts for verdict in read(text)]


@pytest.mark.parametrize("start", ["+44", "0044", "+44 ", "+440", "+44 (0)"])
def test_many_mobiles_of_a_country_are_parsed_together(start):
    asked = rules._verdict.cache_info().misses

    found = read(*(f"{start}{number}" for number in range(7_911_000_000, 7_911_001_000)))

    assert [msisdn for msisdn, *_ in found] == list(range(447_911_000_000, 447_911_001_000))
    assert rules._verdict.cache_info().misses == asked


# What a country gives out, each kind by the same pattern, and what a number of it is.
GIVEN_OUT = {
    "premium before a mobile": ("premium_rate mobile fixed_line", NumberFault.PREMIUM),
    "free before a mobile": ("toll_free mobile", NumberFault.PREMIUM),
    "shared cost before VoIP": ("shared_cost voip", NumberFault.PREMIUM),
    "VoIP before a mobile": ("voip mobile", NumberFault.NOT_A_MOBILE),
    "personal before a mobile": ("personal_number mobile", NumberFault.NOT_A_MOBILE),
    "a pager before a landline": ("pager fixed_line", NumberFault.NOT_A_MOBILE),
    "a company before a mobile": ("uan mobile", NumberFault.NOT_A_MOBILE),
    "voicemail before a mobile": ("voicemail mobile", NumberFault.NOT_A_MOBILE),
    "a landline": ("fixed_line", NumberFault.LANDLINE),
}


@pytest.mark.parametrize(("kinds", "fault"), GIVEN_OUT.values(), ids=GIVEN_OUT.keys())
def test_a_numbers_kinds_are_asked_in_libphonenumbers_order(kinds, fault, monkeypatch):
    plan = plan_of(monkeypatch, *kinds.split())

    assert plan.faults(BRITISH).tolist() == [rules._CODE[fault]]


def test_an_ambiguous_landline_or_mobile_counts_as_mobile(monkeypatch):
    assert plan_of(monkeypatch, "mobile", "fixed_line").faults(BRITISH).tolist() == [0]


def test_a_number_outside_the_plan_has_no_kind(monkeypatch):
    plan = plan_of(monkeypatch, "mobile", whole=r"\d{9}")

    assert plan.faults(BRITISH).tolist() == [rules._UNKNOWN]


BRITISH = pa.array(["447911000001"], pa.large_string())


def plan_of(monkeypatch, *kinds, whole=r"\d{10}"):
    patterns = dict.fromkeys(kinds, r"\d{10}") | {"general_desc": whole}
    monkeypatch.setattr(rules, "_pattern", lambda region, kind: patterns.get(kind))
    return rules._Plan.of(44, "GB", alone=True)


def test_a_region_claims_every_number_with_its_prefix(monkeypatch):
    first = rules._Plan("GG", "^44(?:781)", None, False, "^44$", ())
    second = rules._Plan("GB", None, None, False, r"^44\d{10}$", ((r"^44\d{10}$", 0),))
    monkeypatch.setattr(rules, "_plans", lambda code: (first, second))

    judged = rules._judge_by_patterns(44, np.array([447_811_000_001, 447_911_000_001]))

    assert judged.msisdn.tolist() == [0, 447_911_000_001]


def test_a_number_has_its_country():
    numbers = pa.array([33639980001, 262692000001, 447700900123, 33112345678, 12], pa.int64())

    assert rules.countries(numbers).to_pylist() == ["FR", "RE", "GB", "", ""]
