"""The Makefile's targets parse, with any path, and each sets up what it needs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from demo.environment import ROOT

TARGETS = (
    *("help", "setup", "demo", "up", "check", "test", "soak"),
    *("bench", "mutants", "notebook", "lint", "lock", "clean"),
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of what make looks at, in a path with a space."""
    folder = tmp_path / "a path with spaces"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def make(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["make", *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_parses_in_a_path_with_spaces(checkout: Path, target: str) -> None:
    assert make(checkout, "--dry-run", target)


def test_plain_make_lists_the_targets(checkout: Path) -> None:
    shown = make(checkout)

    assert [line.split()[1] for line in shown.splitlines()] == list(TARGETS)


@pytest.mark.parametrize(
    "target", ["setup", "demo", "up", "test", "bench", "mutants", "lint", "lock"]
)
def test_a_target_sets_up_the_environment_first(checkout: Path, target: str) -> None:
    assert "-m venv" in make(checkout, "--dry-run", target)


def test_the_environment_is_rebuilt_only_after_new_requirements(checkout: Path) -> None:
    ready = checkout / ".venv" / ".ready"
    ready.parent.mkdir()
    ready.touch()
    assert "pip install" not in make(checkout, "--dry-run", "demo")

    (checkout / "requirements.txt").write_text("rich==15.0.0\n")

    assert "pip install" in make(checkout, "--dry-run", "demo")


def test_a_missing_python_is_reported_in_one_sentence(checkout: Path) -> None:
    done = subprocess.run(
        ["make", "setup", "PYTHONS=python2.0 python3.99"],
        cwd=checkout,
        capture_output=True,
        text=True,
    )

    assert done.returncode != 0
    assert "No Python 3.11, 3.12 or 3.13" in done.stderr


def test_the_locked_requirements_name_no_index() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text().splitlines()
        assert not [line for line in lines if "index" in line or "://" in line]
