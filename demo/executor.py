"""Airflow's LocalExecutor with the tasks' modules imported once, before it forks.

A task of Airflow 3 is a fork of an executor's worker, and imports pandas, pyarrow, the SFTP
provider and our packages again: a second of CPU for each of a run's dozen tasks, four fifths of a
demo campaign's cost. Here each fork inherits the imports. Nothing else differs.
"""

from importlib import import_module

from airflow.executors.local_executor import LocalExecutor

TASKS = (  # modules of a task's process
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.dagbag",
    "airflow.sdk.io.path",
    "airflow.providers.postgres.hooks.postgres",
    "airflow.providers.sftp.hooks.sftp",
    "airflow.providers.standard.operators.trigger_dagrun",
)
OURS = (
    *("approval", "documentation", "form", "housekeeping_tasks", "operators", "sensors", "tasks"),
    *("triggers", "wiring"),
)
PRODUCT = (
    *("delivery.settlement", "privacy.retention", "reports.collection", "reports.housekeeping"),
    *("run.departure", "run.prepared_file", "run.proof", "run.rejection", "run.review"),
    *("run.stages", "run.upload_time"),
)


class PreloadedLocalExecutor(LocalExecutor):
    """A LocalExecutor that imports the tasks' modules before its workers fork."""

    def start(self) -> None:
        """Import, then start the workers."""
        ours = (f"sms_airflow.{name}" for name in OURS)
        for name in (*TASKS, *ours, *(f"sms.{name}" for name in PRODUCT)):
            import_module(name)
        super().start()
