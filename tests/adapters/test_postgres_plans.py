"""How the database executes every statement: it finds the rows by their keys."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any, cast

import pytest
from adapters.statements import (
    CREATING,
    CREATING_AS_OF,
    CREATING_ONCE,
    CREATING_ONCE_AS_OF,
    as_of,
    commit,
    creation,
    key,
    once,
    plans,
    removal,
    swap,
)
from factories import ANN, BOB, LATER, NOON, make_id, make_task
from psycopg import AsyncConnection

from todo_adapters.postgres import pruning
from todo_adapters.postgres.listing import PagesOf, Shape
from todo_adapters.postgres.reading import lists_as_of, lists_of, log_pages, read_many, shape_of, summaries, tasks_as_of
from todo_adapters.postgres.sync import changed_owners, changed_pages, listed_pages
from todo_adapters.postgres.table import changes, used_keys
from todo_adapters.postgres.transaction import commit_behind_the_lock, make_owner
from todo_adapters.postgres.writing import REMOVING, REMOVING_ONCE, SWAPPING, SWAPPING_ONCE, Write, Writing
from todo_core import (
    ChangeQuery,
    Cursor,
    Decision,
    ListId,
    OwnerId,
    Pair,
    Plan,
    Sees,
    Sort,
    SyncQuery,
    SyncToken,
    Task,
    TaskId,
    TaskList,
    TaskQuery,
)
from todo_core.changes import Place
from todo_core.families import deleted
from todo_core.sync import Mark, Stage
from todo_core.testing.writing import creating as plan_creating
from todo_core.testing.writing import deleting, erasing, restoring, undoing

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
Send = Callable[[AsyncConnection[Any]], Awaitable[object]]


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
        for (form, batch), count in product(kind._asdict().items(), (1, 3)):
            sends[f"{name}, {form}, {count}"] = partial(batch, writes=some[:count])

    for number, kind in enumerate((CREATING_AS_OF, CREATING_ONCE_AS_OF)):
        for members in ({}, {"title": "whole", "recurrence_from": "completion"}):
            some = [as_of(kind, task, 100, **members) for _ in range(3)]
            for count in (1, 3):
                sends[f"as of {number}, {members}, {count}"] = partial(kind.passing, writes=some[:count])

    def behind_the_lock(waits: bool) -> Send:
        plan = plan_creating(new := make_task(owner=user), once(f"lock {waits}"))
        sees = Sees(frozenset({new.id}))
        return lambda connection: commit_behind_the_lock(connection, user, plan, sees, max_tasks=10_000, waits=waits)

    sends["behind the lock"] = behind_the_lock(waits=False)
    sends["behind the lock, waiting"] = behind_the_lock(waits=True)
    sends["everything else behind the lock"] = lambda connection: everything_else(connection, task)
    sends["make an owner"] = lambda connection: make_owner(connection, OwnerId("nobody yet"))
    return sends


async def everything_else(connection: AsyncConnection[Any], task: Task) -> None:
    """What can only be done behind the lock, one after the other."""
    owner, below = task.owner, make_task(owner=task.owner, parent_id=task.id)
    task_list = TaskList.new(id=ListId(make_id(-1)), owner=owner, name="Home", at=LATER)
    removed = Plan(decide=lambda seen: Decision(tuple(deleted(seen, seen.task_list(task_list.id)))))
    made = Plan(decide=lambda _: Decision((Pair(None, task_list), Pair(None, task), Pair(None, below))))
    for plan in (made, deleting(task.id), restoring(task.id, LATER)):
        done = await commit(connection, owner, plan)
    for _ in range(2):
        done = await commit(connection, owner, undoing(cast("int", done.change), LATER))
    for plan in (deleting(below.id), erasing(below.id), removed):
        await commit(connection, owner, plan)


def reads() -> dict[str, Send]:
    user = OwnerId("user 7")
    task = make_task(owner=user)
    sends: dict[str, Send] = {"get": lambda connection: read_many(connection, [key(task)] * 3)}
    for sort in Sort:
        for after in (None, Cursor.behind(task, sort)):
            query = TaskQuery(sort=sort, after=after, search="milk", completed=True)
            sends[f"page by {sort}, {after}"] = lambda connection, query=query: PagesOf(Shape.of(query))(  # type: ignore[misc]
                connection, [(user, query)] * 3
            )
    for of, trash in ((None, False), (task.id, False), (None, True)):
        for newest_first in (False, True):
            for behind in (None, Place(9, task.id)):
                asked = ChangeQuery(of=of, trash=trash, newest_first=newest_first, after=behind)
                sends[f"log of {asked}"] = lambda connection, asked=asked: log_pages(shape_of(asked))(  # type: ignore[misc]
                    connection, [(user, asked)] * 3
                )
    for where in (
        TaskQuery(list_id=ListId(task.id), limit=None),
        TaskQuery(list_id=ListId(task.id), parents="none", sort=Sort.POSITION),
        TaskQuery(list_id="none", parents="none", sort=Sort.POSITION_DESCENDING, limit=1),
        TaskQuery(parents=frozenset({task.id, make_id(9)}), sort=Sort.CREATED_AT, limit=None),
    ):
        sends[f"page of {where}"] = lambda connection, where=where: PagesOf(Shape.of(where))(  # type: ignore[misc]
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


async def test_every_statement_uses_an_index(connection: AsyncConnection[Any]) -> None:
    for statement in FILL:
        await connection.execute(statement)
    for name, send in {**writes(), **reads()}.items():
        for plan in await plans(connection, send):
            assert "Seq Scan" not in plan, (name, plan)
            assert any(table in plan for table in ("tasks_", "owners", "changes", "used_keys", "lists")), (name, plan)
    # Where one task has all subtasks, the planner expects each to have many.
    one_parent = "update tasks set parent_id = md5('one')::uuid where parent_id is not null"
    for statement in ("update tasks set user_id = 'user 7'", one_parent, "analyze tasks"):
        await connection.execute(statement)
    for name, send in writes().items():
        if name.startswith("remove"):
            for plan in await plans(connection, send):
                assert "Seq Scan" not in plan, (name, plan)


async def test_expired_rows_are_found_by_age_even_after_earlier_cleanups(
    connection: AsyncConnection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "PIECE", 10)  # few of many, as in a large table
    for statement in FILL:
        await connection.execute(statement)
    for table, moment, days in ((used_keys, used_keys.c.used_at, 0.9), (changes, changes.c.at, 13.5)):
        forget = pruning.pruning(table, moment, timedelta(days=days))
        # Rows from now come where the oldest were: an index that keeps a summary of each place leads nowhere then.
        await connection.execute(f"delete from {table} where {moment.name} < now() - interval '13 d'")  # noqa: S608
        await connection.execute(f"vacuum {table}")
        for statement in FILL[4:6]:
            await connection.execute(f"{statement} on conflict do nothing")
        await connection.execute(f"analyze {table}")
        for plan in await plans(connection, lambda connection, forget=forget: forget(connection, [None])):  # type: ignore[misc]
            assert f"Index Scan using {table}_{'at' if table is changes else moment.name}" in plan, plan
            assert "Seq Scan" not in plan, plan


async def test_a_sync_page_begins_at_its_place_in_the_log(connection: AsyncConnection[Any]) -> None:
    for statement in FILL:
        await connection.execute(statement)
    user = OwnerId("user 7")
    found = await plans(connection, syncs(user, make_id(1))["changed"])
    for plan in found:
        assert "ROW(number, id) > ROW(call.number, call.id)" in plan, plan
        assert plan.count("changes_pkey") == 3, plan
        assert plan.count("Sort Key") <= 2, plan  # of the page: its things, and the answer


async def test_a_page_continues_at_its_place(connection: AsyncConnection[Any]) -> None:
    for statement in FILL:
        await connection.execute(statement)
    query = TaskQuery(after=Cursor(Sort.NEWEST, make_id(1)))
    found = await plans(connection, lambda connection: PagesOf(Shape.of(query))(connection, [(ANN, query)]))
    for plan in found:
        assert "id < call.after_id" in plan.partition("Index Cond:")[2].partition("\n")[0], plan
