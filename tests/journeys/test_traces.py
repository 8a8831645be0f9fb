"""What the journeys leave in Airflow's database and logs."""

from collections.abc import Callable

from tests.journeys.conftest import NUMBER, LiveWorld

CLEARED = {"send__again", "send__cleared", "send__halted"}  # by their journeys


def test_airflow_never_saw_a_number_or_a_text(world: LiveWorld) -> None:
    assert world.ensemble
    world.ensemble.wait()
    logs = "\n".join(
        file.read_text(errors="replace")
        for file in (world.stack.folder / "airflow" / "logs").rglob("*.log")
    )
    with world.stack.postgres.connect("airflow") as database:
        xcoms = database.execute("SELECT value::text FROM xcom").fetchall()
        kept = "\n".join(str(value) for (value,) in xcoms)

    assert "SEND-12345-" in logs
    assert "SEND-12345-" in kept
    for place in (logs, kept):
        assert not NUMBER.search(place)
        assert "Bonjour Léa" not in place


def test_a_task_is_retried_only_after_a_transient_error(
    world: LiveWorld, tell: Callable[[str], None]
) -> None:
    assert world.ensemble
    world.ensemble.wait()
    airflow = world.stack.airflow
    logs = {
        f"try {number} of {task.task_id} of {dag_id}": log
        for dag_id in sorted(airflow.dag_ids() - CLEARED)
        for run in airflow.runs(dag_id)
        for task in airflow.task_instances(dag_id, run.run_id)
        for number, log in enumerate(world.tries(run, task)[:-1], 1)
    }
    for which, log in logs.items():
        tell(f"{which} was not the last: {log or 'Airflow only counted it'}")
        # A sentence of ours, of a server that was busy.
        assert not log or "retryable=True" in log, which
