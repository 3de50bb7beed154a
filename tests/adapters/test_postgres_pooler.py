"""The store behind PgBouncer in transaction mode, where each transaction may get another server connection."""

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from factories import ANN, LATER, NOON, make_task
from poolers import pooler_before

from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_adapters.postgres.batch import execute
from todo_adapters.postgres.migrations import is_current, max_connections, migrate
from todo_adapters.postgres.sender import Sender
from todo_core import Sort, StoreUnavailable, SyncQuery, TaskQuery, idempotency_key
from todo_core.testing.writing import add, add_once, edit, remove

TERMINATE = """
select pg_terminate_backend(pid, 5000) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
"""


@pytest.fixture
def pooled_url(empty_database_url: str) -> Iterator[str]:
    """A database behind a pooler."""
    with pooler_before(empty_database_url) as url:
        yield url


def test_the_servers_limit_on_connections_means_nothing_behind_a_pooler(
    pooled_url: str, empty_database_url: str
) -> None:
    assert (max_connections(pooled_url), max_connections(empty_database_url)) == (None, 500)


@pytest.mark.ci
async def test_everything_works_behind_a_pooler_that_mixes_up_connections(pooled_url: str) -> None:
    await asyncio.to_thread(migrate, pooled_url)
    assert await asyncio.to_thread(is_current, pooled_url)
    engine = create_engine(pooled_url, pool_size=8)
    tasks = (store := PostgresTaskStore(engine)).tasks_of(ANN)
    added = [make_task(title=f"Task {number}") for number in range(12)]
    await asyncio.gather(*(add(tasks, task) for task in added))
    for _ in range(3):
        await asyncio.gather(
            *(edit(tasks, added[0].id, lambda task: task.toggled(at=LATER)) for _ in range(15)),
            *(tasks.get(task.id) for task in added),
            *(tasks.page(TaskQuery(sort=sort, search="TASK")) for sort in Sort),
            store.ready(),
        )
    final = await tasks.get(added[0].id)
    assert (final.completed, final.version) == (True, 46)
    await asyncio.gather(*(remove(tasks, task.id, expected=task.version) for task in added[1:]))
    assert (await tasks.page(TaskQuery())).items == (final,)
    kept = [task for task in added if task != added[0]][:3]
    keys = [idempotency_key(f"{number % 3}") for number in range(12)]
    since = (await tasks.sync(SyncQuery(now=LATER, kept_since=NOON))).here
    answers = await asyncio.gather(*(add_once(tasks, key, kept[int(key)]) for key in keys))
    assert answers == [kept[int(key)] for key in keys]
    assert await store.changed({ANN: since.mark.number}) == {ANN: since.mark.number + 3}
    changed = await tasks.sync(SyncQuery(now=LATER, kept_since=NOON, since=since))
    assert sorted(item.id for item in changed.items) == sorted(task.id for task in kept)
    await store.aclose()
    await engine.dispose()


@pytest.mark.parametrize("repeatable", [False, True])
async def test_a_commit_whose_connection_the_pooler_lost_is_unavailable_or_repeated(
    pooled_url: str, empty_database_url: str, repeatable: bool
) -> None:
    """PgBouncer passes on what the server said last, and adds an error of its own."""
    engine = create_engine(pooled_url)
    sender = Sender(engine, deadline=5)
    times: list[int] = []

    async def work(connection: psycopg.AsyncConnection[Any], _: bool) -> int:
        await execute(connection, "select 1", {})
        times.append(len(times))
        if len(times) == 1:
            with psycopg.connect(empty_database_url) as other:
                other.execute(TERMINATE)
        return len(times)

    committing = sender.in_transaction(work, owner=ANN, repeatable=repeatable)
    if repeatable:
        assert await committing == 2
    else:
        with pytest.raises(StoreUnavailable):
            await committing
    assert len(times) == 1 + repeatable
    await sender.drain()
    await engine.dispose()


async def test_nothing_is_prepared_behind_a_pooler(pooled_url: str) -> None:
    engine = create_engine(pooled_url)
    async with engine.connect() as connection:
        assert connection.prepare_threshold is None
    await engine.dispose()
