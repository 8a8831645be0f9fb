"""Two processes that do the same work, run in turn, each anew for every round.

What belongs here: the table of benchmarks, the rounds, the medians. What is measured, and how one
knows that both sides did the same, is said by each benchmark.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import NamedTuple, Protocol, TypeVar

from benchmarks.results import Result
from demo import environment
from demo.postgres import PostgreSQL

ROOT = environment.ROOT
STOPWATCH = Path(__file__).with_name("stopwatch.py")
SETTINGS = Path(__file__).with_name("settings.yaml")

T = TypeVar("T")


class Mismatch(Exception):
    """The two sides did not do the same work, so that comparing their time says nothing."""


class SideFailed(Exception):
    """A measured process ended badly."""


class Measure(NamedTuple):
    """One run of one side."""

    seconds: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Side:
    """A process to be measured.

    `timed_inside`: it prints its seconds as its last line, because what it must load first is no
    part of the work; else the whole process counts. `makes` is taken away before each round, so
    that no side writes over pages that another one left. `check` judges what it made.
    """

    command: Sequence[str | Path]
    makes: Path
    check: Callable[[str], None] = lambda said: None
    timed_inside: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    most_rounds: int | None = None  # of a side that takes minutes and whose noise is no matter

    def run(self) -> Measure:
        """Run it once, and judge what it made."""
        remove(self.makes)
        os.sync()  # what earlier ones wrote must not reach the disk on this one's time
        said, measure = _watched(self.command, environment.python(os.environ) | self._variables())
        self.check(said)
        if self.timed_inside:
            return Measure(float(said.split()[-1]), measure.peak_mib)
        return measure

    def _variables(self) -> dict[str, str]:
        path = f"{ROOT / 'include'}:{ROOT / 'plugins'}:{ROOT}"
        return {"PYTHONPATH": path, "SMS_SETTINGS": str(SETTINGS), **self.variables}


class Measured(Protocol):
    """What can be measured in rounds: a Contest, or work that is no pair of processes."""

    def result(self, name: str, rounds: int) -> Result:
        """What was found."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Our side, the other one, and what the other one is, in a short sentence.

    A `{peak:.0f}` in the sentence becomes the other side's peak of memory in MiB. Where there are
    `rivals`, by their sentences, the quickest of all counts.
    """

    ours: Side
    reference: Side
    told: str
    rivals: Mapping[str, Side] = field(default_factory=dict)

    def result(self, name: str, rounds: int) -> Result:
        """Medians of several rounds, the sides in turn."""
        ours: list[Measure] = []
        theirs: dict[str, list[Measure]] = {}
        for number in range(rounds):
            for told, side in {self.told: self.reference, **self.rivals}.items():
                if number < (side.most_rounds or rounds):
                    theirs.setdefault(told, []).append(side.run())
            ours.append(self.ours.run())
        seconds, peak = _medians(ours)
        medians = {told: _medians(measures) for told, measures in theirs.items()}
        told, quickest = min(medians.items(), key=lambda each: each[1].seconds)
        return Result(
            name=name,
            seconds=round(seconds, 3),
            peak_mib=round(peak, 1),
            reference=told.format(peak=quickest.peak_mib),
            reference_seconds=round(quickest.seconds, 3),
            ratio=round(seconds / quickest.seconds, 3),
        )


def _medians(measures: Sequence[Measure]) -> Measure:
    return Measure(*(median(values) for values in zip(*measures, strict=True)))


class Place:
    """Where a benchmark works: generated data, a folder that goes away, a PostgreSQL if asked."""

    def __init__(self, data: Path, rows: int, stack: ExitStack) -> None:
        self.data = data
        self.rows = rows
        self._stack = stack

    @cached_property
    def folder(self) -> Path:
        """An empty folder on the same disk as the data."""
        self.data.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(prefix="at-work-", dir=self.data)
        return Path(self.enter(made))

    @cached_property
    def postgres(self) -> PostgreSQL:
        """A server on a Unix socket, gone when the benchmark is."""
        return self.enter(PostgreSQL())

    @cached_property
    def airflow(self) -> dict[str, str]:
        """The variables of a process that imports Airflow: a home of its own."""
        home = self.folder / "airflow"
        return {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        }

    def enter(self, context: AbstractContextManager[T]) -> T:
        """Something that is there until the benchmark is over."""
        return self._stack.enter_context(context)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A name, how much work it is, how often it is done, and what prepares the two sides."""

    name: str
    rows: int
    rounds: int
    prepare: Callable[[Place], Measured]

    def run(self, data: Path, rows: int | None = None, rounds: int | None = None) -> Result:
        """Make the data, run the rounds; Mismatch where the sides differ."""
        with ExitStack() as stack:
            measured = self.prepare(Place(data, rows or self.rows, stack))
            return measured.result(self.name, rounds or self.rounds)


BENCHMARKS: dict[str, Benchmark] = {}
M = TypeVar("M", bound=Measured)


def benchmark(
    name: str, *, rows: int, rounds: int = 5
) -> Callable[[Callable[[Place], M]], Callable[[Place], M]]:
    """Enter what prepares a contest into the table under a name; may be said more than once."""

    def enter(prepare: Callable[[Place], M]) -> Callable[[Place], M]:
        BENCHMARKS[name] = Benchmark(name, rows, rounds, prepare)
        return prepare

    return enter


def python(*arguments: str | Path) -> list[str | Path]:
    """The command that runs this very Python."""
    return [sys.executable, *arguments]


def module(side: str, *arguments: str | Path) -> list[str | Path]:
    """The command that runs one of the modules in `sides`."""
    return python("-m", f"benchmarks.sides.{side}", *arguments)


def remove(path: Path) -> None:
    """Take a file or a folder away, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _watched(command: Sequence[str | Path], variables: Mapping[str, str]) -> tuple[str, Measure]:
    """What a process says on its standard output, and its measure."""
    with tempfile.TemporaryDirectory(prefix="sms-bench-") as folder:
        told, complaints = Path(folder) / "measure.json", Path(folder) / "stderr"
        watch = python("-I", "-S", STOPWATCH, told, *command)
        with (
            complaints.open("wb") as stderr,
            _ended(
                subprocess.Popen(
                    watch, env=variables, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True
                )
            ) as process,
        ):
            said, _ = process.communicate()
        measure = json.loads(told.read_text(encoding="utf-8"))
        if measure["status"]:
            raise SideFailed(
                f"{' '.join(map(str, command))} ended with {measure['status']}\n"
                f"{complaints.read_text(encoding='utf-8', errors='replace')}"
            )
    return said, Measure(measure["seconds"], measure["peak_mib"])


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """The process, asked to end if we can't wait for it."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait()
        if process.stdout:
            process.stdout.close()
