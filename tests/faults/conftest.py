"""Targets in which a process is struck, and the process that forks for each act."""

import itertools
import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TextIO

import pytest
from sqlalchemy import Engine, make_url

from demo.postgres import PostgreSQL
from sms import clock
from sms.ledger.ledger import Ledger
from sms.settings import load
from sms_sandbox import Sandbox
from tests.airflow_home import ROOT, ledger_connection
from tests.conftest import fresh, keeping_connections, memory
from tests.faults.points import KILLED, Part, Strike, strikes
from tests.faults.zygote import DONE, FINAL, HUNG, PATIENCE, PAUSED
from tests.world import TUESDAY, World, connection

AT_ONCE = 2  # targets in each process of the tests: an act often waits for others
TRIES = 6
SILENCE = 2 * PATIENCE  # seconds: an act that takes half of them ends itself

KEY = "the-key-of-a-target-that-is-struck"  # of the stop list's hashes

# A dead try's claim may be taken over at once: here no two tries of a target run at the same time.
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
    names: list[str] = field(repr=False)
    told: str


class Zygote:
    """A process with everything loaded, which forks for several acts at a time."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._free: queue.Queue[TextIO] = queue.Queue()
        for line in self._start(stack):
            assert self._answer(line, "while it loaded Airflow") == "ready"
            self._free.put(line)

    def play(
        self,
        order: dict[str, Any],
        strike: Strike | None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Ended:
        """One act in a fork, struck at one point or not at all; what happens while it is paused."""
        number = next(self._numbers)
        told = self._folder / f"{number}.json"
        order |= {"token": f"try {number}", "report": str(told)}
        order["strike"] = asdict(strike) if strike else None
        line = self._free.get()
        try:
            line.write(json.dumps(order) + "\n")
            line.flush()
            answer = self._answer(line, f"on the end of {order['act']}")
            if answer == PAUSED:
                try:
                    meanwhile()
                finally:
                    line.write("go on\n")
                    line.flush()
                    answer = self._answer(line, f"on the end of {order['act']}")
            status = int(answer)
        finally:
            self._free.put(line)
        if status == HUNG:
            hung = told.with_suffix(".hung").read_text()
            raise AssertionError(f"it did not end in {PATIENCE} seconds:\n{hung}")
        report = json.loads(told.read_text()) if told.exists() else {"names": [], "told": ""}
        return Ended(status, report["names"], report["told"])

    def _answer(self, line: TextIO, when: str) -> str:
        try:
            answer = line.readline().strip()
        except TimeoutError:
            answer = ""
        if not answer:
            log = (self._folder / "log").read_text()
            _fail(f"the zygote died, or said nothing for {SILENCE} seconds, {when}:\n{log}")
        return answer

    def _start(self, stack: ExitStack) -> list[TextIO]:
        """The zygote's lines, one for each act that it can play at the same time."""
        pairs = [socket.socketpair() for _ in range(AT_ONCE)]
        theirs = [end.fileno() for _, end in pairs]
        path = os.pathsep.join(str(ROOT / folder) for folder in ("include", "plugins", "."))
        log = stack.enter_context((self._folder / "log").open("w"))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote", *map(str, theirs)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=theirs,
        )
        stack.callback(process.wait)
        for ours, end in pairs:
            end.close()
            stack.enter_context(ours).settimeout(SILENCE)
        return [stack.enter_context(ours.makefile("rw")) for ours, _ in pairs]


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """One for all tests of a process."""
    with ExitStack() as stack:
        yield Zygote(tmp_path_factory.mktemp("zygote"), stack)


@dataclass
class Target:
    """A gateway, a ledger and a world of its own."""

    world: World
    sandbox: Sandbox
    stems: list[str]
    _zygote: Zygote
    _env: dict[str, str]

    def play(
        self,
        act: str,
        strike: Strike | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Ended:
        """An act, in a process of its own."""
        folders = [str(self.world.folder / name) for name in ("runs", "archive")]
        order = {"act": act, "env": self._env, "folders": folders, "stems": self.stems}
        return self._zygote.play(order, strike, meanwhile)

    def play_until_done(self, act: str) -> Ended:
        """An act, run again as Airflow would: until it is done, or leaves it to a person."""
        for _ in range(TRIES):
            ended = self.play(act)
            if ended.status in (DONE, FINAL):
                return ended
        raise AssertionError(f"it did not end in {TRIES} tries, the last of which was {ended}")

    @contextmanager
    def here(self) -> Iterator[None]:
        """This process in this target: there is one environment, so one target at a time."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._env.items():
                patch.setenv(name, value)
            yield


@dataclass(frozen=True, slots=True)
class Scene:
    """What an act finds: prepared once in a process, from another scene on, and then copied."""

    prepare: Callable[[Target], None]
    after: "Scene | None" = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A scene as it was left: to be copied and never used."""

    database: str
    built_in: Path
    folder: Path
    now: datetime
    runs: list[str]
    stems: list[str]


@dataclass
class Targets:
    """Makes a target of its own for each strike."""

    _postgres: PostgreSQL
    _empty: str
    _zygote: Zygote
    _folder: Path
    _stack: ExitStack
    _kept: dict[Scene, Kept] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @contextmanager
    def copy(self, scene: Scene) -> Iterator[Target]:
        """A copy of a scene, at the moment at which that was left."""
        kept = self._keep(scene)
        with fresh(self._postgres, kept.database) as url, self._open(url, kept) as target:
            yield target

    def _keep(self, scene: Scene) -> Kept:
        if scene not in self._kept:
            before = self._keep(scene.after) if scene.after else None
            template = before.database if before else self._empty
            url = self._stack.enter_context(fresh(self._postgres, template))
            with self._open(url, before) as target:
                scene.prepare(target)
                now = target.sandbox.now()
            built_in = target.world.folder
            # Away from where it was: a copy that still knew that place would find nothing there.
            folder = built_in.rename(built_in.with_suffix(".kept"))
            database = str(make_url(url).database)
            self._kept[scene] = Kept(
                database, built_in, folder, now, target.world.runs, target.stems
            )
        return self._kept[scene]

    @contextmanager
    def _open(self, url: str, kept: Kept | None) -> Iterator[Target]:
        folder = self._folder / f"target{next(self._numbers)}"
        if kept is None:
            folder.mkdir()
        else:
            # Its gateway has a clock of its own, which begins where the scene was left.
            shutil.copytree(kept.folder, folder, ignore=shutil.ignore_patterns("clock.json"))
        settings = folder / "settings.yaml"
        settings.write_text(SETTINGS.format(folder=folder))
        with (
            keeping_connections(url) as engine,
            Sandbox(folder / "gateway", start=kept.now if kept else TUESDAY) as sandbox,
        ):
            if kept is not None:
                _move(engine, kept.built_in, folder)
            env = {
                clock.VARIABLE: str(sandbox.clock_path),
                "SMS_SETTINGS": str(settings),
                "AIRFLOW_VAR_SMS_HALT": "",
                "AIRFLOW_CONN_SMS_GATEWAY": connection(sandbox),
                "AIRFLOW_CONN_SMS_LEDGER": ledger_connection(url),
                "AIRFLOW_CONN_SMS_STOP_LIST_KEY": f"generic://:{KEY}@",
            }
            runs, stems = ([*kept.runs], [*kept.stems]) if kept else ([], [])
            world = World(
                folder, Ledger(engine, actor="test", clock=sandbox.now), load(settings), runs=runs
            )
            yield Target(world, sandbox, stems, self._zygote, env)


def _move(engine: Engine, old: Path, new: Path) -> None:
    """Let a ledger know where its runs' folders are now."""
    sql = "UPDATE sms.campaign_run SET folder = replace(folder, %(old)s, %(new)s)"
    with engine.begin() as db:
        db.exec_driver_sql(sql, {"old": str(old), "new": str(new)})


@pytest.fixture(scope="session")
def targets(postgres: PostgreSQL, ledger_template: str, zygote: Zygote) -> Iterator[Targets]:
    """The scenes of all tests of a process, and their copies: many small files, so in memory."""
    with (
        tempfile.TemporaryDirectory(prefix="sms-targets-", dir=memory()) as folder,
        ExitStack() as stack,
    ):
        yield Targets(postgres, ledger_template, zygote, Path(folder), stack)


def strike_everywhere(
    act: str,
    names: Sequence[str],
    part: Part,
    tried: Callable[[Strike, Callable[..., Ended]], bool],
    ways: Callable[[Sequence[str]], list[Strike]] = strikes,
) -> str:
    """Try every strike of a part, in targets of their own; what came of it, in words.

    `tried` makes a target, lets it be struck, judges it, and says whether a person was asked. What
    strikes it says, too, what happens while the process is paused.
    """
    plan = ways(names)
    chosen = os.environ.get("STRIKE")  # such as "commit 7, killed after": that one alone
    ours = [one for one in plan if one in part and chosen in (None, str(one))]
    if chosen and not ours:
        pytest.skip(f"{chosen} is not in this part")
    assert ours

    def one(strike: Strike) -> bool:
        def struck(target: Target, meanwhile: Callable[[], None] = lambda: None) -> Ended:
            reached: list[bool] = []

            def noted() -> None:
                reached.append(True)
                meanwhile()

            ended = target.play(act, strike, noted)
            if strike.how == "paused" and not reached:
                raise Missed(f"it never came to the point: {ended}")
            if strike.how.startswith("killed"):
                assert ended.status == KILLED, ended
            again = ended.status not in (DONE, FINAL)
            return target.play_until_done(act) if again else ended

        for left in reversed(range(TRIES)):
            try:
                return tried(strike, struck)
            except Exception as error:
                if isinstance(error, Missed) and left:
                    continue
                _fail(
                    f"{act}, struck at {strike}: {_where(error)}: {error}\n"
                    f'STRIKE="{strike}" in the environment plays it alone'
                )
        raise AssertionError

    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = sum(pool.map(one, ours))
    questions = f", {asked} of them asked a person" if asked else ""
    counts = f"{len(ours)} of {len(plan)} strikes at {len(names)} points"
    return f"{act}, part {part}: {counts}{questions}: 0 broken promises"


class Missed(AssertionError):
    """An act that was to be paused ended before: what is slow is taken for what stood still."""


def _where(error: BaseException) -> str:
    """The line of ours that raised it."""
    trace, place = error.__traceback__, ""
    while trace:
        code = trace.tb_frame.f_code
        if Path(code.co_filename).parent == Path(__file__).parent:
            place = f"{Path(code.co_filename).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _fail(sentence: str) -> NoReturn:
    """End a test with a sentence, and none of the lines that led to it."""
    raise pytest.fail.Exception(sentence, pytrace=False) from None
