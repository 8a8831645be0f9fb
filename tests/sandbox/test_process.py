"""The gateway as a process: its start, its end, and its restart after a kill."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

import sms_sandbox
from demo.processes import wait_until
from sms_sandbox import clock, journal
from tests.sandbox.wire import STEM, rows

pytestmark = pytest.mark.server
INCLUDE = Path(sms_sandbox.__file__).parents[1]


@contextmanager
def running(root: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A gateway process that listens; killed at the end if it still lives."""
    command = [sys.executable, "-m", "sms_sandbox", "--root", str(root), "--jumps", *options]
    environment = {**os.environ, "PYTHONPATH": str(INCLUDE)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(lambda: is_ready(root) or process.poll() is not None, "the gateway's start")
            yield process
        except TimeoutError:
            process.kill()
            print(process.communicate()[1])
            raise
        finally:
            process.kill()


def is_ready(root: Path) -> bool:
    return (root / "ready.json").exists()


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    wait_until(is_so, what, timeout=60)


def names(root: Path, folder: str) -> list[str]:
    return sorted(os.listdir(root / "home" / folder))


def drop_in(root: Path, content: bytes) -> None:
    upload = root / "home" / "Send" / f"{STEM}.tmp"
    upload.write_bytes(content)
    upload.rename(upload.with_suffix(".csv"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "a gateway"


def test_the_process_prints_its_address(root):
    with running(root, "--start", "2026-07-15T10:00:00+02:00"):
        ready = json.loads((root / "ready.json").read_text())

    assert ready["host_key"] == (root / "host_key.pub").read_text().strip()
    assert ready["clock_id"] == (root / "home" / ".sandbox").read_text()
    assert ready["port"] > 0
    assert Path(ready["client_key"]).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_cleanly(root, number):
    with running(root) as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (0, "")
    assert not (root / "ready.json").exists()


def test_after_a_kill_every_report_still_comes_once(root):
    with running(root, "--start", "2026-07-15T10:00:00+02:00", "--stop", "1", "--reply", "0"):
        drop_in(root, rows(200))
        wait_for(lambda: f"{STEM}.done" in names(root, "Send"), "the verdict")
        clock.move(root / "clock.json", to=clock.now(root / "clock.json") + timedelta(hours=3))
        wait_for(lambda: bool(names(root, "Report")), "a report")
    (root / "ready.json").unlink()
    with running(root, "--stop", "1", "--reply", "0"):
        clock.move(root / "clock.json", to=clock.now(root / "clock.json") + timedelta(days=2))
        wait_for(lambda: any(name.startswith("ACK") for name in names(root, "Report")), "the ACK")
        stops = (root / "home" / "Report" / f"{STEM.replace('SEND', 'STOP')}.csv").read_bytes()

    counts = journal.counts(root / "journal.jsonl")
    assert (counts["sent"], counts["report"]) == (200, 1)
    assert len(set(stops.splitlines())) == len(stops.splitlines()) > 150


def test_a_locked_file_is_processed_after_a_kill(root):
    with running(root, "--stuck"):
        drop_in(root, rows(1))
        wait_for(lambda: names(root, "Send") == [f"{STEM}.lock"], "the lock")
    (root / "ready.json").unlink()
    with running(root):
        wait_for(lambda: names(root, "Send") == [f"{STEM}.done"], "the verdict")


def test_a_taken_port_is_reported_in_one_sentence(root, gateway):
    with running(root, "--port", str(gateway.port)) as process:
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert errors.startswith("sms_sandbox: ")
    assert len(errors.splitlines()) == 1
