"""A PostgreSQL of our own, for a server that was given no `DATABASE_URL`."""

from todo_adapters.embedded.errors import EmbeddedDatabaseError
from todo_adapters.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedDatabaseError", "EmbeddedPostgres"]
