"""Our memory in PostgreSQL: what was planned, sent, answered, and who must not be written to.

`ledger.Ledger` is the door for all others, with a wing for each subject: runs, submissions,
stop_list, reports, people. Everything lives in the schema `sms`, so that it may share a database
with Airflow's own tables.
"""
