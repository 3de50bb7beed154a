"""Many calls in one statement: each gets its own answer, and the database finds its rows by their keys."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, LiteralString

import pytest
from adapters.statements import (
    CREATING,
    CREATING_AS_OF,
    CREATING_ONCE,
    CREATING_ONCE_AS_OF,
    begun,
    commit,
    creation,
    delete,
    have_owners,
    holding,
    plans,
    removal,
    results,
    store,
    swap,
)
from factories import ANN, BOB, LATER, NOON, make_id, make_task
from psycopg import AsyncRawCursor
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from todo_adapters.postgres import pruning, writing
from todo_adapters.postgres.batch import driver_of, execute
from todo_adapters.postgres.listing import Shape, pages_many
from todo_adapters.postgres.reading import (
    AsOf,
    lists_as_of,
    lists_of,
    log_pages,
    read_many,
    shape_of,
    summaries,
    tasks_as_of,
)
from todo_adapters.postgres.sync import changed_owners, changed_pages, listed_pages
from todo_adapters.postgres.table import changes, used_keys
from todo_adapters.postgres.transaction import commit_behind_the_lock, make_owner, replayed
from todo_adapters.postgres.writing import (
    REMOVING,
    REMOVING_ONCE,
    SWAPPING,
    SWAPPING_ONCE,
    Result,
    Write,
    Writing,
    creating,
)
from todo_core import (
    ChangeQuery,
    Committed,
    Cursor,
    Decision,
    IdempotencyKey,
    ListId,
    Once,
    OwnerId,
    Pair,
    Plan,
    ResyncRequired,
    Sees,
    Sort,
    SyncPage,
    SyncQuery,
    SyncToken,
    Task,
    TaskId,
    TaskList,
    TaskNotFound,
    TaskQuery,
    Version,
    VersionConflict,
    searchable,
)
from todo_core.changes import Place, difference
from todo_core.families import deleted
from todo_core.sync import Mark, Stage
from todo_core.testing.writing import changing, deleting, erasing, restoring
from todo_core.testing.writing import creating as plan_creating
from todo_core.text import folded

DONE, LOST, EXISTS, TOO_MANY, USED = Result.DONE, Result.LOST, Result.EXISTS, Result.TOO_MANY, Result.USED
FORMS = pytest.mark.parametrize("form", ["passing", "waiting"])


@pytest.fixture
async def connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with engine.connect() as connection:
        yield connection


def key(task: Task) -> tuple[OwnerId, TaskId]:
    return task.owner, task.id


async def test_each_reader_gets_its_own_task(connection: AsyncConnection) -> None:
    anns, bobs = make_task(id=make_id(1)), make_task(id=make_id(1), owner=BOB, title="Bob's")
    await store(connection, [anns, bobs])
    keys = [key(bobs), (ANN, make_id(2)), key(anns), key(bobs)]
    assert await read_many(connection, keys) == [bobs, None, anns, bobs]


@FORMS
async def test_the_first_of_two_creations_of_one_id_succeeds(connection: AsyncConnection, form: str) -> None:
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
    connection: AsyncConnection, form: str
) -> None:
    await have_owners(connection, ANN, BOB)
    tasks = [make_task(owner=owner) for owner in (BOB, ANN, BOB, BOB, ANN)]
    outcomes = await getattr(CREATING, form)(connection, [creation(task) for task in tasks])
    assert [outcome.number for outcome in outcomes] == [1, 1, 2, 3, 2]
    outcomes = await getattr(SWAPPING, form)(connection, [swap(task, task.toggled(at=LATER)) for task in tasks[::-1]])
    assert [outcome.number for outcome in outcomes] == [3, 4, 5, 4, 6]
    assert await state(connection) == [(ANN, 4, 2, 4), (BOB, 6, 3, 6)]


async def state(connection: AsyncConnection) -> list[tuple[object, ...]]:
    """Of each owner with a row: the number, the count of tasks, and how many entries its log has."""
    counted = """
        select user_id, number, live, (select count(*) from changes where changes.user_id = owners.user_id)
        from owners order by 1
    """
    return [tuple(row) for row in await connection.execute(text(counted))]


@FORMS
async def test_exactly_one_of_two_swaps_of_one_task_succeeds(connection: AsyncConnection, form: str) -> None:
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


def listen(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, object]]:
    """The parameters of each statement that will be sent."""
    sent: list[Mapping[str, object]] = []

    async def listening(connection: AsyncConnection, statement: LiteralString, values: Mapping[str, object]) -> object:
        sent.append(values)
        return await execute(connection, statement, values)

    monkeypatch.setattr(writing, "execute", listening)
    return sent


@FORMS
@pytest.mark.parametrize(("edited", "sent"), [(False, False), (True, True)])
async def test_a_batch_that_only_completes_sends_no_texts(
    connection: AsyncConnection, form: str, edited: bool, sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(connection, tasks := [make_task(tags=("a",), description="b") for _ in range(2)])
    after = [
        tasks[0].toggled(at=LATER),
        tasks[1].edited(at=LATER, completed=True, **{"title": "New"} if edited else {}),
    ]
    statements = listen(monkeypatch)
    outcomes = await getattr(SWAPPING, form)(connection, list(map(swap, tasks, after)))
    assert outcomes == [(DONE, 3), (DONE, 4)]
    assert await read_many(connection, list(map(key, tasks))) == after
    assert ["title" in values for values in statements] == [sent]


COMMON = {"priority", "tags", "start_date", "due_date", "time_zone"}
MEMBERS: list[dict[str, Any]] = [
    {},
    {"description": "Two"},
    {"priority": "high"},
    {"tags": ("Home",)},
    {"start_date": "2026-12-01"},
    {"due_date": "2026-12-01T09:00:00", "time_zone": "Europe/Berlin"},
    {"due_date": "2026-12-02", "recurrence": "FREQ=DAILY", "anchor": "2026-12-01", "rescheduled_from": "2026-12-01"},
    {"recurrence_from": "completion"},
    {"list_id": make_id(1)},
    {"parent_id": make_id(1)},
    {"position": "a"},
    {"completed_at": LATER},
]


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("members", MEMBERS, ids=str)
async def test_a_batch_sends_no_members_that_none_of_its_tasks_has(
    connection: AsyncConnection, keyed: bool, members: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await have_owners(connection, ANN)
    tasks = [make_task(), make_task(**members)]
    statements = listen(monkeypatch)
    batch = (CREATING_ONCE if keyed else CREATING).passing
    outcomes = await batch(connection, [creation(task, once(f"{task.id}") if keyed else None) for task in tasks])
    assert outcomes == [(DONE, 1), (DONE, 2)]
    more = members.keys() - {"description"}
    [values] = statements
    assert ("tags" in values, "recurrence" in values) == (bool(more), bool(more - COMMON))
    assert await read_many(connection, list(map(key, tasks))) == tasks
    derived = await execute(connection, "select search_text, tag_keys from tasks order by id", {})
    expected = [(searchable(task), list(map(folded, task.tags))) for task in sorted(tasks, key=key)]
    assert derived == expected
    [log] = await log_pages(shape_of(ChangeQuery()))(connection, [(ANN, ChangeQuery())])
    assert [entry.after for entry in log.items] == [difference(Pair(None, task))[1] for task in tasks]
    kept = [await replayed(connection, ANN, once(f"{task.id}")) for task in tasks]
    assert [each and each.things for each in kept] == [(task,) if keyed else None for task in tasks]


async def test_the_lock_timeout_of_making_an_owner_ends_with_it(connection: AsyncConnection) -> None:
    async with driver_of(connection).transaction():
        assert await make_owner(connection, ANN, waits=False)
        [(limit,)] = await execute(connection, "select current_setting('lock_timeout')", {})
    assert limit == "0"


async def test_a_deletion_removes_only_the_expected_task_of_its_owner_and_its_subtasks(
    connection: AsyncConnection,
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
async def test_a_swap_detects_that_a_task_was_deleted_and_created_again(connection: AsyncConnection, form: str) -> None:
    await store(connection, [task := make_task()])
    before = make_task(id=task.id, created_at=task.created_at, updated_at=LATER)
    assert results(await getattr(SWAPPING, form)(connection, [swap(before, before.toggled(at=LATER))])) == [LOST]


@FORMS
async def test_no_more_tasks_than_an_owner_may_have_are_stored_whoever_fills_the_batch(
    connection: AsyncConnection, form: str
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


def once(key: str, fingerprint: str = "f") -> Once:
    return Once(IdempotencyKey(key), fingerprint)


@FORMS
async def test_each_key_of_a_batch_creates_once(connection: AsyncConnection, form: str) -> None:
    await have_owners(connection, ANN, BOB)
    batch = getattr(CREATING_ONCE, form)
    first, second, bobs, other = make_task(), make_task(title="x"), make_task(owner=BOB), make_task()
    keys = [once("key"), once("other"), once("key"), once("key")]
    calls = [creation(task, key) for task, key in zip((first, other, second, bobs), keys, strict=True)]
    assert await batch(connection, calls) == [(DONE, 1), (DONE, 2), (USED, None), (DONE, 1)]
    calls = [creation(make_task(), once("key", "g")), creation(make_task(), once("new")), creation(second, once("key"))]
    assert await batch(connection, calls) == [(USED, None), (DONE, 3), (USED, None)]
    kept = await replayed(connection, ANN, once("key"))
    assert kept is not None
    assert (kept.things, kept.change, kept.replayed) == ((first,), 1, True)
    assert await state(connection) == [(ANN, 3, 3, 3), (BOB, 1, 1, 1)]


@FORMS
async def test_each_key_of_a_batch_edits_once(connection: AsyncConnection, form: str) -> None:
    tasks = [make_task() for _ in range(4)]
    await store(connection, [*tasks, bobs := make_task(owner=BOB)])
    batch = getattr(SWAPPING_ONCE, form)
    done = [task.edited(title="x", at=LATER) for task in (*tasks, bobs)]
    keys = [once("key"), once("key"), once("other"), once("lost"), once("key")]
    calls = [swap(before, after, key) for before, after, key in zip((*tasks, bobs), done, keys, strict=True)]
    calls[3] = swap(done[3], done[3].toggled(at=LATER), keys[3])
    assert await batch(connection, calls) == [(DONE, 5), (USED, None), (DONE, 6), (LOST, None), (DONE, 2)]
    assert await read_many(connection, list(map(key, tasks))) == [done[0], tasks[1], done[2], tasks[3]]
    [later] = await batch(connection, [swap(tasks[1], done[1], once("key"))])
    assert later == (USED, None)
    assert await replayed(connection, ANN, once("key")) == Committed((done[0],), 5, replayed=True)
    assert await replayed(connection, ANN, once("lost")) is None
    assert await state(connection) == [(ANN, 6, 4, 6), (BOB, 2, 1, 2)]


@FORMS
async def test_a_removal_takes_the_expected_task_that_has_no_subtasks(connection: AsyncConnection, form: str) -> None:
    tasks = [make_task() for _ in range(3)]
    await store(connection, [*tasks, bobs := make_task(owner=BOB, id=tasks[0].id)])
    await commit(connection, ANN, plan_creating(below := make_task(parent_id=tasks[2].id)))
    newer = tasks[1].edited(title="x", at=LATER)
    calls = [removal(each) for each in (bobs, newer, tasks[2], tasks[0], make_task(id=tasks[0].id, owner=OwnerId("c")))]
    told = await getattr(REMOVING, form)(connection, calls)
    assert told == [(DONE, 2), (LOST, None), (LOST, None), (DONE, 5), (Result.NO_OWNER, None)]
    found = await read_many(connection, [key(task) for task in (*tasks, bobs, below)])
    assert found == [None, tasks[1], tasks[2], None, below]
    assert await state(connection) == [(ANN, 5, 3, 5), (BOB, 2, 0, 2)]
    [(before, after, took)] = await connection.execute(
        text("select before, after, took from changes where user_id = 'ann' and action = 'deleted'")
    )
    assert (before["title"], after, took) == (tasks[0].title, None, 1)


@FORMS
async def test_each_key_of_a_batch_removes_once(connection: AsyncConnection, form: str) -> None:
    tasks = [make_task() for _ in range(2)]
    await store(connection, tasks)
    batch = getattr(REMOVING_ONCE, form)
    calls = [removal(task, once("key")) for task in tasks]
    assert await batch(connection, calls) == [(DONE, 3), (USED, None)]
    assert await batch(connection, calls[1:]) == [(USED, None)]
    assert await read_many(connection, list(map(key, tasks))) == [None, tasks[1]]
    assert await replayed(connection, ANN, once("key")) == Committed((), 3, replayed=True)


AS_OF = pytest.mark.parametrize(
    "writing",
    [CREATING_AS_OF, CREATING_ONCE_AS_OF],
    ids=["create", "create once"],
)


def as_of(writing: Writing, task: Task, number: int | None, **members: Any) -> Write:
    """The creation of another task of that one's owner."""
    new = replace(make_task(owner=task.owner), **members)
    return replace(creation(new, once(f"{new.id}") if writing is CREATING_ONCE_AS_OF else None), as_of=number)


@FORMS
@AS_OF
@pytest.mark.parametrize("members", [{"list_id": make_id(7)}, {"list_id": make_id(7), "title": "x", "priority": "low"}])
async def test_a_write_as_of_a_number_is_lost_if_its_owner_has_another(
    connection: AsyncConnection, form: str, writing: Writing, members: dict[str, Any]
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
async def test_of_an_owners_writes_as_of_one_number_the_first_of_a_batch_is_stored(
    connection: AsyncConnection, form: str, writing: Writing
) -> None:
    await store(connection, [*(tasks := [make_task() for _ in range(2)]), bobs := make_task(owner=BOB)])
    calls = [as_of(writing, tasks[0], 2), as_of(writing, bobs, 1), as_of(writing, tasks[1], 2)]
    assert await getattr(writing, form)(connection, calls) == [(DONE, 3), (DONE, 2), (LOST, None)]
    assert [number for _, number, *_ in await state(connection)] == [3, 2]


@AS_OF
async def test_a_write_as_of_a_number_is_lost_if_that_is_raised_while_it_waits(
    connection: AsyncConnection, writing: Writing, database_url: str
) -> None:
    """So the number is the locked row's, not that of the snapshot from before the wait."""
    await store(connection, [task := make_task()])
    async with holding(database_url, ANN) as rival:
        await rival.execute("update owners set number = 2 where user_id = 'ann'")
        waiting = await begun(writing.waiting(connection, [as_of(writing, task, 1)]), database_url)
    assert await waiting == [(LOST, None)]


async def test_what_is_read_as_of_a_number_comes_with_the_number_of_its_owner(connection: AsyncConnection) -> None:
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


async def test_the_refused_one_of_two_keys_for_one_id_stays_unused(connection: AsyncConnection) -> None:
    await have_owners(connection, ANN)
    task = make_task()
    calls = [creation(task, once("one")), creation(make_task(id=task.id), once("two"))]
    assert results(await CREATING_ONCE.passing(connection, calls)) == [DONE, USED]
    assert await replayed(connection, ANN, once("two")) is None


@pytest.mark.parametrize("writing", [CREATING, SWAPPING, SWAPPING_ONCE])
@FORMS
async def test_a_write_of_an_owner_without_a_row_reports_that(
    connection: AsyncConnection, writing: Writing, form: str
) -> None:
    await store(connection, [anns := make_task(), bobs := make_task(owner=BOB)])
    await connection.execute(text("delete from owners where user_id = 'bob'"))
    calls = {
        CREATING: [creation(make_task(owner=BOB)), creation(make_task())],
        SWAPPING: [swap(bobs, bobs.toggled(at=LATER)), swap(anns, anns.toggled(at=LATER))],
        SWAPPING_ONCE: [swap(each, each.toggled(at=LATER), once("key")) for each in (bobs, anns)],
    }[writing]
    assert await getattr(writing, form)(connection, calls) == [(Result.NO_OWNER, None), (DONE, 2)]
    assert await read_many(connection, [key(bobs)]) == [bobs]


async def test_writes_touch_their_own_owners_tasks_alone(connection: AsyncConnection) -> None:
    anns = make_task(id=make_id(1))
    bobs = make_task(id=make_id(1), owner=BOB)
    for send in (
        lambda: SWAPPING.passing(connection, [swap(anns, anns.toggled(at=LATER))]),
        lambda: commit(connection, ANN, changing(anns.id, lambda task: task.toggled(at=LATER))),
        lambda: delete(connection, anns),
    ):
        await connection.execute(text("truncate tasks, owners, changes"))
        await store(connection, [anns, bobs])
        await send()
        assert await read_many(connection, [key(anns), key(bobs)]) in ([None, bobs], [anns.toggled(at=LATER), bobs])
        found = await connection.execute(text("select user_id, number, live from owners where user_id = 'bob'"))
        assert [tuple(row) for row in found] == [(BOB, 1, 1)]


@pytest.mark.parametrize("sort", Sort)
async def test_each_listing_of_a_batch_has_its_own_owner_size_and_place(
    connection: AsyncConnection, sort: Sort
) -> None:
    tasks = [make_task(owner=owner, title=f"{number}") for number in range(6) for owner in (ANN, BOB)]
    await store(connection, tasks)
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


FILL = (
    """
    insert into tasks (user_id, id, title, version, created_at, updated_at, search_text)
        select 'user ' || n % 200, gen_random_uuid(), 'Task', 1, now(), now(), 'task' from generate_series(1, 20000) n
    """,
    "update tasks set list_id = md5((hashtext(id::text) % 500)::text)::uuid where hashtext(id::text) % 2 = 0",
    "update tasks set parent_id = list_id where hashtext(id::text) % 4 = 0",
    "insert into owners select 'user ' || n, 100, 100, 100 from generate_series(0, 19999) n",
    """
    insert into changes select 'user ' || n % 200, n / 200, gen_random_uuid(), now() - n * interval '1 min', 'edited'
        from generate_series(1, 20000) n
    """,
    """
    insert into used_keys select 'user ' || n % 200, n::text, now() - n * interval '4 s', 'x', 1, '[]'
        from generate_series(1, 20000) n
    """,
    """
    insert into lists select 'user ' || n % 200, gen_random_uuid(), 'List', null, 'i' || n, 1, now(), now()
        from generate_series(1, 20000) n
    """,
    "analyze tasks, owners, changes, used_keys, lists",
)
Send = Callable[[AsyncConnection], Awaitable[object]]


def writes() -> dict[str, Send]:
    user = OwnerId("user 7")
    task = make_task(owner=user)
    seen = swap(task, task.toggled(at=LATER))
    calls: dict[Writing, Sequence[Write]] = {
        CREATING: [creation(make_task(owner=user)) for _ in range(3)],
        CREATING_ONCE: [creation(make_task(owner=user), once(f"plan {number}")) for number in range(3)],
        SWAPPING: [seen] * 3,
        SWAPPING_ONCE: [swap(task, task.toggled(at=LATER), once("plan"))] * 3,
        REMOVING: [removal(task)] * 3,
        REMOVING_ONCE: [removal(task, once("plan"))] * 3,
    }
    names = ("create", "create once", "swap", "swap once", "remove", "remove once")
    sends: dict[str, Send] = {}
    for name, (kind, some) in zip(names, calls.items(), strict=True):
        for form, batch in kind._asdict().items():
            sends[f"{name}, {form}"] = lambda connection, batch=batch, some=some: batch(connection, some)  # type: ignore[misc]

    for number, kind in enumerate((CREATING_AS_OF, CREATING_ONCE_AS_OF)):
        for members in ({}, {"title": "whole", "recurrence_from": "completion"}):
            some = [as_of(kind, task, 100, **members) for _ in range(3)]
            sends[f"as of {number}, {members}"] = lambda connection, kind=kind, some=some: kind.passing(
                connection, some
            )  # type: ignore[misc]

    def behind_the_lock(waits: bool) -> Send:
        plan = plan_creating(new := make_task(owner=user), once(f"lock {waits}"))
        sees = Sees(frozenset({new.id}))
        return lambda connection: commit_behind_the_lock(connection, user, plan, sees, max_tasks=10_000, waits=waits)

    sends["behind the lock"] = behind_the_lock(waits=False)
    sends["behind the lock, waiting"] = behind_the_lock(waits=True)
    sends["everything else behind the lock"] = lambda connection: everything_else(connection, task)
    sends["make an owner"] = lambda connection: make_owner(connection, OwnerId("nobody yet"))
    return sends


async def everything_else(connection: AsyncConnection, task: Task) -> None:
    """What can only be done behind the lock, one after the other."""
    owner, below = task.owner, make_task(owner=task.owner, parent_id=task.id)
    task_list = TaskList.new(id=ListId(make_id(-1)), owner=owner, name="Home", at=LATER)
    removed = Plan(decide=lambda seen: Decision(tuple(deleted(seen, seen.task_list(task_list.id)))))
    made = Plan(decide=lambda _: Decision((Pair(None, task_list), Pair(None, task), Pair(None, below))))
    for plan in (made, deleting(task.id), restoring(task.id, LATER), deleting(below.id), erasing(below.id), removed):
        await commit(connection, owner, plan)


def reads() -> dict[str, Send]:
    user = OwnerId("user 7")
    task = make_task(owner=user)
    sends: dict[str, Send] = {"get": lambda connection: read_many(connection, [key(task)] * 3)}
    for sort in Sort:
        for after in (None, Cursor.behind(task, sort)):
            query = TaskQuery(sort=sort, after=after, search="milk", completed=True)
            sends[f"page by {sort}, {after}"] = lambda connection, query=query: pages_many(Shape.of(query))(  # type: ignore[misc]
                connection, [(user, query)] * 3
            )
    for of in (None, task.id):
        for newest_first in (False, True):
            for behind in (None, Place(9, task.id)):
                asked = ChangeQuery(of=of, newest_first=newest_first, after=behind)
                sends[f"log of {asked}"] = lambda connection, asked=asked: log_pages(shape_of(asked))(  # type: ignore[misc]
                    connection, [(user, asked)] * 3
                )
    for where in (
        TaskQuery(list_id=ListId(task.id), limit=None),
        TaskQuery(list_id=ListId(task.id), parents="none", sort=Sort.POSITION),
        TaskQuery(list_id="none", parents="none", sort=Sort.POSITION_DESCENDING, limit=1),
        TaskQuery(parents=frozenset({task.id, make_id(9)}), sort=Sort.CREATED_AT, limit=None),
    ):
        sends[f"page of {where}"] = lambda connection, where=where: pages_many(Shape.of(where))(  # type: ignore[misc]
            connection, [(user, where)] * 3
        )
    sends |= syncs(user, task.id)
    sends["lists"] = lambda connection: lists_of(connection, [user] * 3)
    sends["lists as of"] = lambda connection: lists_as_of(connection, [user] * 3)
    sends["tasks as of"] = lambda connection: tasks_as_of(connection, [key(task), (user, None)])
    sends["summary"] = lambda connection: summaries(connection, [user])
    return sends


def syncs(user: OwnerId, thing: TaskId) -> dict[str, Send]:
    token = SyncToken(Mark(9, thing, LATER))
    listing = replace(token, stage=Stage.LISTING, listed=thing)
    changed, first, next_ = (SyncQuery(now=NOON, kept_since=NOON, since=since) for since in (token, None, listing))
    return {
        "changed": lambda connection: changed_pages(connection, [(user, changed)] * 3),
        "listed": lambda connection: listed_pages(connection, [(user, first), (user, next_)]),
        "whose number is another": lambda connection: changed_owners(connection, [{user: 7, ANN: 1, BOB: 2}]),
    }


async def test_every_statement_uses_an_index(connection: AsyncConnection) -> None:
    for statement in FILL:
        await connection.execute(text(statement))
    for name, send in {**writes(), **reads()}.items():
        for plan in await plans(connection, send):
            assert "Seq Scan" not in plan, (name, plan)
            assert any(table in plan for table in ("tasks_", "owners", "changes", "used_keys", "lists")), (name, plan)
    # Where one task has all subtasks, the planner expects each to have many.
    one_parent = "update tasks set parent_id = md5('one')::uuid where parent_id is not null"
    for statement in ("update tasks set user_id = 'user 7'", one_parent, "analyze tasks"):
        await connection.execute(text(statement))
    for name, send in writes().items():
        if name.startswith("remove"):
            for plan in await plans(connection, send):
                assert "Seq Scan" not in plan, (name, plan)


async def test_expired_rows_are_found_by_age_even_after_earlier_cleanups(
    connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "PIECE", 10)  # few of many, as in a large table
    for statement in FILL:
        await connection.execute(text(statement))
    for table, moment, days in ((used_keys, used_keys.c.used_at, 0.9), (changes, changes.c.at, 13.5)):
        forget = pruning.pruning(table, moment, timedelta(days=days))
        # Rows from now come where the oldest were: an index that keeps a summary of each place leads nowhere then.
        await connection.execute(text(f"delete from {table} where {moment.name} < now() - interval '13 d'"))  # noqa: S608
        await connection.execute(text(f"vacuum {table}"))
        for statement in FILL[4:6]:
            await connection.execute(text(f"{statement} on conflict do nothing"))
        await connection.execute(text(f"analyze {table}"))
        for plan in await plans(connection, lambda connection, forget=forget: forget(connection, [None])):  # type: ignore[misc]
            assert f"Index Scan using {table}_{'at' if table is changes else moment.name}" in plan, plan
            assert "Seq Scan" not in plan, plan


async def test_a_sync_page_begins_at_its_place_in_the_log(connection: AsyncConnection) -> None:
    for statement in FILL:
        await connection.execute(text(statement))
    user = OwnerId("user 7")
    found = await plans(connection, syncs(user, make_id(1))["changed"])
    for plan in found:
        assert "ROW(number, id) > ROW(call.number, call.id)" in plan, plan
        assert plan.count("changes_pkey") == 3, plan
        assert plan.count("Sort Key") <= 2, plan  # of the page: its things, and the answer


async def test_a_refused_call_of_a_shared_statement_is_refused_alone(connection: AsyncConnection) -> None:
    await store(connection, [mine := make_task(owner=ANN), make_task(owner=BOB)])
    good, bad = SyncToken(Mark(0, None, LATER)), SyncToken(Mark(9, None, LATER))
    queries = [SyncQuery(now=NOON, kept_since=NOON, since=since) for since in (bad, good, bad)]
    answers = await changed_pages(connection, list(zip((ANN, ANN, BOB), queries, strict=True)))
    assert [type(answer) for answer in answers] == [ResyncRequired, SyncPage, ResyncRequired]
    assert isinstance(answers[1], SyncPage)
    assert [item.value for item in answers[1].items] == [mine]


async def test_a_page_continues_at_its_place(connection: AsyncConnection) -> None:
    for statement in FILL:
        await connection.execute(text(statement))
    query = TaskQuery(after=Cursor(Sort.NEWEST, make_id(1)))
    found = await plans(connection, lambda connection: pages_many(Shape.of(query))(connection, [(ANN, query)]))
    for plan in found:
        assert "id < call.after_id" in plan.partition("Index Cond:")[2].partition("\n")[0], plan


async def test_many_rows_are_made_a_part_at_a_time_and_others_come_in_between(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    fetchmany = AsyncRawCursor.fetchmany

    async def watched(cursor: AsyncRawCursor[Any], size: int = 0) -> list[Any]:
        rows = await fetchmany(cursor, size)
        seen.append(len(rows))
        asyncio.get_running_loop().call_soon(seen.append, "another")
        return rows

    monkeypatch.setattr(AsyncRawCursor, "fetchmany", watched)
    monkeypatch.setattr("todo_adapters.postgres.batch._TURN", -1.0)
    async with engine.connect() as connection:
        rows = await execute(connection, "select generate_series(1, %(last)s::int)", {"last": 123})
        assert rows == [(number,) for number in range(1, 124)]
    assert seen[:5] == [50, "another", 50, "another", 23]
