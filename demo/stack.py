"""The whole product on one machine, as real processes: started, healthy, and surely ended.

What runs and in which order is said here; what the processes are told, in `environment`; how
they end, in `processes`. Nothing of an earlier run is used, nothing stays behind.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from signal import SIGQUIT
from types import TracebackType
from typing import Any, Self

from demo import environment, settings
from demo.airflow_api import Airflow
from demo.environment import ROOT, postgres_connection
from demo.gateway import Gateway
from demo.ports import free_port
from demo.postgres import PostgreSQL, temporary_root
from demo.processes import Guard, Processes, Session, wait_until
from demo.warehouse import fill
from sms.clock import SystemClock
from sms.ledger.ledger import Ledger

# In seconds of real time: the sandbox answers in a moment, and somebody is looking.
BRISK_SETTINGS: Mapping[str, Any] = {"verdict_poll": 0.5, "report_poll": 0.5}
# The sandbox's days fly once a file lies there, and at no other time.
SANDBOX_SETTINGS: Mapping[str, Any] = {"upload_lead": "7 days"}
SECOND = "second scheduler"
# The parts' own log servers listen on every address; the log files are right here.
AIRFLOW_PARTS: Mapping[str, Sequence[str]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    SECOND: ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
HEALTHY_WITHIN = 600.0  # seconds, on a machine that is busy; 12 on a quiet one with 2 cores
LOOK = 0.2  # seconds between two questions to Airflow
CAMPAIGNS = "send__"  # what the DAGs of campaigns begin with
DATABASES = ("airflow", "warehouse", "ledger")
AIRFLOW_GRACE = 3.0  # seconds from SIGTERM to SIGKILL; the triggerer would take 12 to say goodbye


class Stack:
    """PostgreSQL, a filled warehouse, the ledger, the sandbox and Airflow, for a `with` block.

    `hurry` is how fast the sandbox's clock runs while it only waits for days to pass, `clock`
    what it shows at first, `flags` what else the sandbox is told. `changes` are to
    `include/settings.yaml`, `variables` to the environment of Airflow's processes.
    Of `two_schedulers`, either may do any work.
    `connections` are the caller's own (AIRFLOW_CONN_...), in place of the stack's; with one of the
    gateway there is no sandbox, and time is real.
    `keep` leaves the folder behind; so does a failure, and its error names it.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        hurry: float | None = None,
        clock: datetime | None = None,
        flags: Sequence[str] = (),
        changes: Mapping[str, Any] | None = None,
        variables: Mapping[str, str] | None = None,
        dags: Path = ROOT / "dags",
        parallelism: int = 4,
        two_schedulers: bool = False,
        connections: Mapping[str, str] | None = None,
        keep: bool = False,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.timings: dict[str, float] = {}
        self._given_folder = folder
        self._sandbox_command = partial(Gateway.command, hurry=hurry, clock=clock, flags=flags)
        self._callers = dict(connections or {})
        self._real_gateway = environment.GATEWAY in self._callers
        ours = BRISK_SETTINGS if self._real_gateway else {**BRISK_SETTINGS, **SANDBOX_SETTINGS}
        self._changes = {**ours, **(changes or {})}
        self._variables = dict(variables or {})
        self._dags = dags
        self._parallelism = parallelism
        self._parts = [part for part in AIRFLOW_PARTS if two_schedulers or part != SECOND]
        self._keep = keep
        self._tell = tell

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._prepare(undo)
            self._start(undo)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.__exit__(kind, error, trace)

    @property
    def ledger_url(self) -> str:
        """For SQLAlchemy: the database in which schema `sms` is."""
        return self.postgres.url("ledger")

    @property
    def for_a_shell(self) -> dict[str, str]:
        """The variables by which `sms` in a shell of this machine knows all that the DAGs know."""
        known = ("SMS_SETTINGS", "SMS_SANDBOX_CLOCK")
        told = {name: self.environment[name] for name in known if name in self.environment}
        return {"SMS_LEDGER_URL": self.ledger_url} | told

    def now(self) -> datetime:
        """What the clock shows that all of the stack shares."""
        return self.gateway.clock.now() if self.gateway else SystemClock().now()

    def command(self, *arguments: str) -> str:
        """What `airflow ...` prints, run in this stack's environment."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def unpause(self, *dag_ids: str) -> None:
        """Let these DAGs run, once Airflow has read them; a healthy one may not have begun to."""
        try:
            wait_until(
                lambda: {*dag_ids} <= self.airflow.dag_ids(),
                f"Airflow's first reading of {', '.join(sorted(dag_ids))}",
                timeout=HEALTHY_WITHIN,
                check=self.check,
                pause=LOOK,
            )
        except TimeoutError as error:
            broken = "\n".join(self.airflow.import_errors())
            raise TimeoutError(f"{error}: {broken or 'it names no error'}") from error
        for dag_id in dag_ids:
            self.airflow.unpause(dag_id)

    def check(self) -> None:
        """Raise ProcessDied, with the end of its log, if a part has ended."""
        self.parts.check()
        self.servers.check()

    def hold_time(self) -> None:
        """Let the sandbox's days fly only while no campaign's run is under way."""
        if self.gateway:
            runs = self.airflow.unfinished()
            self.gateway.hold_time(any(run.dag_id.startswith(CAMPAIGNS) for run in runs))

    def start(self, part: str) -> None:
        """Start one part of Airflow."""
        self._run_airflow(part, *AIRFLOW_PARTS[part])

    def start_gateway(self) -> None:
        """Start the sandbox, where it was if it ran before; its root is all that it knows."""
        assert self.gateway
        self.servers.start(
            "sandbox",
            self._sandbox_command(self.gateway),
            env=environment.python(os.environ),
            cwd=self.folder,
            log=self.logs / "sandbox.log",
        )

    def _prepare(self, undo: ExitStack) -> None:
        """All that must be undone, in the order in which it is to be undone last."""
        # Not below the checkout: its path may have spaces, and sockets like short ones.
        self.folder = self._given_folder or Path(
            tempfile.mkdtemp(prefix="sms-", dir=temporary_root())
        )
        self.logs = self.folder / "logs"
        self.logs.mkdir(0o700)
        self._guard = Guard(self.logs / "guard.log")
        undo.callback(self._guard.close)
        undo.push(self._leave_folder)
        if self._given_folder is None and not self._keep:
            self._guard.remove(self.folder)
        self.servers = Processes(self._guard, wave=1, grace=5)
        self.parts = Processes(self._guard, wave=0, grace=AIRFLOW_GRACE)

    def _leave_folder(self, kind: type[BaseException] | None, *_: object) -> None:
        broken = kind is not None and not issubclass(kind, (KeyboardInterrupt, SystemExit))
        if self._keep or broken:
            self._guard.spare(self.folder)
            self._tell(f"logs and files are kept in {self.folder}")
        elif self._given_folder is None:
            shutil.rmtree(self.folder)

    def _start(self, undo: ExitStack) -> None:
        begun = time.monotonic()
        undo.enter_context(self.servers)
        self._start_sandbox()
        self._start_postgres(undo)
        undo.enter_context(self.parts)
        with ThreadPoolExecutor() as pool:
            work = [
                pool.submit(self._step, "warehouse", self._fill_warehouse),
                pool.submit(self._step, "ledger", self.ledger.upgrade),
            ]
            self._start_airflow(undo)
            for each in work:
                each.result()
        self._step("healthy", self._wait_for_health)
        self._note("everything", begun)

    def _start_sandbox(self) -> None:
        self.gateway = None if self._real_gateway else Gateway.prepare(self.folder)
        if self.gateway:
            self.start_gateway()

    def _start_postgres(self, undo: ExitStack) -> None:
        begun = time.monotonic()
        self.postgres = PostgreSQL()
        undo.callback(self.postgres.stop)
        self._guard.watch(2, Session.of(self.postgres.pid), ask=SIGQUIT)
        self._guard.remove(self.postgres.folder)
        for database in DATABASES:
            self.postgres.create_database(database)
        self.ledger = Ledger.connect(self.ledger_url, clock=self.now, actor="demo")
        undo.callback(self.ledger.engine.dispose)
        self._note("PostgreSQL", begun)

    def _fill_warehouse(self) -> None:
        with self.postgres.connect("warehouse") as connection:
            fill(connection)

    def _start_airflow(self, undo: ExitStack) -> None:
        home = self.folder / "airflow"
        home.mkdir(0o700)
        (home / "airflow.cfg").touch()  # or five processes would write theirs at once
        port = free_port()
        self.environment = environment.airflow(
            os.environ,
            home=home,
            dags=self._dags,
            database=self.postgres.url("airflow", driver="psycopg2"),
            port=port,
            parallelism=self._parallelism,
        )
        password = environment.write_password(home)
        self.airflow = Airflow(f"http://127.0.0.1:{port}", environment.ADMIN, password)
        undo.callback(self.airflow.close)
        self._step("Airflow's database", self._migrate)
        self._step("sandbox", self._wait_for_sandbox)
        self.environment |= self._connections() | self._variables
        for part in self._parts:
            self.start(part)

    def _migrate(self) -> None:
        self._run_airflow("migrate", "db", "migrate")
        self.parts.run("migrate", timeout=HEALTHY_WITHIN)

    def _wait_for_sandbox(self) -> None:
        if self.gateway:
            wait_until(
                self.gateway.is_ready,
                "the sandbox's start",
                timeout=HEALTHY_WITHIN,
                check=self.servers.check,
            )

    def _connections(self) -> dict[str, str]:
        socket_folder = self.postgres.socket_folder
        made = {
            environment.WAREHOUSE: postgres_connection(socket_folder, "warehouse"),
            **self._callers,
            environment.LEDGER: postgres_connection(socket_folder, "ledger"),
            "SMS_SETTINGS": str(self._write_settings()),
        }
        if self.gateway is None:
            return made
        made[environment.GATEWAY] = self.gateway.connection()
        return made | {"SMS_SANDBOX_CLOCK": str(self.gateway.clock_file)}

    def _write_settings(self) -> Path:
        target = self.folder / "settings.yaml"
        folders = {f"{name}_folder": str(self.folder / name) for name in ("runs", "archive")}
        settings.write(ROOT / "include" / "settings.yaml", target, folders | self._changes)
        return target

    def _run_airflow(self, name: str, *arguments: str) -> None:
        self.parts.start(
            name,
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            cwd=self.folder,
            log=self.logs / f"{name}.log",
        )

    def _wait_for_health(self) -> None:
        parts = {"metadatabase", "scheduler", "triggerer", "dag_processor"}

        def healthy() -> bool:
            health = self.airflow.health()
            return parts <= health.keys() and all(health[each] == "healthy" for each in parts)

        wait_until(
            healthy, "Airflow's health", timeout=HEALTHY_WITHIN, check=self.check, pause=LOOK
        )

    def _step(self, what: str, work: Callable[[], None]) -> None:
        begun = time.monotonic()
        work()
        self._note(what, begun)

    def _note(self, what: str, begun: float) -> None:
        self.timings[what] = time.monotonic() - begun
        self._tell(f"{what}: {self.timings[what]:.1f} s")
