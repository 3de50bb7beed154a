"""Creations under an idempotency key: the key and its task in one statement, so that neither is ever without the other.

Of several transactions with one key, the first to insert it goes on; PostgreSQL has the others wait at the primary key
until that one has ended, and then skips theirs (`on conflict do nothing`). What was skipped is read by a statement of
its own: the first one's snapshot is older than the row that it ran into.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from psycopg.errors import UniqueViolation
from sqlalchemy import ClauseElement, Integer, Text, literal_column, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from todo_adapters.postgres.batch import calls_of, prepared, send
from todo_adapters.postgres.statements import WRITTEN, task_columns, task_of, written_columns
from todo_adapters.postgres.table import idempotency_keys, tasks
from todo_core import IdempotencyKey, Task, TaskExists

_KEPT: Final = ("user_id", "id", "title", "description", "completed_at", "version", "created_at", "updated_at")


class Once(NamedTuple):
    """Create this task unless its owner has used the key."""

    key: IdempotencyKey
    task: Task


async def insert_once_many(connection: AsyncConnection, calls: Sequence[Once]) -> list[Task | None]:
    """The task that was created under each key first; None where the key has been forgotten at this very moment.

    Raises `TaskExists`, and stores nothing, where a new key comes with an id that its owner has.
    """
    firsts: dict[tuple[str, str], Task] = {}
    for call in calls:
        firsts.setdefault((call.task.owner, call.key), call.task)
    created = await _insert(connection, firsts)
    kept: dict[tuple[str, str], Task | None] = {place: task for place, task in firsts.items() if place in created}
    if used := [place for place in firsts if place not in created]:
        kept.update(zip(used, await _read(connection, used), strict=True))
    return [kept[call.task.owner, call.key] for call in calls]


async def _insert(connection: AsyncConnection, firsts: dict[tuple[str, str], Task]) -> set[tuple[str, str]]:
    # Statements that insert the same keys in the same order cannot deadlock.
    order = sorted(firsts)
    columns = written_columns(WRITTEN, [firsts[place] for place in order]) | {"key": [key for _, key in order]}
    try:
        return set(await send(connection, _INSERT_ONCE_MANY, columns))
    except UniqueViolation as problem:
        raise TaskExists from problem


def _insert_statement() -> ClauseElement:
    kinds = {name: tasks.c[name].type for name in WRITTEN}
    call = select(calls_of(**kinds, key=idempotency_keys.c.key.type)).cte("call")
    rows = select(*(call.c[name] for name in _KEPT), call.c.key).order_by(call.c.place)
    keys = insert(idempotency_keys).from_select([*_KEPT, "key"], rows, include_defaults=False)
    fresh = keys.on_conflict_do_nothing(constraint=idempotency_keys.primary_key)
    new = fresh.returning(idempotency_keys.c.user_id, idempotency_keys.c.key).cte("fresh")
    mine = (call.c.user_id == new.c.user_id) & (call.c.key == new.c.key)
    stored = insert(tasks).from_select(
        list(WRITTEN), select(*(call.c[name] for name in WRITTEN)).select_from(call.join(new, mine))
    )
    return select(new.c.user_id, new.c.key).add_cte(stored.cte("stored"))


async def _read(connection: AsyncConnection, places: Sequence[tuple[str, str]]) -> list[Task | None]:
    columns = {"owner": [owner for owner, _ in places], "key": [key for _, key in places]}
    rows = await send(connection, _READ_KEYS, columns)
    return [None if row[1] is None else task_of(row[0], row[1:]) for row in rows]


def _read_statement() -> ClauseElement:
    call = calls_of(owner=Text(), key=Text())
    keys = idempotency_keys
    # The limit keeps the planner from joining in any other way than key by key.
    found = (
        select(keys)
        .where(keys.c.user_id == call.c.owner, keys.c.key == call.c.key)
        .limit(literal_column("1", Integer))
        .lateral("found")
    )
    columns = (call.c.owner, *task_columns(found))
    return select(*columns).select_from(call.outerjoin(found, true())).order_by(call.c.place)


_INSERT_ONCE_MANY: Final = prepared(_insert_statement())
_READ_KEYS: Final = prepared(_read_statement())
