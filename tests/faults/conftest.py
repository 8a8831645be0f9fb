"""Worlds in which a process is struck, and the processes that fork for each act."""

import itertools
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from demo.postgres import PostgreSQL
from sms import clock
from sms.ledger.ledger import Ledger
from sms.settings import load
from sms_sandbox import Sandbox
from tests.airflow_home import ROOT, ledger_connection
from tests.conftest import fresh
from tests.delivery.conftest import TUESDAY, Desk, connection
from tests.faults.points import KILLED, Strike, strikes
from tests.faults.zygote import DONE

AT_ONCE = 6  # worlds: an act mostly waits for others
TRIES = 6

KEY = "the-key-of-a-world-that-is-struck"  # of the stop list's hashes

# A dead try's claim may be taken over at once: here no two tries of a world run at the same time.
SETTINGS = """\
verdict_poll: 0.05
claim_lease: 0 seconds
hash_stop_list: true
archive_folder: {folder}/archive
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an act ended: exit status, the points it passed, and its last words."""

    status: int
    names: list[str]
    told: str


class Zygotes:
    """Some processes with everything loaded, each of which forks for one act at a time."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._free: queue.Queue[subprocess.Popen[str]] = queue.Queue()
        for process in [self._start(number, stack) for number in range(AT_ONCE)]:
            assert process.stdout
            ready = process.stdout.readline()
            assert ready == "ready\n", (folder / "stderr0").read_text()
            self._free.put(process)

    def play(self, order: dict[str, Any], strike: Strike | None) -> Ended:
        """One act in a fork, struck at one point or not at all."""
        number = next(self._numbers)
        told = self._folder / f"{number}.json"
        order |= {"token": f"try {number}", "report": str(told)}
        order["strike"] = asdict(strike) if strike else None
        process = self._free.get()
        try:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            status = int(process.stdout.readline())
        finally:
            self._free.put(process)
        report = json.loads(told.read_text()) if told.exists() else {"names": [], "told": ""}
        return Ended(status, report["names"], report["told"])

    def _start(self, number: int, stack: ExitStack) -> "subprocess.Popen[str]":
        path = os.pathsep.join(str(ROOT / folder) for folder in ("include", "plugins", "."))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stack.enter_context((self._folder / f"stderr{number}").open("w")),
            text=True,
        )
        stack.callback(_end, process)
        return process


def _end(process: "subprocess.Popen[str]") -> None:
    assert process.stdin
    assert process.stdout
    process.stdin.close()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def zygotes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygotes]:
    """A few for all tests of a module."""
    with ExitStack() as stack:
        yield Zygotes(tmp_path_factory.mktemp("zygotes"), stack)


_THIS_PROCESS = threading.Lock()


@dataclass
class World:
    """A gateway, a ledger and a desk of its own."""

    name: str
    desk: Desk
    sandbox: Sandbox
    _zygotes: Zygotes
    _env: dict[str, str]
    stems: list[str] = field(default_factory=list)

    def play(self, act: str, strike: Strike | None = None) -> Ended:
        """An act, in a process of its own."""
        folders = [str(self.desk.folder / name) for name in ("runs", "archive")]
        order = {"act": act, "env": self._env, "folders": folders, "stems": self.stems}
        return self._zygotes.play(order, strike)

    def play_until_done(self, act: str) -> Ended:
        """An act, run again as Airflow would; or until it asks a person."""
        for _ in range(TRIES):
            ended = self.play(act)
            if ended.status == DONE or "may or may not have been delivered" in ended.told:
                return ended
        raise AssertionError(f"it never came to an end: {ended}")

    @contextmanager
    def here(self) -> Iterator[None]:
        """This process in this world: there is one environment, so one world at a time."""
        with _THIS_PROCESS, pytest.MonkeyPatch.context() as patch:
            for name, value in self._env.items():
                patch.setenv(name, value)
            yield


@pytest.fixture
def worlds(
    postgres: PostgreSQL, ledger_template: str, zygotes: Zygotes, tmp_path: Path
) -> Callable[[], Any]:
    """Makes a world of its own for each strike."""
    numbers = itertools.count(1)

    @contextmanager
    def made() -> Iterator[World]:
        name = f"world{next(numbers)}"
        folder = tmp_path / name
        folder.mkdir()
        settings = folder / "settings.yaml"
        settings.write_text(SETTINGS.format(folder=folder))
        with (
            fresh(postgres, ledger_template) as url,
            Sandbox(folder / "gateway", start=TUESDAY) as sandbox,
        ):
            env = {
                clock.VARIABLE: str(sandbox.clock_path),
                "SMS_SETTINGS": str(settings),
                "AIRFLOW_VAR_SMS_HALT": "",
                "AIRFLOW_CONN_SMS_GATEWAY": connection(sandbox),
                "AIRFLOW_CONN_SMS_LEDGER": ledger_connection(url),
                "AIRFLOW_CONN_SMS_STOP_LIST_KEY": f"generic://:{KEY}@",
            }
            desk = Desk(folder, Ledger.connect(url, actor="test"), load(settings))
            yield World(name, desk, sandbox, zygotes, env)

    return made


def strike_everywhere(
    act: str, names: Sequence[str], tried: Callable[[Strike, Callable[[World], Ended]], bool]
) -> str:
    """Try every strike, in worlds of their own, several at once; what came of it, in words.

    `tried` makes a world, lets it be struck, judges it, and says whether a person was asked.
    """
    chosen = os.environ.get("STRIKE")  # such as "commit 7, killed after": that one alone
    plan = [one for one in strikes(names) if chosen in (None, str(one))]

    def one(strike: Strike) -> bool:
        def struck(world: World) -> Ended:
            ended = world.play(act, strike)
            if strike.how.startswith("killed"):
                assert ended.status == KILLED, ended
            return ended if ended.status == DONE else world.play_until_done(act)

        try:
            return tried(strike, struck)
        except BaseException as error:
            raise AssertionError(f"{act}, struck at {strike}") from error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = sum(pool.map(one, plan))
    assert plan
    questions = f", {asked} of them asked a person" if asked else ""
    return f"{act}: {len(plan)} strikes at {len(names)} points{questions}: 0 broken promises"
