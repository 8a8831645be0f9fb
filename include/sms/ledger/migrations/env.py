"""Runs the revisions on the connection that `sms.ledger.database.upgrade` passes."""

from alembic import context

from sms.ledger.tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,  # Airflow's `alembic_version` may be in the same database
)
with context.begin_transaction():
    context.run_migrations()
