"""GSM 03.38, against encoders written literally from the standard."""

import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sms.columnar.text import bytes_of, rows_of
from sms.telecom import gsm

# 3GPP TS 23.038, 6.2.1, row by row as printed there, without the escape and with Ç at 0x09.
PRINTED = (
    "@£$¥èéùìòÇ\nØø\rÅå" "Δ_ΦΓΛΩΠΨΣΘΞ" "ÆæßÉ" " !\"#¤%&'()*+,-./" "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO" "PQRSTUVWXYZÄÖÑÜ§" "¿abcdefghijklmno" "pqrstuvwxyzäöñüà"
)  # fmt: skip
SEPTETS = dict.fromkeys(PRINTED, 1) | dict.fromkeys("^{}\\[~]|€", 2)

GSM_TEXT = st.text(st.sampled_from(sorted(SEPTETS)), max_size=900)
DENSE_TEXT = st.text(st.sampled_from("ab€[é"), max_size=900)
# Characters that the tables, the normal forms and the byte scans each treat in their own way.
MESS = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("éeaç\u0301\u0308\u200d\ufe0f\u00a0œ…’«€😀🇫🇷👩\u0000\u1100\u1161Ωｆﬁ½²`\t"),
    ),
    max_size=40,
)


FEW = settings(max_examples=60)


EVERYTHING = [chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000]


def column(*texts: str | None) -> pa.Array:
    return pa.array(texts, pa.large_string())


def packed_parts(text: str) -> list[bytes]:
    """The parts of a text as octets: septets packed, 140 octets a part, a header in long ones."""
    codes = [[0] * SEPTETS[character] for character in text]
    if sum(map(len, codes)) <= 160:
        return [pack(sum(map(len, codes)))]
    parts, filled = [], 0
    for code in codes:
        if 7 + filled + len(code) > 160:
            parts.append(pack(7 + filled))
            filled = 0
        filled += len(code)
    return [*parts, pack(7 + filled)]


def pack(septets: int) -> bytes:
    bits = "0" * 7 * septets
    octets = bytes(int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8))
    assert len(octets) <= 140
    return octets


def utf16_parts(text: str) -> int:
    """The parts of a Unicode text, a surrogate pair never split."""
    units = [len(character.encode("utf-16-le")) // 2 for character in text]
    if sum(units) <= 70:
        return 1
    parts, filled = 1, 0
    for unit in units:
        if filled + unit > 67:
            parts, filled = parts + 1, 0
        filled += unit
    return parts


POWERS, INDICES = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "₀₁₂₃₄₅₆₇₈₉₊₋"


def slowly_cleaned(text: str) -> tuple[str, Counter[str]]:
    """What `clean` does, a character at a time."""
    cleaned, replaced, before = "", Counter[str](), ""
    for character in unicodedata.normalize("NFC", text):
        stands = gsm.transliterated(character)
        if stands != character:
            replaced[f"U+{ord(character):04X}"] += 1
        word = "?" if stands is None else stands
        if not word:
            continue
        cleaned += between(cleaned, before, character, word) + word
        before = character
    return cleaned, replaced


def is_numeral(character: str) -> bool:
    word = gsm.transliterated(character)
    if not word or character in gsm.ALPHABET or unicodedata.category(character) == "Nd":
        return False
    if character in POWERS + INDICES:
        return True
    return word[0].isdigit() or word[-1].isdigit() or word[:-1].isdigit()


def between(cleaned: str, before: str, character: str, word: str) -> str:
    """What sets a character apart from the text so far."""
    last = cleaned[-1:]
    if character in POWERS:
        if not last or before in POWERS or last.isalpha() or last in " \n\r([{<\"'":
            return ""
        return "^"
    if not word[0].isdigit():
        return ""
    if not is_numeral(character):
        return " " if before and is_numeral(before) and last in "0123456789." else ""
    if not last.isdigit():
        return ""
    if character in INDICES:
        return "" if before in INDICES else "_"
    return " "


def test_the_alphabet_is_that_of_the_standard():
    assert set(PRINTED) | set(gsm.EXTENSION) == gsm.ALPHABET
    assert len(gsm.BASIC) == 127  # 128 without the escape
    assert len(gsm.EXTENSION) == 9


def test_every_character_counts_as_in_the_standard():
    assert gsm.septets(column(*SEPTETS)).tolist() == list(SEPTETS.values())


@FEW
@given(st.lists(st.one_of(GSM_TEXT, DENSE_TEXT), max_size=4))
@example(["a" * 160, "a" * 161, "a" * 152 + "€" + "a" * 152, "€" * 80, "€" * 81, ""])
@example(["a" * 161])  # no pair at all
@example(["[" * 80, "[" * 81])  # pairs of one byte
@example(["é" * 152 + "€" + "é" * 152])  # characters of two bytes, and a pair at the border
@example(["€" + "a" * 150 + "€" + "a" * 152])  # the last pair at the border
@example([("a" * 152 + "€") * 5])  # 770 septets, and an escape at each border
@example(["a" + "€" * 382])  # 765 septets that need six parts
def test_segments_match_an_encoder_that_packs_every_bit(texts):
    parts = gsm.segments(column(*texts))

    assert parts.tolist() == [len(packed_parts(text)) for text in texts]
    assert gsm.septets(column(*texts)).tolist() == [sum(map(SEPTETS.get, t)) for t in texts]


@FEW
@given(st.lists(st.text(st.sampled_from("aé😀€"), max_size=400), max_size=4))
@example(["é" * 70, "é" * 71, "é" * 134, "é" * 135, "😀" * 35, "😀" * 36, ""])
@example(["é" * 66 + "😀" + "é" * 66])  # a pair at the border: 134 units in three parts
def test_unicode_parts_match_an_encoder_keeping_surrogate_pairs(texts):
    assert gsm.segments(column(*texts), unicode=True).tolist() == [utf16_parts(t) for t in texts]
    assert gsm.utf16_units(column(*texts)).tolist() == [
        len(text.encode("utf-16-le")) // 2 for text in texts
    ]


@FEW
@given(st.lists(st.one_of(st.none(), MESS), max_size=8))
@example(["Dupre\u0301", "E\u0323\u0302", "\u0301a", "\u1100\u1161", "\u2126"])
def test_cleaning_a_column_matches_cleaning_each_character(texts):
    cleaned = gsm.clean(column(*texts))

    slow = [None if text is None else slowly_cleaned(text) for text in texts]
    assert cleaned.texts.to_pylist() == [each and each[0] for each in slow]
    assert cleaned.replaced == sum((each[1] for each in slow if each), Counter[str]())


@FEW
@given(st.lists(MESS, max_size=8))
def test_cleaning_keeps_gsm_and_is_idempotent(texts):
    once = gsm.clean(column(*texts))
    twice = gsm.clean(once.texts)

    assert set("".join(once.texts.to_pylist())) <= gsm.ALPHABET
    assert twice.texts.equals(once.texts)
    assert not twice.replaced
    assert not gsm.foreign_in(bytes_of(once.texts)[0]).size


@FEW
@given(st.lists(st.one_of(st.none(), MESS), max_size=6), st.integers(0, 3))
def test_slices_and_chunks_are_cleaned_like_the_column(texts, start):
    whole = column(*texts)
    chunked = pa.chunked_array([whole.slice(0, start), whole.slice(start)], pa.large_string())

    assert gsm.clean(chunked).texts.equals(gsm.clean(whole).texts)
    assert gsm.clean(whole.slice(start)).texts.to_pylist() == [
        *gsm.clean(column(*texts[start:])).texts.to_pylist()
    ]
    assert gsm.septets(whole.slice(start)).tolist() == gsm.septets(whole).tolist()[start:]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("François, ça va ?", "Francois, ca va ?"),
        ("ÇA VA", "ÇA VA"),  # capital C cedilla is GSM's
        ("Noël à Nîmes, août", "Noel à Nimes, aout"),
        ("un œuf, une ŒUVRE", "un oeuf, une OEUVRE"),
        ("l’été « ici » “là”", "l'été \" ici \" \"là\""),
        ("10 – 12 h — non…", "10 - 12 h - non..."),
        ("20\u202f%\u00a0de\u2009remise", "20 % de remise"),
        ("zéro\u200blargeur\u00ad\ufeff", "zérolargeur"),
        ("½ ² ﬁ Ａ №", "1/2 2 fi A No"),
        ("Łódź Đorđe Þór ẞ", "Lodz Dorde Thór ß".replace("ó", "o")),
        ("ΑΘΗΝΑ αθήνα", "AΘHNA AΘHNA"),
        ("Моnа", "Mona"),  # two of its letters are Cyrillic
        ("bravo 👩‍👩‍👧‍👦👍🏽 🇫🇷1️⃣", "bravo  1"),
        ("Dupre\u0301", "Dupré"),
        ("nul\u0000 bell\u0007 tab\tfin", "nul bell tab fin"),
        ("٣ ﷺ 中", "3 ? ?"),
        ("\ufffd", "?"),
    ],
)  # fmt: skip
def test_replacements_are_what_a_french_reader_expects(text, expected):
    assert gsm.clean(column(text)).texts.to_pylist() == [expected]


def test_every_replacement_is_in_gsm_and_needed():
    for character, stands in gsm.TRANSLITERATION.items():
        assert character not in gsm.ALPHABET, gsm.name_of(character)
        assert set(stands) <= gsm.ALPHABET, gsm.name_of(character)


def test_each_replaced_character_is_counted_by_its_code():
    cleaned = gsm.clean(column("ça, ça", "l’œuf", None))

    assert cleaned.replaced == {"U+00E7": 2, "U+2019": 1, "U+0153": 1}


@pytest.mark.parametrize("policy", ["exclude", "refuse"])
def test_a_character_without_replacement_stays_and_marks_its_row(policy):
    cleaned = gsm.clean(column("ça 中", "ça"), policy)

    assert cleaned.texts.to_pylist() == ["ca 中", "ca"]
    assert cleaned.unsupported.tolist() == [True, False]
    assert cleaned.replaced == {"U+00E7": 2}


@pytest.mark.parametrize("text", ["Ã©tÃ©", "câ€™est", "Ă©tage", "20Â €", "\ufffd"])
def test_mojibake_of_utf8_is_detected(text):
    assert gsm.clean(column("été", text)).mojibake.tolist() == [False, True]


ENCODINGS = ["cp1252", "mac-roman", "cp850", "cp437"]
NAMES = ["Hélène", "Benoît", "Anaïs", "Jérôme"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("written", ENCODINGS)
def test_a_wrong_one_byte_encoding_is_noticed(written, name):
    read = name.encode(written).decode("mac-roman" if written == "cp1252" else "cp1252", "replace")

    assert gsm.clean(column(name, read)).mojibake.tolist() == [False, True]


@pytest.mark.parametrize(
    "text",
    ["À bientôt, Île-de-France", "L'Étoile de Noël", "ÊTRE", "été… – 5‰ ™", "un “mot” dit"],
)
def test_a_capital_that_starts_a_word_is_no_sign(text):
    assert gsm.clean(column(text)).mojibake.tolist() == [False]


def test_each_character_of_unicode_is_cleaned_as_if_alone():
    texts = [f"a{character}b" for character in EVERYTHING]
    cleaned = gsm.clean(column(*texts))
    slow = [slowly_cleaned(text) for text in texts]

    assert cleaned.texts.to_pylist() == [text for text, _ in slow]
    assert cleaned.replaced == Counter(code for _, counted in slow for code in counted.elements())
    data, offsets = bytes_of(column(*EVERYTHING))
    assert rows_of(offsets, gsm.foreign_in(data)).tolist() == [
        row for row, character in enumerate(EVERYTHING) if character not in gsm.ALPHABET
    ]


def test_a_first_character_may_combine_with_preceding_text():
    joining = [
        character
        for character in EVERYTHING
        if any(
            unicodedata.normalize("NFC", base + character) != base + character for base in "aeᄀ가"
        )
    ]

    assert joining
    assert all(gsm.leans_back(column("x", character + "x")) for character in joining)
    assert not gsm.leans_back(column("", "é", "Zoé", "😀", "œ", None))


@pytest.mark.parametrize("between", [0, 40])
def test_mojibake_is_detected_beside_decomposed_texts(between):
    texts = ["Zoé", "Dupre\u0301", "FranÃ§ois", *["çê"] * between, "Lâ€™Oréal", "âge", "Âge", "x"]
    found = gsm.clean(column(*texts)).mojibake

    assert [texts[row] for row in found.nonzero()[0]] == ["FranÃ§ois", "Lâ€™Oréal"]


def test_unicode_texts_lose_only_control_characters():
    cleaned = gsm.clean(column("œuf 中 😀\u0000\tDupre\u0301\n"), unicode=True)

    assert cleaned.texts.to_pylist() == ["œuf 中 😀 Dupré\n"]


NEAR_GSM = st.one_of(
    st.sampled_from(sorted(gsm.ALPHABET)), st.sampled_from("`\u007fçÂ‚¬ê😀中"), st.characters()
)


@FEW
@given(st.text(NEAR_GSM, max_size=40))
@example("€" * 9)
@example("é€é`")
@example("Â¬€‚")  # neighbours of GSM's characters, byte by byte
def test_a_text_found_gsm_has_only_gsm(text):
    data = np.frombuffer(text.encode("utf-8", "replace"), np.uint8)
    lacking = [character for character in data.tobytes().decode() if character not in gsm.ALPHABET]
    sure = gsm.is_surely_gsm(data, gsm.rare_ascii(data))

    if not any(ord(character) < 0x20 for character in text):
        assert sure == (not lacking)
    for cut in range(len(data)):
        gsm.is_surely_gsm(data[:cut], gsm.rare_ascii(data[:cut]))  # whatever it says


def test_every_pure_gsm_text_is_found_gsm():
    text = "".join(sorted(gsm.ALPHABET)) * 7
    data = np.frombuffer(text.encode(), np.uint8)

    assert gsm.is_surely_gsm(data, gsm.rare_ascii(data))
    rare = {*gsm.rare_ascii(data).tobytes().decode()}
    assert rare >= {*gsm.EXTENSION} - {"€"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *[("2¾ €", "2 3/4 €"), ("10² m", "10^2 m"), ("79 m²", "79 m2"), ("79m² T4", "79m2 T4")],
        *[("½ l", "1/2 l"), ("1½", "1 1/2"), ("-½", "-1/2"), ("½5", "1/2 5"), ("½½", "1/2 1/2")],
        *[("10⁻³", "10^-3"), ("10²³", "10^23"), ("m²5", "m2 5"), ("m²½", "m2 1/2"), ("x²y", "x2y")],
        *[("-20%¹", "-20%^1"), ("29€¹", "29€^1"), ("¹ Offre", "1 Offre"), ("gratuit¹", "gratuit1")],
        *[("CO₂", "CO2"), ("H₂O", "H2O"), ("10₂", "10_2"), ("1₁₀", "1_10"), ("x₂5", "x2 5")],
        *[("①②③", "(1)(2)(3)"), ("5①", "5(1)"), ("㉑", "(21)"), ("❶❷", "(1)(2)"), ("❿", "(10)")],
        *[("⓫", "(11)"), ("⓵", "(1)"), ("⑴", "(1)"), ("⒈5", "1. 5"), ("5⒈", "5 1.")],
        *[("℡0639980001", "TEL0639980001"), ("5㎡", "5m2"), ("5㎡3", "5m2 3"), ("№5", "No5")],
        *[("🔟%", "10%"), ("5🔟", "5 10"), ("𝟏𝟎 €", "10 €"), ("１０", "10"), ("٥٧", "57")],
        *[
            ("2\u200b¾", "2 3/4"),
            ("10\u200d²", "10^2"),
            ("é²", "é2"),
            ("２½", "2 1/2"),
            ("½１", "1/2 1"),
        ],
        *[("Ⅳ", "IV"), ("1ᵉʳ", "1er"), ("2⁄3", "2/3"), ("⅓", "1/3"), ("⅟5", "1/5"), ("²", "2")],
    ],
)
def test_a_replaced_numeral_keeps_its_neighbours_numbers_intact(text, shown):
    assert gsm.clean(column("a", text, text)).texts.to_pylist() == ["a", shown, shown]


BESIDE = st.text(st.sampled_from("0127 a€%.é(\u200b\ufe0f\n½¾²³⁻₂①⒈㎡🔟❶１ç中"), max_size=8)


@settings(max_examples=300)
@given(st.lists(BESIDE, max_size=6))
@example(["2¾", "10²", "½5", "1₂₂1", "⒈1", "²\u200b²", "`²"])
def test_separating_numerals_matches_treating_each_character_alone(texts):
    assert gsm.clean(column(*texts)).texts.to_pylist() == [slowly_cleaned(t)[0] for t in texts]


def test_a_unicode_text_keeps_its_numerals():
    assert gsm.clean(column("2¾ 10²"), unicode=True).texts.to_pylist() == ["2¾ 10²"]


def test_a_final_numeral_may_combine_with_following_digits():
    assert gsm.leans_back(column("x", "½ l"))
    assert gsm.leans_on(column("a", "m²"), [column(" "), column("5")])
    assert gsm.leans_on(column("CO₀"), [column("5")])  # its last byte is the lowest there is
    assert gsm.leans_on(column("m²"), [column("\u0300")])
    assert not gsm.leans_on(column("a", "m²"), [column(" chez", "", None)])
    assert not gsm.leans_on(column("Zoé", "", None), [column("5")])


def test_characters_that_are_swapped_are_counted_as_replaced():
    cleaned = gsm.clean(column("a;b", None, 'œ;";', "plain"))

    swapped = gsm.swapped(cleaned, {";": ",", '"': "'"})

    assert swapped.texts.to_pylist() == ["a,b", None, "oe,',", "plain"]
    assert swapped.replaced == {"U+0153": 1, "U+003B": 3, "U+0022": 1}
    assert swapped.counted(np.array([10, 1, 1, 1])) == {"U+0153": 1, "U+003B": 12, "U+0022": 1}
    assert gsm.swapped(cleaned, {"#": "."}) is cleaned


def test_a_text_may_be_long_in_bytes():
    sizes = np.array([54, 71, 80, 81, 160, 161])
    plain, bracket = (gsm.rare_ascii(np.frombuffer(text, np.uint8)) for text in (b"abc", b"a[c"))

    assert gsm.may_be_long(sizes, plain).tolist() == [5]
    assert gsm.may_be_long(sizes, bracket).tolist() == [3, 4, 5]
    assert gsm.may_be_long(np.array([36, 70, 71]), bracket, unicode=True).tolist() == [2]


def test_a_missing_text_has_no_septets():
    counts = gsm.septets(column(None, "a", "€"))

    assert (counts.tolist(), counts.dtype) == ([0, 1, 2], np.int32)
    parts = gsm.segments(column(None, "a"))
    assert (parts.tolist(), parts.dtype) == ([1, 1], np.int32)


def test_known_lengths_give_the_parts():
    texts = column("a" * 160, "a" * 161)

    parts = gsm.segments_of(np.array([160, 161], np.int32), lambda rows: texts.take(pa.array(rows)))

    assert (parts.tolist(), parts.dtype) == ([1, 2], np.int32)
