"""Mutation tests of the modules that carry the promises: `make mutants`.

mutmut changes one expression of a function at a time and runs the tests that call this function:
a mutant that no test notices survives. Each promise is measured in a folder of its own below
`.mutants`, with the tests that belong to it. A folder keeps the log and `survivors.diff`; in it,
`mutmut show NAME` and `mutmut run NAME` work on one mutant.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.processes import Guard, ProcessDied, Processes
from tests import mutants_plugin
from tests.conftest import SHARED_POSTGRES, make_template, running_postgres

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".mutants"
GOAL = 95  # percent
WORKERS = 2
MEMORY = 4 << 30  # bytes of one process: a mutant may append to a list for ever
KILLED = {1, 3, -24, 24, 152, 255}  # pytest's failures, and mutmut's codes for a timeout


@dataclass(frozen=True, slots=True)
class Promise:
    """Modules of `include` that carry a promise, and the tests that belong to it."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()  # slow tests of those files, which others make up for
    minutes: float = 30  # at most
    database: bool = False  # whether tests need PostgreSQL


HASHED = "tests/ledger/test_hashed_numbers.py"
REMOVALS = "tests/ledger/test_removals.py"
MATCHING = "tests/ledger/test_report_matching.py"
PROMISES = {
    "send_window": Promise(
        ("sms/calendar/send_window.py",),
        ("tests/calendar", "tests/run/test_schedule.py"),
        without=("tests/calendar/test_zones.py::test_open_hours_match_a_check_of_every_minute",),
    ),
    "stop_words": Promise(("sms/wire/stop_words.py",), ("tests/wire/test_stop_words.py",)),
    "gsm": Promise(("sms/telecom/gsm.py",), ("tests/telecom/test_gsm.py",)),
    "msisdn": Promise(
        ("sms/telecom/msisdn.py", "sms/telecom/national.py"),
        ("tests/telecom/test_msisdn.py", "tests/telecom/test_national.py"),
    ),
    "screening": Promise(("sms/audience/screening.py",), ("tests/audience",)),
    "departure": Promise(
        (
            "sms/run/departure.py",
            "sms/run/approval.py",
            "sms/run/frequency_cap.py",
            "sms/run/limits.py",
        ),
        ("tests/run/test_departure.py", "tests/run/test_limits.py"),
        database=True,
    ),
    "submissions": Promise(
        ("sms/ledger/submissions.py", "sms/ledger/states.py"),
        ("tests/ledger/test_submissions.py",),
        database=True,
    ),
    "stop_list": Promise(
        ("sms/ledger/stop_list.py",),
        (
            *("tests/ledger/test_stop_list.py", "tests/ledger/test_imported_lists.py"),
            *(REMOVALS, HASHED),
        ),
        without=(
            f"{HASHED}::test_nothing_is_done_without_the_right_key",
            f"{HASHED}::test_concurrent_hashing_and_loading_keep_one_row_per_number",
            f"{HASHED}::test_the_database_refuses_to_lose_a_hash",
            f"{REMOVALS}::test_the_stop_list_and_history_lose_nothing_unrecorded",
            f"{REMOVALS}::test_concurrent_removals_and_loads_are_serializable",
        ),
        database=True,
    ),
    "report_matching": Promise(
        ("sms/ledger/report_matching.py",),
        (MATCHING,),
        without=(
            f"{MATCHING}::test_stored_outcomes_match_reading_row_by_row[1]",
            f"{MATCHING}::test_stored_outcomes_match_reading_row_by_row[3]",
            f"{MATCHING}::test_strangers_in_memory_are_limited_to_a_few_batches",
            f"{MATCHING}::test_long_rows_are_not_batched_by_count",
            f"{MATCHING}::test_an_interrupted_load_ends_without_waiting_for_locks",
        ),
        database=True,
    ),
}
ARGUMENTS = (
    *("-p", "tests.mutants_plugin", f"--hypothesis-profile={mutants_plugin.PROFILE}"),
    # Their garbage collections take longer than most tests.
    *("-p", "no:unraisableexception", "-p", "no:threadexception", "-p", "no:cacheprovider"),
)
WORKSPACE = """
[tool.mutmut]
source_paths = ["src/sms"]
also_copy = ["src/sms_airflow", "src/sms_sandbox", "demo", "dags", "docs", "benchmarks"]
only_mutate = {modules}
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = {arguments}
process_isolation = "forkserver"  # each mutant has a process that no test has run in
timeout_constant = 2.0
timeout_multiplier = 5.0
track_dependencies = false
use_git_change_detection = false
"""
# What a mutant differs in, for all that survived, by mutmut itself.
SHOW = """
import sys
from mutmut.mutation.diff_apply import find_mutant, get_diff_for_mutant
for name in sys.argv[1:]:
    print("#", name)
    print(get_diff_for_mutant(name, path=find_mutant(name).path))
"""


def main() -> int:
    """Exit status: 0 if each score reaches the goal, else 1."""
    asking = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    asking.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PROMISES))
    names = asking.parse_args().names or list(PROMISES)
    if unknown := [name for name in names if name not in PROMISES]:
        asking.error(f"there is no {', '.join(unknown)}, only {', '.join(PROMISES)}")
    row = "{:<16} {:>7} {:>7} {:>9} {:>7} {:>7}"
    print(row.format("promise", "mutants", "killed", "survivors", "score", "seconds"), flush=True)
    good = True
    for name in names:
        started = time.monotonic()
        try:
            killed, survivors = _measure(name, PROMISES[name])
        except ProcessDied as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            good = False
            continue
        total = killed + len(survivors)
        score = 100 * killed / total if total else 0
        good = good and score >= GOAL
        taken = round(time.monotonic() - started)
        print(row.format(name, total, killed, len(survivors), f"{score:.1f} %", taken), flush=True)
    return 0 if good else 1


def _measure(name: str, promise: Promise) -> tuple[int, list[str]]:
    """Run mutmut; the number of killed mutants, and the names of the others."""
    folder = PLACE / name
    shutil.rmtree(folder, ignore_errors=True)
    _lay_out(folder, promise)
    environment = {
        **os.environ,
        # Programs that tests start import the mutated copy, too.
        "PYTHONPATH": os.pathsep.join([str(folder / "mutants/src"), str(folder / "mutants")]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with ExitStack() as stack:
        if promise.database:
            environment[SHARED_POSTGRES] = stack.enter_context(_server(folder))
        guard = stack.enter_context(closing(Guard(folder / "guard.log")))
        processes = Processes(guard, wave=0, grace=5)
        stack.callback(processes.end)
        processes.start(
            "mutmut",
            [sys.executable, "-m", "mutmut", "run", "--max-children", str(WORKERS)],
            env=environment,
            cwd=folder,
            log=folder / "log",
        )
        processes.run("mutmut", promise.minutes * 60)
    codes: dict[str, int | None] = {}
    for module in promise.modules:
        found = folder / "mutants/src" / f"{module}.meta"
        codes |= json.loads(found.read_text())["exit_code_by_key"]
    survivors = [each for each, code in codes.items() if code not in KILLED]
    with (folder / "survivors.diff").open("w") as shown:
        subprocess.run(
            [sys.executable, "-c", SHOW, *survivors], cwd=folder, stdout=shown, check=True
        )
    return len(codes) - len(survivors), survivors


def _lay_out(folder: Path, promise: Promise) -> None:
    """Make the folder as mutmut needs it: packages below `src`, and its table in pyproject.toml."""
    (folder / "src").mkdir(parents=True)
    # Python remembers of each entry of its path whether it exists.
    (folder / "mutants" / "src").mkdir(parents=True)
    for package in (*ROOT.glob("include/sms*"), *ROOT.glob("plugins/sms*")):
        (folder / "src" / package.name).symlink_to(package)
    for each in ("tests", "demo", "dags", "docs", "benchmarks"):
        (folder / each).symlink_to(ROOT / each)
    table = WORKSPACE.format(
        modules=json.dumps([f"src/{module}" for module in promise.modules]),
        tests=json.dumps([*promise.tests, *(f"--deselect={each}" for each in promise.without)]),
        arguments=json.dumps(ARGUMENTS),
    )
    paths = 'pythonpath = ["include", "plugins", "."]'
    text = (ROOT / "pyproject.toml").read_text()
    assert paths in text
    (folder / "pyproject.toml").write_text(text.replace(paths, 'pythonpath = ["src", "."]') + table)


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    """The socket folder of a server that the tests of all mutants share."""
    with running_postgres(folder) as server:
        make_template(server)
        yield server.socket_folder


if __name__ == "__main__":
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, lambda *_: sys.exit(1))  # unwound, so that all processes end
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    raise SystemExit(main())
