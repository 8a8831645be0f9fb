"""The environment variables of the stack's processes; none is inherited by chance.

Airflow is configured by variables only, and so are its Connections, as in production.
"""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet

ROOT = Path(__file__).parents[1]
GATEWAY = "AIRFLOW_CONN_SMS_GATEWAY"
WAREHOUSE = "AIRFLOW_CONN_SMS_WAREHOUSE"
LEDGER = "AIRFLOW_CONN_SMS_LEDGER"
ADMIN = "admin"

# Variables that would affect our processes: other Airflows, libpq, Python, proxies.
FOREIGN = ("AIRFLOW", "SMS_", "PG", "PYTHON", "COV_", "OTEL_")
PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}

# Intervals in seconds. Airflow's own are for clusters that live for months.
BRISK = {
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
    "TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    # The supervisor of a task notices its end up to one such interval late. By then a fast trigger
    # may have resumed a deferred task, and the scheduler treats the old end as a crash of the new
    # run and fails it (apache/airflow#72716).
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "20",
    "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "2",
}


def inherited(caller: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without variables that would affect our processes."""
    return {
        name: value
        for name, value in caller.items()
        if not name.startswith(FOREIGN) and name.lower() not in PROXIES
    }


def connections(caller: Mapping[str, str]) -> dict[str, str]:
    """The caller's own Connections, which the stack uses.

    A ledger's is left out: trials must not be recorded in a real ledger.
    """
    return {
        name: value
        for name, value in caller.items()
        if name.startswith("AIRFLOW_CONN_") and name != LEDGER
    }


def python(caller: Mapping[str, str]) -> dict[str, str]:
    """The environment of a Python process with only our packages on its path."""
    return inherited(caller) | {
        "PYTHONPATH": f"{ROOT / 'include'}:{ROOT}",
        "PYTHONUNBUFFERED": "1",  # the last output of a dead process must be in its log
    }


def airflow(
    caller: Mapping[str, str], *, home: Path, dags: Path, database: str, port: int, parallelism: int
) -> dict[str, str]:
    """The environment of all parts of Airflow and its command line."""
    url = f"http://127.0.0.1:{port}"
    settings = {
        "CORE__DAGS_FOLDER": str(dags),
        "CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "CORE__EXECUTOR": "demo.executor.PreloadedLocalExecutor",
        "CORE__PARALLELISM": str(parallelism),
        "CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(home)),
        "DATABASE__SQL_ALCHEMY_CONN": database,
        "DATABASE__CHECK_MIGRATIONS": "False",  # the stack has just run them
        "API__HOST": "127.0.0.1",
        "API__PORT": str(port),
        "API__WORKERS": "1",
        "API__BASE_URL": url,
        "API__SECRET_KEY": secrets.token_urlsafe(32),
        "API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        "LOGGING__COLORED_CONSOLE_LOG": "False",
        **BRISK,
    }
    return python(caller) | {
        "AIRFLOW_HOME": str(home),
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
    }


def passwords_file(home: Path) -> Path:
    """The file with the passwords of Airflow's simple auth manager."""
    return home / "passwords.json"


def write_password(home: Path) -> str:
    """Set a new password of the administrator, in a file that only this user can read."""
    password = secrets.token_urlsafe(9)
    file = passwords_file(home)
    file.touch(mode=0o600)
    file.write_text(json.dumps({ADMIN: password}) + "\n")
    return password


def postgres_connection(socket_folder: str, database: str) -> str:
    """A Connection to a database of our PostgreSQL, on its Unix socket."""
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": socket_folder,
            "login": "postgres",
            "schema": database,
        }
    )


def gateway_connection(*, port: int, user: str, key: Path, host_key: str, service_id: str) -> str:
    """A Connection to the sandbox: our key, its host key pinned."""
    return json.dumps(
        {
            "conn_type": "sftp",
            "host": "127.0.0.1",
            "port": port,
            "login": user,
            "extra": {
                "service_id": service_id,
                "send_dir": "Send",
                "report_dir": "Report",
                "key_file": str(key),
                "host_key": host_key,
            },
        }
    )
