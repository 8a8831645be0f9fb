"""What a sentence tells an operator to do in Airflow, and the names of the DAGs and tasks for it.

No other module of the product names a DAG or a task to people, so that a renamed one is renamed in
every sentence. `tests/dags/test_remedies.py` checks that each of them exists.
"""

from enum import StrEnum

NEW_RUN = "trigger a new run"


class Dag(StrEnum):
    """The DAGs that people are sent to."""

    COLLECT_DELIVERY_REPORT = "collect_delivery_report"
    COLLECT_REPLIES = "collect_replies"
    HOUSEKEEPING = "housekeeping"
    SETTLE_SUBMISSION = "settle_submission"


class Task(StrEnum):
    """The tasks of a campaign's run that people clear."""

    PLAN = "plan"
    SCREEN = "screen"
    RENDER = "render"
    PREPARE_PROOF = "prepare_proof"
    SEND_PROOF = "send_proof"
    APPROVE = "approve"
    SUBMIT = "submit"


class Housekeeping(StrEnum):
    """The tasks of the DAG housekeeping that people wait for."""

    EXPIRE_PERSONAL_DATA = "expire_personal_data"


def clear(task: Task) -> str:
    """Clear a task and all tasks that follow it."""
    return f"clear the task {task} with what is downstream of it"


CALL_OFF = f"call the file off by the DAG {Dag.SETTLE_SUBMISSION}"
ANSWER = f"answer by the DAG {Dag.SETTLE_SUBMISSION}"
COLLECT = f"trigger {Dag.COLLECT_DELIVERY_REPORT}"
