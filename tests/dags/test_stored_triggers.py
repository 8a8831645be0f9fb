"""Waits stored in Airflow's database before an upgrade resume after it."""

import json
from typing import Any

import pytest
from airflow.sdk.module_loading import import_string

ACCOUNT = {
    "conn_id": "sms_gateway",
    "address": "campaigns@gateway.example:22",
    "service_id": "12345",
    "folders": {"Send": "Send", "Report": "Report"},
}
WAIT = {
    "account": ACCOUNT,
    "stem": "SEND-12345-20270302-1000-spring",
    "deadline": "2027-03-02T21:00:00+00:00",
    "poll": 15.0,
}
# As a triggerer stored them in November 2026: class path and arguments. Rows are only ever added.
STORED = [
    ("sms_airflow.triggers.VerdictTrigger", json.dumps(WAIT)),
    ("sms_airflow.triggers.ReportTrigger", json.dumps(WAIT)),
    ("sms_airflow.triggers.HourTrigger", '{"moment": "2027-03-02T09:30:00+00:00"}'),
]


@pytest.mark.parametrize(("path", "arguments"), STORED, ids=[path for path, _ in STORED])
def test_a_stored_trigger_resumes(path: str, arguments: str) -> None:
    stored: dict[str, Any] = json.loads(arguments)

    trigger = import_string(path)(**stored)

    assert trigger.serialize() == (path, stored)
