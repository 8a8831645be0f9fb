"""Clears away, every night, what is no longer needed: at the gateway, in our folders, of people."""

from airflow.sdk import DAG, CronTriggerTimetable

from sms_airflow import housekeeping_tasks

with DAG(
    "housekeeping",
    description="Daily: delete what is home at the gateway, close what is over, let people expire",
    doc_md="""
    ### What is no longer needed, and what needs a person

    - `clear_gateway`: finds each submission that is older than its state may be, writes down what
      the gateway proves (`.done`, `.reject`, a report that no task fetched), and **fails, by name,
      for the rest**. Deletes delivery reports that cover every message, or have not changed for
      `report_stays`, with the `.done` of their file; STOPs and replies once their campaign is quiet
      (`reports_quiet`); what dead tries left behind; rejected files after a week. A report is
      deleted once its bytes are loaded, archived and compared. Never a `.csv` or `.lock`, nothing
      of a file that is still open, nothing of others. A file of which nothing is left is *closed*.
      It fails, too, for reports that are unread for 25 days: the provider deletes what is older
      than a month.
    - `expire_runs`, `expire_archive`, `expire_people`: delete run folders, archived reports and the
      ledger's rows about people that are older than `keep_runs`, `keep_archive`, `keep_people`. The
      counts of each run stay, and so does the stop list, with `hash_stop_list` its old numbers as
      keyed hashes.

    Every task may be run again at any time; it goes on where it was stopped, and returns what it
    did as counts.
    """,
    schedule=CronTriggerTimetable("20 4 * * *", timezone="Europe/Paris"),
    default_args={"owner": "sms"},
    tags={"sms", "housekeeping"},
    catchup=False,
    max_active_runs=1,
):
    housekeeping_tasks.clear_gateway()
    housekeeping_tasks.expire_runs()
    housekeeping_tasks.expire_archive()
    housekeeping_tasks.expire_people()
