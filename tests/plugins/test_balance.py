"""The account's balance from a real HTTP server; an unknown balance stops nothing."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import pytest

from sms.errors import LimitTripped
from sms.run import review as reviewed
from sms.run.limits import UNASKED, Balance
from sms_airflow import wiring
from tests.world import SANDBOX_ONLY, World, numbers

Answer = tuple[int, bytes]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, bytes], None]]:
    """A provider that gives one answer to whoever knows the password, another to all others."""
    answers: list[Answer] = []

    class World(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            known = form == {"username": ["shop"], "password": ["a & b"]}
            known &= self.path == "/balance"
            status, body = answers[0] if known else (200, b'{"error": "wrong password"}')
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep silent."""

    with HTTPServer(("127.0.0.1", 0), World) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        connect(monkeypatch, server.server_port)
        yield lambda status, body: answers.insert(0, (status, body))
        server.shutdown()
        thread.join()


def connect(monkeypatch: pytest.MonkeyPatch, port: int, password: str = "a & b") -> None:
    facts = {"conn_type": "http", "host": "127.0.0.1", "schema": "http", "port": port}
    login = {"login": "shop", "password": password}
    monkeypatch.setenv("AIRFLOW_CONN_SMS_BALANCE", json.dumps({**facts, **login}))


@pytest.mark.parametrize(
    ("status", "body", "balance"),
    [
        (200, b'{"amount": 12.5}', Balance(12.5)),
        (200, b'{"amount": "0.00"}', Balance(0.0)),
        (500, b"", Balance(None, "the provider did not return it (500)")),
        (
            200,
            b'{"amount": NaN}',
            Balance(
                None,
                "the provider answered without an amount: check login and password of the "
                "connection sms_balance",
            ),
        ),
        (200, b"<html>", Balance(None, "the provider did not return it (JSONDecodeError)")),
    ],
)
def test_the_balance_is_what_the_provider_says(
    provider: Callable[[int, bytes], None], status: int, body: bytes, balance: Balance
) -> None:
    provider(status, body)

    assert wiring.balance() == balance


def test_a_wrong_password_is_reported_despite_a_successful_response(
    provider: Callable[[int, bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    provider(200, b'{"amount": 12.5}')
    port = json.loads(os.environ["AIRFLOW_CONN_SMS_BALANCE"])["port"]
    connect(monkeypatch, port, password="guessed")

    found = wiring.balance()

    assert found.amount is None
    assert "check login and password" in found.why
    assert "guessed" not in found.why


def test_an_unreachable_provider_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, 1)

    assert "the provider did not return it" in wiring.balance().why


def test_without_a_connection_no_request_is_made() -> None:
    assert wiring.balance() == UNASKED


@SANDBOX_ONLY
def test_a_run_costing_more_than_the_balance_stops(world: World) -> None:
    world.settings = world.settings.model_copy(update={"prices": {"FR": 0.05}})
    world.prepare(numbers(3))
    plan, folder = world.run_folder("one").read_plan(), world.run_folder("one")

    def review(balance: Balance) -> str:
        return reviewed.review(plan, folder, world.ledger, world.settings, balance)

    with pytest.raises(LimitTripped, match=r"0\.15 EUR is more than the account's balance, 0\.14"):
        review(Balance(0.14))
    assert "- **Balance:** 0.15 at the provider" in review(Balance(0.15))
    assert "- **Balance:** not known, since there is no connection sms_balance" in review(UNASKED)
