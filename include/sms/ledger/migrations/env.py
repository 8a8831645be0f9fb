"""Runs the revisions on the connection that `sms.ledger.schema` hands over."""

from alembic import context

from sms.ledger.tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,  # Airflow's own `alembic_version` may live beside us
)
with context.begin_transaction():
    context.run_migrations()
