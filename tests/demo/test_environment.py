"""The environment of the demo's processes, and what of the caller's never reaches them."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from demo import environment, settings
from demo.environment import ROOT
from sms.settings import load


def airflow(caller: dict[str, str], home: Path) -> dict[str, str]:
    return environment.airflow(
        caller,
        home=home,
        dags=ROOT / "dags",
        database="postgresql+psycopg2://postgres@/airflow?host=/tmp/x",
        port=12345,
        parallelism=4,
    )


@pytest.mark.parametrize(
    "name",
    [
        "AIRFLOW__CORE__EXECUTOR",
        "AIRFLOW__SECRETS__BACKEND",
        "AIRFLOW_CONN_SMS_WAREHOUSE",
        "AIRFLOW_CONN_SMS_GATEWAY",
        "SMS_SANDBOX_CLOCK",
        "PGHOST",
        "PYTHONWARNINGS",
        "https_proxy",
    ],
)
def test_nothing_that_would_change_the_stack_is_inherited(name: str, tmp_path: Path) -> None:
    made = airflow({name: "the caller's", "HOME": "/home/anna"}, tmp_path)

    assert "the caller's" not in made.values()
    assert made["HOME"] == "/home/anna"


def test_the_callers_connections_are_inherited_except_the_ledgers() -> None:
    caller = {
        "AIRFLOW_CONN_SMS_WAREHOUSE": "postgresql://shop",
        "AIRFLOW_CONN_SMS_GATEWAY": "sftp://gateway",
        "AIRFLOW_CONN_SLACK": "slack://",
        "AIRFLOW_CONN_SMS_LEDGER": "postgresql://books",
        "AIRFLOW__CORE__EXECUTOR": "another",
        "PATH": "/bin",
    }

    assert environment.connections(caller).keys() == {
        "AIRFLOW_CONN_SMS_WAREHOUSE",
        "AIRFLOW_CONN_SMS_GATEWAY",
        "AIRFLOW_CONN_SLACK",
    }


def test_airflow_listens_on_this_machine_only(tmp_path: Path) -> None:
    made = airflow({}, tmp_path)

    assert made["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert made["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:12345/execution/"


def test_two_stacks_share_no_secret(tmp_path: Path) -> None:
    first, second = airflow({}, tmp_path), airflow({}, tmp_path)

    secret = ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY")
    for name in (*secret, "AIRFLOW__CORE__FERNET_KEY"):
        assert first[name] != second[name]


def test_the_password_is_readable_only_by_its_owner(tmp_path: Path) -> None:
    password = environment.write_password(tmp_path)

    file = environment.passwords_file(tmp_path)
    assert json.loads(file.read_text()) == {"admin": password}
    assert file.stat().st_mode & 0o077 == 0


def test_the_settings_differ_only_by_the_given_changes(tmp_path: Path) -> None:
    target = tmp_path / "settings.yaml"

    settings.write(ROOT / "include" / "settings.yaml", target, {"verdict_poll": 0.5})

    assert load(target) == load(ROOT / "include" / "settings.yaml").model_copy(
        update={"verdict_poll": 0.5}
    )


def test_a_change_of_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    origin = tmp_path / "origin.yaml"
    YAML().dump({"verdict_poll": 15}, origin)

    with pytest.raises(KeyError, match="has no setting verdict_pol"):
        settings.write(origin, tmp_path / "settings.yaml", {"verdict_pol": 1})
