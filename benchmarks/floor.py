"""The least that any `prepare` must do: read the columns, put the texts together, write the bytes.

No number is read, nobody is left out, nothing is cleaned, quoted or counted. A script of its own,
that imports pyarrow and what it is told to: `floor.py RECIPIENTS OUT SIZE [LIBRARY...]`.
"""

import importlib
import re
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

TEXT = pa.large_string()
MESSAGE = Path(__file__).parent / "campaigns" / "load" / "message.txt"


def main(recipients: str, out: str, size: int) -> None:
    """Write lines until the file is as long as the one that it is compared with."""
    pieces = re.split(r"\{\{ (\w+) \}\}", MESSAGE.read_text(encoding="utf-8").strip())
    words, columns = pieces[::2], pieces[1::2]
    left = size
    with open(out, "wb") as sink:
        source = pq.ParquetFile(recipients)
        for batch in source.iter_batches(1 << 16, columns=["msisdn", *columns]):
            parts = [pa.scalar(f"{'0' * 32};", TEXT), batch["msisdn"], pa.scalar(";LUMIERE;", TEXT)]
            for word, column in zip(words, columns, strict=False):
                parts += [pa.scalar(word, TEXT), batch[column]]
            ending = pa.scalar(f"{words[-1]} STOP 36180\r\n", TEXT)
            lines = pc.binary_join_element_wise(
                *parts, ending, pa.scalar("", TEXT), null_handling="replace"
            )
            data = memoryview(lines.buffers()[2])[:left]
            left -= sink.write(data)
    if left:
        raise SystemExit(f"the floor is {left} bytes short of what it is compared with")


if __name__ == "__main__":
    for library in sys.argv[4:]:
        importlib.import_module(library)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
