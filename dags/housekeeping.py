"""Deletes every night what is no longer needed: gateway files, run folders, personal data."""

from airflow.sdk import DAG, CronTriggerTimetable

from sms_airflow import housekeeping_tasks

with DAG(
    "housekeeping",
    description="Daily: delete loaded reports, close submissions, expire personal data",
    doc_md="""
    ### Retention, and submissions that need an operator

    - `clean_gateway` checks each overdue submission. It records what the gateway proves (`.done`,
      `.reject`, a report that no task fetched), and **fails with the names of the rest**. At the
      gateway it deletes:
      - delivery reports that cover every message, or have not changed for
        `incomplete_report_retention`, with the `.done` of their file;
      - STOPs and replies, once their campaign is quiet (`close_after`);
      - temporary files of interrupted uploads, and rejected files after a week.

      A report is deleted only after its bytes are archived, loaded and compared. A `.csv`, a
      `.lock`, and files of an open submission or of other senders are never deleted. A submission
      without a file at the gateway is *closed*. The task also fails for reports that are unread for
      25 days: the provider deletes them after a month.
    - `expire_runs`, `expire_archive` and `expire_personal_data` delete run folders, archived
      reports and rows about people that are older than `run_retention`, `archive_retention` and
      `personal_data_retention`. The counts of each run stay, and so does the stop list. With
      `hash_stop_list` its old numbers become keyed hashes.

    Every task may be run again at any time. It continues where it stopped, and returns counts.
    """,
    schedule=CronTriggerTimetable("20 4 * * *", timezone="Europe/Paris"),
    default_args={"owner": "sms"},
    tags={"sms", "housekeeping"},
    catchup=False,
    max_active_runs=1,
):
    housekeeping_tasks.clean_gateway()
    housekeeping_tasks.expire_runs()
    housekeeping_tasks.expire_archive()
    housekeeping_tasks.expire_personal_data()
