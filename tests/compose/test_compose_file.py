"""What docker-compose.yaml promises, read as plain data."""

import ipaddress
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.postgres import PostgreSQL
from sms.settings import Settings
from tests.compose.reading import COMPOSE_FILE, ROOT, ComposeFile

PINNED = re.compile(r"[\w./-]+:\d+\.\d+(\.\d+)?(-[\w.-]+)?")
SECRET = re.compile(r"PASSWORD$|SECRET|_KEY$")
PASSWORD_IN_URL = re.compile(r"://\w*:([^@]*)@")
REFERENCE = re.compile(r"\$\{\w+:\?[^}]+\}")  # the stack refuses to start without it
# Asked for only where the stop list is kept as hashes.
OPTIONAL = {
    "${SMS_STOP_LIST_KEY:-}",
    '{"conn_type": "generic", "password": "${SMS_STOP_LIST_KEY:-}"}',
}
CONDITIONS = {"service_healthy", "service_completed_successfully"}


def strings(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from strings(each)
    else:
        yield str(node)


def mounts(service: dict[str, Any]) -> dict[str, str]:
    return {spec.split(":")[1]: spec.split(":")[0] for spec in service.get("volumes", [])}


def test_the_file_is_valid_by_the_compose_specification():
    schema = ["--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *schema, str(COMPOSE_FILE)],
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_all_services_of_the_system_are_defined(compose: ComposeFile):
    assert set(compose.services) == {
        "postgres",
        "airflow-init",
        "airflow-apiserver",
        "airflow-scheduler",
        "airflow-dag-processor",
        "airflow-triggerer",
        "sandbox",
    }
    assert len(compose.airflow()) == 4


def test_only_the_ui_is_published_and_only_locally(compose: ComposeFile):
    published = {name: one["ports"] for name, one in compose.services.items() if "ports" in one}

    assert published == {"airflow-apiserver": ["127.0.0.1:${AIRFLOW_PORT:-8080}:8080"]}
    assert not any("network_mode" in one for one in compose.services.values())


def test_every_long_running_service_has_healthcheck_and_restart(compose: ComposeFile):
    assert len(compose.long_running()) == len(compose.services) - 1  # all but the init service
    for name, service in compose.long_running().items():
        assert service["restart"] == "unless-stopped", name
        health = service["healthcheck"]
        assert health["test"][0] == "CMD", name
        assert {"interval", "timeout", "retries", "start_period"} <= health.keys(), name


def test_every_dependency_has_a_condition(compose: ComposeFile):
    for name, service in compose.services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] in CONDITIONS, f"{name} -> {other}"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in compose.services[other], f"{name} -> {other}"


def test_no_service_depends_on_the_sandbox(compose: ComposeFile):
    with_profile = {name for name, one in compose.services.items() if "profiles" in one}

    assert with_profile == {"sandbox"}
    assert not any("sandbox" in one.get("depends_on", {}) for one in compose.services.values())


def test_the_parts_of_airflow_share_one_environment(compose: ComposeFile):
    first, *others = [service["environment"] for service in compose.airflow().values()]

    assert all(other == first for other in others)
    assert first.items() <= compose.services["airflow-init"]["environment"].items()
    assert {
        "AIRFLOW__API_AUTH__JWT_SECRET",
        "AIRFLOW__API__SECRET_KEY",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
        "AIRFLOW__CORE__FERNET_KEY",
        "AIRFLOW_CONN_SMS_GATEWAY",
        "AIRFLOW_CONN_SMS_LEDGER",
        "AIRFLOW_CONN_SMS_STOP_LIST_KEY",
        "AIRFLOW_CONN_SMS_WAREHOUSE",
        "PYTHONPATH",
    } <= first.keys()


def test_no_secret_is_written_into_the_file(compose: ComposeFile):
    found = 0
    for service in compose.services.values():
        for name, value in service.get("environment", {}).items():
            if SECRET.search(name):
                assert REFERENCE.fullmatch(value) or value in OPTIONAL, name
                found += 1
        for text in strings(service):
            for password in PASSWORD_IN_URL.findall(text):
                assert REFERENCE.fullmatch(password)
                found += 1

    assert found > 10


def test_images_are_pinned(compose: ComposeFile):
    for name, service in compose.services.items():
        assert PINNED.fullmatch(service["image"]), name


def test_named_volumes_are_declared_and_used(compose: ComposeFile):
    named = {
        source
        for service in compose.services.values()
        for source in mounts(service).values()
        if not source.startswith(".")
    }

    assert named == set(compose.volumes)


def test_mounted_checkout_folders_exist_and_are_read_only(compose: ComposeFile):
    bound = [
        spec
        for service in compose.services.values()
        for spec in service.get("volumes", [])
        if spec.startswith(".")
    ]

    assert bound
    for spec in bound:
        source, _, mode = spec.split(":")
        assert (ROOT / source).exists(), spec
        assert mode == "ro", spec


@pytest.mark.parametrize("folder", ["runs_folder", "archive_folder"])
def test_persistent_data_is_on_a_volume(compose: ComposeFile, folder: str):
    inside = Path(getattr(Settings(), folder).removeprefix("file://")).relative_to(ROOT)

    for name, service in compose.airflow().items():
        assert f"/opt/airflow/{inside}" in mounts(service), name


def test_campaigns_are_read_from_the_checkout(compose: ComposeFile):
    inside = Settings().campaigns_folder.relative_to(ROOT)

    for name, service in compose.airflow().items():
        assert mounts(service)[f"/opt/airflow/{inside}"] == f"./{inside}", name


def test_the_sandbox_lets_dockers_networks_in(compose: ComposeFile):
    allowed = [
        ipaddress.ip_network(word.removeprefix("--allow="))
        for word in compose.services["sandbox"]["command"]
        if word.startswith("--allow=")
    ]

    for address in ("127.0.0.1", "172.18.0.5", "172.31.0.2", "192.168.16.3", "10.0.1.9"):
        assert any(ipaddress.ip_address(address) in network for network in allowed), address
    assert not any(network.is_global for network in allowed)


@pytest.mark.server
def test_postgresql_is_the_one_that_the_tests_run_on(compose: ComposeFile, postgres: PostgreSQL):
    _, _, version = compose.services["postgres"]["image"].partition(":")
    with postgres.connect() as connection:
        assert connection.info.server_version // 10_000 == int(version.split(".")[0])
