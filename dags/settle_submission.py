"""Settles one submission by an operator's answer: a file in `unknown`, or a file to call off."""

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param

from sms_airflow import tasks

ANSWERS = {
    "arrived": "It arrived: continue with its verdict and its report",
    "never_arrived": "It never arrived: send the campaign again, under a new name",
    "call_off": "It must not be sent: cancel it",
}

with DAG(
    "settle_submission",
    description="By hand: settle a file in state `unknown`, or call a file off",
    doc_md="""
    ### One file, one answer

    If the connection breaks during a rename, and the gateway does not show that the file arrived,
    its state is `unknown`. Nothing is sent again automatically: that could text all recipients
    twice. Ask support@mtarget.fr whether a file of that name was received, then trigger this DAG
    with the file's stem and their answer. The gateway is checked first, and a wrong answer is
    refused.

    - *It arrived*: the file counts as submitted. Clear the task `submit` of its run to continue.
    - *It never arrived*: the file is cancelled. If it was the only file of its run, a new run of
      the campaign starts: it reads the warehouse and the stop list again and gets a new name. If
      the run has several files, no run starts: the others may have been sent.
    - *It must not be sent*: a file that is not renamed yet is cancelled for good.

    An answer that does not fit the file's state changes nothing, and the task fails with a message.
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
            description="The answer of the provider's support, or your decision.",
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
        note="The same campaign again, as its only file never arrived",
        skip_when_already_exists=True,
        openlineage_inject_parent_info=False,
        doc_md="Start one new run of the campaign if its only file never arrived.",
        **tasks.PATIENT,
    )
    again >> resend
