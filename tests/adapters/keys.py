"""The idempotency keys that a test uses in PostgreSQL, and what is stored under them."""

import psycopg

from todo_core import IdempotencyKey, OwnedTasks, Task, TaskQuery

KEY = IdempotencyKey("key")
ISOLATIONS = ("repeatable read", "serializable")
"""Of transactions, and the names of owners whose transactions are."""


async def stored(tasks: OwnedTasks) -> list[Task]:
    return list((await tasks.page(TaskQuery(limit=200))).items)


def keys_in(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [key for (key,) in connection.execute("select key from used_keys order by key").fetchall()]
