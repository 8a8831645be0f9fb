"""Texts into GSM, and how many parts each takes: `cleaning columns|characters|translate TEXTS OUT`.

Texts are loaded before the clock starts, and what was made is written after it stopped.
"""

import json
import re
import sys
import time
import unicodedata
from collections import Counter
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from sms.columnar.threads import ordered
from sms.telecom import gsm

CHUNK = 32_768  # rows
TEXT = pa.large_string()
PAIRS = re.compile(r"[\^{}\\\[~\]|€]")
MOJIBAKE = re.compile(gsm.MOJIBAKE)


class Made(NamedTuple):
    """What cleaning gives: texts, their parts, what looks like mojibake, what was replaced."""

    texts: pa.Table
    replaced: Counter[str]


def table(cleaned: object, parts: object, mojibake: object) -> pa.RecordBatch:
    """Some texts and what is known of them."""
    columns = [pa.array(cleaned, TEXT), pa.array(parts, pa.int32()), pa.array(mojibake)]
    return pa.RecordBatch.from_arrays(columns, names=["text", "segments", "mojibake"])


def columns(texts: pa.ChunkedArray) -> Made:
    """The product's way: columns, in its threads."""

    def chunk(first: int) -> tuple[pa.RecordBatch, Counter[str]]:
        cleaned = gsm.clean(texts.slice(first, CHUNK))
        made = table(cleaned.texts, gsm.segments(cleaned.texts), cleaned.mojibake)
        return made, cleaned.replaced

    batches, replaced = [], Counter[str]()
    for made, counted in ordered(chunk, range(0, len(texts), CHUNK)):
        batches.append(made)
        replaced += counted
    return Made(pa.Table.from_batches(batches), replaced)


class Alphabet(dict[int, str]):
    """What `str.translate` puts for each character: the product's table, asked once for each."""

    def __missing__(self, code: int) -> str:
        answer = gsm.transliterated(chr(code))
        self[code] = gsm.UNKNOWN if answer is None else answer
        return self[code]


class Characters(dict[str, tuple[str, int]]):
    """What stands for each character, and how many septets that takes; asked once for each."""

    def __missing__(self, character: str) -> tuple[str, int]:
        answer = gsm.transliterated(character)
        word = gsm.UNKNOWN if answer is None else answer
        self[character] = word, sum(2 if each in gsm.EXTENSION else 1 for each in word)
        return self[character]


def characters(texts: list[str]) -> Made:
    """The same, a text at a time and in it a character at a time."""
    known, replaced = Characters(), Counter[str]()
    made, counts, suspects = [], [], []
    for raw in texts:
        text = unicodedata.normalize("NFC", raw)
        suspects.append(MOJIBAKE.search(text) is not None)
        words, septets = [], 0
        for character in text:
            word, width = known[character]
            if word != character:
                replaced[character] += 1
            words.append(word)
            septets += width
        made.append("".join(words))
        counts.append(1 if septets <= gsm.SINGLE else parts(made[-1]))
    return Made(pa.Table.from_batches([table(made, counts, suspects)]), named(replaced))


def translate(texts: list[str]) -> Made:
    """The same, a text at a time, and all of it that the interpreter can do at once."""
    alphabet, replaced = Alphabet(), Counter[str]()
    made, counts, suspects = [], [], []
    for raw in texts:
        text = unicodedata.normalize("NFC", raw)
        suspects.append(MOJIBAKE.search(text) is not None)
        if not gsm.ALPHABET.issuperset(text):
            replaced.update(character for character in text if character not in gsm.ALPHABET)
            text = text.translate(alphabet)
        made.append(text)
        counts.append(parts(text))
    return Made(pa.Table.from_batches([table(made, counts, suspects)]), named(replaced))


def named(replaced: Counter[str]) -> Counter[str]:
    """The same counts by the characters' codes."""
    return Counter({gsm.name_of(character): count for character, count in replaced.items()})


def parts(text: str) -> int:
    """How many parts a text is sent in; a pair of septets is never split."""
    if len(text) + len(PAIRS.findall(text)) <= gsm.SINGLE:
        return 1
    count, room = 1, gsm.PART
    for character in text:
        width = 2 if character in gsm.EXTENSION else 1
        if width > room:
            count, room = count + 1, gsm.PART
        room -= width
    return count


WAYS = {"columns": columns, "characters": characters, "translate": translate}


def main(way: str, source: str, out: str) -> None:
    """Print the seconds; leave the texts, and what was replaced in the schema's metadata."""
    given = pq.read_table(source)["text"]
    texts = given if way == "columns" else given.to_pylist()
    begun = time.perf_counter()
    made = WAYS[way](texts)
    seconds = time.perf_counter() - begun
    replaced = json.dumps(made.replaced, sort_keys=True)
    pq.write_table(made.texts.replace_schema_metadata({"replaced": replaced}), out)
    print(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
