"""Closes an open case by a person's answer: a file in `unknown`, or one that must not leave."""

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param

from sms_airflow import tasks

ANSWERS = {
    "arrived": "It arrived: go on with its verdict and its report",
    "never_arrived": "It never arrived: send the campaign again, under a new name",
    "call_off": "It must not leave: cancel it",
}

with DAG(
    "settle_submission",
    description="By hand: say what became of a file that nobody can know of, or call one off",
    doc_md="""
    ### One file, one answer

    When a line breaks at the very moment of a rename and the gateway does not show that the file
    arrived, its state is `unknown`, and nothing is sent again by itself: that could text everybody
    twice. Ask support@mtarget.fr whether a file of that name was received, then trigger this with
    the file's stem and what they said. The gateway is asked first, and refutes a wrong answer.

    - *It arrived*: it counts as submitted. Clear the task `submit` of its run, which goes on.
    - *It never arrived*: it is cancelled. If it was the only file of its run, a new run of the
      campaign is started, which reads the warehouse and the stop list anew and gets a new name.
      If it was one of several, nothing is started: others may have gone out.
    - *It must not leave*: a file that is not renamed yet is cancelled for good.

    An answer that does not fit the file's state changes nothing and says so.
    """,
    schedule=None,
    params={
        "stem": Param(
            "",
            type="string",
            title="Stem",
            description="The file's name without its extension: SEND-…",
        ),
        "answer": Param(
            "arrived",
            type="string",
            enum=list(ANSWERS),
            values_display=ANSWERS,
            title="Answer",
            description="What the provider's support told you, or what you want.",
        ),
    },
    default_args={"owner": "sms"},
    tags={"sms", "send"},
    catchup=False,
    max_active_runs=4,
):
    again = tasks.settle("{{ params.stem }}", "{{ params.answer }}")
    resend = TriggerDagRunOperator(
        task_id="resend",
        trigger_dag_id="{{ ti.xcom_pull(task_ids='settle') }}",
        trigger_run_id="again__{{ params.stem }}",
        conf="{{ ti.xcom_pull(task_ids='settle', key='conf') | tojson }}",
        logical_date=None,
        note="The same campaign again, since its only file never arrived",
        skip_when_already_exists=True,
        openlineage_inject_parent_info=False,
        doc_md="Start a new run of the campaign whose only file never arrived, once.",
        **tasks.PATIENT,
    )
    again >> resend
