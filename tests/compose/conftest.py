"""The compose file, and the .env that a newcomer gets."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.compose.reading import ROOT, ComposeFile


@pytest.fixture(scope="session")
def compose() -> ComposeFile:
    return ComposeFile.read()


@pytest.fixture(scope="session")
def new_env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written by the very script, in a checkout with a space in its path."""
    checkout = tmp_path_factory.mktemp("a checkout")
    (checkout / "docker").mkdir()
    shutil.copy(ROOT / "docker" / "new-env.sh", checkout / "docker")
    shutil.copy(ROOT / ".env.example", checkout)
    subprocess.run(["sh", checkout / "docker" / "new-env.sh"], check=True, cwd="/")
    return checkout / ".env"


@pytest.fixture(scope="session")
def variables(new_env: Path) -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(new_env).items()}


@pytest.fixture(scope="session")
def needed_tool() -> Callable[..., str]:
    """Finds the first of some programs; without one it skips the test, but never in CI."""

    def find(*names: str) -> str:
        if found := next(filter(None, map(shutil.which, names)), None):
            return found
        reason = f"none of these programs is installed: {', '.join(names)}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)

    return find
