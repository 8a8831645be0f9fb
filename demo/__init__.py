"""The whole product on one machine: a warehouse, the sandbox gateway and a real Airflow."""
