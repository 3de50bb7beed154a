"""Every statement that is sent for tasks, written once and for a list of calls: what comes back is in their order.

Each call names its owner, and every condition starts from the primary key's `user_id = call.owner`.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    ClauseElement,
    ColumnElement,
    FromClause,
    Integer,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    cast,
    delete,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from todo_adapters.postgres.batch import Columns, calls_of, execute, prepared, send
from todo_adapters.postgres.table import MOMENT, tasks
from todo_core import OwnerId, Task, TaskId, searchable

Key: TypeAlias = tuple[OwnerId, TaskId]
VERSION_MOST: Final = 2**63 - 1


class Swap(NamedTuple):
    """Put `after` in the place of `before`, if that is what is stored."""

    before: Task
    after: Task


class Removal(NamedTuple):
    """Delete a task that is at one of these versions; None for any."""

    owner: OwnerId
    id: TaskId
    versions: Sequence[int] | None


def task_columns(source: FromClause) -> list[ColumnElement[Any]]:
    """What `task_of` takes, but for the owner, whom every call knows."""
    return [source.c[name] for name in _READ]


def task_of(owner: OwnerId, columns: Sequence[Any]) -> Task:
    """That owner's task in the `task_columns` of a row. The table's own constraints have checked it."""
    task_id, title, description, completed_at, version, created_at, updated_at = columns
    if updated_at.tzinfo is not UTC:  # a pooler in between forgot what was set on the connection
        created_at, updated_at = created_at.astimezone(UTC), updated_at.astimezone(UTC)
        completed_at = completed_at and completed_at.astimezone(UTC)
    return Task.restored(task_id, owner, title, description, completed_at, version, created_at, updated_at)


WRITTEN: Final[dict[str, Callable[[Task], object]]] = {
    "user_id": attrgetter("owner"),
    "id": attrgetter("id"),
    "title": attrgetter("title"),
    "description": attrgetter("description"),
    "completed_at": attrgetter("completed_at"),
    "version": attrgetter("version"),
    "created_at": attrgetter("created_at"),
    "updated_at": attrgetter("updated_at"),
    "search_text": searchable,
}
_READ: Final = ("id", "title", "description", "completed_at", "version", "created_at", "updated_at")
_CHANGING: Final = ("title", "description", "completed_at", "version", "updated_at", "search_text")


def written_columns(names: Iterable[str], written: Sequence[Task]) -> Columns:
    """The values that these columns take from those tasks."""
    return {name: [WRITTEN[name](task) for task in written] for name in names}


async def read_many(connection: AsyncConnection, keys: Sequence[Key]) -> list[Task | None]:
    """Each task as it is now, or None."""
    rows = await send(connection, _READ_MANY, _owners_and_ids(keys))
    return [None if row[0] is None else task_of(key[0], row) for key, row in zip(keys, rows, strict=True)]


def _owners_and_ids(keys: Sequence[Key]) -> Columns:
    return {"owner": [owner for owner, _ in keys], "task": [task_id for _, task_id in keys]}


def _read_statement() -> ClauseElement:
    call = calls_of(owner=Text(), task=Uuid())
    # The limit keeps the planner from joining in any other way than key by key.
    found = (
        select(tasks)
        .where(tasks.c.user_id == call.c.owner, tasks.c.id == call.c.task)
        .limit(literal_column("1", Integer))
        .lateral("found")
    )
    return select(*task_columns(found)).select_from(call.outerjoin(found, true())).order_by(call.c.place)


async def insert_many(connection: AsyncConnection, new: Sequence[Task]) -> list[bool]:
    """Store each task whose key is free; whether it was. Of two with one key, the first is stored."""
    rows = await send(connection, _INSERT_MANY, written_columns(WRITTEN, sorted(new, key=_key)))
    stored = set(rows)
    answers = []
    for task in new:
        answers.append(_key(task) in stored)
        stored.discard(_key(task))
    return answers


def _key(task: Task) -> Key:
    # Every statement on several tasks locks them in the order of their keys, so that no two can deadlock.
    return task.owner, task.id


def _insert_statement() -> ClauseElement:
    call = calls_of(**{name: tasks.c[name].type for name in WRITTEN})
    rows = select(*(call.c[name] for name in WRITTEN)).order_by(call.c.place)
    statement = insert(tasks).from_select(list(WRITTEN), rows)
    return statement.on_conflict_do_nothing(constraint=tasks.primary_key).returning(tasks.c.user_id, tasks.c.id)


async def swap_many(connection: AsyncConnection, swaps: Sequence[Swap]) -> list[bool]:
    """Compare and swap; whether it was. Of several swaps of one task at most one is."""
    order = sorted(range(len(swaps)), key=lambda place: _key(swaps[place].before))
    columns = written_columns(("user_id", "id", *_CHANGING), [swaps[place].after for place in order])
    columns["was_version"] = [swaps[place].before.version for place in order]
    columns["was_updated_at"] = [swaps[place].before.updated_at for place in order]
    swapped = {order[place - 1] for (place,) in await send(connection, _SWAP_MANY, columns)}
    return [place in swapped for place in range(len(swaps))]


def _swap_statement() -> ClauseElement:
    kinds = {name: tasks.c[name].type for name in ("user_id", "id", *_CHANGING)}
    call = calls_of(**kinds, was_version=BigInteger(), was_updated_at=MOMENT)
    # The version tells every change of a task; the moment also one that was removed and then added anew.
    same = (tasks.c.version == call.c.was_version, tasks.c.updated_at == call.c.was_updated_at)
    held = _held(call, *same, updates_key=False)
    statement = update(tasks).where(tasks.c.user_id == held.c.user_id, tasks.c.id == held.c.id)
    return statement.values({name: held.c[name] for name in _CHANGING}).returning(held.c.place)


def _held(call: FromClause, *conditions: ColumnElement[bool], updates_key: bool) -> CTE:
    """The calls whose task meets the conditions, and is locked, in the order of the calls.

    An update or a delete alone would lock in whatever order its join gives; below some thousand rows that is the
    heap's. A row that somebody else has changed while this waited for its lock is judged anew, as it is then.
    """
    mine = (tasks.c.user_id == call.c.user_id, tasks.c.id == call.c.id)
    rows = select(call).join(tasks, and_(*mine, *conditions)).order_by(call.c.place)
    return rows.with_for_update(of=tasks, key_share=not updates_key).cte("held")


async def delete_many(connection: AsyncConnection, removals: Sequence[Removal]) -> list[bool]:
    """Delete each task that is at an expected version; whether it was."""
    order = sorted(range(len(removals)), key=lambda place: (removals[place].owner, removals[place].id))
    asked = [removals[place] for place in order]
    columns: Columns = {"user_id": [each.owner for each in asked], "id": [each.id for each in asked]}
    columns["versions"] = [None if each.versions is None else _array(each.versions) for each in asked]
    deleted = {order[place - 1] for (place,) in await send(connection, _DELETE_MANY, columns)}
    return [place in deleted for place in range(len(removals))]


def _array(versions: Sequence[int]) -> str:
    """As PostgreSQL reads it: arrays of unlike length cannot travel in one array. Subclasses count as what they are."""
    return "{" + ",".join(map(int.__repr__, versions)) + "}"


def _delete_statement() -> ClauseElement:
    call = calls_of(user_id=Text(), id=Uuid(), versions=Text())
    expected = call.c.versions.is_(None) | (tasks.c.version == any_(cast(call.c.versions, ARRAY(BigInteger))))
    held = _held(call, expected, updates_key=True)
    mine = (tasks.c.user_id == held.c.user_id, tasks.c.id == held.c.id)
    return delete(tasks).where(*mine).returning(held.c.place)


async def locked(connection: AsyncConnection, key: Key) -> Task | None:
    """The task, which nobody else can change before this transaction ends."""
    rows = await execute(connection, _LOCK, {"owner": key[0], "task": key[1]})
    return task_of(key[0], rows[0]) if rows else None


def _lock_statement() -> ClauseElement:
    mine = (tasks.c.user_id == bindparam("owner"), tasks.c.id == bindparam("task"))
    return select(*task_columns(tasks)).where(*mine).with_for_update()


async def answer_many(connection: AsyncConnection, calls: Sequence[None]) -> Sequence[None]:
    """Nothing, from a database that can answer."""
    await execute(connection, _ANSWER, {})
    return calls


_READ_MANY: Final = prepared(_read_statement())
_INSERT_MANY: Final = prepared(_insert_statement())
_SWAP_MANY: Final = prepared(_swap_statement())
_DELETE_MANY: Final = prepared(_delete_statement())
_LOCK: Final = prepared(_lock_statement())
_ANSWER: Final = "select 1"
