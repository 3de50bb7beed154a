"""A connection is kept for the next statement, unless others need it more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import psycopg
import pytest
from clocks import until
from sqlalchemy import event

from todo_adapters.postgres import connections, create_engine
from todo_adapters.postgres.batch import execute
from todo_adapters.postgres.connections import Connections
from todo_adapters.postgres.engine import Engine


async def backend(connection: psycopg.AsyncConnection[Any]) -> int:
    [(pid,)] = await execute(connection, "select pg_backend_pid()", {})
    return cast("int", pid)


def in_use(engine: Engine) -> int:
    return engine.pool.checkedout()


@asynccontextmanager
async def pool_of(url: str, size: int) -> AsyncIterator[tuple[Engine, Connections]]:
    engine = create_engine(url, pool_size=size, pool_timeout=0.2)
    lent = Connections(engine)
    try:
        yield engine, lent
        await lent.aclose()
        assert in_use(engine) == 0
    finally:
        await lent.aclose()
        await engine.dispose()


async def test_one_checkout_serves_statement_after_statement(database_url: str) -> None:
    async with pool_of(database_url, 10) as (engine, lent):
        checkouts: list[object] = []
        event.listen(engine.sync_engine, "checkout", lambda *what: checkouts.append(what))
        assert len({await lent.run(backend) for _ in range(5)}) == 1
        assert len(checkouts) == 1


async def test_work_that_takes_long_leaves_a_kept_connection_to_others(database_url: str) -> None:
    async with pool_of(database_url, 10) as (_, lent):
        kept = await lent.run(backend)
        long = {await lent.run(backend, leave=1) for _ in range(3)}
        assert len(long) == 1  # one more is kept
        assert kept not in long
        assert {await lent.run(backend) for _ in range(2)} <= {kept, *long}


async def test_simultaneous_callers_have_separate_connections(database_url: str) -> None:
    async with pool_of(database_url, 10) as (_, lent):
        for _ in range(3):
            assert len(set(await asyncio.gather(*(lent.run(backend) for _ in range(4))))) == 4


async def test_a_kept_connection_goes_back_after_a_while(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LINGER", 0.5)
    async with pool_of(database_url, 10) as (engine, lent):
        await asyncio.gather(*(lent.run(backend) for _ in range(3)))
        assert in_use(engine) == 3
        await until(lambda: in_use(engine) == 0)
        await lent.run(backend)  # and then the next is kept, and goes back, as well
        assert in_use(engine) == 1
        await until(lambda: in_use(engine) == 0)


@pytest.mark.parametrize(("size", "kept"), [(1, 0), (2, 1), (3, 1), (4, 2)])
async def test_half_of_the_pool_is_left_to_others(database_url: str, size: int, kept: int) -> None:
    async with pool_of(database_url, size) as (engine, lent):
        for _ in range(3):
            await asyncio.gather(*(lent.run(backend) for _ in range(size)))
            assert in_use(engine) <= kept  # the number depends on which call ended first
        ends = [asyncio.Event() for _ in range(size)]
        working = [asyncio.create_task(lent.run(lambda _, end=end: end.wait())) for end in ends]
        await until(lambda: in_use(engine) == size)
        for end, work in zip(ends, working, strict=True):  # one after the other
            end.set()
            await work
        assert in_use(engine) == kept
        await lent.run(backend)
        assert in_use(engine) == kept
        async with engine.connect() as another:
            assert await backend(another)


async def test_connections_of_failed_work_are_not_kept_and_unfinished_ones_not_reused(database_url: str) -> None:
    async def fail(connection: psycopg.AsyncConnection[Any]) -> None:
        seen.append(await backend(connection))
        raise LookupError

    async def break_off(connection: psycopg.AsyncConnection[Any]) -> None:
        seen.append(await backend(connection))
        await connection.execute("begin")
        raise LookupError

    async with pool_of(database_url, 10) as (engine, lent):
        for work, same in ((fail, True), (break_off, False)):
            seen: list[int] = []
            with pytest.raises(LookupError):
                await lent.run(work)
            assert in_use(engine) == 0
            assert ([await lent.run(backend)] == seen) is same


async def test_a_kept_connection_that_has_died_is_noticed_before_it_is_used(database_url: str) -> None:
    async with pool_of(database_url, 10) as (_, lent):
        dead = await lent.run(backend)
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
            await admin.execute("select pg_terminate_backend(%s, 5000)", [dead])
        assert await lent.run(backend) != dead


async def test_a_cancelled_caller_does_not_leak_a_connection(database_url: str) -> None:
    async def sleep(connection: psycopg.AsyncConnection[Any]) -> Any:
        return await execute(connection, "select pg_sleep(60)", {})

    async with pool_of(database_url, 10) as (engine, lent):
        for _ in range(3):
            sleeping = asyncio.create_task(lent.run(sleep))
            await until(lambda: in_use(engine) == 1)
            sleeping.cancel()
            await asyncio.wait([sleeping])
            await until(lambda: in_use(engine) == 0)
