"""Statements on several tasks, from two replicas at once: they lock in one order, and so cannot deadlock."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import psycopg
import pytest
from clocks import until
from factories import ANN, LATER, make_id, make_task
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from todo_adapters.postgres.statements import Removal, Swap, delete_many, insert_many, swap_many
from todo_core import Task

# Plans that the planner chooses for small tables, and for large ones.
HEAP_ORDER = ("enable_nestloop", "enable_mergejoin", "enable_indexscan", "enable_bitmapscan")
KEY_ORDER = ("enable_hashjoin", "enable_mergejoin", "enable_seqscan")
Write = Callable[[AsyncConnection, Sequence[Task]], Awaitable[list[bool]]]


@pytest.fixture
async def replicas(engine: AsyncEngine) -> AsyncIterator[list[AsyncConnection]]:
    """Two connections with plans of different kinds."""
    async with engine.connect() as one, engine.connect() as other:
        for connection, forbidden in ((one, HEAP_ORDER), (other, KEY_ORDER)):
            for setting in forbidden:
                await connection.execute(text(f"set {setting} = off"))
        yield [one, other]


@pytest.fixture
async def tasks(replicas: list[AsyncConnection]) -> list[Task]:
    """Three tasks in the order of their keys; they were stored in the opposite one."""
    tasks = [make_task(id=make_id(number)) for number in range(3)]
    for task in reversed(tasks):
        await insert_many(replicas[0], [task])
    return tasks


async def both(url: str, middle: str, parameters: Sequence[object], writes: Sequence[Awaitable[list[bool]]]) -> object:
    """What the two answer who began while somebody else had the middle one of three."""
    waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with psycopg.connect(url) as somebody, psycopg.connect(url, autocommit=True) as admin:
        somebody.execute(middle, parameters)  # type: ignore[arg-type]
        writing = [asyncio.ensure_future(write) for write in writes]
        await until(lambda: admin.execute(waiting).rowcount == 2)
        somebody.rollback()
    return await asyncio.gather(*writing)


async def swap(connection: AsyncConnection, tasks: Sequence[Task]) -> list[bool]:
    return await swap_many(connection, [Swap(task, task.toggled(at=LATER)) for task in tasks])


async def remove(connection: AsyncConnection, tasks: Sequence[Task]) -> list[bool]:
    return await delete_many(connection, [Removal(task.owner, task.id, [1]) for task in tasks])


async def remove_any(connection: AsyncConnection, tasks: Sequence[Task]) -> list[bool]:
    return await delete_many(connection, [Removal(task.owner, task.id, None) for task in tasks])


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("one", "other"), [(swap, swap), (remove, remove), (swap, remove), (remove_any, swap)])
async def test_writes_to_the_same_tasks_do_not_deadlock_whatever_the_plans(
    replicas: list[AsyncConnection], tasks: list[Task], database_url: str, one: Write, other: Write, turned: bool
) -> None:
    lock = "select from tasks where user_id = %s and id = %s for update"
    order = tasks[::-1] if turned else tasks
    writes = [one(replicas[0], tasks), other(replicas[1], order)]
    outcomes = await both(database_url, lock, [ANN, tasks[1].id], writes)
    assert outcomes in ([[True] * 3, [False] * 3], [[False] * 3, [True] * 3], [[True] * 3, [True] * 3])
    assert outcomes != [[True] * 3, [True] * 3] or remove_any in (one, other)


async def test_additions_of_the_same_ids_do_not_deadlock(replicas: list[AsyncConnection], database_url: str) -> None:
    tasks = [make_task(id=make_id(number)) for number in range(3)]
    insert = "insert into tasks values (%s, %s, 'x', null, null, 1, now(), now(), 'x')"
    writes = [insert_many(replicas[0], tasks), insert_many(replicas[1], tasks[::-1])]
    outcomes = await both(database_url, insert, [ANN, tasks[1].id], writes)
    assert outcomes in ([[True] * 3, [False] * 3], [[False] * 3, [True] * 3])
