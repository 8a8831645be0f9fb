"""The balance of the provider's account, read over the optional connection `sms_balance`."""

import http.client
import json
import math
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from airflow.sdk import Connection

from sms.run.limits import Balance

PATIENCE = 10.0  # seconds


def ask(found: Connection) -> Balance:
    """The balance by a connection of type http. Never raises: a failure is a Balance with `why`.

    `POST /balance` with the form fields username and password; the answer is `{"amount": ...}`. The
    answer to a wrong password has the status 200 too, and no amount.
    """
    if not (found.host and found.login and found.password):
        return Balance(None, "the connection sms_balance lacks its host, login or password")
    form = urllib.parse.urlencode({"username": found.login, "password": found.password})
    request = urllib.request.Request(_address(found), form.encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            payload = json.load(answer)
    except (OSError, ValueError, http.client.HTTPException) as error:
        # Unreachable, an HTTP error, or no JSON. The error's text may hold the address: not shown.
        why = error.code if isinstance(error, urllib.error.HTTPError) else type(error).__name__
        return Balance(None, f"the provider did not return it ({why})")
    amount: Any = payload.get("amount") if isinstance(payload, dict) else None
    try:
        held = float(amount)
    except (TypeError, ValueError):
        held = math.nan
    if not math.isfinite(held):
        return Balance(
            None,
            "the provider answered without an amount: check login and password of the connection "
            "sms_balance",
        )
    return Balance(held)


def _address(found: Connection) -> str:
    host = str(found.host).rstrip("/")
    if "://" not in host:
        host = f"{found.schema or 'https'}://{host}"
    return f"{host}{f':{found.port}' if found.port else ''}/balance"
