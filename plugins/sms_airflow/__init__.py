"""The thin coat of Airflow over `sms`: the only code that imports airflow."""
