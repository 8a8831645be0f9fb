"""The whole product on one machine, as real processes: started, checked, and always ended.

This module defines the processes and their order; `environment` has their variables, `processes`
ends them. Nothing of an earlier run is used, and nothing is left behind.
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

# In seconds of real time: short, as the sandbox answers at once and a user is waiting.
BRISK_SETTINGS: Mapping[str, Any] = {"verdict_poll": 0.5, "report_poll": 0.5}
# The sandbox skips days only while it has a file, so the upload must not wait for the hour.
SANDBOX_SETTINGS: Mapping[str, Any] = {"upload_lead": "7 days"}
SECOND = "second scheduler"
# Without the parts' log servers, which listen on every address; the log files are local.
AIRFLOW_PARTS: Mapping[str, Sequence[str]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    SECOND: ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
HEALTHY_WITHIN = 600.0  # seconds, on a busy machine; 12 on an idle one with 2 cores
LOOK = 0.2  # seconds between two requests to Airflow
CAMPAIGNS = "send__"  # the prefix of campaigns' DAGs
DATABASES = ("airflow", "warehouse", "ledger")
AIRFLOW_GRACE = 3.0  # seconds from SIGTERM to SIGKILL; the triggerer would take 12 to end


class Stack:
    """PostgreSQL, a filled warehouse, the ledger, the sandbox and Airflow, for a `with` block.

    `hurry` is the speed of the sandbox's clock while it only waits for days to pass, `clock` its
    first time, `flags` are further arguments of the sandbox. `changes` are made to
    `include/settings.yaml`, `variables` to the environment of Airflow's processes.
    With `two_schedulers`, both share the work.
    `connections` are the caller's own (AIRFLOW_CONN_...), in place of the stack's; with one of the
    gateway there is no sandbox, and time is real.
    `keep` keeps the folder; after a failure it is kept too, and its path is printed.
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
        say: Callable[[str], None] = lambda sentence: None,
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
        self._say = say

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
        """The SQLAlchemy URL of the ledger's database."""
        return self.postgres.url("ledger")

    @property
    def for_a_shell(self) -> dict[str, str]:
        """The variables for `sms` in a shell: the DAGs' ledger, settings and clock."""
        shared = ("SMS_SETTINGS", "SMS_SANDBOX_CLOCK")
        variables = {name: self.environment[name] for name in shared if name in self.environment}
        return {"SMS_LEDGER_URL": self.ledger_url} | variables

    def now(self) -> datetime:
        """The time of the stack's shared clock."""
        return self.gateway.clock.now() if self.gateway else SystemClock().now()

    def command(self, *arguments: str) -> str:
        """The output of `airflow ...` in this stack's environment."""
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
        """Unpause DAGs, once Airflow has read them, which may be after it is healthy."""
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
        """Raise ProcessDied, with the end of its log, if a process has ended."""
        self.parts.check()
        self.servers.check()

    def hold_time(self) -> None:
        """Let the sandbox skip days only while no campaign's run is queued or running."""
        if self.gateway:
            runs = self.airflow.unfinished()
            self.gateway.hold_time(any(run.dag_id.startswith(CAMPAIGNS) for run in runs))

    def start(self, part: str) -> None:
        """Start one part of Airflow."""
        self._run_airflow(part, *AIRFLOW_PARTS[part])

    def start_gateway(self) -> None:
        """Start the sandbox; after a restart it continues from its root folder."""
        assert self.gateway
        self.servers.start(
            "sandbox",
            self._sandbox_command(self.gateway),
            env=environment.python(os.environ),
            cwd=self.folder,
            log=self.logs / "sandbox.log",
        )

    def _prepare(self, undo: ExitStack) -> None:
        """Create the folder, the guard and the process groups, and register their clean-up."""
        # Not below the checkout: its path may have spaces, or be too long for sockets.
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
            self._say(f"logs and files are kept in {self.folder}")
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
        (home / "airflow.cfg").touch()  # otherwise five processes would write it at once
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
        variables = {
            environment.WAREHOUSE: postgres_connection(socket_folder, "warehouse"),
            **self._callers,
            environment.LEDGER: postgres_connection(socket_folder, "ledger"),
            "SMS_SETTINGS": str(self._write_settings()),
        }
        if self.gateway is None:
            return variables
        variables[environment.GATEWAY] = self.gateway.connection()
        return variables | {"SMS_SANDBOX_CLOCK": str(self.gateway.clock_file)}

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
        self._say(f"{what}: {self.timings[what]:.1f} s")
