"""Campaigns as marketing writes them: folder, settings, text. Light, as Airflow parses it."""
