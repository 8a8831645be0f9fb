"""A home of its own for whatever imports airflow in the tests: loaded before anything else.

Airflow reads its configuration when it is first imported, so this must stand in the environment
by then; the connections and the settings of the machine that runs the tests must not.
"""

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path

from sqlalchemy import URL, make_url

ROOT = Path(__file__).resolve().parents[1]
DAGS = ROOT / "dags"


def move_in() -> Path:
    """Point the environment at a fresh Airflow home; the folder."""
    for name in [name for name in os.environ if name.startswith(("AIRFLOW", "SMS_"))]:
        del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="sms-airflow-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    }
    return home


HOME = move_in()


def ledger_connection(url: str | URL) -> str:
    """The ledger behind a URL, as Airflow's environment has it."""
    where = make_url(url)
    socket_folder = str(where.query["host"])
    known_by = {"login": where.username, "schema": where.database}
    return json.dumps({"conn_type": "postgres", "host": socket_folder, **known_by})
