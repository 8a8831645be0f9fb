"""The process that cleans up after a parent that was killed: `python -m demo.guard GRACE`.

It reads what to guard from its standard input, one JSON object a line. When that ends, the parent
has ended, and the guard ends the processes that the parent left.
"""

import json
import shutil
import signal
import sys
from collections import defaultdict
from collections.abc import Iterable

from demo.processes import Session, end


def guard(lines: Iterable[bytes], grace: float) -> None:
    """Read until the parent has ended, then end the remaining processes within `grace` seconds."""
    waves: dict[int, dict[int, list[Session]]] = defaultdict(lambda: defaultdict(list))
    folders: set[str] = set()
    for line in lines:
        order = json.loads(line)
        if "spare" in order:
            folders.discard(order["spare"])
        elif "remove" in order:
            folders.add(order["remove"])
        else:
            waves[order["wave"]][order["ask"]].append(Session(order["leader"], order["born"]))
    for _, asks in sorted(waves.items()):
        for ask, sessions in asks.items():
            end(sessions, grace=grace, ask=ask)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for unwanted in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(unwanted, signal.SIG_IGN)
    guard(sys.stdin.buffer, grace=float(sys.argv[1]))
