"""Change numbers and the log on PostgreSQL: without gaps, in commit order, also if connections are lost."""

import asyncio
import pickle
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import writers
from adapters.statements import out_of_step
from effort import IN_CI
from writers import Acknowledged

from todo_adapters.postgres import PostgresTaskStore
from todo_adapters.postgres.engine import Engine
from todo_core import OwnedTasks, OwnerId, Sort, TaskQuery
from todo_core.testing.log import replayed, whole_log

ACTIONS = 40 if IN_CI else 10  # of each client of each process


async def writer(url: str, seed: int, *fault: str) -> asyncio.subprocess.Process:
    """A process that is ready to write when it reads a line."""
    pipe = asyncio.subprocess.PIPE
    arguments = [str(Path(writers.__file__)), url, str(seed), "6", str(ACTIONS), *fault]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdout
    assert await process.stdout.readline() == b"ready\n"
    return process


async def written(url: str, *fault: str, beside: Callable[[psycopg.Connection[Any]], None]) -> Acknowledged:
    """The changes that were acknowledged to three processes; `beside` is called meanwhile."""
    processes = [await writer(url, 100 * seed, *fault) for seed in range(3)]
    writing = asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    with psycopg.connect(url, autocommit=True) as connection:
        while not writing.done():
            beside(connection)
            await asyncio.wait([writing], timeout=0.02)
    outputs = await writing
    assert [process.returncode for process in processes] == [0] * 3, [error.decode()[-2000:] for _, error in outputs]
    return [each for output, _ in outputs for each in pickle.loads(output)]  # noqa: S301  (our own)


async def assert_whole(url: str, engine: Engine, acknowledged: Acknowledged) -> None:
    """All that is promised of numbers and the log, once nobody writes."""
    with psycopg.connect(url) as connection:
        assert out_of_step(connection) == []
    async with opened(engine) as stored:
        for owner in writers.OWNERS:
            await assert_log(stored.tasks_of(owner), owner, acknowledged)


@asynccontextmanager
async def opened(engine: Engine) -> AsyncIterator[PostgresTaskStore]:
    stored = PostgresTaskStore(engine)
    try:
        yield stored
    finally:
        await stored.aclose()


async def assert_log(tasks: OwnedTasks, owner: OwnerId, acknowledged: Acknowledged) -> None:
    log = await whole_log(tasks)
    assert log
    page = await tasks.page(TaskQuery(sort=Sort.CREATED_AT, limit=200))
    assert replayed(owner, log) == {task.id: task for task in page.items}
    moments = [entry.at for entry in log]
    assert moments == sorted(moments)
    counted = Counter(number for whose, number in acknowledged if whose == owner)
    assert set(counted.values()) == {1}, "two changes have one number"
    assert set(counted) <= {entry.number for entry in log}, "an acknowledged change is not in the log"


def deadlocks(url: str) -> int:
    with psycopg.connect(url) as connection:
        statement = (
            "select pg_stat_force_next_flush(), deadlocks from pg_stat_database where datname = current_database()"
        )
        return int(connection.execute(statement).fetchall()[0][1])


@pytest.mark.timeout(300)
async def test_three_processes_leave_no_gap_no_double_and_no_deadlock(database_url: str, engine: Engine) -> None:
    seen: list[tuple[object, ...]] = []
    polls = 0

    def poll(connection: psycopg.Connection[Any]) -> None:
        nonlocal polls
        polls += 1
        seen.extend(out_of_step(connection))

    acknowledged = await written(database_url, beside=poll)
    assert seen == []
    assert polls > (10 if IN_CI else 3)
    assert len(acknowledged) > 5 * ACTIONS
    await assert_whole(database_url, engine, acknowledged)
    assert deadlocks(database_url) == 0


@pytest.mark.timeout(300)
async def test_lost_connections_leave_no_gap_and_no_half_of_a_change(database_url: str, engine: Engine) -> None:
    lost = 0

    def terminate(connection: psycopg.Connection[Any]) -> None:
        nonlocal lost
        statement = """
            select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
                and state <> 'idle' order by random() limit 1
        """
        lost += connection.execute(statement).rowcount

    acknowledged = await written(database_url, beside=terminate)
    assert lost > (5 if IN_CI else 3)
    await assert_whole(database_url, engine, acknowledged)


@pytest.mark.ci
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", sorted(writers.FAULTS))
async def test_a_storage_without_one_of_the_mechanisms_is_detected(
    database_url: str, engine: Engine, fault: str
) -> None:
    seen: list[tuple[object, ...]] = []
    try:
        acknowledged = await written(
            database_url, fault, beside=lambda connection: seen.extend(out_of_step(connection))
        )
        await assert_whole(database_url, engine, acknowledged)
    except AssertionError:
        return
    assert seen or deadlocks(database_url), "the fault was not detected"
