"""Statements stay prepared: otherwise PostgreSQL plans them anew, which takes as long as executing them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import product
from pathlib import Path

import psycopg
import pytest
from adapters.statements import holding
from adapters.test_postgres_engine import waiting
from databases import has_been_used
from factories import ANN, LATER, make_id, make_task

from todo_adapters.embedded import EmbeddedPostgres
from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.migrations import migrate
from todo_core import (
    IdempotencyKey,
    KeyReused,
    OwnedTasks,
    Sort,
    StoreUnavailable,
    TaskExists,
    TaskNotFound,
    TaskQuery,
    TooMany,
)
from todo_core.testing.writing import add, changing, creating, deleting, edit, once_for

SWAP = "update tasks set completed_at"
FIRST, SECOND, UNKNOWN = make_id(1), make_id(2), make_id(3)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[Engine]:
    """With one connection: every statement is sent on it."""
    engine = create_engine(database_url, pool_size=1)
    yield engine
    await engine.dispose()


async def prepared(engine: Engine) -> set[str]:
    """The statements that are prepared on the connection. What the driver gives up it drops with its next statement."""
    async with engine.connect() as connection:
        for _ in range(2):
            cursor = await connection.execute("select statement from pg_prepared_statements", prepare=False)
        return {statement for (statement,) in await cursor.fetchall()}


async def reuse_the_key(tasks: OwnedTasks) -> None:
    await tasks.commit(changing(FIRST, lambda task: task, once_for(IdempotencyKey("key"), make_task(title="Other"))))


async def create_what_exists(tasks: OwnedTasks) -> None:
    await tasks.commit(creating(make_task(id=FIRST), once_for(IdempotencyKey("another"), make_task())))


async def create_too_many(tasks: OwnedTasks) -> None:
    await tasks.commit(creating(make_task(id=UNKNOWN)))


async def delete_the_unknown(tasks: OwnedTasks) -> None:
    await tasks.commit(deleting(UNKNOWN, once=once_for(IdempotencyKey("third"), make_task())))


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (reuse_the_key, KeyReused),
        (create_what_exists, TaskExists),
        (create_too_many, TooMany),
        (delete_the_unknown, TaskNotFound),
    ],
)
async def test_a_refusal_behind_the_lock_leaves_statements_prepared(
    engine: Engine, refused: Callable[[OwnedTasks], Awaitable[None]], error: type[Exception]
) -> None:
    store = PostgresTaskStore(engine, max_tasks=2)
    tasks = store.tasks_of(ANN)
    for task_id in (FIRST, SECOND):
        await add(tasks, make_task(id=task_id))
    await tasks.commit(
        changing(FIRST, lambda task: task.toggled(at=LATER), once_for(IdempotencyKey("key"), make_task()))
    )
    before = await prepared(engine)
    with pytest.raises(error):
        await refused(tasks)
    assert before <= await prepared(engine)
    assert any("for no key update skip locked" in statement for statement in before)
    await store.aclose()


async def test_waiting_for_the_owners_row_leaves_statements_prepared(
    engine: Engine, postgres_store: PostgresTaskStore, database_url: str
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, make_task(id=FIRST))
    await add(tasks, make_task(id=SECOND))
    await tasks.commit(deleting(FIRST))
    before = await prepared(engine)
    async with holding(database_url, ANN):
        deletion = asyncio.create_task(tasks.commit(deleting(SECOND)))
        await waiting(database_url, 1)
    await deletion
    assert before <= await prepared(engine)


async def test_a_write_is_prepared_on_first_use_and_stays_prepared_after_many_listings(
    engine: Engine, postgres_store: PostgresTaskStore
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, make_task(id=FIRST))
    await edit(tasks, FIRST, lambda task: task.toggled(at=LATER))
    first = await prepared(engine)
    assert any(SWAP in statement for statement in first)
    for sort, completed, search, tags in product(Sort, (None, True, False), (None, "milk"), ((), ("home",))):
        await tasks.page(TaskQuery(sort=sort, completed=completed, search=search, tags=tags))
    assert await prepared(engine) == first


async def test_a_refusal_waits_for_no_standby(tmp_path: Path) -> None:
    with EmbeddedPostgres.start(has_been_used(tmp_path / "data", migrate)) as server:
        engine = create_engine(server.url)
        store = PostgresTaskStore(engine, deadline=1)
        await add(store.tasks_of(ANN), make_task(id=FIRST))
        async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
            await connection.execute("alter system set synchronous_standby_names = 'a_standby_that_is_gone'")
            await connection.execute("select pg_reload_conf()")
        with pytest.raises(TaskNotFound):
            await delete_the_unknown(store.tasks_of(ANN))
        with pytest.raises(StoreUnavailable):
            await add(store.tasks_of(ANN), make_task(id=SECOND))
        await store.aclose()
        await engine.dispose()
