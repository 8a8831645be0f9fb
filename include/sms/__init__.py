"""Mass SMS campaigns by MTarget's SFTP gateway: everything but Airflow."""
