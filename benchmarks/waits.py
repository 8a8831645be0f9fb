"""What it costs to wait: a real triggerer that waits for a thousand verdicts, and for one.

Airflow's database is filled by `sides/waiting.py`, the gateway is the sandbox, and a proxy between
them counts connections and bytes. The same directory is listed whoever waits. Beside the two stand
what Airflow itself takes for as many triggers that only sleep, and what its own trigger for SFTP
takes, of which few are measured: each logs in anew at every look.
"""

import json
import os
import resource
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psutil

from benchmarks.contest import ROOT, Mismatch, Place, benchmark, module, python
from benchmarks.results import Result
from demo import environment
from demo.gateway import SERVICE_ID, USER, Gateway
from demo.postgres import PostgreSQL
from demo.processes import Guard, Processes, Session, wait_until

POLL = 15.0  # seconds, the default of `verdict_poll`
FEW = 40  # stock triggers at most: with more, the sandbox's side of the logins fills the machine
SPARE = 100  # places in the triggerer beyond those who wait, and files that it has open for itself
PATIENCE = 600.0  # seconds for a step: that all wait, that all have been resumed
TICK = 0.01  # seconds, by which the kernel counts
HURRIED = {f"AIRFLOW__{name}" for name in environment.BRISK}  # Airflow's own pace is meant here
LEFT = "SELECT count(*) FROM task_instance WHERE state = 'deferred'"
RESUMED = "SELECT scheduled_dttm, next_kwargs::text FROM task_instance WHERE state = 'scheduled'"
TOLD = "CPU of the same triggerer with one wait, which holds {:.0f} MiB"


def stem(number: int) -> str:
    """The submission that one of many waits for."""
    return f"SEND-{SERVICE_ID}-20270302-1000-wait{number:05d}"


@dataclass(frozen=True, slots=True)
class Vigil:
    """What a triggerer took while it was watched, and what it asked of the gateway."""

    waits: int
    watched: float  # seconds
    cpu_seconds: float
    memory_mib: float
    asked: Counter[str]  # connections and listings, while it was watched
    connections: int  # in all, as the proxy counted them
    listed_bytes: float  # of one listing, its share of the login included
    resumed_after: list[float]  # seconds from `.done` to the task's being scheduled again

    def an_hour(self, counted: float) -> float:
        """So much an hour, if it goes on like this."""
        return counted * 3600 / self.watched


@benchmark("waits_1000", rows=1000, rounds=2)
def wait(place: Place) -> "Waits":
    """As many deferred task instances as there are rows, watched for so many intervals."""
    return Waits(place)


class Waits:
    """One triggerer after the other, each with a database of its own."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def result(self, name: str, rounds: int) -> Result:
        """CPU against one wait's, and the other figures by name."""
        rows = self._place.rows
        with scene(self._place) as here:
            one = here.keep("verdict", 1, rounds)
            many = here.keep("verdict", rows, rounds)
            stock = here.keep("stock", min(FEW, rows), 1)
            asleep = here.keep("asleep", rows, 1)
        for each in (one, many):
            require_one_look_for_all(each, rounds)
        return Result(
            name=name,
            seconds=round(many.cpu_seconds, 3),
            peak_mib=round(many.memory_mib, 1),
            reference=TOLD.format(one.memory_mib),
            reference_seconds=round(one.cpu_seconds, 3),
            ratio=round(many.cpu_seconds / one.cpu_seconds, 3),
            figures=_figures(one, many, stock, asleep),
        )


def require_one_look_for_all(vigil: Vigil, rounds: int) -> None:
    """Mismatch unless all together asked the gateway for what one would."""
    if vigil.connections != 1 or vigil.asked["connection"]:
        raise Mismatch(f"{vigil.waits} waits took {vigil.connections} connections, not one")
    if abs(vigil.asked["listing"] - rounds) > 1:
        raise Mismatch(
            f"{vigil.waits} waits took {vigil.asked['listing']} listings in {rounds} intervals"
        )


def _figures(one: Vigil, many: Vigil, stock: Vigil, asleep: Vigil) -> dict[str, float]:
    """By the hour, so that they compare; what stock triggers take is scaled from few to many."""
    scale = many.waits / stock.waits
    idle, busy = one.an_hour(one.cpu_seconds), stock.an_hour(stock.cpu_seconds)
    figures = {
        "waits": many.waits,
        "seconds_watched": many.watched,
        "memory_ratio": many.memory_mib / one.memory_mib,
        "connections": many.connections,
        "connections_of_one": one.connections,
        "listings_an_hour": many.an_hour(many.asked["listing"]),
        "listings_an_hour_of_one": one.an_hour(one.asked["listing"]),
        "kib_a_listing": many.listed_bytes / 1024,
        "kib_a_listing_of_one": one.listed_bytes / 1024,
        "resumed_seconds_median": median(many.resumed_after),
        "resumed_seconds_slowest": max(many.resumed_after),
        "resumed_seconds_of_one": max(one.resumed_after),
        "cpu_seconds_an_hour": many.an_hour(many.cpu_seconds),
        "cpu_seconds_an_hour_of_one": idle,
        "asleep_cpu_seconds_an_hour": asleep.an_hour(asleep.cpu_seconds),
        "asleep_mib": asleep.memory_mib,
        "stock_waits": stock.waits,
        "stock_connections_an_hour_scaled": stock.an_hour(stock.asked["connection"]) * scale,
        "stock_cpu_seconds_an_hour_scaled": idle + (busy - idle) * scale,
    }
    return {name: round(value, 3) for name, value in figures.items()}


def airflow(*arguments: str) -> list[str | Path]:
    """The command that runs a part of Airflow."""
    return python("-m", "airflow", *arguments)


@contextmanager
def _link(port: int) -> Iterator[tuple[int, Callable[[], dict[str, int]]]]:
    """A proxy's port, and what ends it and tells what went through."""
    command = [*python("-m", "benchmarks.link"), str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as proxy:
        assert proxy.stdout

        def hang_up() -> dict[str, int]:
            told, _ = proxy.communicate()
            return dict(json.loads(told))

        yield int(proxy.stdout.readline()), hang_up


def _allow_open_files(count: int) -> None:
    """A triggerer keeps the log of each that waits open, and dies where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


@contextmanager
def scene(place: Place) -> Iterator["Scene"]:
    """The gateway with a file for each who will wait, and Airflow's database to copy."""
    _allow_open_files(place.rows + 2 * SPARE)
    with ExitStack() as stack:
        guard = Guard(place.folder / "guard.log")
        stack.callback(guard.close)
        processes = stack.enter_context(Processes(guard, wave=0, grace=1))
        gateway = Gateway.prepare(place.folder)
        processes.start(
            "sandbox",
            gateway.command(hurry=None, clock=None, flags=["--stuck"]),
            env=environment.python(os.environ),
            cwd=place.folder,
            log=place.folder / "sandbox.log",
        )
        wait_until(gateway.is_ready, "the sandbox's start", timeout=PATIENCE, check=processes.check)
        scene = Scene(place, gateway, processes)
        scene.prepare()
        yield scene


class Scene:
    """A gateway that has taken files and not yet decided, and triggerers that come and go."""

    def __init__(self, place: Place, gateway: Gateway, processes: Processes) -> None:
        self._place = place
        self._postgres: PostgreSQL = place.postgres
        self._gateway = gateway
        self._processes = processes
        self._send = gateway.root / "home" / "Send"

    def prepare(self) -> None:
        """Put the files there, and make Airflow's tables once."""
        for number in range(self._place.rows):
            (self._send / f"{stem(number)}.lock").touch()
        self._postgres.create_database("airflow")
        variables = self._environment("airflow", self._gateway.port)
        self._run("migrate", variables, airflow("db", "migrate"))

    def keep(self, kind: str, count: int, rounds: int) -> Vigil:
        """Let a triggerer wait, watch it, and if it waits for verdicts, let all be accepted."""
        name = f"{kind}_{count}"
        before = self._asked()
        resumed: list[float] = []
        with _link(self._gateway.port) as (port, hang_up):
            self._start(name, kind, count, port)
            if kind == "verdict":
                self._wait_for_a_listing()
            asked, cpu = self._asked(), self._cpu(name)
            time.sleep(rounds * POLL)
            asked, cpu, memory = self._asked() - asked, self._cpu(name) - cpu, self._memory(name)
            if kind == "verdict":
                # Just after a listing, so that nearly a whole interval is part of the answer.
                resumed = self._resume(name, count)
            self._processes.end(name)
            traffic = hang_up()
        listings = max((self._asked() - before)["listing"], 1)
        return Vigil(
            waits=count,
            watched=rounds * POLL,
            cpu_seconds=max(cpu, TICK),
            memory_mib=memory,
            asked=asked,
            connections=traffic["connections"],
            listed_bytes=traffic["received"] / listings,
            resumed_after=resumed,
        )

    def _start(self, name: str, kind: str, count: int, port: int) -> None:
        """A triggerer, once all wait in it."""
        self._postgres.create_database(name, template="airflow")
        variables = self._environment(name, port)
        self._run(f"{name}-rows", variables, module("waiting", kind, str(count), str(POLL)))
        self._launch(name, variables, airflow("triggerer", "--skip-serve-logs"))
        logs = self._place.folder / name / "logs"

        def all_wait() -> bool:
            # Each begins by saying so in its task's log.
            return sum(1 for _ in logs.rglob("*.trigger.*.log")) >= count

        wait_until(all_wait, f"{count} waits", timeout=PATIENCE, check=self._processes.check)
        time.sleep(2)  # two rounds of the triggerer's: what starting left to do is done

    def _run(self, name: str, variables: dict[str, str], command: list[str | Path]) -> None:
        self._launch(name, variables, command)
        self._processes.run(name, timeout=PATIENCE)

    def _launch(self, name: str, variables: dict[str, str], command: list[str | Path]) -> None:
        log = self._place.folder / f"{name}.log"
        self._processes.start(name, list(map(str, command)), env=variables, cwd=ROOT, log=log)

    def _resume(self, name: str, count: int) -> list[float]:
        """Accept all files at once; seconds until each task was scheduled again."""
        begun = datetime.now(UTC)
        for number in range(count):
            (self._send / f"{stem(number)}.lock").rename(self._send / f"{stem(number)}.done")
        with self._postgres.connect(name) as airflow:

            def all_resumed() -> bool:
                [left] = airflow.execute(LEFT).fetchone() or [count]
                return left == 0

            wait_until(all_resumed, "resuming", timeout=PATIENCE, check=self._processes.check)
            rows = airflow.execute(RESUMED).fetchall()
        for number in range(count):
            (self._send / f"{stem(number)}.done").rename(self._send / f"{stem(number)}.lock")
        if len(rows) != count or not all("accepted" in kwargs for _, kwargs in rows):
            raise Mismatch(f"{count} waits ended, but not all of them by being accepted")
        return [(at - begun).total_seconds() for at, _ in rows]

    def _asked(self) -> Counter[str]:
        entries = self._gateway.journal()
        # The home is listed once, to find the directory.
        return Counter(each["what"] for each in entries if each.get("name") in (None, "Send"))

    def _wait_for_a_listing(self) -> None:
        seen = self._asked()["listing"]
        wait_until(
            lambda: self._asked()["listing"] > seen,
            "a listing",
            timeout=2 * POLL + PATIENCE,
            check=self._processes.check,
        )
        time.sleep(1)  # until it has been read to its end and judged

    def _cpu(self, name: str) -> float:
        times = [process.cpu_times() for process in self._members(name)]
        return sum(each.user + each.system for each in times)

    def _memory(self, name: str) -> float:
        # Shared pages by their share, or the parent's would count twice.
        taken = [process.memory_full_info() for process in self._members(name)]
        return sum(getattr(each, "pss", each.uss) for each in taken) / 2**20

    def _members(self, name: str) -> list[psutil.Process]:
        return Session.of(self._processes.pid(name)).members()

    def _environment(self, name: str, port: int) -> dict[str, str]:
        home = self._place.folder / name
        home.mkdir(exist_ok=True)
        (home / "airflow.cfg").touch()
        made = environment.airflow(
            os.environ,
            home=home,
            dags=home / "dags",
            database=self._postgres.url(name, driver="psycopg2"),
            port=0,
            parallelism=1,
        )
        return {
            **{each: value for each, value in made.items() if each not in HURRIED},
            "AIRFLOW__TRIGGERER__CAPACITY": str(self._place.rows + SPARE),
            "PYTHONPATH": f"{ROOT / 'include'}:{ROOT / 'plugins'}:{ROOT}",
            environment.GATEWAY: environment.gateway_connection(
                port=port,
                user=USER,
                key=self._gateway.key,
                host_key=self._gateway.host_key,
                service_id=SERVICE_ID,
            ),
        }
