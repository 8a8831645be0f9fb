"""Deletes every night what is no longer needed: at the gateway, in folders, and about people."""

from airflow.sdk import DAG, CronTriggerTimetable

from sms_airflow import housekeeping_tasks

with DAG(
    "housekeeping",
    description="Daily: delete what is home at the gateway, close what is over, let people expire",
    doc_md="""
    ### What is no longer needed, and what needs a person

    - `clean_gateway` looks at each submission that is older than its state may be. It records what
      the gateway proves (`.done`, `.reject`, a report that no task fetched), and **fails, by name,
      for the rest**. It deletes at the gateway:
      - delivery reports that cover every message, or have not changed for
        `incomplete_report_retention`, with the `.done` of their file;
      - STOPs and replies, once their campaign is quiet (`close_after`);
      - temporary files of tries that died, and rejected files after a week.

      A report is deleted only when its bytes are loaded, archived and compared. A `.csv`, a
      `.lock`, and files of an open submission or of other senders are never deleted. A submission
      with no file left is *closed*. The task also fails for reports that are unread for 25 days:
      the provider deletes them after a month.
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
