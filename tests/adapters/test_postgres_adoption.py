"""Tasks from before the log on PostgreSQL: their owner's first change stores them, once."""

import asyncio
from contextlib import suppress

import psycopg
import pytest
from adapters.statements import ADD, columns, out_of_step
from factories import ANN, BOB, LATER, NOON, make_id, make_task

from todo_adapters.postgres import PostgresTaskStore
from todo_adapters.postgres.engine import Engine
from todo_core import ChangeQuery, Plan, StoreUnavailable, TaskQuery, composed
from todo_core.testing.log import replayed, whole_log
from todo_core.testing.writing import add, changing, creating, edit


async def test_tasks_from_before_the_log_are_its_first_change_when_their_owner_first_writes(
    postgres_store: PostgresTaskStore, database_url: str
) -> None:
    old = [make_task(id=make_id(number), title=f"{number}") for number in range(3)]
    with psycopg.connect(database_url) as before:
        for task in (*old, make_task(owner=BOB)):
            before.execute(ADD, columns(task))
    tasks = postgres_store.tasks_of(ANN)
    assert (await tasks.changes(ChangeQuery())).items == ()
    assert (await tasks.commit(changing(old[0].id, lambda task: task.toggled(at=LATER)))).change == 2
    log = await whole_log(tasks)
    assert [(entry.number, entry.id, entry.action) for entry in log] == [
        *((1, task.id, "created") for task in old),
        (2, old[0].id, "completed"),
    ]
    assert len({entry.at for entry in log if entry.number == 1}) == 1
    assert replayed(ANN, log) == {task.id: task for task in (old[0].toggled(at=LATER), *old[1:])}
    with psycopg.connect(database_url) as looking:
        assert looking.execute("select user_id, number, live from owners").fetchall() == [("ann", 2, 3)]


def two_creations() -> Plan:
    return composed([creating(make_task()), creating(make_task())])


@pytest.mark.parametrize("times", [1, 2])
async def test_an_owner_is_adopted_once_whoever_writes_first(engine: Engine, database_url: str, times: int) -> None:
    old = [make_task(id=make_id(number)) for number in range(20)]
    with psycopg.connect(database_url) as before:
        for task in old:
            before.execute(ADD, columns(task))
    stores = [PostgresTaskStore(engine) for _ in range(3)]
    commits = [
        commit
        for stored in stores
        for commit in (
            *(add(stored.tasks_of(ANN), make_task()) for _ in range(times)),
            *(stored.tasks_of(ANN).commit(two_creations()) for _ in range(times)),
        )
    ]
    edits = [edit(stores[0].tasks_of(ANN), task.id, lambda task: task.toggled(at=LATER)) for task in old[:5]]
    await asyncio.gather(*commits, *edits)
    log = await whole_log(stores[0].tasks_of(ANN))
    assert [entry.id for entry in log if entry.number == 1] == [task.id for task in old]
    page = await stores[0].tasks_of(ANN).page(TaskQuery(limit=200))
    assert replayed(ANN, log) == {task.id: task for task in page.items}
    with psycopg.connect(database_url) as looking:
        assert out_of_step(looking) == []
        assert looking.execute("select number, live from owners").fetchall() == [
            (1 + len(commits) + len(edits), len(page.items))
        ]
    for stored in stores:
        await stored.aclose()


async def test_an_interrupted_adoption_is_repeated(engine: Engine, database_url: str) -> None:
    with psycopg.connect(database_url) as before:
        before.execute(ADD, columns(old := make_task(created_at=NOON)))
    async with await psycopg.AsyncConnection.connect(database_url) as holder:
        await holder.execute("lock table changes in access exclusive mode")
        stored = PostgresTaskStore(engine, deadline=0.5)
        with pytest.raises(StoreUnavailable):
            await add(stored.tasks_of(ANN), make_task())
        with suppress(StoreUnavailable):
            await stored.aclose()
    stored = PostgresTaskStore(engine)
    await add(stored.tasks_of(ANN), make_task())
    assert [(entry.number, entry.id == old.id) for entry in await whole_log(stored.tasks_of(ANN))] == [
        (1, True),
        (2, False),
    ]
    await stored.aclose()
