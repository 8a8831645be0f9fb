"""A real compose, which needs no engine to parse a file, reads ours as we do."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.compose.reading import COMPOSE_FILE, ComposeFile


@pytest.fixture(scope="module")
def parser(needed_tool: Callable[..., str]) -> list[str]:
    """`docker compose` where that plugin is installed, else the older `docker-compose`."""
    if docker := shutil.which("docker"):
        plugin = subprocess.run([docker, "compose", "version"], capture_output=True)
        if plugin.returncode == 0:
            return [docker, "compose"]
    return [needed_tool("docker-compose")]


@pytest.fixture
def checkout(tmp_path: Path, new_env: Path) -> Path:
    shutil.copy(COMPOSE_FILE, tmp_path)
    shutil.copy(new_env, tmp_path)
    (tmp_path / "Dockerfile").touch()
    return tmp_path


def config(parser: list[str], checkout: Path) -> subprocess.CompletedProcess[str]:
    # Compose prefers the caller's variables to those in .env.
    bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [*parser, "config"], cwd=checkout, env=bare, capture_output=True, text=True
    )


def test_compose_reads_the_file_as_we_do(
    parser: list[str], checkout: Path, compose: ComposeFile, variables: dict[str, str]
):
    done = config(parser, checkout)

    assert done.returncode == 0, done.stderr
    assert "WARN" not in done.stderr.upper()
    theirs = YAML(typ="safe").load(done.stdout)["services"]
    assert theirs.keys() == compose.services.keys()
    for name, service in theirs.items():
        given = service.get("environment", {})
        assert {
            variable: str(value).replace("$$", "$")
            for variable, value in given.items()
            if value is not None
        } == compose.environment(name, variables)
        assert service.get("command") == compose.services[name].get("command")
        assert service.get("depends_on", {}).keys() == (
            compose.services[name].get("depends_on", {}).keys()
        )


def test_a_connection_in_env_reaches_airflow_unchanged(
    parser: list[str], checkout: Path, compose: ComposeFile
):
    connection = '{"conn_type": "sftp", "extra": {"private_key": "a\\nb", "service_id": "12345"}}'
    with (checkout / ".env").open("a") as env:
        env.write(f"AIRFLOW_CONN_SMS_GATEWAY='{connection}'\n")

    done = config(parser, checkout)

    services = YAML(typ="safe").load(done.stdout)["services"]
    for name in compose.airflow():
        assert services[name]["environment"]["AIRFLOW_CONN_SMS_GATEWAY"] == connection


def test_a_missing_secret_is_named_with_what_to_do(parser: list[str], checkout: Path):
    env = checkout / ".env"
    lines = env.read_text().splitlines()
    env.write_text("\n".join(line for line in lines if not line.startswith("AIRFLOW_JWT_SECRET")))

    done = config(parser, checkout)

    assert done.returncode != 0
    assert "AIRFLOW_JWT_SECRET" in done.stderr
    assert "docker/new-env.sh" in done.stderr


def test_a_misspelt_key_is_detected(parser: list[str], checkout: Path):
    file = checkout / "docker-compose.yaml"
    file.write_text(file.read_text().replace("healthcheck:", "healtcheck:"))

    assert config(parser, checkout).returncode != 0
