"""Runs the storage's statements on a test's own connection, and holds locks that they wait for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, TypeVar
from unittest.mock import patch

import psycopg
import pytest
from factories import make_task

from todo_adapters.postgres import batch, listing, pruning, reading, sync, transaction, writing
from todo_adapters.postgres.transaction import Refused, commit_behind_the_lock, make_owner
from todo_adapters.postgres.writing import Outcome, Result, Write, Writing, creating
from todo_core import Committed, IdempotencyKey, Once, OwnerId, Pair, Plan, Task, TaskId
from todo_core.testing.writing import deleting

A = TypeVar("A")
Execute = Callable[..., Awaitable[list[Any]]]
CREATING = creating(10_000, keyed=False)
CREATING_ONCE = creating(10_000, keyed=True)
CREATING_AS_OF = creating(10_000, keyed=False, as_of=True)
CREATING_ONCE_AS_OF = creating(10_000, keyed=True, as_of=True)
DONE, LOST, EXISTS, TOO_MANY, USED = Result.DONE, Result.LOST, Result.EXISTS, Result.TOO_MANY, Result.USED
ONCE = Once(IdempotencyKey("key"), "same")
FORMS = pytest.mark.parametrize("form", ["passing", "waiting"])
ADD = """
    insert into tasks (user_id, id, title, version, created_at, updated_at, search_text)
        values (%(owner)s, %(id)s, %(title)s, 1, %(created_at)s, %(updated_at)s, '')
"""
"""How a server of the version before adds a task, and whoever writes past the storage."""


def creation(task: Task, once: Once | None = None) -> Write:
    return Write(Pair(None, task), once=once)


def swap(before: Task, after: Task, once: Once | None = None) -> Write:
    return Write(Pair(before, after), once=once)


def removal(task: Task, once: Once | None = None) -> Write:
    return Write(Pair(task, None), once=once)


def columns(task: Task) -> dict[str, object]:
    return {name: getattr(task, name) for name in task.__slots__}


def results(outcomes: Sequence[Outcome]) -> list[Result]:
    return [outcome.result for outcome in outcomes]


async def store(connection: psycopg.AsyncConnection[Any], tasks: Sequence[Task]) -> None:
    """Have these tasks there, each as a change of its own."""
    await have_owners(connection, *{task.owner for task in tasks})
    assert {*results(await CREATING.waiting(connection, [creation(task) for task in tasks]))} <= {Result.DONE}


async def have_owners(connection: psycopg.AsyncConnection[Any], *owners: OwnerId) -> None:
    for owner in owners:
        await make_owner(connection, owner)


async def commit(connection: psycopg.AsyncConnection[Any], owner: OwnerId, plan: Plan) -> Committed:
    """Carry out a plan behind its owner's row, as the storage does."""
    try:
        async with connection.transaction():
            return await commit_behind_the_lock(connection, owner, plan, plan.sees, max_tasks=10_000, waits=True)
    except Refused as refused:
        raise refused.refusal from None


async def delete(connection: psycopg.AsyncConnection[Any], task: Task) -> Committed:
    """Delete that owner's task with that id, whatever has become of it."""
    return await commit(connection, task.owner, deleting(task.id))


@contextmanager
def executing(execute: Execute) -> Iterator[None]:
    """While every statement goes to `execute` instead."""
    with (
        patch.object(writing, "execute", execute),
        patch.object(reading, "execute", execute),
        patch.object(listing, "execute", execute),
        patch.object(sync, "execute", execute),
        patch.object(transaction, "execute", execute),
        patch.object(pruning, "execute", execute),
    ):
        yield


async def plans(
    connection: psycopg.AsyncConnection[Any], send: Callable[[psycopg.AsyncConnection[Any]], Awaitable[object]]
) -> list[str]:
    """How the database would execute the statements that are sent, with their values and for any values."""
    explained: list[str] = []

    async def execute(
        connection: psycopg.AsyncConnection[Any], statement: str, parameters: Mapping[str, Any], **_: object
    ) -> list[Any]:
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"set plan_cache_mode = {mode}")
            lines = await batch.execute(connection, f"explain {statement}", parameters)  # type: ignore[arg-type]
            explained.append("\n".join(line for (line,) in lines))
        await connection.execute("reset plan_cache_mode")
        return await batch.execute(connection, statement, parameters)  # type: ignore[arg-type]

    with executing(execute):
        await send(connection)
    return explained


@asynccontextmanager
async def holding(url: str, *owners: OwnerId) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """While somebody else's transaction has the rows of these owners, on its connection; it ends with its commit."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(
            "select from owners where user_id = any(%s) order by user_id for no key update", [list(owners)]
        )
        yield connection


async def begun(work: Awaitable[A], url: str) -> "asyncio.Future[A]":
    """The work, once it waits for a lock that somebody holds."""
    doing = asyncio.ensure_future(work)
    await waiting(url)
    assert not doing.done()
    return doing


async def waiting(url: str, count: int = 1) -> list[int]:
    """The processes of the database's statements that wait for a lock, once there are `count`."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
        return await under_way(admin, count)


async def under_way(admin: psycopg.AsyncConnection[Any], count: int = 1) -> list[int]:
    """As `waiting`, on a connection that is there."""
    statement = """
        select pid from pg_stat_activity
            where datname = current_database() and state = 'active' and wait_event_type = 'Lock'
    """
    async with asyncio.timeout(20):
        while len(found := await (await admin.execute(statement)).fetchall()) < count:  # noqa: ASYNC110  (nobody could set an event)
            await asyncio.sleep(0.01)
    return [pid for (pid,) in found]


def behind_the_lock(monkeypatch: pytest.MonkeyPatch) -> list[OwnerId]:
    """From now on, the owners whose plans are decided behind the lock."""
    owners: list[OwnerId] = []

    async def commit(
        connection: psycopg.AsyncConnection[Any], owner: OwnerId, *arguments: Any, **others: Any
    ) -> Committed:
        owners.append(owner)
        return await transaction.commit_behind_the_lock(connection, owner, *arguments, **others)

    monkeypatch.setattr("todo_adapters.postgres.store.commit_behind_the_lock", commit)
    return owners


def key(task: Task) -> tuple[OwnerId, TaskId]:
    return task.owner, task.id


async def state(connection: psycopg.AsyncConnection[Any]) -> list[tuple[object, ...]]:
    """Of each owner with a row: the number, the count of tasks, and how many entries its log has."""
    counted = """
        select user_id, number, live, (select count(*) from changes where changes.user_id = owners.user_id)
        from owners order by 1
    """
    return await (await connection.execute(counted)).fetchall()


def once(key: str, fingerprint: str = "f") -> Once:
    return Once(IdempotencyKey(key), fingerprint)


def as_of(writing: Writing, task: Task, number: int | None, **members: Any) -> Write:
    """The creation of another task of that one's owner."""
    new = replace(make_task(owner=task.owner), **members)
    return replace(creation(new, once(f"{new.id}") if writing is CREATING_ONCE_AS_OF else None), as_of=number)


@contextmanager
def table_locked(url: str) -> Iterator[None]:
    """Block every statement on the table meanwhile."""
    with psycopg.connect(url) as other:
        other.execute("lock table tasks in access exclusive mode")
        yield


async def in_one_batch(*calls: Awaitable[A]) -> "list[A | BaseException]":
    return await asyncio.gather(*calls, return_exceptions=True)


# What every reader sees of each owner in one snapshot, at every moment.
IN_STEP = """
    select owners.user_id, owners.number, log.newest, log.numbers, owners.live,
           (select count(*) from tasks where tasks.user_id = owners.user_id)
    from owners left join lateral (
        select coalesce(max(number), 0) as newest, count(distinct number) as numbers
        from changes where changes.user_id = owners.user_id
    ) as log on true
"""


def out_of_step(connection: psycopg.Connection[Any]) -> list[tuple[object, ...]]:
    """Owners whose number, log or count of tasks differ from each other."""
    rows = connection.execute(IN_STEP).fetchall()
    return [row for row in rows if not (row[1] == row[2] == row[3] and row[4] == row[5])]
