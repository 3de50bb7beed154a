"""Tasks in PostgreSQL (14 or newer, encoding UTF8): SQLAlchemy Core with psycopg 3, migrated by Alembic."""

from todo_adapters.postgres.engine import Engine, create_engine
from todo_adapters.postgres.store import PostgresTaskStore

__all__ = ["Engine", "PostgresTaskStore", "create_engine"]
