"""What is left on the account at the provider, if the connection `sms_balance` says how to ask."""

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
    """The balance behind a connection of type http; never an exception: not knowing is a word.

    `POST /balance` with the form fields username and password; the answer is `{"amount": ...}`. A
    wrong password is answered with 200, too, and without an amount.
    """
    if not (found.host and found.login and found.password):
        return Balance(None, "the connection sms_balance lacks its host, login or password")
    form = urllib.parse.urlencode({"username": found.login, "password": found.password})
    request = urllib.request.Request(_address(found), form.encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            told = json.load(answer)
    except (OSError, ValueError, http.client.HTTPException) as error:
        # Away, an HTTP error, or no JSON. Not the error's own words, which may hold the address.
        why = error.code if isinstance(error, urllib.error.HTTPError) else type(error).__name__
        return Balance(None, f"the provider did not tell it ({why})")
    amount: Any = told.get("amount") if isinstance(told, dict) else None
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
