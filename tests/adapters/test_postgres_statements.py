"""Many calls in one statement: each gets its own answer."""

from typing import Any

import pytest
from adapters.statements import (
    CREATING,
    DONE,
    EXISTS,
    FORMS,
    LOST,
    TOO_MANY,
    commit,
    creation,
    delete,
    have_owners,
    key,
    once,
    removal,
    results,
    state,
    store,
    swap,
)
from factories import ANN, BOB, LATER, NOON, make_id, make_task
from psycopg import AsyncConnection

from todo_adapters.postgres.batch import execute
from todo_adapters.postgres.listing import PagesOf, Shape
from todo_adapters.postgres.reading import read_many
from todo_adapters.postgres.sync import changed_pages
from todo_adapters.postgres.transaction import make_owner
from todo_adapters.postgres.writing import REMOVING, SWAPPING, SWAPPING_ONCE, Result, Writing, creating
from todo_core import (
    Cursor,
    OwnerId,
    ResyncRequired,
    Sort,
    SyncPage,
    SyncQuery,
    SyncToken,
    TaskNotFound,
    TaskQuery,
    Version,
    VersionConflict,
)
from todo_core.sync import Mark
from todo_core.testing.writing import changing, deleting
from todo_core.testing.writing import creating as plan_creating


async def test_each_reader_gets_its_own_task(connection: AsyncConnection[Any]) -> None:
    anns, bobs = make_task(id=make_id(1)), make_task(id=make_id(1), owner=BOB, title="Bob's")
    await store(connection, [anns, bobs])
    keys = [key(bobs), (ANN, make_id(2)), key(anns), key(bobs)]
    assert await read_many(connection, keys) == [bobs, None, anns, bobs]


@FORMS
async def test_the_first_of_two_creations_of_one_id_succeeds(connection: AsyncConnection[Any], form: str) -> None:
    await store(connection, [there := make_task()])
    await have_owners(connection, BOB)
    first, second, bobs = (
        make_task(id=make_id(5)),
        make_task(id=make_id(5), title="Second"),
        make_task(id=make_id(5), owner=BOB),
    )
    outcomes = await getattr(CREATING, form)(connection, [creation(task) for task in (there, first, bobs, second)])
    assert outcomes == [(EXISTS, None), (DONE, 2), (DONE, 1), (EXISTS, None)]
    assert await read_many(connection, [key(first), key(bobs)]) == [first, bobs]


@FORMS
async def test_changes_of_one_batch_are_numbered_in_its_order_each_owner_from_its_own(
    connection: AsyncConnection[Any], form: str
) -> None:
    await have_owners(connection, ANN, BOB)
    tasks = [make_task(owner=owner) for owner in (BOB, ANN, BOB, BOB, ANN)]
    outcomes = await getattr(CREATING, form)(connection, [creation(task) for task in tasks])
    assert [outcome.number for outcome in outcomes] == [1, 1, 2, 3, 2]
    outcomes = await getattr(SWAPPING, form)(connection, [swap(task, task.toggled(at=LATER)) for task in tasks[::-1]])
    assert [outcome.number for outcome in outcomes] == [3, 4, 5, 4, 6]
    assert await state(connection) == [(ANN, 4, 2, 4), (BOB, 6, 3, 6)]


@FORMS
async def test_exactly_one_of_two_swaps_of_one_task_succeeds(connection: AsyncConnection[Any], form: str) -> None:
    tasks = [make_task() for _ in range(3)]
    await store(connection, [tasks[1], tasks[0]])
    toggled = [swap(task, task.toggled(at=LATER)) for task in tasks]
    renamed = swap(tasks[0], renamed_task := tasks[0].edited(title="Renamed", at=LATER))
    outcomes = await getattr(SWAPPING, form)(connection, [toggled[2], toggled[1], toggled[0], renamed])
    assert outcomes[:2] == [(LOST, None), (DONE, 3)]
    assert sorted(outcomes[2:]) == [(DONE, 4), (LOST, None)]
    [stored] = await read_many(connection, [key(tasks[0])])
    assert stored == (tasks[0].toggled(at=LATER) if outcomes[2].result is DONE else renamed_task)
    assert await state(connection) == [(ANN, 4, 2, 4)]


async def test_the_lock_timeout_of_making_an_owner_ends_with_it(connection: AsyncConnection[Any]) -> None:
    async with connection.transaction():
        assert await make_owner(connection, ANN, waits=False)
        [(limit,)] = await execute(connection, "select current_setting('lock_timeout')", {})
    assert limit == "0"


async def test_a_deletion_removes_only_the_expected_task_of_its_owner_and_its_subtasks(
    connection: AsyncConnection[Any],
) -> None:
    tasks = [make_task(owner=owner) for owner in (ANN, BOB, ANN, BOB)]
    await store(connection, tasks)
    below = make_task(parent_id=tasks[2].id)
    await commit(connection, ANN, plan_creating(below))
    with pytest.raises(TaskNotFound):
        await delete(connection, make_task(id=tasks[1].id))
    with pytest.raises(VersionConflict):
        await commit(connection, BOB, deleting(tasks[3].id, expected=Version(2)))
    assert [(await delete(connection, task)).change for task in (tasks[2], tasks[1])] == [4, 3]
    found = await read_many(connection, [key(task) for task in (*tasks, below)])
    assert found == [tasks[0], None, None, tasks[3], None]
    for task in (tasks[1], tasks[2], below):
        with pytest.raises(TaskNotFound):
            await delete(connection, task)
    assert await state(connection) == [(ANN, 4, 1, 5), (BOB, 3, 1, 3)]


@FORMS
async def test_a_swap_detects_that_a_task_was_deleted_and_created_again(
    connection: AsyncConnection[Any], form: str
) -> None:
    await store(connection, [task := make_task()])
    before = make_task(id=task.id, created_at=task.created_at, updated_at=LATER)
    assert results(await getattr(SWAPPING, form)(connection, [swap(before, before.toggled(at=LATER))])) == [LOST]


@FORMS
async def test_no_more_tasks_than_an_owner_may_have_are_stored_whoever_fills_the_batch(
    connection: AsyncConnection[Any], form: str
) -> None:
    await have_owners(connection, ANN, BOB)
    batch = getattr(creating(3, keyed=False), form)
    calls = [creation(make_task(owner=owner)) for owner in (ANN, ANN, BOB, ANN, ANN, ANN)]
    assert results(await batch(connection, calls)) == [DONE, DONE, DONE, DONE, TOO_MANY, TOO_MANY]
    assert await batch(connection, [creation(make_task()), creation(make_task(owner=BOB))]) == [
        (TOO_MANY, None),
        (DONE, 2),
    ]
    assert await state(connection) == [(ANN, 3, 3, 3), (BOB, 2, 2, 2)]


@FORMS
async def test_a_removal_takes_the_expected_task_that_has_no_subtasks(
    connection: AsyncConnection[Any], form: str
) -> None:
    tasks = [make_task() for _ in range(3)]
    await store(connection, [*tasks, bobs := make_task(owner=BOB, id=tasks[0].id)])
    await commit(connection, ANN, plan_creating(below := make_task(parent_id=tasks[2].id)))
    newer = tasks[1].edited(title="x", at=LATER)
    calls = [removal(each) for each in (bobs, newer, tasks[2], tasks[0], make_task(id=tasks[0].id, owner=OwnerId("c")))]
    outcomes = await getattr(REMOVING, form)(connection, calls)
    assert outcomes == [(DONE, 2), (LOST, None), (LOST, None), (DONE, 5), (Result.NO_OWNER, None)]
    found = await read_many(connection, [key(task) for task in (*tasks, bobs, below)])
    assert found == [None, tasks[1], tasks[2], None, below]
    assert await state(connection) == [(ANN, 5, 3, 5), (BOB, 2, 0, 2)]
    logged = "select before, after, took from changes where user_id = 'ann' and action = 'deleted'"
    [(before, after, took)] = await (await connection.execute(logged)).fetchall()
    assert (before["title"], after, took) == (tasks[0].title, None, 1)


@pytest.mark.parametrize("writing", [CREATING, SWAPPING, SWAPPING_ONCE])
@FORMS
async def test_a_write_of_an_owner_without_a_row_reports_that(
    connection: AsyncConnection[Any], writing: Writing, form: str
) -> None:
    await store(connection, [anns := make_task(), bobs := make_task(owner=BOB)])
    await connection.execute("delete from owners where user_id = 'bob'")
    calls = {
        CREATING: [creation(make_task(owner=BOB)), creation(make_task())],
        SWAPPING: [swap(bobs, bobs.toggled(at=LATER)), swap(anns, anns.toggled(at=LATER))],
        SWAPPING_ONCE: [swap(each, each.toggled(at=LATER), once("key")) for each in (bobs, anns)],
    }[writing]
    assert await getattr(writing, form)(connection, calls) == [(Result.NO_OWNER, None), (DONE, 2)]
    assert await read_many(connection, [key(bobs)]) == [bobs]


async def test_writes_touch_their_own_owners_tasks_alone(connection: AsyncConnection[Any]) -> None:
    anns = make_task(id=make_id(1))
    bobs = make_task(id=make_id(1), owner=BOB)
    for send in (
        lambda: SWAPPING.passing(connection, [swap(anns, anns.toggled(at=LATER))]),
        lambda: commit(connection, ANN, changing(anns.id, lambda task: task.toggled(at=LATER))),
        lambda: delete(connection, anns),
    ):
        await connection.execute("truncate tasks, owners, changes")
        await store(connection, [anns, bobs])
        await send()
        assert await read_many(connection, [key(anns), key(bobs)]) in ([None, bobs], [anns.toggled(at=LATER), bobs])
        found = await connection.execute("select user_id, number, live from owners where user_id = 'bob'")
        assert await found.fetchall() == [(BOB, 1, 1)]


@pytest.mark.parametrize("sort", Sort)
async def test_each_listing_of_a_batch_has_its_own_owner_size_and_place(
    connection: AsyncConnection[Any], sort: Sort
) -> None:
    tasks = [make_task(owner=owner, title=f"{number}") for number in range(6) for owner in (ANN, BOB)]
    await store(connection, tasks)
    listings = [
        (owner, TaskQuery(sort=sort, limit=limit, search=search, completed=False, after=Cursor.behind(last, sort)))
        for owner in (BOB, ANN)
        for limit, search, last in ((1, "1", tasks[6]), (5, "2", tasks[0]), (200, "3", tasks[11]))
    ]
    expected = [query.page_of(task for task in tasks if task.owner == owner) for owner, query in listings]
    assert await PagesOf(Shape.of(listings[0][1]))(connection, listings) == expected


def test_statements_for_listings_are_equal_if_the_shapes_are() -> None:
    one, other = TaskQuery(search="a", limit=1), TaskQuery(search="b", limit=2)
    assert PagesOf(Shape.of(one)) == PagesOf(Shape.of(other))
    assert PagesOf(Shape.of(one)) != PagesOf(Shape.of(TaskQuery(sort=Sort.TITLE, search="a")))


async def test_a_refused_call_of_a_shared_statement_is_refused_alone(connection: AsyncConnection[Any]) -> None:
    await store(connection, [mine := make_task(owner=ANN), make_task(owner=BOB)])
    good, bad = SyncToken(Mark(0, None, LATER)), SyncToken(Mark(9, None, LATER))
    queries = [SyncQuery(now=NOON, kept_since=NOON, since=since) for since in (bad, good, bad)]
    answers = await changed_pages(connection, list(zip((ANN, ANN, BOB), queries, strict=True)))
    assert [type(answer) for answer in answers] == [ResyncRequired, SyncPage, ResyncRequired]
    assert isinstance(answers[1], SyncPage)
    assert [item.value for item in answers[1].items] == [mine]
