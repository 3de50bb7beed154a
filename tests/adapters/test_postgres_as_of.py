"""Writes and reads as of a number of their owner: one that has changed meanwhile is detected."""

from typing import Any

import pytest
from adapters.statements import (
    CREATING_AS_OF,
    CREATING_ONCE_AS_OF,
    DONE,
    FORMS,
    LOST,
    as_of,
    begun,
    commit,
    holding,
    key,
    once,
    state,
    store,
)
from factories import ANN, BOB, LATER, make_id, make_task
from psycopg import AsyncConnection

from todo_adapters.postgres.reading import AsOf, lists_as_of, lists_of, read_many, tasks_as_of
from todo_adapters.postgres.transaction import replayed
from todo_adapters.postgres.writing import Writing
from todo_core import Decision, ListId, OwnerId, Pair, Plan, Sees, TaskList

AS_OF = pytest.mark.parametrize(
    "writing",
    [CREATING_AS_OF, CREATING_ONCE_AS_OF],
    ids=["create", "create once"],
)


@FORMS
@AS_OF
@pytest.mark.parametrize("members", [{"list_id": make_id(7)}, {"list_id": make_id(7), "title": "x", "priority": "low"}])
async def test_a_write_as_of_a_number_is_lost_if_its_owner_has_another(
    connection: AsyncConnection[Any], form: str, writing: Writing, members: dict[str, Any]
) -> None:
    await store(connection, [*(tasks := [make_task() for _ in range(4)]), bobs := make_task(owner=BOB)])
    batch = getattr(writing, form)
    for task, number in zip(tasks, (3, 5, None), strict=False):
        assert await batch(connection, [as_of(writing, task, number, **members)]) == [(LOST, None)]
    calls = [as_of(writing, bobs, 1, **members), as_of(writing, tasks[3], 4, **members)]
    assert await batch(connection, calls) == [(DONE, 2), (DONE, 5)]
    assert await read_many(connection, [key(each.task) for each in calls]) == [each.task for each in calls]
    kept = [await replayed(connection, each.task.owner, once(f"{each.once.key}")) for each in calls if each.once]
    assert [each and each.things for each in kept] == [(each.task,) for each in calls if each.once]


@FORMS
@AS_OF
async def test_only_the_first_of_an_owners_writes_as_of_one_number_is_stored(
    connection: AsyncConnection[Any], form: str, writing: Writing
) -> None:
    await store(connection, [*(tasks := [make_task() for _ in range(2)]), bobs := make_task(owner=BOB)])
    calls = [as_of(writing, tasks[0], 2), as_of(writing, bobs, 1), as_of(writing, tasks[1], 2)]
    assert await getattr(writing, form)(connection, calls) == [(DONE, 3), (DONE, 2), (LOST, None)]
    assert [number for _, number, *_ in await state(connection)] == [3, 2]


@AS_OF
async def test_a_write_as_of_a_number_is_lost_if_that_is_raised_while_it_waits(
    connection: AsyncConnection[Any], writing: Writing, database_url: str
) -> None:
    """So the number is the locked row's, not that of the snapshot from before the wait."""
    await store(connection, [task := make_task()])
    async with holding(database_url, ANN) as rival:
        await rival.execute("update owners set number = 2 where user_id = 'ann'")
        waiting = await begun(writing.waiting(connection, [as_of(writing, task, 1)]), database_url)
    assert await waiting == [(LOST, None)]


async def test_a_read_returns_its_owners_current_number(connection: AsyncConnection[Any]) -> None:
    await store(connection, [anns := make_task(), make_task(), bobs := make_task(owner=BOB)])
    for name in ("b", "a"):
        made = TaskList.new(id=ListId(make_task().id), owner=ANN, name=name, at=LATER)
        await commit(connection, ANN, Plan(decide=lambda _, made=made: Decision((Pair(None, made),)), sees=Sees()))  # type: ignore[misc]
    nobody = OwnerId("nobody")
    keys = [key(bobs), key(anns), (ANN, None), (ANN, bobs.id), (nobody, anns.id)]
    assert await tasks_as_of(connection, keys) == [
        AsOf(1, 1, bobs),
        AsOf(4, 2, anns),
        AsOf(4, 2, None),
        AsOf(4, 2, None),
        AsOf(None, None, None),
    ]
    [lists] = await lists_of(connection, [ANN])
    assert [each.name for each in lists] == ["b", "a"]
    found = await lists_as_of(connection, [nobody, ANN, BOB])
    assert found == [AsOf(None, None, ()), AsOf(4, 2, lists), AsOf(1, 1, ())]
