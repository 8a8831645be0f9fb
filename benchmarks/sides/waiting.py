"""Task instances that wait, straight into Airflow's database: `waiting KIND COUNT POLL`.

They stand there as `defer` leaves them, so that a triggerer takes them over. By Airflow's own way
each would have to run in a process of its own first.
"""

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.providers.sftp.triggers.sftp import SFTPTrigger
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.triggers.base import BaseTrigger
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy.orm import Session

from benchmarks.waits import stem
from sms_airflow import wiring
from sms_airflow.sensors import known_to_triggers
from sms_airflow.triggers import HourTrigger, VerdictTrigger

NOW = datetime.now(UTC)
TOMORROW = (NOW + timedelta(days=1)).isoformat()
BUNDLE = "benchmarks"


def main(kind: str, count: str, poll: str) -> None:
    """Write them all down, in one transaction."""
    with DAG("waits", schedule=None, start_date=NOW) as dag:
        task = EmptyOperator(task_id="await_verdict")
    account = known_to_triggers(wiring.account())
    with create_session() as session:
        run = _run(dag, session)
        for number in range(int(count)):
            row = Trigger.from_object(TRIGGERS[kind](account, number, float(poll)))
            session.add(row)
            session.flush()
            waiting = TaskInstance(
                task, run.created_dag_version_id, run.run_id, TaskInstanceState.DEFERRED, number
            )
            waiting.trigger_id = row.id
            waiting.next_method = "concluded"
            waiting.next_kwargs = {}
            waiting.try_number = 1
            session.add(waiting)


def _verdict(account: Mapping[str, object], number: int, poll: float) -> BaseTrigger:
    return VerdictTrigger(dict(account), stem(number), TOMORROW, poll)


def _stock(account: Mapping[str, object], number: int, poll: float) -> BaseTrigger:
    path = f"Send/{stem(number)}.done"
    return SFTPTrigger(path=path, sftp_conn_id=wiring.GATEWAY, poke_interval=poll)


def _asleep(account: Mapping[str, object], number: int, poll: float) -> BaseTrigger:
    return HourTrigger(TOMORROW)


TRIGGERS: Mapping[str, Callable[[Mapping[str, object], int, float], BaseTrigger]] = {
    "verdict": _verdict,
    "stock": _stock,
    "asleep": _asleep,
}


def _run(dag: DAG, session: Session) -> DagRun:
    """A run of the DAG, as the scheduler makes it, without its task instances."""
    session.add(DagBundleModel(name=BUNDLE))
    session.flush()
    SerializedDAG.bulk_write_to_db(BUNDLE, None, [dag], session=session)
    SerializedDagModel.write_dag(LazyDeserializedDAG.from_dag(dag), BUNDLE, session=session)
    session.flush()
    written = SerializedDagModel.get_dag(dag.dag_id, session=session)
    assert written
    run = written.create_dagrun(
        run_id="manual__waits",
        run_after=NOW,
        run_type=DagRunType.MANUAL,
        triggered_by=DagRunTriggeredByType.TEST,
        state=DagRunState.RUNNING,
        session=session,
    )
    for made in run.task_instances:
        session.delete(made)
    session.flush()
    return run


if __name__ == "__main__":
    main(*sys.argv[1:])
