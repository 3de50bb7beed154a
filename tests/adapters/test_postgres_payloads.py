"""What a shared statement sends and receives: only members that its tasks have, and rows a part at a time."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any, LiteralString

import pytest
from adapters.statements import (
    CREATING,
    CREATING_ONCE,
    DONE,
    FORMS,
    ONCE,
    creation,
    executing,
    have_owners,
    key,
    once,
    removal,
    results,
    store,
    swap,
)
from factories import ANN, LATER, make_id, make_list, make_task
from psycopg import AsyncConnection, AsyncRawCursor

from todo_adapters.postgres import transaction, writing
from todo_adapters.postgres.batch import execute
from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.reading import log_pages, read_many, shape_of
from todo_adapters.postgres.transaction import commit_behind_the_lock, replayed
from todo_adapters.postgres.writing import REMOVING, SWAPPING
from todo_core import ChangeQuery, Decision, Pair, Plan, SyncItem, searchable
from todo_core.changes import difference
from todo_core.text import folded


def listen(monkeypatch: pytest.MonkeyPatch, module: ModuleType = writing) -> list[Mapping[str, object]]:
    """The parameters of each statement that will be sent by that module."""
    sent: list[Mapping[str, object]] = []

    async def listening(
        connection: AsyncConnection[Any], statement: LiteralString, values: Mapping[str, object]
    ) -> object:
        sent.append(values)
        return await execute(connection, statement, values)

    monkeypatch.setattr(module, "execute", listening)
    return sent


@FORMS
@pytest.mark.parametrize(("edited", "sent"), [(False, False), (True, True)])
async def test_a_batch_that_only_completes_sends_no_texts(
    connection: AsyncConnection[Any], form: str, edited: bool, sent: bool, monkeypatch: pytest.MonkeyPatch
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


async def test_to_keep_an_answer_under_its_key_its_texts_are_not_sent_again(
    connection: AsyncConnection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await have_owners(connection, ANN)
    made = [make_task(description="x" * 1000, tags=("a", "b"), due_date="2026-12-01"), make_list(color="#aabbcc")]
    gone = SyncItem("task", make_id(1), None)
    decision = Decision(tuple(Pair(None, each) for each in made), (*made, gone, *made))
    sent = listen(monkeypatch, transaction)
    plan = Plan(decide=lambda _: decision, once=ONCE)
    done = await commit_behind_the_lock(connection, ANN, plan, plan.sees, max_tasks=10, waits=True)
    [keeping] = [values for values in sent if "fingerprint" in values]
    assert sum(len(str(value)) for value in keeping.values()) < 500
    assert await replayed(connection, ANN, ONCE) == replace(done, replayed=True)
    assert done.answer == decision.answer


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
    connection: AsyncConnection[Any], keyed: bool, members: dict[str, Any], monkeypatch: pytest.MonkeyPatch
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


async def test_many_rows_are_made_a_part_at_a_time_and_others_come_in_between(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
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
    monkeypatch.setattr("todo_adapters.postgres.batch.examine_young", lambda: seen.append("examined"))
    async with engine.connect() as connection:
        rows = await execute(connection, "select generate_series(1, %(last)s::int)", {"last": 123})
        assert rows == [(number,) for number in range(1, 124)]
    assert seen[:7] == [50, "examined", "another", 50, "examined", "another", 23]


@pytest.mark.parametrize(("count", "arrays"), [(1, False), (2, True)])
async def test_the_values_of_a_write_alone_are_sent_without_arrays(
    connection: AsyncConnection[Any], count: int, arrays: bool
) -> None:
    await have_owners(connection, ANN)
    statements: list[str] = []

    async def recorded(on: AsyncConnection[Any], statement: Any, parameters: Any) -> list[Any]:
        statements.append(statement)
        return await execute(on, statement, parameters)

    tasks = [make_task(tags=("a", "b"), description='"{,}"\\') for _ in range(count)]
    with executing(recorded):
        assert {*results(await CREATING.passing(connection, list(map(creation, tasks))))} == {DONE}
        for kind in (SWAPPING, REMOVING):
            changes = [removal(task) if kind is REMOVING else swap(task, task.toggled(at=LATER)) for task in tasks]
            assert {*results(await kind.passing(connection, changes))} == {DONE}
            tasks = [task.toggled(at=LATER) for task in tasks]
    assert [("unnest" in statement, "any(" in statement) for statement in statements] == [(arrays, arrays)] * 3
