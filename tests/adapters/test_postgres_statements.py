"""Many calls in one statement: each gets its own answer, and the database finds its tasks by their key."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from factories import ANN, BOB, LATER, make_id, make_task
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from todo_adapters.postgres.statements import (
    Removal,
    Swap,
    delete_many,
    insert_many,
    read_many,
    swap_many,
)

from todo_adapters.postgres import batch
from todo_adapters.postgres.listing import Shape, pages_many
from todo_core import Cursor, Sort, Task, TaskQuery


@pytest.fixture
async def connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with engine.connect() as connection:
        yield connection


def key(task: Task) -> tuple[Any, Any]:
    return task.owner, task.id


async def test_each_reader_gets_the_own_task(connection: AsyncConnection) -> None:
    anns, bobs = make_task(id=make_id(1)), make_task(id=make_id(1), owner=BOB, title="Bob's")
    await insert_many(connection, [anns, bobs])
    keys = [key(bobs), (ANN, make_id(2)), key(anns), key(bobs)]
    assert await read_many(connection, keys) == [bobs, None, anns, bobs]


async def test_of_two_who_add_one_id_the_first_succeeds(connection: AsyncConnection) -> None:
    await insert_many(connection, [there := make_task()])
    first, second, bobs = (
        make_task(id=make_id(5)),
        make_task(id=make_id(5), title="Second"),
        make_task(id=make_id(5), owner=BOB),
    )
    assert await insert_many(connection, [there, first, bobs, second]) == [False, True, True, False]
    assert await read_many(connection, [key(first), key(bobs)]) == [first, bobs]


async def test_of_two_who_swap_one_task_exactly_one_succeeds(connection: AsyncConnection) -> None:
    tasks = [make_task() for _ in range(3)]
    await insert_many(connection, [tasks[1], tasks[0]])
    toggled = [Swap(task, task.toggled(at=LATER)) for task in tasks]
    renamed = Swap(tasks[0], tasks[0].edited(title="Renamed", at=LATER))
    outcomes = await swap_many(connection, [toggled[2], toggled[1], toggled[0], renamed])
    assert outcomes[:2] == [False, True]
    assert sorted(outcomes[2:]) == [False, True]
    [stored] = await read_many(connection, [key(tasks[0])])
    assert stored == (toggled[0].after if outcomes[2] else renamed.after)


async def test_each_removal_checks_its_own_version(connection: AsyncConnection) -> None:
    tasks = [make_task(owner=owner) for owner in (ANN, BOB, ANN, BOB)]
    await insert_many(connection, tasks)
    removals = [
        Removal(BOB, tasks[0].id, None),
        Removal(*key(tasks[3]), [2, 3]),
        Removal(*key(tasks[2]), [2, 1]),
        Removal(*key(tasks[1]), [2]),
        Removal(*key(tasks[1]), [1]),
        Removal(*key(tasks[0]), []),
    ]
    assert await delete_many(connection, removals) == [False, False, True, False, True, False]
    assert await read_many(connection, [key(task) for task in tasks]) == [tasks[0], None, None, tasks[3]]
    assert await delete_many(connection, [Removal(*key(tasks[0]), None)] * 2) in ([True, False], [False, True])


@pytest.mark.parametrize("sort", Sort)
async def test_each_listing_of_a_batch_has_its_own_owner_size_and_place(
    connection: AsyncConnection, sort: Sort
) -> None:
    tasks = [make_task(owner=owner, title=f"{number}") for number in range(6) for owner in (ANN, BOB)]
    await insert_many(connection, tasks)
    listings = [
        (owner, TaskQuery(sort=sort, limit=limit, search=search, completed=False, after=Cursor.behind(last, sort)))
        for owner in (BOB, ANN)
        for limit, search, last in ((1, "1", tasks[6]), (5, "2", tasks[0]), (200, "3", tasks[11]))
    ]
    expected = [query.page_of(task for task in tasks if task.owner == owner) for owner, query in listings]
    assert await pages_many(Shape.of(listings[0][1]))(connection, listings) == expected


def test_a_statement_is_made_once_per_shape() -> None:
    one, other = TaskQuery(search="a", limit=1), TaskQuery(search="b", limit=2)
    assert pages_many(Shape.of(one)) is pages_many(Shape.of(other))
    assert pages_many(Shape.of(one)) is not pages_many(Shape.of(TaskQuery(sort=Sort.TITLE, search="a")))


async def plan(connection: AsyncConnection, send: Any, calls: Any) -> str:
    """How the database executes the statement that is sent for these calls."""
    sent: list[tuple[str, Mapping[str, Any]]] = []
    with pytest.MonkeyPatch.context() as patch:

        async def execute(connection: AsyncConnection, statement: str, parameters: Mapping[str, Any]) -> Any:
            sent.append((statement, parameters))
            return await original(connection, statement, parameters)

        original = batch.execute
        patch.setattr(batch, "execute", execute)
        await send(connection, calls)
    [(statement, parameters)] = sent
    explained = await batch.execute(connection, f"explain {statement}", parameters)
    return "\n".join(line for (line,) in explained)


async def test_every_statement_goes_by_the_primary_key(connection: AsyncConnection) -> None:
    fill = """
        insert into tasks select 'user ' || n % 200, gen_random_uuid(), 'Task', null, null, 1, now(), now(), 'task'
            from generate_series(1, 20000) n
    """
    await connection.execute(text(fill))
    await connection.execute(text("analyze tasks"))
    task = make_task()
    plans = {
        "read": await plan(connection, read_many, [key(task)] * 3),
        "swap": await plan(connection, swap_many, [Swap(task, task.toggled(at=LATER))] * 3),
        "delete": await plan(connection, delete_many, [Removal(ANN, task.id, [1])] * 3),
    }
    for sort in Sort:
        for after in (None, Cursor.behind(task, sort)):
            query = TaskQuery(sort=sort, after=after, search="milk", completed=True)
            plans[f"{sort} {after}"] = await plan(connection, pages_many(Shape.of(query)), [(ANN, query)] * 3)
    for name, lines in plans.items():
        assert "Seq Scan" not in lines, (name, lines)
        assert "tasks_pkey" in lines, (name, lines)
    place = Cursor(Sort.NEWEST, task.id)
    deep = await plan(connection, pages_many(Shape.of(TaskQuery(after=place))), [(ANN, TaskQuery(after=place))])
    assert "Index Cond: ((user_id = call.owner) AND (id < call.after_id))" in deep
