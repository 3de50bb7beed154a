"""Every statement that is sent for tasks, written once and for a list of calls: what comes back is in their order.

A batch's calls travel as arrays, one per column, and become rows again in `unnest(…) with ordinality as call`. Each
call names its owner, and every condition starts from the primary key's `user_id = call.owner`.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Executable,
    FromClause,
    Result,
    Row,
    Text,
    Uuid,
    bindparam,
    column,
    delete,
    func,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from todo_adapters.postgres.table import MOMENT, tasks
from todo_core import OwnerId, Task, TaskId, Version, searchable

C = TypeVar("C")
A = TypeVar("A")
Batch: TypeAlias = Callable[[AsyncConnection, Sequence[C]], Awaitable[Sequence[A]]]
"""One statement for many calls of type `C`: their answers, of type `A`, in the same order."""

Columns: TypeAlias = dict[str, list[Any]]
Key: TypeAlias = tuple[OwnerId, TaskId]
VERSION_MOST: Final = 2**63 - 1
_ANY: Final = 0  # stands for any version: no task is at this one


class Swap(NamedTuple):
    """Put `after` in the place of `before`, if that is what is stored."""

    before: Task
    after: Task


class Removal(NamedTuple):
    """Delete a task that is at one of these versions; None for any."""

    owner: OwnerId
    id: TaskId
    versions: Sequence[int] | None


def calls_of(**columns: TypeEngine[Any]) -> FromClause:
    """The calls as rows of these columns, numbered from 1 by `place`; their values go to `send`."""
    arrays = [bindparam(_array(name), type_=ARRAY(kind)) for name, kind in columns.items()]
    rows = [column(name, kind) for name, kind in columns.items()]
    return func.unnest(*arrays).table_valued(*rows, with_ordinality="place", name="call").render_derived()


async def send(connection: AsyncConnection, statement: Executable, columns: Columns) -> Result[Any]:
    """Execute a statement made with `calls_of`."""
    return await connection.execute(statement, {_array(name): values for name, values in columns.items()})


def _array(name: str) -> str:
    return f"{name}_array"  # SQLAlchemy keeps the columns' own names for itself


def task_columns(source: FromClause) -> list[ColumnElement[Any]]:
    """What `task_of` reads. Moments come as UTC's wall clock, so that no setting of the session changes them."""
    return [
        func.timezone(literal_column("'UTC'"), each).label(each.name) if each.type is MOMENT else each
        for each in source.c
        if each.name in _READ
    ]


def task_of(row: Row[Any]) -> Task:
    """The task in a row of `task_columns`."""
    return Task(
        id=row.id,
        owner=row.user_id,
        title=row.title,
        description=row.description,
        completed_at=row.completed_at and _utc(row.completed_at),
        version=Version(row.version),
        created_at=_utc(row.created_at),
        updated_at=_utc(row.updated_at),
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


_WRITTEN: Final[dict[str, Callable[[Task], object]]] = {
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
_READ: Final = _WRITTEN.keys() - {"search_text"}
_CHANGING: Final = ("title", "description", "completed_at", "version", "updated_at", "search_text")


def _columns(names: Iterable[str], written: Sequence[Task]) -> Columns:
    return {name: [_WRITTEN[name](task) for task in written] for name in names}


async def read_many(connection: AsyncConnection, keys: Sequence[Key]) -> list[Task | None]:
    """Each task as it is now, or None."""
    rows = await send(connection, _READ_MANY, _owners_and_ids(keys))
    return [None if row.id is None else task_of(row) for row in rows]


def _owners_and_ids(keys: Sequence[Key]) -> Columns:
    return {"owner": [owner for owner, _ in keys], "task": [task_id for _, task_id in keys]}


def _read_statement() -> Executable:
    call = calls_of(owner=Text(), task=Uuid())
    # The limit keeps the planner from joining in any other way than key by key.
    found = select(tasks).where(tasks.c.user_id == call.c.owner, tasks.c.id == call.c.task).limit(1).lateral("found")
    return select(*task_columns(found)).select_from(call.outerjoin(found, true())).order_by(call.c.place)


async def insert_many(connection: AsyncConnection, new: Sequence[Task]) -> list[bool]:
    """Store each task whose key is free; whether it was. Of two with one key, the first is stored."""
    rows = await send(connection, _INSERT_MANY, _columns(_WRITTEN, new))
    stored = {(row.user_id, row.id) for row in rows}
    answers = []
    for task in new:
        answers.append((task.owner, task.id) in stored)
        stored.discard((task.owner, task.id))
    return answers


def _insert_statement() -> Executable:
    call = calls_of(**{name: tasks.c[name].type for name in _WRITTEN})
    rows = select(*(call.c[name] for name in _WRITTEN)).order_by(call.c.place)
    statement = insert(tasks).from_select(list(_WRITTEN), rows)
    return statement.on_conflict_do_nothing(constraint=tasks.primary_key).returning(tasks.c.user_id, tasks.c.id)


async def swap_many(connection: AsyncConnection, swaps: Sequence[Swap]) -> list[bool]:
    """Compare and swap; whether it was. Of several swaps of one task at most one is."""
    # Statements that lock the same tasks in the same order cannot deadlock.
    order = sorted(range(len(swaps)), key=lambda place: (swaps[place].before.owner, swaps[place].before.id))
    columns = _columns(("user_id", "id", *_CHANGING), [swaps[place].after for place in order])
    columns["was_version"] = [swaps[place].before.version for place in order]
    columns["was_updated_at"] = [swaps[place].before.updated_at for place in order]
    swapped = {order[row.place - 1] for row in await send(connection, _SWAP_MANY, columns)}
    return [place in swapped for place in range(len(swaps))]


def _swap_statement() -> Executable:
    kinds = {name: tasks.c[name].type for name in ("user_id", "id", *_CHANGING)}
    call = calls_of(**kinds, was_version=BigInteger(), was_updated_at=MOMENT)
    # The version tells every change of a task; the moment also one that was removed and then added anew.
    same = (tasks.c.version == call.c.was_version, tasks.c.updated_at == call.c.was_updated_at)
    statement = update(tasks).where(tasks.c.user_id == call.c.user_id, tasks.c.id == call.c.id, *same)
    return statement.values({name: call.c[name] for name in _CHANGING}).returning(call.c.place)


async def delete_many(connection: AsyncConnection, removals: Sequence[Removal]) -> list[bool]:
    """Delete each task that is at an expected version; whether it was."""
    asked = sorted(
        (removal.owner, removal.id, version, place)
        for place, removal in enumerate(removals)
        for version in ([_ANY] if removal.versions is None else removal.versions)
    )
    columns = _owners_and_ids([(owner, task_id) for owner, task_id, _, _ in asked])
    columns["version"] = [version for _, _, version, _ in asked]
    deleted = {asked[row.place - 1][-1] for row in await send(connection, _DELETE_MANY, columns)}
    return [place in deleted for place in range(len(removals))]


def _delete_statement() -> Executable:
    call = calls_of(owner=Text(), task=Uuid(), version=BigInteger())
    expected = (call.c.version == _ANY) | (tasks.c.version == call.c.version)
    statement = delete(tasks).where(tasks.c.user_id == call.c.owner, tasks.c.id == call.c.task, expected)
    return statement.returning(call.c.place)


async def locked(connection: AsyncConnection, key: Key) -> Task | None:
    """The task, which nobody else can change before this transaction ends."""
    row = (await connection.execute(_LOCK, {"owner": key[0], "task": key[1]})).one_or_none()
    return None if row is None else task_of(row)


def _lock_statement() -> Executable:
    mine = (tasks.c.user_id == bindparam("owner"), tasks.c.id == bindparam("task"))
    return select(*task_columns(tasks)).where(*mine).with_for_update()


async def answer_many(connection: AsyncConnection, calls: Sequence[None]) -> Sequence[None]:
    """Nothing, from a database that can answer."""
    await connection.execute(_ANSWER)
    return calls


_READ_MANY: Final = _read_statement()
_INSERT_MANY: Final = _insert_statement()
_SWAP_MANY: Final = _swap_statement()
_DELETE_MANY: Final = _delete_statement()
_LOCK: Final = _lock_statement()
_ANSWER: Final[Executable] = select(literal_column("1"))
