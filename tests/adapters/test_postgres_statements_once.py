"""Many writes under keys in one statement: each key is used once."""

from typing import Any

from adapters.statements import (
    CREATING_ONCE,
    DONE,
    FORMS,
    LOST,
    USED,
    creation,
    have_owners,
    key,
    once,
    removal,
    results,
    state,
    store,
    swap,
)
from factories import ANN, BOB, LATER, make_task
from psycopg import AsyncConnection

from todo_adapters.postgres.reading import read_many
from todo_adapters.postgres.transaction import replayed
from todo_adapters.postgres.writing import REMOVING_ONCE, SWAPPING_ONCE
from todo_core import Committed


@FORMS
async def test_each_key_of_a_batch_creates_once(connection: AsyncConnection[Any], form: str) -> None:
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
async def test_each_key_of_a_batch_edits_once(connection: AsyncConnection[Any], form: str) -> None:
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
async def test_each_key_of_a_batch_removes_once(connection: AsyncConnection[Any], form: str) -> None:
    tasks = [make_task() for _ in range(2)]
    await store(connection, tasks)
    batch = getattr(REMOVING_ONCE, form)
    calls = [removal(task, once("key")) for task in tasks]
    assert await batch(connection, calls) == [(DONE, 3), (USED, None)]
    assert await batch(connection, calls[1:]) == [(USED, None)]
    assert await read_many(connection, list(map(key, tasks))) == [None, tasks[1]]
    assert await replayed(connection, ANN, once("key")) == Committed((), 3, replayed=True)


async def test_the_refused_one_of_two_keys_for_one_id_stays_unused(connection: AsyncConnection[Any]) -> None:
    await have_owners(connection, ANN)
    task = make_task()
    calls = [creation(task, once("one")), creation(make_task(id=task.id), once("two"))]
    assert results(await CREATING_ONCE.passing(connection, calls)) == [DONE, USED]
    assert await replayed(connection, ANN, once("two")) is None
