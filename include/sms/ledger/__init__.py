"""The ledger in PostgreSQL: runs, sent files, reports, replies, and the stop list.

Other packages use `ledger.Ledger`, with a wing for each subject: runs, submissions, stop_list,
reports, people. All tables are in the schema `sms`, so they may share a database with Airflow's.
"""
