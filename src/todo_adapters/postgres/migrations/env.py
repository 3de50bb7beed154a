"""Executed by Alembic: runs its commands on the connection, and in the transaction, that the caller opened."""

from alembic import context

from todo_adapters.postgres.migrations import VERSION_TABLE
from todo_adapters.postgres.table import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_name=lambda name, kind, _: kind != "table" or name in metadata.tables,  # others' tables are ignored
)
context.run_migrations()
