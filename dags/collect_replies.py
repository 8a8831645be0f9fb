"""Brings STOPs and replies home, all day long."""

from airflow.sdk import DAG, CronTriggerTimetable

from sms_airflow import tasks

with DAG(
    "collect_replies",
    description="Every five minutes: opt-outs into the stop list, replies into the ledger",
    doc_md="""
    ### Who said STOP, and what people answered

    Reads every `STOP-….csv` and `SMSMO-….csv` at the gateway that changed since the last look,
    keeps the raw file in the archive, and loads it. Opt-outs come first: the next screening drops
    them, and so does the last look before a file leaves. A reply that says STOP opts out too.

    The provider appends to these files while we read them, so a last line without its end is left
    for the next look. Reading a file again adds nothing. A broken file stops no other; it fails
    the task at the end, by name.
    """,
    schedule=CronTriggerTimetable("*/5 * * * *", timezone="Europe/Paris"),
    default_args={"owner": "sms"},
    tags={"sms", "collect"},
    catchup=False,
    max_active_runs=1,
):
    tasks.collect_replies()
