"""Run one command, and tell its seconds, its peak of memory and its end as one line of JSON.

A process of its own, small and free of imports: a child is charged with the memory that its
parent held when it was started, so nobody who holds millions of rows may start it.
"""

import json
import os
import signal
import subprocess
import sys
import time

KIBIBYTE = 1024


def main(told: str, command: list[str]) -> None:
    """Leave the measure in the file `told`; standard output and error are the command's."""
    begun = time.perf_counter()
    child = subprocess.Popen(command)  # ended below, whatever ends us
    try:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begun
    finally:
        if child.returncode is None:
            child.kill()
            child.wait()
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else KIBIBYTE
    measure = {
        "seconds": seconds,
        "peak_mib": usage.ru_maxrss * unit / 2**20,
        "status": child.returncode,
    }
    with open(told, "w", encoding="utf-8") as out:
        json.dump(measure, out)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main(sys.argv[1], sys.argv[2:])
