"""An owner whose rows are locked on PostgreSQL delays nobody else."""

import asyncio

import psycopg
import pytest
from adapters.statements import ONCE, holding, out_of_step, table_locked, waiting
from factories import ANN, BOB, LATER, make_task

from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_adapters.postgres.engine import Engine
from todo_core import OwnerId, StoreUnavailable, Task, composed
from todo_core.testing.log import whole_log
from todo_core.testing.writing import add, creating, deleting, edit, remove


async def every_kind(stored: PostgresTaskStore, owner: OwnerId, task: Task) -> None:
    """Writes of every kind, and a read."""
    tasks = stored.tasks_of(owner)
    await add(tasks, new := make_task(owner=owner))
    await tasks.commit(creating(make_task(owner=owner), ONCE))
    await edit(tasks, task.id, lambda task: task.toggled(at=LATER))
    await tasks.commit(composed([deleting(new.id), creating(make_task(owner=owner))]))
    await remove(tasks, task.id)


async def test_owners_with_locked_rows_delay_nobody_else(engine: Engine, database_url: str) -> None:
    stored = PostgresTaskStore(engine, deadline=30)
    held = [OwnerId(f"held {number}") for number in range(6)]
    strangers = [OwnerId(f"stranger {number}") for number in range(4)]
    theirs = {owner: make_task(owner=owner) for owner in (*held, *strangers)}
    for owner, task in theirs.items():
        await add(stored.tasks_of(owner), task)
    async with holding(database_url, *held):
        stuck = [asyncio.ensure_future(every_kind(stored, owner, theirs[owner])) for owner in held for _ in range(3)]
        stuck += [
            asyncio.ensure_future(stored.tasks_of(owner).commit(composed([creating(make_task(owner=owner))] * 1)))
            for owner in held
        ]
        await waiting(database_url, 2)
        async with asyncio.timeout(20):
            await asyncio.gather(*(every_kind(stored, owner, theirs[owner]) for owner in strangers))
            newcomers = [OwnerId(f"newcomer {number}") for number in range(4)]
            await asyncio.gather(*(add(stored.tasks_of(owner), make_task(owner=owner)) for owner in newcomers))
        assert not any(each.done() for each in stuck)
    outcomes = await asyncio.gather(*stuck, return_exceptions=True)
    assert not any(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    await stored.aclose()
    with psycopg.connect(database_url) as looking:
        assert out_of_step(looking) == []


async def test_owners_whose_first_rows_are_not_committed_yet_delay_nobody_else(
    engine: Engine, database_url: str
) -> None:
    stored = PostgresTaskStore(engine, deadline=30)
    await add(stored.tasks_of(BOB), task := make_task(owner=BOB))
    newcomers = [OwnerId(f"newcomer {number}") for number in range(4)]
    async with await psycopg.AsyncConnection.connect(database_url) as rival:
        for owner in newcomers:
            await rival.execute("insert into owners (user_id) values (%s)", [owner])
        stuck = [asyncio.ensure_future(add(stored.tasks_of(owner), make_task(owner=owner))) for owner in newcomers]
        await waiting(database_url, 2)
        async with asyncio.timeout(20):
            await every_kind(stored, BOB, task)
        assert not any(each.done() for each in stuck)
    await asyncio.gather(*stuck)
    await stored.aclose()


async def test_calls_of_a_held_owner_and_of_others_share_a_statement_and_only_the_held_ones_wait(
    engine: Engine, database_url: str
) -> None:
    stored = PostgresTaskStore(engine)
    for owner in (ANN, BOB):
        await add(stored.tasks_of(owner), make_task(owner=owner))
    async with holding(database_url, ANN):
        anns = [asyncio.ensure_future(add(stored.tasks_of(ANN), make_task())) for _ in range(5)]
        bobs = [asyncio.ensure_future(add(stored.tasks_of(BOB), make_task(owner=BOB))) for _ in range(5)]
        assert [each.change for each in await asyncio.gather(*bobs)] == [2, 3, 4, 5, 6]
        await waiting(database_url, 1)
        assert not any(each.done() for each in anns)
    assert [each.change for each in await asyncio.gather(*anns)] == [2, 3, 4, 5, 6]
    await stored.aclose()


async def test_a_cancelled_wait_for_an_owner_takes_no_number(engine: Engine, database_url: str) -> None:
    stored = PostgresTaskStore(engine)
    tasks = stored.tasks_of(ANN)
    await add(tasks, task := make_task())
    async with holding(database_url, ANN):
        doing = [
            asyncio.ensure_future(each)
            for each in (
                add(tasks, make_task()),
                edit(tasks, task.id, lambda task: task.toggled(at=LATER)),
                tasks.commit(composed([creating(make_task()), deleting(task.id)])),
            )
        ]
        await waiting(database_url, 1)
        for each in doing:
            each.cancel()
        await asyncio.wait(doing)
    await stored.aclose()
    with psycopg.connect(database_url) as looking:
        assert out_of_step(looking) == []
    again = PostgresTaskStore(engine)
    log = await whole_log(again.tasks_of(ANN))
    assert [entry.number for entry in log] == list(range(1, len(log) + 1))
    await again.aclose()


@pytest.mark.parametrize("sharded", [False, True])
async def test_a_statement_that_waits_for_its_turn_and_then_too_long_is_reported_and_keeps_its_connection(
    partitioned_database_url: str, sharded: bool
) -> None:
    outages: list[BaseException] = []
    engine = create_engine(partitioned_database_url, pool_size=1, sharded=sharded)
    stored = PostgresTaskStore(engine, deadline=0.5, on_outage=outages.append)
    tasks = stored.tasks_of(ANN)
    await add(tasks, task := make_task())
    backend = await backend_of(engine)
    async with holding(partitioned_database_url, ANN):
        with pytest.raises(StoreUnavailable):
            await add(tasks, make_task())
    with table_locked(partitioned_database_url), pytest.raises(StoreUnavailable):
        await tasks.get(task.id)
    assert [type(outage) for outage in outages] == [TimeoutError] * 2
    await stored.aclose()
    assert await backend_of(engine) == backend
    await engine.dispose()


async def backend_of(engine: Engine) -> int:
    async with engine.connect() as connection:
        return connection.info.backend_pid
