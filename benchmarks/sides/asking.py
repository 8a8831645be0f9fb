"""A process that holds numbers and has a ledger: `asking asks|silent URL NUMBERS OUT`.

It asks the stop list about all of them and keeps the answer, or it doesn't.
"""

import sys

import numpy as np

from sms.ledger.ledger import Ledger
from sms.ledger.pseudonyms import Key

KEY = Key.of("the-key-of-a-list-made-for-a-benchmark")  # asked for where it is hashed


def main(way: str, url: str, source: str, out: str) -> None:
    """Leave what was found in a file."""
    numbers = np.load(source)
    ledger = Ledger.connect(url, key=lambda: KEY)
    ledger.require_current()
    found = ledger.stop_list.opted_out(numbers) if way == "asks" else numbers[:0]
    np.save(out, found)


if __name__ == "__main__":
    main(*sys.argv[1:])
