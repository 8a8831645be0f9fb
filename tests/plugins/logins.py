"""Judges how a refused login is reported."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from sms.errors import ConfigurationError
from sms_airflow import wiring
from sms_airflow.triggers import ReportTrigger, VerdictTrigger
from tests.plugins.ssh_key_texts import (
    SECRET,
)
from tests.waiting import first_event, trigger
from tests.world import Gateway, connect


def at_once(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, **extras: Any) -> Iterator[str]:
    """What is said of a connection, to whoever connects: a task, and a wait that goes on meanwhile.

    It is final, and nobody has been asked.
    """
    waits = [trigger(VerdictTrigger), trigger(ReportTrigger)]
    session = wiring.gateway()
    connect(monkeypatch, gateway, **{"key_file": None, **extras})
    for opened in (wiring.gateway, wiring.account, session.__enter__):
        with pytest.raises(ConfigurationError) as wrong:
            opened()
        assert not wrong.value.retryable
        yield str(wrong.value)
    for wait in waits:
        event = asyncio.run(first_event(wait))
        assert event["saw"] == "refusal"
        yield str(event["why"])
    assert gateway.counts()["connection"] == 0


def quotes_no_secret(said: str, *secrets: str) -> bool:
    words = [word for text in secrets for word in text.split() if len(word) > 12]
    kept = [word for word in words if "PRIVATE" not in word and "Key-File" not in word]
    return not any(word in said for word in kept) and SECRET not in said
