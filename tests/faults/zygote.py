"""A process that has everything loaded and forks for each act, so that one costs no imports.

Its arguments are the numbers of sockets, each for one act at a time. From each it reads a JSON
object a line (`act`, `env`, `folders`, `stems`, `token`, `strike`, `report`) and answers with the
exit status of the fork, which writes what it passed by into the file `report`.
"""

import asyncio
import contextlib
import faulthandler
import gc
import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.airflow_home import move_in

move_in()
sys.stdout = sys.stderr  # so is what it prints while it loads

import asyncssh  # noqa: E402
from airflow.providers.sftp.hooks.sftp import SFTPHook  # noqa: E402
from airflow.sdk.bases.operator import ExecutorSafeguard  # noqa: E402
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred  # noqa: E402
from airflow.sdk.lineage import get_hook_lineage_collector  # noqa: E402

import sms.reports.housekeeping  # noqa: E402
from sms import clock  # noqa: E402
from sms.calendar import send_window, zones  # noqa: E402,F401
from sms.delivery import upload  # noqa: E402
from sms.ledger import turn  # noqa: E402
from sms.privacy import retention  # noqa: E402
from sms.reports import collection  # noqa: E402
from sms.run import departure, prepared_file, rejection, stages, upload_time  # noqa: E402,F401
from sms_airflow import operators, triggers, wiring  # noqa: E402,F401
from tests.faults.points import Points, Strike  # noqa: E402

DONE, WORTH_ANOTHER_TRY, FINAL, BROKEN = 0, 10, 11, 12
PAUSED = "paused"
HUNG = 1  # the exit status that faulthandler gives
LOOK_HOLDS = 0.3  # seconds, of an act that is paused
EVENT, PATIENCE = 180, 300  # seconds that a trigger, and a whole act, may take


def submit(order: dict[str, Any]) -> None:
    """The task `submit`, from its first upload to its last verdict, as Airflow runs it."""
    task = operators.SubmitOperator(task_id="submit", stems=order["stems"])
    ti = SimpleNamespace(
        id=order["token"], dag_id="send__tests", run_id="one", task_id="submit", try_number=1
    )
    context: Any = {"ti": ti}
    goes_on = lambda: task.execute(context)  # noqa: E731
    while True:
        try:
            goes_on()
            return
        except TaskDeferred as deferred:
            event = asyncio.run(_first(deferred.trigger))
            resume = getattr(task, deferred.method_name)
            goes_on = lambda: resume(context, event)  # noqa: B023,E731


async def _first(trigger: Any) -> Any:
    try:
        async with asyncio.timeout(EVENT), contextlib.aclosing(trigger.run()) as events:
            return (await anext(events)).payload
    except TimeoutError as error:
        raise TimeoutError(f"{trigger} had no event in {EVENT} seconds") from error


def replies(order: dict[str, Any]) -> None:
    """The task `collect_replies`."""
    with wiring.gateway() as session:
        collection.collect_replies(session, wiring.ledger(), wiring.archive(), clock.now())


def report(order: dict[str, Any]) -> None:
    """The run of `collect_delivery_report`: find, archive, load, reconcile."""
    ledger = wiring.ledger()
    with wiring.gateway() as session:
        for stem in order["stems"]:
            collection.collect_delivery_report(stem, session, ledger, wiring.archive(), clock.now())


def housekeeping(order: dict[str, Any]) -> None:
    """The task `clean_gateway`."""
    with wiring.gateway() as session:
        sms.reports.housekeeping.clean_gateway(
            session, wiring.ledger(), wiring.archive(), wiring.settings(), clock.now()
        )


def expiry(order: dict[str, Any]) -> None:
    """The tasks `expire_runs`, `expire_archive` and `expire_personal_data`."""
    ledger, settings, now = wiring.ledger(), wiring.settings(), clock.now()
    runs = Path(order["folders"][0])
    retention.expire_runs(runs.parent, ledger, settings.run_retention, now)
    retention.expire_archive(wiring.archive(), ledger, settings.archive_retention, now)
    retention.expire_personal_data(
        ledger,
        settings.personal_data_retention,
        now,
        hash_stop_list=settings.hash_stop_list,
        portion=2,
    )


ACTS = {
    "submit": submit,
    "replies": replies,
    "report": report,
    "housekeeping": housekeeping,
    "expiry": expiry,
}


def live(order: dict[str, Any]) -> int:
    """One act in this process, struck or not; its exit status."""
    os.environ |= order["env"]
    if order["strike"] and order["strike"]["how"] == PAUSED:
        upload.LOOK_HOLDS = LOOK_HOLDS
        turn.LIMITS["idle_in_transaction_session_timeout"] = "600ms"
    hung = Path(order["report"]).with_suffix(".hung").open("w")  # an act that hangs says where
    faulthandler.dump_traceback_later(PATIENCE, exit=True, file=hung)
    points = Points(Strike(**order["strike"]) if order["strike"] else None)
    points.watch([Path(folder) for folder in order["folders"]])
    told = ""
    try:
        ACTS[order["act"]](order)
        status = DONE
    except AirflowFailException as error:
        status, told = FINAL, str(error)
    except Exception as error:
        retryable = getattr(error, "retryable", isinstance(error, AirflowException))
        known = hasattr(error, "retryable") or isinstance(error, AirflowException)
        status = (WORTH_ANOTHER_TRY if retryable else FINAL) if known else BROKEN
        told = str(error) if known else traceback.format_exc()
    names = points.names.copy()
    Path(order["report"]).write_text(json.dumps({"names": names, "told": told}))
    return status


def warm_up() -> None:
    """Let Airflow find its providers and plugins once, and not again in each fork."""
    pinned = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    example = {
        **{"conn_type": "sftp", "host": "nowhere", "login": "nobody", "password": "none"},
        "extra": {"service_id": "12345", "host_key": pinned},
    }
    os.environ["AIRFLOW_CONN_SMS_GATEWAY"] = json.dumps(example)
    os.environ["AIRFLOW_VAR_SMS_HALT"] = ""
    wiring.account()
    wiring.require_running()
    SFTPHook(ssh_conn_id="sms_gateway")
    operators.SubmitOperator(task_id="submit", stems=[])
    get_hook_lineage_collector()  # asked for wherever a file is opened
    wiring.archive().exists()
    zones.bank_holidays(zones.MAINLAND, 2027)


def serve(line: socket.socket) -> None:
    """Fork for each order on a line, until there is none."""
    orders, answers = line.makefile("r"), line.makefile("w")
    print("ready", file=answers, flush=True)
    for order in orders:
        child = os.fork()
        if not child:
            status = 99
            try:
                status = live(json.loads(order))
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, os.WUNTRACED)
        if os.WIFSTOPPED(ended):
            print(PAUSED, file=answers, flush=True)
            orders.readline()
            os.kill(child, signal.SIGCONT)
            _, ended = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(ended), file=answers, flush=True)


def main() -> None:
    """One fork of this process for each line, so that several acts are played at the same time."""
    warm_up()
    ExecutorSafeguard.test_mode = True
    gc.collect()
    gc.freeze()  # a fork that collects garbage would copy all of this first
    lines = [socket.socket(fileno=int(number)) for number in sys.argv[1:]]
    for line in lines:
        if not os.fork():
            for other in lines:
                if other is not line:
                    other.close()  # or its reader would never see that it ended
            try:
                serve(line)
            finally:
                os._exit(0)
    for line in lines:
        line.close()
    for _ in lines:
        os.wait()


if __name__ == "__main__":
    main()
