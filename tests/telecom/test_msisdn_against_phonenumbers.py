"""Generated numbers, 300,000 in a soak: each difference from libphonenumber is documented.

`theirs` is what phonenumbers makes of the same text for a caller in France, if it is a mobile. A
difference has a name if libphonenumber agrees with us on a plainer spelling of the same text, or
if we refuse what it guesses; any other fails. The names are the classes `RESPELLED` and `REFUSED`.
"""

import random
import re
import unicodedata
from collections import Counter
from functools import cache

import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType, ValidationResult

from sms.campaign.definition import NUMBERS_OF
from sms.telecom.msisdn import FRENCH, normalise
from tests import soak

MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
SOME, ALL_OF_THEM = 45_000, 300_000
SPELLINGS_EACH = 3


def theirs(text):
    try:
        number = phonenumbers.parse(text, "FR")
    except phonenumbers.NumberParseException:
        return None
    return judged_by_them(phonenumbers.format_number(number, PhoneNumberFormat.E164), number)


JUDGED = {}


def judged_by_them(e164, number):
    """What they know of a number, asked once however often it is spelled."""
    if e164 not in JUDGED:
        mobile = phonenumbers.number_type(number) in MOBILE
        region = phonenumbers.region_code_for_number(number)
        JUDGED[e164] = (int(e164), region) if mobile else None
    return JUDGED[e164]


def digits_of(text):
    return "".join(str(unicodedata.digit(char)) for char in text if char.isdigit())


def with_its_own_code(text):
    """An overseas number as France dials it, or an international one that lost its plus."""
    digits = digits_of(text)
    if re.fullmatch(r"(262|59[046])0?\d{9}|508708\d{6}|0?508\d{6}", digits):
        return "+" + digits.lstrip("0")
    if re.fullmatch(r"0?(639|69\d|70[89])\d{6}", digits):
        owner = normalise(pa.array([text])).country.to_pylist()[0]
        return f"+{FRENCH.get(owner, 33)}{digits[-9:]}"
    return text


# Spelled so, libphonenumber agrees with us; each takes the spelling that the one before has left.
RESPELLED = {
    "gaps: libphonenumber stops at them": lambda text: re.sub(r"[,:;|_\u202f\u200b]", " ", text),
    "bracketed zero: dropped for every country, libphonenumber keeps it in some": (
        lambda text: unicodedata.normalize("NFKC", text).replace("(0)", "")
    ),
    "overseas, as France dials it: libphonenumber knows no 0692 and no 0508": with_its_own_code,
}


# What libphonenumber guesses and we refuse, by our reason and a pattern of the text.
REFUSED = {
    "decimal: a float's digits may be lost, libphonenumber reads the point as a gap": (
        "float_msisdn",
        r"\d{3}[.,]\d{1,6}$|\de[+-]?\d+$",
    ),
    "letters: libphonenumber reads them as keys or as an extension, or drops them": (
        "malformed_msisdn",
        r"[^\W\d_]",
    ),
    "two pluses: libphonenumber drops one": ("malformed_msisdn", r"[+＋].*[+＋]"),
    "two numbers: libphonenumber takes the first": (
        "too_long_msisdn",
        r"^(.{9,})(/| ou |;)\1$",
    ),
}


def explanation(text, ours, reason, known):
    """The name of the class that this difference is of; None if there is no good reason."""
    digits = digits_of(text)
    if ours and re.fullmatch(r"3363998\d{4}|447700900\d{3}", str(ours[0])):
        if known is None and digits[-9:] == str(ours[0])[-9:]:
            return "fiction: reserved numbers, which libphonenumber calls invalid, are accepted"
        return None
    if ours is None:
        for name, (refused_as, pattern) in REFUSED.items():
            if reason == refused_as and re.search(pattern, text, re.IGNORECASE | re.DOTALL):
                return name
        if reason == "too_short_msisdn" and known[0] < 10**7:
            return "seven digits: Tokelau's are shorter than R17 allows"
    for name, respelled in RESPELLED.items():
        text = respelled(text)
        if theirs(text) == ours:
            return name
    return None


ALL = {name.split(":")[0] for name in (*RESPELLED, *REFUSED)} | {"fiction", "seven digits"}


def base_number(chance):
    """(calling code, national number): French, overseas, fiction, or any country's own example."""
    kind = chance.random()
    tail = f"{chance.randrange(10**6):06}"
    if kind < 0.4:
        return "33", chance.choice("67") + f"{chance.randrange(10**8):08}"
    if kind < 0.48:
        return "33", "63998" + tail[:4]
    if kind < 0.6:
        code, start = chance.choice(
            [
                *(("262", "692"), ("262", "639"), ("590", "690"), ("590", "709")),
                *(("594", "694"), ("596", "696"), ("508", "708")),
            ]
        )
        return chance.choice([code, code, "33"]), start + tail
    if kind < 0.61:
        return "508", chance.choice("45") + tail[:5]
    if kind < 0.7:
        return "33", chance.choice("1234589") + f"{chance.randrange(10**8):08}"
    region = chance.choice(REGIONS)
    example = example_of(region, chance.choice([PhoneNumberType.MOBILE] * 4 + [*range(5)]))
    if example is None:
        return "44", "7700900" + tail[:3]
    code, digits = example
    number = list(digits)
    for _ in range(chance.choice([0, 1, 2, 4])):
        number[chance.randrange(len(number))] = chance.choice("0123456789")
    return code, "".join(number)


REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


@cache
def example_of(region, kind):
    example = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(
        region
    )
    if example is None:
        return None
    return str(example.country_code), phonenumbers.national_significant_number(example)


def spelled(chance, code, number):
    if chance.random() < 0.06:
        number = number[:-1] if chance.random() < 0.5 else number + chance.choice("0123456789")
    styles = [f"+{code}", f"+{code} ", f"00{code}", f"+{code} (0)", code, f"(+{code}) "]
    prefix = chance.choice([*styles, "0", "0", ""] if code == "33" else [*styles[:4], "+" + code])
    if code in ("262", "590", "594", "596"):
        prefix = chance.choice([prefix, "0", "", code])
    if code == "508":
        prefix = chance.choice([prefix, "0" if len(number) == 9 else "0508", "508"])
    gap = chance.choice([*[""] * 6, *" .-/\u00a0\u202f\u200b,–:;|_"])
    return mutated(chance, prefix + gap.join(re.findall("..?", number)))


def mutated(chance, text):
    mutation = chance.random()
    if mutation < 0.02:
        return text + chance.choice([".0", " (pro)", " x12", "E+02", " poste 12", ".00"])
    if mutation < 0.03:
        return chance.choice(["Tél : ", "tel:", "'", "\ufeff", "+", "\t", "\u200f"]) + text
    if mutation < 0.033:
        return text[:-2] + "." + text[-2:]
    if mutation < 0.038:
        return text + chance.choice(["/", " ou ", ";"]) + text
    if mutation < 0.043:
        return text.translate({ord("0") + n: ord("０") + n for n in range(10)})
    if mutation < 0.055:
        place = chance.randrange(len(text))
        return text[:place] + chance.choice("0123456789+ .(-") + text[place + 1 :]
    return text


def generated(chance, how_many):
    """Texts, each of several numbers in several spellings; and the calling codes of all."""
    texts, codes = [], set()
    while len(texts) < how_many:
        code, number = base_number(chance)
        codes.add(int(code))
        texts += [spelled(chance, code, number) for _ in range(SPELLINGS_EACH)]
    return texts, codes


def test_every_difference_from_phonenumbers_is_a_documented_choice():
    require_stated_choices(20260715, SOME)


@pytest.mark.soak
def test_differences_of_many_numbers_are_documented_choices():
    require_stated_choices(soak.SEED, ALL_OF_THEM)


def require_stated_choices(seed, how_many):
    texts, codes = generated(random.Random(seed), how_many)
    numbers = normalise(pa.array(texts))
    rows = zip(
        texts,
        numbers.msisdn.tolist(),
        numbers.country.to_pylist(),
        numbers.reason.to_pylist(),
        strict=True,
    )

    explained, unexplained, agreed = Counter(), [], Counter()
    for text, msisdn, country, reason in rows:
        ours = (msisdn, country) if msisdn else None
        known = theirs(text)
        if ours == known:
            agreed["mobile" if ours else "none"] += 1
            continue
        why = explanation(text, ours, reason, known)
        if why:
            explained[why.split(":")[0]] += 1
        else:
            unexplained.append((ascii(text), ours, reason, known))

    assert unexplained == [], f"seed {seed}"
    assert agreed.total() + explained.total() >= how_many
    assert agreed["mobile"] > how_many / 4
    assert agreed["none"] > how_many / 10
    assert codes == {phonenumbers.country_code_for_region(region) for region in REGIONS}
    # Each class is seen more than by accident, or the explanation is a dead letter.
    assert {name for name, count in explained.items() if count >= how_many / 15_000} == ALL


# --- All regions: guards the judgement by patterns -----------------------------------------------

FAULT_BY_TYPE = {
    PhoneNumberType.FIXED_LINE: "landline",
    PhoneNumberType.PREMIUM_RATE: "premium",
    PhoneNumberType.TOLL_FREE: "premium",
    PhoneNumberType.SHARED_COST: "premium",
}
FAULT_BY_LENGTH = {
    ValidationResult.TOO_SHORT: "too_short_msisdn",
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "too_short_msisdn",
    ValidationResult.TOO_LONG: "too_long_msisdn",
}


def verdict_of_theirs(text):
    """(MSISDN, region, fault) that follow from what libphonenumber says of a clean number."""
    digits = len(text) - 1
    if not 8 <= digits <= 15:
        return 0, "", "too_short_msisdn" if digits < 8 else "too_long_msisdn"
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        return 0, "", "malformed_msisdn"
    kind = phonenumbers.number_type(number)
    if kind in MOBILE:
        msisdn = int(phonenumbers.format_number(number, PhoneNumberFormat.E164))
        if msisdn < 10**7:
            return 0, "", "too_short_msisdn"
        return msisdn, phonenumbers.region_code_for_number(number), ""
    if kind == PhoneNumberType.UNKNOWN:
        length = phonenumbers.is_possible_number_with_reason(number)
        return 0, "", FAULT_BY_LENGTH.get(length, "not_a_mobile")
    return 0, "", FAULT_BY_TYPE.get(kind, "not_a_mobile")


def numbers_of_all_regions(chance):
    """Examples of each kind in each region, changed in a few places, and numbers at random."""
    texts = []
    for region in REGIONS:
        for kind in range(11):
            example = phonenumbers.example_number_for_type(region, kind)
            for changed in [0, 1, 1, 2, 2, 3, 4] if example else []:
                number = list(phonenumbers.national_significant_number(example))
                for _ in range(changed):
                    number[chance.randrange(len(number))] = chance.choice("0123456789")
                zero = chance.choice(["", "", "", "0"])
                texts.append(f"+{example.country_code}{zero}{''.join(number)}")
    nobodys = [210, 384, 999]
    for code in [*sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE), *nobodys]:
        for _ in range(400):
            length = chance.randrange(4, 13)
            texts.append(f"+{code}{chance.randrange(10**length):0{length}}")
    ours = re.compile(r"\+(33|262|590|594|596|508708|447700900)")  # by table, or fiction
    return [text for text in texts if not ours.match(text)]


def test_clean_international_numbers_of_all_regions_agree_without_exception():
    texts = numbers_of_all_regions(random.Random(4))

    numbers = normalise(pa.array(texts))

    verdicts = zip(
        numbers.msisdn.tolist(),
        numbers.country.to_pylist(),
        numbers.reason.to_pylist(),
        strict=True,
    )
    differences = [
        (text, *pair)
        for text, *pair in zip(texts, verdicts, map(verdict_of_theirs, texts), strict=True)
        if pair[0] != pair[1]
    ]
    assert differences == []
    assert len(texts) > 90_000
    assert len(set(numbers.country.to_pylist())) > 200
    assert len(set(numbers.reason.to_pylist())) == 7


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS - NUMBERS_OF.keys()))
def test_every_allowed_country_has_numbers_of_its_own(region):
    number = phonenumbers.example_number_for_type(region, PhoneNumberType.MOBILE)
    if region == "IM":  # whose example is one of Britain's
        number = phonenumbers.parse("+447624500000")
    text = phonenumbers.format_number(number, PhoneNumberFormat.E164)

    assert normalise(pa.array([text])).country.to_pylist() == [region]


@pytest.mark.parametrize("region", sorted(NUMBERS_OF))
def test_every_refused_country_has_no_numbers_of_its_own(region):
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    mobile = metadata.mobile.national_number_pattern if metadata.mobile else None
    if mobile is None:
        assert NUMBERS_OF[region] == ""
        return

    @given(st.lists(st.from_regex(f"({mobile})\\Z", fullmatch=True), min_size=1, max_size=50))
    @settings(max_examples=20)
    def owners(numbers):
        texts = [f"+{metadata.country_code}{number}" for number in numbers if number.isascii()]
        read = set(normalise(pa.array(texts, pa.string())).country.to_pylist()) - {""}
        # Most of Tokelau's are too short for E.164's readers; its longest are read as its own.
        assert read <= {NUMBERS_OF[region], *(["TK"] if region == "TK" else [])}

    owners()
