"""Reads a database's rows, and writes them as servers of earlier revisions did."""

from typing import Any

import psycopg
from factories import make_task


def rows(url: str, statement: Any, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement, parameters).fetchall()


INSERT = """
    insert into tasks (user_id, id, title, description, completed_at, version, created_at, updated_at, search_text)
    values (%(owner)s, %(id)s, %(title)s, %(description)s, %(completed_at)s, %(version)s, %(created_at)s,
            %(updated_at)s, '')
"""
KEEP = """
    insert into idempotency_keys (user_id, key, id, title, version, created_at, updated_at)
    values (%(owner)s, %(title)s, %(id)s, %(title)s, %(version)s, %(created_at)s, %(updated_at)s)
"""
KEEP_WHOLE = """
    insert into idempotency_keys
        (user_id, key, id, title, description, completed_at, version, created_at, updated_at)
    values (%(owner)s, 'of ' || %(id)s::uuid, %(id)s, %(title)s, %(description)s, %(completed_at)s, %(version)s,
            %(created_at)s, %(updated_at)s)
"""
KEEP_ENTRY = """
    insert into changes (user_id, number, id, at, action, before, after)
    values (%(owner)s, %(version)s, %(id)s, %(updated_at)s, 'edited', '{"title": "Old"}',
            jsonb_build_object('title', %(title)s::text))
"""
KEEP_LIST = """
    insert into lists (user_id, id, name, position, version, created_at, updated_at)
    values (%(owner)s, %(id)s, %(title)s, replace(%(id)s::text, '-', ''), %(version)s, %(created_at)s, %(updated_at)s)
"""
ROWS = {"tasks": INSERT, "idempotency_keys": KEEP, "changes": KEEP_ENTRY, "lists": KEEP_LIST}
TITLES = ("Buy milk", "Cafe\u0301", "Caf\u00e9", "\ufb01nd", "😀")


def row(**values: object) -> dict[str, object]:
    task = make_task()
    return {name: getattr(task, name) for name in task.__slots__} | values
