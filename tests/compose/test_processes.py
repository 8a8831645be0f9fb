"""The commands, environments and health checks of docker-compose.yaml, run as processes.

Only what containers bring is replaced: the folder /opt/airflow by a copy made as the Dockerfile
says, and the services' addresses by ports of this machine.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psycopg
import pytest

from demo.ports import free_port
from demo.postgres import PostgreSQL
from demo.processes import Guard, Processes, tail
from tests.compose import image
from tests.compose.reading import ComposeFile, interpolated
from tests.conftest import running_postgres

# One stack for all of them.
pytestmark = [pytest.mark.xdist_group("compose"), pytest.mark.server]

PATIENCE = 600.0  # seconds; about 20 on a quiet machine


@dataclass(frozen=True, slots=True)
class Host:
    """This machine in the place of the containers."""

    compose: ComposeFile
    variables: Mapping[str, str]
    home: Path
    ports: Mapping[str, int]

    def here(self, text: str) -> str:
        """What is meant inside a container, said for this machine."""
        for address, port in self.ports.items():
            text = text.replace(address, f"127.0.0.1:{port}")
        return text.replace("/opt/airflow", str(self.home))

    def environment(self, service: str) -> dict[str, str]:
        """What the service's processes see here."""
        given = self.compose.environment(service, self.variables)
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "AIRFLOW_HOME": str(self.home),  # the image sets it
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.ports["airflow-apiserver:8080"]),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(
                self.ports["127.0.0.1:8974"]
            ),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            **{name: self.here(value) for name, value in given.items()},
        }

    def command(self, service: str) -> list[str]:
        """What the service runs, with its port where it listens by itself."""
        words = [interpolated(word, self.variables) for word in self._words(service)]
        port = self.ports["sandbox:2222"]
        listen = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=2222": f"--port={port}"}
        return [self.here(listen.get(word, word)) for word in words]

    def health_check(self, service: str) -> list[str]:
        """The command that says whether the service is well."""
        kind, *words = self.compose.services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        port = self.ports["sandbox:2222"]
        return [
            self.here(
                interpolated(word, self.variables).replace(
                    '"127.0.0.1", 2222', f'"127.0.0.1", {port}'
                )
            )
            for word in words
        ]

    def _words(self, service: str) -> list[str]:
        # dumb-init hands signals on and is no part of the command; without an entrypoint here,
        # the image's own waits for the database and then runs the command as it stands.
        entrypoint = self.compose.services[service].get("entrypoint")
        assert entrypoint in (None, ["/usr/bin/dumb-init", "--"])
        words: list[str] = self.compose.services[service]["command"]
        return words

    def log(self, service: str) -> Path:
        """What the service said."""
        return self.home / "logs" / f"{service}.log"

    def run(self, service: str, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command where the service runs."""
        return subprocess.run(
            command,
            env=self.environment(service),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    with running_postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture(scope="module")
def host(
    compose: ComposeFile,
    variables: dict[str, str],
    server: PostgreSQL,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Host]:
    home = tmp_path_factory.mktemp("home")
    image.lay_out(home)
    ui = free_port()
    ports = {
        "postgres:5432": free_port(),
        "airflow-apiserver:8080": ui,
        "127.0.0.1:8080": ui,
        "localhost:8080": ui,
        "127.0.0.1:8974": free_port(),
        "sandbox:2222": free_port(),
    }
    (socket,) = Path(server.socket_folder).glob(".s.PGSQL.[0-9]*[0-9]")
    doorway = Path(__file__).with_name("doorway.py")
    with ended(
        subprocess.Popen([sys.executable, doorway, str(ports["postgres:5432"]), str(socket)])
    ):
        yield Host(compose, variables, home, ports)


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """A child that does not outlive the block."""
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def ready(host: Host) -> str:
    """The init service has run once; what it said."""
    done = host.run("airflow-init", host.command("airflow-init"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def submissions(ready: str, server: PostgreSQL) -> int:
    """How many the ledger holds before anything else has run."""
    with server.connect("ledger") as connection:
        [[count]] = connection.execute("SELECT count(*) FROM sms.submission")
    return count


@pytest.fixture(scope="module")
def stack(host: Host, submissions: int, compose: ComposeFile) -> Iterator[Processes]:
    """The sandbox and Airflow's four parts run."""
    with ExitStack() as undo:
        guard = Guard(host.log("guard"))
        undo.callback(guard.close)
        processes = undo.enter_context(Processes(guard, wave=0, grace=15))
        for service in ["sandbox", *compose.airflow()]:
            processes.start(
                service,
                host.command(service),
                env=host.environment(service),
                cwd=host.home,
                log=host.log(service),
            )
        yield processes


def test_init_makes_the_databases_and_confines_their_roles(
    ready: str, server: PostgreSQL, variables: dict[str, str]
):
    with server.connect() as connection:
        roles = connection.execute(
            "SELECT rolname, rolsuper, rolpassword IS NOT NULL FROM pg_authid "
            "WHERE rolname IN ('airflow', 'ledger', 'warehouse') ORDER BY rolname"
        ).fetchall()
    assert roles == [(name, False, True) for name in ("airflow", "ledger", "warehouse")]

    for stranger, database in [
        ("warehouse", "ledger"),
        ("warehouse", "airflow"),
        ("ledger", "airflow"),
    ]:
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(host=server.socket_folder, user=stranger, dbname=database)


def test_init_fills_the_ledger_and_the_sample_warehouse(submissions: int, server: PostgreSQL):
    assert submissions == 0
    with server.connect("warehouse") as connection:
        tables = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'shop'"
        ).fetchone()
        assert tables is not None
        assert tables[0] > 0


def test_init_prints_no_secret(ready: str, variables: dict[str, str]):
    secret = [
        value for name, value in variables.items() if re.search("PASSWORD|SECRET|FERNET", name)
    ]

    assert not any(value in ready for value in secret)
    assert "PRIVATE KEY" not in ready


def test_every_part_becomes_healthy_by_its_own_check(host: Host, stack: Processes):
    # `airflow jobs check` costs seconds of a core: asked only when the others are there.
    cheap = ["sandbox", "airflow-apiserver", "airflow-scheduler"]
    dear = ["airflow-dag-processor", "airflow-triggerer"]
    verdicts = {service: wait_for(host, stack, service) for service in cheap}
    with ThreadPoolExecutor() as pool:
        asked = {service: pool.submit(wait_for, host, stack, service) for service in dear}
        verdicts |= {service: answer.result() for service, answer in asked.items()}

    assert verdicts.keys() == host.compose.long_running().keys() - {"postgres"}
    for service, complaint in verdicts.items():
        assert complaint == "", f"{service}: {complaint}\n{tail(host.log(service))}"


def wait_for(host: Host, stack: Processes, service: str) -> str:
    """Ask the health check until it says yes; else what it said last."""
    deadline = time.monotonic() + PATIENCE
    while True:
        stack.check()
        checked = host.run(service, host.health_check(service))
        if checked.returncode == 0:
            return ""
        if time.monotonic() > deadline:
            return checked.stdout + checked.stderr or f"exit code {checked.returncode}"
        time.sleep(0.5)


def test_the_admin_logs_in_and_sees_every_campaign(
    host: Host, stack: Processes, variables: dict[str, str]
):
    assert wait_for(host, stack, "airflow-apiserver") == ""
    with ui(host, {"AIRFLOW_ADMIN_PASSWORD": "a guess"}) as stranger:
        assert stranger.get("/api/v2/dags").status_code == 401

    campaigns = {path.name for path in (host.home / "include" / "campaigns").iterdir()}
    expected = {f"send__{name}" for name in campaigns}
    assert expected
    with ui(host, variables) as client:
        await_dags(host, client, expected)
        assert client.get("/api/v2/importErrors").json()["import_errors"] == []


@contextmanager
def ui(host: Host, variables: Mapping[str, str]) -> Iterator[httpx.Client]:
    """A session of the admin's, if the password is right."""
    address = f"http://127.0.0.1:{host.ports['localhost:8080']}"
    login = {"username": "admin", "password": variables["AIRFLOW_ADMIN_PASSWORD"]}
    with httpx.Client(base_url=address, trust_env=False, timeout=PATIENCE) as client:
        answer = client.post("/auth/token", json=login)
        if answer.is_success:
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


def dag_ids(client: httpx.Client) -> set[str]:
    return {dag["dag_id"] for dag in client.get("/api/v2/dags").json()["dags"]}


def await_dags(host: Host, client: httpx.Client, expected: set[str]) -> None:
    """Wait until Airflow knows these DAGs."""
    deadline = time.monotonic() + PATIENCE
    while missing := expected - dag_ids(client):
        said = tail(host.log("airflow-dag-processor"))
        assert time.monotonic() < deadline, f"{missing}: {said}"
        time.sleep(0.5)


DRY_RUN = {"dry_run": True, "limit": 20}


def test_tasks_reach_the_gateway_the_warehouse_and_the_ledger(
    host: Host, stack: Processes, variables: dict[str, str]
):
    for service in ("sandbox", "airflow-apiserver"):
        assert wait_for(host, stack, service) == "", service
    with ui(host, variables) as client:
        await_dags(host, client, {"collect_replies", "send__parcel_ready"})
        runs = {
            "collect_replies": started(client, "collect_replies", {}),  # gateway, ledger
            "send__parcel_ready": started(client, "send__parcel_ready", DRY_RUN),  # warehouse
        }
        deadline = time.monotonic() + PATIENCE
        while (
            "running"
            in (states := {dag: state(client, dag, run) for dag, run in runs.items()}).values()
        ):
            stack.check()
            assert time.monotonic() < deadline, states
            time.sleep(0.5)

    assert set(states.values()) == {"success"}, f"{states}\n{tail(host.log('airflow-scheduler'))}"
    reviews = list((host.home / "data" / "runs" / "send__parcel_ready").glob("*/04_review.md"))
    assert len(reviews) == 1


def started(client: httpx.Client, dag: str, conf: dict[str, object]) -> str:
    """Let a DAG run, now and once; its run's id."""
    assert client.patch(f"/api/v2/dags/{dag}", json={"is_paused": False}).is_success
    run = client.post(f"/api/v2/dags/{dag}/dagRuns", json={"logical_date": None, "conf": conf})
    assert run.is_success, run.text
    run_id: str = run.json()["dag_run_id"]
    return run_id


def state(client: httpx.Client, dag: str, run: str) -> str:
    """Where a run stands; one that waits for its start counts as running."""
    found: str = client.get(f"/api/v2/dags/{dag}/dagRuns/{run}").json()["state"]
    return "running" if found == "queued" else found


def test_init_without_the_sandbox_names_the_missing_connections(host: Host, stack: Processes):
    production = {**host.variables, "COMPOSE_PROFILES": "", "SMS_SANDBOX_CLOCK": ""}
    there = replace(host, variables=production)

    done = there.run("airflow-init", there.command("airflow-init"))

    assert done.returncode == 0, done.stderr[-4000:]
    assert "sms_gateway and sms_warehouse must be in .env" in done.stdout
    assert "sample warehouse" not in done.stdout


def test_the_sandboxs_keys_are_made_once(host: Host, ready: str):
    keys = host.home / "sandbox-keys"
    before = {file.name: file.read_bytes() for file in keys.iterdir()}

    again = host.run("airflow-init", ["python", "docker/sandbox_connections.py"])

    assert before.keys() == {"client", "client.pub", "host", "host.pub"}
    assert {file.name: file.read_bytes() for file in keys.iterdir()} == before
    extra = json.loads(again.stdout)["sms_gateway"]["extra"]
    assert before["host.pub"].decode().startswith(extra["host_key"])
    assert extra["private_key"].encode() == before["client"]
    assert (keys / "client").stat().st_mode & 0o077 == 0


def test_only_its_owner_can_read_the_login_file(host: Host, ready: str, variables: dict[str, str]):
    file = host.home / "auth" / "passwords.json"

    assert json.loads(file.read_text()) == {"admin": variables["AIRFLOW_ADMIN_PASSWORD"]}
    assert file.stat().st_mode & 0o077 == 0
