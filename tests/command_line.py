"""The command `sms`: as a shell starts it, and the same call of its `main` in this process.

A process of its own takes a second, most of it imports. So only the tests of what a shell alone
sees (the exit status, the streams, the environment) start one, each once.
"""

import gc
import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pyarrow as pa
import pytest

from sms.cli.main import main
from tests.airflow_home import ROOT

COMMAND = "from sms.cli.main import main; main()"
TIMEOUT = 600  # seconds, many times what the slowest takes


def sms(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command here. What it raises, other than its exit, is raised to the test."""
    given = list(map(str, arguments))
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    pool = pa.default_memory_pool()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sms", *given])
        patch.setattr(sys, "excepthook", sys.excepthook)  # which typer replaces
        for name, value in variables.items():
            patch.setenv(name, value)
        try:
            with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
                status = _exit_status()
        finally:  # a command may tune its process, which is all tests' here
            pa.set_memory_pool(pool)
            gc.unfreeze()
    out, err = (stream.buffer.getvalue().decode() for stream in streams)
    return subprocess.CompletedProcess(["sms", *given], status, out, err)


def sms_as_a_process(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a shell does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "include"))
        for name, value in variables.items():
            patch.setenv(name, value)
        return subprocess.run(
            [sys.executable, "-c", COMMAND, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )


def _exit_status() -> int:
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    raise AssertionError("main() came back without an exit status")
