"""The process that tidies up after a parent that could not: `python -m demo.guard GRACE`.

It reads what it is to guard from its standard input, one JSON object a line. When that ends, the
parent is done or gone, and whatever it started and did not end goes too.
"""

import json
import shutil
import signal
import sys
from collections import defaultdict
from collections.abc import Iterable

from demo.processes import Session, end


def guard(words: Iterable[bytes], grace: float) -> None:
    """Listen until the parent is done or gone, then end what is left within `grace` seconds."""
    waves: dict[int, dict[int, list[Session]]] = defaultdict(lambda: defaultdict(list))
    folders: set[str] = set()
    for line in words:
        word = json.loads(line)
        if "spare" in word:
            folders.discard(word["spare"])
        elif "remove" in word:
            folders.add(word["remove"])
        else:
            waves[word["wave"]][word["ask"]].append(Session(word["leader"], word["born"]))
    for _, asks in sorted(waves.items()):
        for ask, sessions in asks.items():
            end(sessions, grace=grace, ask=ask)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for unwanted in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(unwanted, signal.SIG_IGN)
    guard(sys.stdin.buffer, grace=float(sys.argv[1]))
