"""Collects STOPs and replies every five minutes."""

from airflow.sdk import DAG, CronTriggerTimetable

from sms_airflow import tasks

with DAG(
    "collect_replies",
    description="Every five minutes: opt-outs into the stop list, replies into the ledger",
    doc_md="""
    ### STOPs and replies

    Reads each `STOP-….csv` and `SMSMO-….csv` at the gateway that changed since the last run, stores
    the raw file in the archive, and loads it. Opt-outs are loaded first: the next screening drops
    their numbers, and so does the last check before a file leaves. A reply that says STOP is an
    opt-out too.

    The provider appends to these files while we read them, so a last line without an end is left
    for the next run. Reading a file again adds no row twice. A broken file does not stop the
    others; the task fails at the end and names it.
    """,
    schedule=CronTriggerTimetable("*/5 * * * *", timezone="Europe/Paris"),
    default_args={"owner": "sms"},
    tags={"sms", "collect"},
    catchup=False,
    max_active_runs=1,
):
    tasks.collect_replies()
