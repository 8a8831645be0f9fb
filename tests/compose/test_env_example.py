"""Every required variable is explained, and every explained variable is used."""

import re
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.compose.reading import ROOT, ComposeFile, interpolated

COMPOSES_OWN = {"COMPOSE_PROJECT_NAME"}  # read by compose itself
LINE = re.compile(r"(?:# )?([A-Z][A-Z0-9_]+)=(.*)")


@pytest.fixture(scope="module")
def example() -> list[str]:
    return (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()


def names(lines: list[str]) -> set[str]:
    return {match[1] for line in lines if (match := LINE.fullmatch(line))}


def test_the_example_explains_exactly_the_variables_used(compose: ComposeFile, example: list[str]):
    assert names(example) - COMPOSES_OWN == compose.variables


def test_every_line_has_its_explanation_above_it(example: list[str]):
    for number, line in enumerate(example):
        if LINE.fullmatch(line):
            assert example[number - 1].startswith("#"), line


def test_the_example_itself_holds_no_secret(example: list[str]):
    empty = {match[1] for line in example if (match := LINE.fullmatch(line)) and not match[2]}

    secret = {
        name for name in names(example) if re.search(r"PASSWORD|SECRET|FERNET|LIST_KEY", name)
    }
    assert secret
    assert secret <= empty


def test_a_new_env_has_every_required_variable(compose: ComposeFile, variables: dict[str, str]):
    required = re.findall(r"\$\{(\w+):\?", compose.text)

    assert required
    assert all(variables[name] for name in required)
    assert interpolated(compose.text, variables)


def test_without_an_env_the_error_says_what_to_do(compose: ComposeFile):
    with pytest.raises(KeyError, match=r"run sh docker/new-env\.sh"):
        interpolated(compose.text, {})


def test_new_secrets_are_long_different_and_fit_into_urls(variables: dict[str, str]):
    secret = "_PASSWORD|_SECRET|_LIST_KEY"
    made = [value for name, value in variables.items() if re.search(secret, name)]

    assert len(made) == len(set(made)) == 8
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in made)
    Fernet(variables["AIRFLOW_FERNET_KEY"])


def test_a_new_env_is_for_its_owner_only(new_env: Path):
    assert stat.S_IMODE(new_env.stat().st_mode) == 0o600


def test_an_existing_env_is_never_overwritten(new_env: Path):
    before = new_env.read_bytes()

    again = subprocess.run(
        ["sh", new_env.parent / "docker" / "new-env.sh"], capture_output=True, text=True
    )

    assert again.returncode == 1
    assert "is not changed" in again.stderr
    assert new_env.read_bytes() == before


def test_out_of_the_box_the_sandbox_is_on(variables: dict[str, str]):
    assert variables["COMPOSE_PROFILES"] == "sandbox"
    assert "AIRFLOW_CONN_SMS_GATEWAY" not in variables


def test_env_files_stay_out_of_git_and_image():
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    assert "!.env" not in (ROOT / ".dockerignore").read_text()
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()
