"""The program that reads the columns of queries: `sms check --warehouse` calls it.

    python -m sms_airflow.describing < queries.json

What belongs here: the warehouse of a query, and its time limit. `sms.run.query_columns` defines the
input and the output.
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
    """The answer to each query, by the function `columns`.

    A connection that fails is not tried again; its fault has no path.
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
    """The answer, or a fault if it takes too long: not every driver has a timeout."""
    answered: list[Answer] = []
    asking = threading.Thread(
        target=lambda: answered.append(_answer(query, columns)), name="sms-describing", daemon=True
    )
    asking.start()
    asking.join(patience)
    if answered:
        return answered[0]
    return _unasked(
        f"the warehouse {query.connection} did not answer within {patience:g} seconds: check that "
        "its host and port can be reached from here"
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
            f"the warehouse {query.connection} could not be asked: an unexpected "
            f"{type(error).__name__} in {place}; its text is withheld, as it may quote a secret"
        )


def _unasked(problem: str) -> Answer:
    return Answer(fault=BadCampaign("", None, problem))


def _masked(sentence: str) -> str:
    """A driver's message, with the passwords that Airflow knows masked."""
    from airflow.sdk.log import redact

    return str(redact(sentence))


def main() -> None:
    """Answer the queries of standard input on standard output; Airflow's logs go to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.environ.setdefault("PGCONNECT_TIMEOUT", CONNECTING)
    # As in Airflow's own commands: connections are also read from Airflow's database.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    from sms_airflow import wiring

    queries = [Query(**each) for each in json.load(sys.stdin)]
    json.dump([each.as_json() for each in answers(queries, wiring.columns)], out)
    out.close()
    os._exit(0)  # a driver's thread may still wait


if __name__ == "__main__":
    main()
