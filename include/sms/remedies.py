"""Instructions to operators in Airflow, and the names of the DAGs and tasks in them.

No other module of the product shows the name of a DAG or a task, so that a rename reaches every
sentence. `tests/dags/test_remedies.py` checks that each of them exists.
"""

from enum import StrEnum

NEW_RUN = "trigger a new run"


class Dag(StrEnum):
    """The DAGs that instructions name."""

    COLLECT_DELIVERY_REPORT = "collect_delivery_report"
    COLLECT_REPLIES = "collect_replies"
    HOUSEKEEPING = "housekeeping"
    SETTLE_SUBMISSION = "settle_submission"


class Task(StrEnum):
    """The tasks of a campaign's run that operators clear."""

    PLAN = "plan"
    SCREEN = "screen"
    RENDER = "render"
    PREPARE_PROOF = "prepare_proof"
    SEND_PROOF = "send_proof"
    APPROVE = "approve"
    SUBMIT = "submit"


class Housekeeping(StrEnum):
    """The tasks of the DAG housekeeping that instructions name."""

    EXPIRE_PERSONAL_DATA = "expire_personal_data"


def clear(task: Task) -> str:
    """The instruction to clear a task with its downstream tasks."""
    return f"clear the task {task} with what is downstream of it"


CALL_OFF = f"call the file off by the DAG {Dag.SETTLE_SUBMISSION}"
ANSWER = f"answer by the DAG {Dag.SETTLE_SUBMISSION}"
COLLECT = f"trigger {Dag.COLLECT_DELIVERY_REPORT}"
