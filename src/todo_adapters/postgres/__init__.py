"""The tasks in PostgreSQL."""
