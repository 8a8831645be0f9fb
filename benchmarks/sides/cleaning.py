"""Texts into GSM, and how many parts each takes: `cleaning columns|rows TEXTS OUT`.

Texts are loaded before the clock starts, and what was made is written after it stopped.
"""

import re
import sys
import time
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq

from sms import gsm
from sms.pipeline import ordered

CHUNK = 32_768  # rows
TEXT = pa.large_string()
PAIRS = re.compile(r"[\^{}\\\[~\]|€]")


def columns(texts: pa.ChunkedArray) -> pa.Table:
    """The product's way: columns, in its threads."""

    def chunk(first: int) -> pa.RecordBatch:
        cleaned = gsm.clean(texts.slice(first, CHUNK)).texts
        parts = pa.array(gsm.segments(cleaned))
        return pa.RecordBatch.from_arrays([cleaned, parts], names=["text", "segments"])

    return pa.Table.from_batches(ordered(chunk, range(0, len(texts), CHUNK)))


class Alphabet(dict[int, str]):
    """What `str.translate` puts for each character: the product's table, asked once for each."""

    def __missing__(self, code: int) -> str:
        answer = gsm.transliterated(chr(code))
        self[code] = gsm.UNKNOWN if answer is None else answer
        return self[code]


def rows(texts: list[str]) -> tuple[list[str], list[int]]:
    """The same, a text at a time."""
    alphabet = Alphabet()
    cleaned = [unicodedata.normalize("NFC", text).translate(alphabet) for text in texts]
    return cleaned, [parts(text) for text in cleaned]


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


def main(way: str, source: str, out: str) -> None:
    """Print the seconds, leave the texts and their parts in a file."""
    given = pq.read_table(source)["text"]
    listed = given.to_pylist() if way == "rows" else []
    begun = time.perf_counter()
    if way == "rows":
        cleaned, counts = rows(listed)
        seconds = time.perf_counter() - begun
        made = pa.table({"text": pa.array(cleaned, TEXT), "segments": pa.array(counts, pa.int32())})
    else:
        made = columns(given)
        seconds = time.perf_counter() - begun
    pq.write_table(made, out)
    print(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
