"""`make bench`: measure all, or those that are named, and write down what was found."""

import argparse
import importlib
import signal
import sys
from pathlib import Path

from benchmarks import people, results
from benchmarks.contest import BENCHMARKS, Mismatch, SideFailed

# Each enters its benchmarks into the table: a new module is a new line here.
MODULES = ("prepare", "gsm", "stop_list", "extract", "upload", "waits", "delivery_report")


def main() -> int:
    """Exit status: 0 success, 1 if the sides differ or one failed, 2 usage error."""
    for module in MODULES:
        importlib.import_module(f"benchmarks.{module}")
    wished = _wishes()
    status = 0
    print(results.table([]))
    for name in wished.names or BENCHMARKS:
        try:
            result = BENCHMARKS[name].run(wished.data, wished.rows, wished.rounds)
        except (Mismatch, SideFailed) as error:
            print(f"{name}: {error}", file=sys.stderr)
            status = 1
            continue
        if wished.results:
            results.put(result, list(BENCHMARKS), wished.results)
        print(results.table([result]).splitlines()[1], flush=True)
    return status


def _wishes() -> argparse.Namespace:
    asking = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    asking.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    asking.add_argument("--rows", type=int, help="other than each benchmark's own")
    asking.add_argument("--rounds", type=int, help="other than each benchmark's own")
    asking.add_argument("--data", type=Path, default=people.DATA, help="where data is kept")
    asking.add_argument(
        "--results",
        type=Path,
        help="the file to write; results.json, unless --rows or --rounds is given",
    )
    wished = asking.parse_args()
    unknown = [name for name in wished.names if name not in BENCHMARKS]
    if unknown:
        asking.error(f"there is no {', '.join(unknown)}, only {', '.join(BENCHMARKS)}")
    if not wished.results and wished.rows is None and wished.rounds is None:
        wished.results = results.PATH  # only full measures belong there
    return wished


if __name__ == "__main__":
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, lambda *_: sys.exit(1))  # unwound, so that a server is stopped
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
