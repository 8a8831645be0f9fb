"""A warehouse whose provider is not installed fails at once, by the package's name."""

import pytest

from sms.errors import ConfigurationError
from sms_airflow import wiring


@pytest.mark.parametrize(
    ("kind", "package"),
    [
        ("snowflake", "apache-airflow-providers-snowflake"),
        ("oracle", "apache-airflow-providers-oracle"),
        ("gcpbigquery", "apache-airflow-providers-google"),
        ("redshift", "apache-airflow-providers-amazon"),
        ("mssql", "apache-airflow-providers-microsoft-mssql"),
    ],
)
def test_a_missing_provider_is_named_without_retry(
    monkeypatch: pytest.MonkeyPatch, kind: str, package: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", f'{{"conn_type": "{kind}", "host": "x"}}')

    with pytest.raises(ConfigurationError, match=f"install {package} where") as refused:
        list(wiring.rows("elsewhere", "SELECT 1", "recipients.sql"))

    assert not refused.value.retryable
    assert f"the type {kind} of the connection elsewhere" in str(refused.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver(self: object, **how: object) -> None:
        raise ModuleNotFoundError("No module named 'pyodbc'", name="pyodbc")

    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", '{"conn_type": "odbc", "host": "x"}')
    monkeypatch.setattr(wiring.Connection, "get_hook", no_driver)

    with pytest.raises(ConfigurationError, match="pyodbc is not installed"):
        list(wiring.rows("elsewhere", "SELECT 1", "recipients.sql"))


def test_a_connection_without_a_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", '{"host": "x"}')

    with pytest.raises(ConfigurationError, match="the connection elsewhere has no type"):
        list(wiring.rows("elsewhere", "SELECT 1", "recipients.sql"))


@pytest.mark.parametrize("kind", ["generic", "email", "sftp", "ssh", "smtp"])
def test_a_connection_to_no_database_is_refused(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", f'{{"conn_type": "{kind}", "host": "x"}}')

    with pytest.raises(ConfigurationError, match=f"is of the type {kind}, which is no database:"):
        list(wiring.rows("elsewhere", "SELECT 1", "recipients.sql"))
