"""Collects the delivery report (ACK) of one submission."""

from airflow.sdk import DAG, Param

from sms_airflow import tasks
from sms_airflow.sensors import ReportSensor

with DAG(
    "collect_delivery_report",
    description="One run for each accepted file: fetch, store and reconcile its delivery report",
    doc_md="""
    ### The outcome of every message of one file

    The task `schedule_collection` creates a run when the gateway accepts a file. The run starts one
    day after the sending, or four days for 10,000 messages and more. Until then it is queued and
    takes no slot.

    The run waits for `ACK-….csv`, stores the raw file in the archive, loads it into the ledger, and
    counts: sent = delivered + refused + not delivered + pending + unknown + missing.

    It may be cleared or triggered again at any time: a report's rows are stored once, however often
    it is read. To collect one by hand, trigger the DAG with the file's stem (`SEND-…`, without
    `.csv`).
    """,
    schedule=None,
    params={
        "stem": Param(
            "",
            type="string",
            title="Stem",
            description="The submission's file name without its extension: SEND-…",
        )
    },
    default_args={"owner": "sms"},
    tags={"sms", "collect"},
    catchup=False,
    max_active_runs=64,
):
    stem = "{{ params.stem }}"
    report = ReportSensor(task_id="await_report", stem=stem, **tasks.PATIENT)
    archived = tasks.archive(stem, report.output)
    tasks.load(stem, archived) >> tasks.reconcile(stem)
