"""The digest of keys: the published function, for every length, slice and machine."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sms.columnar.digests import digest, identity

FEW = settings(max_examples=60)
LONGEST = 100  # bytes: six blocks and a tail
TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=40), max_size=12)
SEEDS = st.sampled_from(["", "a", "Noël", "2027-03-02"]) | st.text(st.characters(codec="utf-8"))

WORD = 2**64 - 1
C1, C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F


def rotated(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & WORD


def mixed(word: int) -> int:
    word = (word ^ word >> 33) * 0xFF51AFD7ED558CCD & WORD
    word = (word ^ word >> 33) * 0xC4CEB9FE1A85EC53 & WORD
    return word ^ word >> 33


def murmur(content: bytes, h1: int = 0, h2: int = 0) -> tuple[int, int]:
    """MurmurHash3_x64_128 of one text, as it was published, in plain integers."""
    whole = len(content) - len(content) % 16
    for at in range(0, whole, 16):
        k1 = int.from_bytes(content[at : at + 8], "little")
        k2 = int.from_bytes(content[at + 8 : at + 16], "little")
        h1 ^= rotated(k1 * C1 & WORD, 31) * C2 & WORD
        h1 = ((rotated(h1, 27) + h2) * 5 + 0x52DCE729) & WORD
        h2 ^= rotated(k2 * C2 & WORD, 33) * C1 & WORD
        h2 = ((rotated(h2, 31) + h1) * 5 + 0x38495AB5) & WORD
    tail = content[whole:]
    h2 ^= rotated(int.from_bytes(tail[8:], "little") * C2 & WORD, 33) * C1 & WORD
    h1 ^= rotated(int.from_bytes(tail[:8], "little") * C1 & WORD, 31) * C2 & WORD
    h1, h2 = h1 ^ len(content), h2 ^ len(content)
    h1 = (h1 + h2) & WORD
    h2 = (h2 + h1) & WORD
    h1, h2 = mixed(h1), mixed(h2)
    h1 = (h1 + h2) & WORD
    return h1, (h2 + h1) & WORD


def expected(texts: list[str | None], seed: str = "") -> list[tuple[int, int]]:
    """Row by row; a seed's words are the first 16 bytes of its SHA-256, little-endian."""
    of = hashlib.sha256(seed.encode()).digest()
    start = [int.from_bytes(of[at : at + 8], "little") if seed else 0 for at in (0, 8)]
    return [murmur((text or "").encode(), *start) for text in texts]


def column(texts: list[str | None], kind: pa.DataType | None = None) -> pa.Array:
    return pa.array(texts, kind or pa.large_string())


def digests(texts: pa.Array, seed: str = "") -> list[tuple[int, int]]:
    return [(first, second) for first, second in digest(texts, seed).tolist()]


def spelled(texts: list[str], seed: str = "") -> list[str]:
    return [words(*pair) for pair in digests(column(texts), seed)]


def words(first: int, second: int) -> str:
    return f"{first:016x}{second:016x}"


PUBLISHED = {
    "": "00000000000000000000000000000000",
    "hello": "cbd8a7b341bd9b025b1e906a48ae1d19",
    "The quick brown fox jumps over the lazy dog": "e34bbc7bbc071b6c7a433ca9c49a9347",
}


def test_the_digest_is_the_published_function():
    assert spelled(list(PUBLISHED)) == list(PUBLISHED.values())
    # Of the reference used below too: it proves nothing otherwise.
    assert [words(*pair) for pair in expected(list(PUBLISHED))] == list(PUBLISHED.values())


# Kept in ledgers and in files: a digest that changes forgets every key it was made from.
FROZEN = {
    "": "7098c1481ed49ed7edda2a56afeca72f",
    "k1": "d144ed4974dbf3614e747278b2b12689",
    "Zoé": "3f798ec48885bad6873f95d1a92d31d9",
    "exactly sixteen.": "d5e65c3b8b6f3003ad8ed7accbb74b35",
    "twenty-four bytes of it!": "5fb79f0f1e4f2620a91a156653fbc9f3",
    "one key that is longer than two blocks of bytes": "91c23fad94b23797e3f8ba3ef86c75f9",
}


def test_the_digests_under_a_seed_never_change():
    assert dict(zip(FROZEN, spelled(list(FROZEN), "spring-2027"), strict=True)) == FROZEN


@pytest.mark.parametrize("seed", ["", "spring"])
def test_every_byte_length_matches_the_reference(seed):
    texts = [("0123456789abcdefghijklmnopqrstuvwxyz" * 3)[:size] for size in range(LONGEST + 1)]
    accents = ["é" * (size // 2) + "x" * (size % 2) for size in range(LONGEST + 1)]
    astral = ["😀" * (size // 4) + "\x7f" * (size % 4) for size in range(LONGEST + 1)]

    assert digests(column(texts + accents + astral), seed) == expected(
        texts + accents + astral, seed
    )
    assert [digests(column([text]), seed)[0] for text in astral] == expected(astral, seed)


@pytest.mark.parametrize("seed", ["", "spring"])
def test_texts_of_equal_length_match_the_reference(seed):
    for size in range(LONGEST + 1):
        texts = [f"{n}{'é' * size}"[:size].encode()[:size].decode(errors="ignore") for n in "abc"]
        texts += [(n * (size + 1))[:size] for n in "xyz"]

        assert digests(column(texts[3:]), seed) == expected(texts[3:], seed)
        assert digests(column(texts), seed) == expected(texts, seed)


@pytest.mark.parametrize("texts", [["ab", "cd", "ef", "gh", "ij"], ["a", "é" * 20, "", None, "b"]])
def test_pieces_of_any_size_match_the_whole_column(monkeypatch, texts):
    for at_once in range(1, 7):
        monkeypatch.setattr("sms.columnar.digests.AT_ONCE", at_once)

        assert digests(column(texts)) == expected(texts)
        assert digests(column(texts).slice(1, 3)) == expected(texts[1:4])


@FEW
@given(TEXTS, SEEDS)
def test_any_text_and_seed_match_the_reference(texts, seed):
    assert digests(column(texts), seed) == expected(texts, seed)


@FEW
@given(st.lists(st.none() | st.text(st.sampled_from("aé😀\x00"), max_size=40), max_size=12))
def test_a_null_counts_as_an_empty_text(texts):
    assert digests(column(texts)) == expected(texts)


def test_a_null_with_hidden_bytes_counts_as_empty_text():
    hidden = pa.array(["secret", "b"], pa.large_string())
    _, bounds, content = hidden.buffers()
    masked = pa.Array.from_buffers(
        pa.large_string(), 2, [pa.py_buffer(b"\x02"), bounds, content], null_count=1
    )

    assert digests(masked) == expected([None, "b"])


@FEW
@given(st.lists(st.none() | st.text(max_size=20), max_size=12), st.data())
def test_a_slice_gives_the_digests_of_its_values(texts, chosen):
    texts = [text and text.encode(errors="replace").decode() for text in texts]
    start = chosen.draw(st.integers(0, len(texts)))
    size = chosen.draw(st.integers(0, len(texts) - start))

    assert digests(column(texts).slice(start, size)) == expected(texts[start : start + size])


@FEW
@given(TEXTS, st.integers(0, 12))
def test_a_chunked_column_matches_one_piece(texts, cut):
    chunks = pa.chunked_array([texts[:cut], texts[cut:], []], pa.large_string())

    assert digests(chunks) == digests(chunks.combine_chunks()) == expected(texts)
    table = pa.table({"key": chunks}).slice(1)
    assert [row for batch in table.to_batches() for row in digests(batch["key"])] == expected(
        texts[1:]
    )


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view(), pa.large_string()], ids=str)
def test_every_kind_of_text_column_gives_the_same(kind):
    texts = ["", "é" * 20, None, "twenty-four bytes of it!", "x"]

    assert digests(column(texts, kind)) == expected(texts)
    assert digests(column(texts, kind).slice(1, 3)) == expected(texts[1:4])


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.null()], ids=str)
@pytest.mark.parametrize("seed", ["", "spring"])
def test_an_empty_column_has_no_digest(kind, seed):
    found = digest(pa.array([], kind), seed)

    assert found.shape == (0, 2)
    assert found.dtype == np.uint64


def test_a_seed_changes_every_digest_and_every_word():
    texts = ["", "a", "é" * 8, "x" * 16, "x" * 17, "x" * 100]
    seeded = [np.unique(digest(column(texts), seed)) for seed in ("a", "b", "a ")]
    every = np.concatenate([digest(column(texts)).ravel(), *seeded])

    assert [len(found) for found in seeded] == [2 * len(texts)] * 3
    assert len(np.unique(every)) == len(every) - 1  # the two zeros of "" without a seed


def test_the_digested_column_is_unchanged():
    texts = column(["hello", None, "x" * 40])

    digest(texts, "spring")

    assert texts.to_pylist() == ["hello", None, "x" * 40]


def test_similar_keys_are_distinct():
    keys = [f"{n}" for n in range(20_000)] + [f"k{'0' * zeros}1" for zeros in range(60)]
    found = digest(column(keys))

    assert len(np.unique(found[:, 0])) == len(np.unique(found[:, 1])) == len(keys)


@FEW
@given(st.lists(st.text(max_size=20)))
@example(["", "\0", "a", "a\0", "a" * 15, "a" * 16, "a" * 17, "a" * 8 + "b", "a" * 8 + "c"])
def test_only_equal_texts_share_an_identity(texts):
    words = identity(pa.array(texts, pa.large_string()))

    known = [*map(tuple, words.tolist())]
    for one, its in zip(texts, known, strict=True):
        assert [its == other for other in known] == [one == other for other in texts]
    assert ((0, 0) in known) == ("" in texts)


def test_identities_distinguish_numbers_with_the_same_beginning():
    numbers = pa.array([f"+{33639980000 + number}" for number in range(10_000)], pa.large_string())

    assert len(np.unique(identity(numbers)[:, 0])) == 10_000
