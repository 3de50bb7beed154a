"""Tasks in PostgreSQL (14 or newer, encoding UTF8): SQLAlchemy Core with psycopg 3, migrated by Alembic."""

try:
    from todo_adapters.postgres.engine import Engine, create_engine
    from todo_adapters.postgres.store import PostgresTaskStore
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(f"{missing}: install the extra `postgres` of todo-api", name=missing.name) from missing

__all__ = ["Engine", "PostgresTaskStore", "create_engine"]
