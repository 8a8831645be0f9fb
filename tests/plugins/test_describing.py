"""The program that asks warehouses for columns: its answers, however a driver behaves."""

import threading

import pytest

from sms.errors import BadCampaign, ConfigurationError, SourceError, WarehouseUnreachable
from sms.run.query_columns import Query, QueryColumn
from sms_airflow.describing import answers

SHOP, CRM = (Query(each, "SELECT 1 AS n", f"{each}/recipients.sql") for each in ("shop", "crm"))


def test_queries_are_answered_in_order() -> None:
    def columns(conn_id: str, sql: str, where: str) -> list[QueryColumn]:
        if conn_id == "shop":
            raise BadCampaign(where, 3, "is wrong")
        return [QueryColumn("n")]

    told = answers([SHOP, CRM, SHOP], columns)

    assert [str(each.fault) for each in told] == [
        "shop/recipients.sql, line 3: is wrong",
        "None",
        "shop/recipients.sql, line 3: is wrong",
    ]
    assert told[1].columns == (QueryColumn("n"),)


@pytest.mark.parametrize(
    "error", [WarehouseUnreachable("is away"), ConfigurationError("there is none")]
)
def test_a_connection_that_fails_is_tried_once(error: Exception) -> None:
    tried = []

    def columns(conn_id: str, sql: str, where: str) -> list[QueryColumn]:
        tried.append(conn_id)
        if conn_id == "shop":
            raise error
        return [QueryColumn("n")]

    told = answers([SHOP, SHOP, CRM, SHOP], columns)

    assert tried == ["shop", "crm"]
    assert [each.fault and each.fault.problem for each in told] == [
        *[str(error), str(error)],
        None,
        str(error),
    ]
    assert not any(each.fault.path for each in told if each.fault)


def test_a_silent_driver_ends_in_a_timeout() -> None:
    forever = threading.Event()

    def columns(conn_id: str, sql: str, where: str) -> list[QueryColumn]:
        if conn_id == "shop":
            forever.wait()
        return [QueryColumn("n")]

    try:
        told = answers([SHOP, SHOP, CRM], columns, patience=1)
    finally:
        forever.set()

    assert [each.fault is None for each in told] == [False, False, True]
    assert "the warehouse shop did not answer within 1 seconds" in str(told[0].fault)


def test_an_unexpected_error_is_reported_without_its_message() -> None:
    def columns(conn_id: str, sql: str, where: str) -> list[QueryColumn]:
        raise RuntimeError("dsn=postgresql://anna:s3cret@host")

    [told] = answers([SHOP], columns)

    assert told.fault
    assert "an unexpected RuntimeError in tests.plugins.test_describing, line" in str(told.fault)
    assert "s3cret" not in str(told.fault)


@pytest.mark.parametrize(
    "error", [WarehouseUnreachable, SourceError, lambda said: BadCampaign("x.sql", None, said)]
)
def test_a_password_that_a_driver_repeats_is_masked(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    from sms_airflow import wiring

    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "postgresql://anna:corr3ct-horse@host/shop")
    wiring.connection("shop", "any")

    def columns(conn_id: str, sql: str, where: str) -> list[QueryColumn]:
        raise error("no login by corr3ct-horse at host")

    [told] = answers([SHOP], columns)

    assert "corr3ct" not in str(told.fault)
