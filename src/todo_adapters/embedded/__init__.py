"""The embedded PostgreSQL, for a server without a `DATABASE_URL`."""

from todo_adapters.embedded.errors import EmbeddedDatabaseError
from todo_adapters.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedDatabaseError", "EmbeddedPostgres"]
