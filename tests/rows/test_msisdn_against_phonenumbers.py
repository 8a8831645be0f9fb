"""Tens of thousands of generated, mutated numbers: each difference from libphonenumber explained.

`theirs` is what phonenumbers makes of the same text for a caller in France, if it is a mobile.
"""

import random
import re
import unicodedata
from collections import Counter

import phonenumbers
import pyarrow as pa
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from sms.msisdn import normalise

MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
HOW_MANY = 20_000


def theirs(text):
    try:
        number = phonenumbers.parse(text, "FR")
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.number_type(number) not in MOBILE:
        return None
    msisdn = int(phonenumbers.format_number(number, PhoneNumberFormat.E164))
    return msisdn, phonenumbers.region_code_for_number(number)


def digits_of(text):
    return "".join(str(unicodedata.digit(char)) for char in text if char.isdigit())


def explanation(text, ours, reason, known):
    """Why we differ, in a name; None if there is no good reason."""
    digits = digits_of(text)
    if ours and re.fullmatch(r"3363998\d{4}|447700900\d{3}", str(ours[0])):
        return "fiction: reserved numbers, which libphonenumber calls invalid, are accepted"
    if reason == "float_msisdn":
        return "decimal: a float's digits may be lost, libphonenumber reads the point as a gap"
    if reason == "malformed_msisdn" and re.search(r"[^\W\d_]", text):
        return "letters: libphonenumber reads them as keys or as an extension, or drops them"
    if reason == "malformed_msisdn" and text.count("+") + text.count("＋") > 1:
        return "two pluses: libphonenumber drops one"
    if ours and known is None and re.fullmatch(r"0?(639|69\d|709)\d{6}", digits):
        return "overseas, national: 0692... gets its own code, libphonenumber calls it invalid"
    if ours and known is None and re.fullmatch(r"(262|59[046])0?\d{9}", digits):
        return "overseas without a plus: no other reading exists"
    if ours and known is None and "," in text:
        return "commas: French spreadsheets write them, libphonenumber stops there"
    if ours != known and "(0)" in unicodedata.normalize("NFKC", text):
        return "bracketed zero: dropped for every country, libphonenumber keeps it in some"
    if ours and known is None and "\u202f" in text:
        return "narrow no-break space: French typography, unknown to libphonenumber"
    if reason == "too_short_msisdn" and known and known[0] < 10**7:
        return "seven digits: Tokelau's are shorter than R17 allows"
    return None


def base_number(chance):
    """(calling code, national number): French, overseas, fiction, or any country's own example."""
    kind = chance.random()
    tail = f"{chance.randrange(10**6):06}"
    if kind < 0.35:
        return "33", chance.choice("67") + f"{chance.randrange(10**8):08}"
    if kind < 0.45:
        return "33", "63998" + tail[:4]
    if kind < 0.6:
        code, start = chance.choice(
            [("262", "692"), ("262", "639"), ("590", "690"), ("594", "694"), ("596", "696")]
        )
        return chance.choice([code, "33"]), start + tail
    if kind < 0.7:
        return "33", chance.choice("1234589") + f"{chance.randrange(10**8):08}"
    region = chance.choice(sorted(phonenumbers.SUPPORTED_REGIONS))
    example = phonenumbers.example_number_for_type(
        region, chance.choice([PhoneNumberType.MOBILE] * 4 + [*range(5)])
    ) or phonenumbers.example_number(region)
    if example is None:
        return "44", "7700900" + tail[:3]
    number = list(phonenumbers.national_significant_number(example))
    for _ in range(chance.choice([0, 1, 2, 4])):
        number[chance.randrange(len(number))] = chance.choice("0123456789")
    return str(example.country_code), "".join(number)


def spelled(chance):
    code, number = base_number(chance)
    if chance.random() < 0.08:
        number = number[:-1] if chance.random() < 0.5 else number + chance.choice("0123456789")
    styles = [f"+{code}", f"+{code} ", f"00{code}", f"+{code} (0)", code]
    prefix = chance.choice([*styles, "0", "0", ""] if code == "33" else [*styles[:4], "+" + code])
    if code in ("262", "590", "594", "596"):
        prefix = chance.choice([prefix, "0", code])
    gap = chance.choice(["", "", "", " ", ".", "-", "/", "\u00a0", "\u202f", "\u200b", ",", "–"])
    text = prefix + gap.join(re.findall("..?", number))
    mutation = chance.random()
    if mutation < 0.02:
        text += chance.choice([".0", " (pro)", " x12", "E+02"])
    elif mutation < 0.03:
        text = chance.choice(["Tél : ", "tel:", "'", "\ufeff", "+", "\t"]) + text
    elif mutation < 0.035:
        text += "/" + text
    elif mutation < 0.04:
        text = text.translate({ord("0") + n: ord("０") + n for n in range(10)})
    return text


def test_every_difference_from_phonenumbers_is_a_stated_choice():
    chance = random.Random(20260715)
    texts = [spelled(chance) for _ in range(HOW_MANY)]
    numbers = normalise(pa.array(texts))
    reasons, countries = numbers.reason.to_pylist(), numbers.country.to_pylist()

    explained, unexplained, agreed = Counter(), [], Counter()
    for text, msisdn, country, reason in zip(
        texts, numbers.msisdn.tolist(), countries, reasons, strict=True
    ):
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

    assert unexplained == []
    assert agreed["mobile"] > HOW_MANY / 4
    assert agreed["none"] > HOW_MANY / 10
    # Each class is seen, or the explanation is a dead letter.
    assert set(explained) == {
        "fiction",
        "decimal",
        "letters",
        "two pluses",
        "overseas, national",
        "overseas without a plus",
        "commas",
        "bracketed zero",
        "narrow no-break space",
        "seven digits",
    }


def test_clean_international_numbers_of_all_regions_agree_without_exception():
    chance = random.Random(4)
    wanted, texts = [], []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS - {"FR"}):
        for kind in range(11):
            example = phonenumbers.example_number_for_type(region, kind)
            for changed in range(5 if example else 0):
                number = list(phonenumbers.national_significant_number(example))
                for _ in range(changed):
                    number[chance.randrange(len(number))] = chance.choice("0123456789")
                text = f"+{example.country_code}{''.join(number)}"
                if re.match(r"\+33|\+447700900", text):
                    continue
                texts.append(text)
                wanted.append(theirs(text))

    numbers = normalise(pa.array(texts))
    found = zip(numbers.msisdn.tolist(), numbers.country.to_pylist(), strict=True)
    ours = [pair if pair[0] else None for pair in found]

    too_short = [want and want[0] < 10**7 for want in wanted]
    differences = [
        (text, one, other)
        for text, one, other, short in zip(texts, ours, wanted, too_short, strict=True)
        if one != other and not short
    ]
    assert differences == []
    assert len(texts) > 5_000
