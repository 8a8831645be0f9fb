"""No process of the stack outlives it, however it ends."""

import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo.environment import ROOT
from demo.processes import Guard, ProcessDied, Processes, Session, wait_until

PATIENCE = 60  # seconds, for a machine that is busy
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)"
FAMILY = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {DEAF + "; time.sleep(600)"!r}], process_group=0)
{DEAF}
time.sleep(600)
"""


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    guard = Guard(tmp_path / "guard.log")
    yield guard
    guard.close()


def start(processes: Processes, folder: Path, code: str, name: str = "child") -> Path:
    log = folder / f"{name}.log"
    command = [sys.executable, "-c", code]
    processes.start(name, command, env=os.environ, cwd=folder, log=log)
    return log


def test_a_childs_files_are_readable_only_by_this_user(guard: Guard, tmp_path: Path) -> None:
    writes = "import os; open('file', 'w').close(); os.mkdir('folder')"
    before = os.umask(0)
    try:
        with Processes(guard, wave=0, grace=0.2) as processes:
            start(processes, tmp_path, writes)
            processes.run("child", timeout=PATIENCE)
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700


def test_a_child_ignoring_sigterm_is_killed_with_its_children(guard: Guard, tmp_path: Path) -> None:
    with Processes(guard, wave=0, grace=0.2) as processes:
        log = start(processes, tmp_path, FAMILY)
        wait_until(lambda: log.read_text().count("up") == 2, "the family's start", timeout=PATIENCE)
        session = Session.of(processes.pid("child"))
        assert len(session.members()) == 2

    assert session.members() == []


def test_a_child_handling_sigterm_gets_time_to_finish(guard: Guard, tmp_path: Path) -> None:
    polite = """
    import signal, sys, time
    def leave(*_):
        print("goodbye", flush=True)
        sys.exit()
    signal.signal(signal.SIGTERM, leave)
    print("up", flush=True)
    time.sleep(600)
    """
    with Processes(guard, wave=0, grace=PATIENCE) as processes:
        log = start(processes, tmp_path, textwrap.dedent(polite))
        wait_until(lambda: "up" in log.read_text(), "the child's start", timeout=PATIENCE)

    assert log.read_text() == "up\ngoodbye\n"


def test_a_dead_child_is_reported_with_its_output(guard: Guard, tmp_path: Path) -> None:
    with Processes(guard, wave=0, grace=1) as processes:
        start(processes, tmp_path, "raise SystemExit('no such database')", name="scheduler")

        with pytest.raises(ProcessDied, match=r"(?s)scheduler ended with code 1.*no such database"):
            wait_until(lambda: False, "nothing", timeout=PATIENCE, check=processes.check)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_parent_leaves_no_process_and_no_folder(
    tmp_path: Path, number: signal.Signals
) -> None:
    """The parent here has no handler for any signal: its guard does all of it.

    Nor does it ignore one: whoever runs the tests with `nohup` would have it ignore SIGHUP.
    """
    folder = tmp_path / "stack"
    folder.mkdir()
    parent = f"""
    import os, signal, sys, time
    from pathlib import Path
    from demo.processes import Guard, Processes
    signal.signal({int(number)} if {number != signal.SIGKILL} else signal.SIGTERM, signal.SIG_DFL)
    folder = Path({str(folder)!r})
    guard = Guard(Path({str(tmp_path / "guard.log")!r}), grace=0.2)
    guard.remove(folder)
    processes = Processes(guard, wave=0, grace=1)
    processes.start("child", [sys.executable, "-c", {FAMILY!r}], env=os.environ, cwd=folder,
                    log=Path({str(tmp_path / "child.log")!r}))
    print(processes.pid("child"), flush=True)
    time.sleep(600)
    """
    code = textwrap.dedent(parent)
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        session = Session.of(int(process.stdout.readline()))
        log = tmp_path / "child.log"
        wait_until(lambda: log.read_text().count("up") == 2, "the family's start", timeout=PATIENCE)

        process.send_signal(number)

    wait_until(lambda: not session.members(), "the end of all", timeout=PATIENCE)
    wait_until(lambda: not folder.exists(), "the folder's removal", timeout=PATIENCE)


def test_the_guard_ends_what_an_interrupted_shutdown_left(tmp_path: Path) -> None:
    guard = Guard(tmp_path / "guard.log", grace=0.2)
    processes = Processes(guard, wave=0, grace=0.2)
    log = start(processes, tmp_path, FAMILY)
    wait_until(lambda: log.read_text().count("up") == 2, "the family's start", timeout=PATIENCE)
    session = Session.of(processes.pid("child"))

    guard.close()

    assert session.members() == []
    processes.end()


def test_a_kept_folder_is_not_removed(tmp_path: Path) -> None:
    removed, spared = tmp_path / "removed", tmp_path / "spared"
    guard = Guard(tmp_path / "guard.log")
    for folder in (removed, spared):
        folder.mkdir()
        guard.remove(folder)

    guard.spare(spared)
    guard.close()

    assert not removed.exists()
    assert spared.exists()


def test_a_foreign_process_with_a_reused_pid_is_spared() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    ) as stranger:
        ours = Session(stranger.pid, psutil.Process(stranger.pid).create_time() - 100)

        assert ours.members() == []
        stranger.kill()
