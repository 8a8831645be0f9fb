"""What marketing writes: the folder, its settings, its text. Light, since Airflow parses it."""
