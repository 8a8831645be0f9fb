"""The program that tells what queries would return: `sms check --warehouse` calls it.

    python -m sms_airflow.describing < queries.json

What belongs here: which warehouse a query goes to, and how long it may take. What goes in and out
is in `sms.run.query_columns`.
"""

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable

from sms.errors import BadCampaign, ConfigurationError, WarehouseUnreachable
from sms.run.query_columns import PATIENCE, Answer, Query, QueryColumn

CONNECTING = "10"  # seconds, for PostgreSQL's library, unless the environment says otherwise
Described = Callable[[str, str, str], list[QueryColumn]]


def answers(
    queries: Iterable[Query], columns: Described, patience: float = PATIENCE
) -> list[Answer]:
    """What each query returns, by `columns`; a connection that fails is not tried again.

    A fault of a connection has no path.
    """
    failed: dict[str, Answer] = {}
    found = []
    for each in queries:
        answer = failed.get(each.connection) or _in_time(each, columns, patience)
        if answer.fault and not answer.fault.path:
            failed[each.connection] = answer
        found.append(answer)
    return found


def _in_time(query: Query, columns: Described, patience: float) -> Answer:
    """The answer, unless it takes too long: not every driver can be told how long to wait."""
    answered: list[Answer] = []
    asking = threading.Thread(
        target=lambda: answered.append(_answer(query, columns)), name="sms-describing", daemon=True
    )
    asking.start()
    asking.join(patience)
    if answered:
        return answered[0]
    return _unasked(
        f"the warehouse {query.connection} did not answer within {patience:g} seconds: see "
        "whether its host and port can be reached from here"
    )


def _answer(query: Query, columns: Described) -> Answer:
    try:
        return Answer(tuple(columns(query.connection, query.sql, query.path)))
    except BadCampaign as error:
        return Answer(fault=BadCampaign(error.path, error.line, _masked(error.problem)))
    except (ConfigurationError, WarehouseUnreachable) as error:
        return _unasked(_masked(str(error)))
    except Exception as error:
        *_, (frame, line) = traceback.walk_tb(error.__traceback__)
        place = f"{frame.f_globals.get('__name__')}, line {line}"
        return _unasked(
            f"the warehouse {query.connection} could not be asked: an unforeseen "
            f"{type(error).__name__} in {place}, whose words may quote a secret and are withheld"
        )


def _unasked(problem: str) -> Answer:
    return Answer(fault=BadCampaign("", None, problem))


def _masked(sentence: str) -> str:
    """A driver's words without any password that Airflow knows."""
    from airflow.sdk.log import redact

    return str(redact(sentence))


def main() -> None:
    """Answer the queries of standard input, and print nothing else, whatever Airflow logs."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.environ.setdefault("PGCONNECT_TIMEOUT", CONNECTING)
    # As Airflow's own commands do: connections are also looked for in Airflow's database.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    from sms_airflow import wiring

    queries = [Query(**each) for each in json.load(sys.stdin)]
    json.dump([each.as_json() for each in answers(queries, wiring.columns)], out)
    out.close()
    os._exit(0)  # whatever a driver still waits for


if __name__ == "__main__":
    main()
