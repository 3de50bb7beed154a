"""Commits under a key in PostgreSQL whose connection is cut or whose answer is lost: each happens once, or not."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg
import pytest
from adapters.keys import KEY, keys_in, stored
from adapters.statements import ADD, begun, columns, holding
from factories import ANN, LATER, make_task

from todo_adapters.postgres import PostgresTaskStore, writing
from todo_adapters.postgres import store as store_module
from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.writing import Outcome, Write, Writing
from todo_core import Committed, Once, StoreUnavailable
from todo_core.testing.log import whole_log
from todo_core.testing.writing import add, add_once, changing, deleting


async def test_a_creation_that_is_given_up_leaves_neither_key_nor_task(
    database_url: str, engine: Engine, there: None
) -> None:
    store = PostgresTaskStore(engine, deadline=0.5)
    tasks = store.tasks_of(ANN)
    async with await psycopg.AsyncConnection.connect(database_url) as old_server:
        await old_server.execute(ADD, columns(mine := make_task()))  # so that the owner is locked and the task waits
        with pytest.raises(StoreUnavailable):
            await add_once(tasks, KEY, mine)
        await old_server.rollback()
    await store.aclose()
    assert keys_in(database_url) == []
    assert await stored(tasks) == []
    again = await add_once(tasks, KEY, make_task())
    assert await stored(tasks) == [again]
    assert [entry.number for entry in await whole_log(tasks)] == [1]
    await store.aclose()


@pytest.mark.parametrize("waits_for", ["the task", "the owner"])
async def test_a_creation_whose_connection_is_killed_leaves_nothing_and_is_sent_again(
    database_url: str, postgres_store: PostgresTaskStore, there: None, waits_for: str
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    mine = make_task()
    async with holding(database_url, *([ANN] if waits_for == "the owner" else [])) as rival:
        if waits_for == "the task":
            await rival.execute(ADD, columns(mine))
        doing = await begun(add_once(tasks, KEY, mine), database_url)
        terminate = (
            "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and datname = %s"
        )
        with psycopg.connect(database_url, autocommit=True) as connection:
            assert connection.execute(terminate, [connection.info.dbname]).fetchall() == [(True,)]
        await rival.rollback()
    assert await doing == mine
    again = await add_once(tasks, KEY, make_task())
    assert await stored(tasks) == [again] == [mine]
    assert keys_in(database_url) == [KEY]
    assert [entry.number for entry in await whole_log(tasks)] == [1]


@pytest.mark.parametrize("times", [1, 3])
async def test_a_creation_whose_answer_was_lost_is_asked_again_and_has_happened_once(
    times: int, postgres_store: PostgresTaskStore, there: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sends, left = losing_answers(writing.creating(10_000, keyed=True), times)
    monkeypatch.setattr(store_module, "creating", lambda *_, **__: sends)
    tasks = postgres_store.tasks_of(ANN)
    wishes = [make_task(), make_task()]
    outcomes = await asyncio.gather(*(add_once(tasks, KEY, wish) for wish in wishes))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0] in wishes
    assert await stored(tasks) == [outcomes[0]]
    assert left == []


def losing_answers(keyed: Writing, times: int) -> tuple[Writing, list[int]]:
    """The same statement, whose answer is lost so often; and what of that is still to come."""
    left = list(range(times))

    async def losing(connection: psycopg.AsyncConnection[Any], calls: Sequence[Write]) -> Sequence[Outcome]:
        outcomes = await keyed.passing(connection, calls)
        if left:
            left.pop()
            raise psycopg.errors.AdminShutdown("after the commit")
        return outcomes

    return Writing(losing, keyed.waiting), left


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("name", ["REMOVING_ONCE", "SWAPPING_ONCE"])
async def test_a_write_of_one_task_under_a_key_whose_answer_was_lost_is_asked_again_and_has_happened_once(
    name: str, times: int, postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    sends, left = losing_answers(getattr(writing, name), times)
    monkeypatch.setattr(store_module, name, sends)
    once, done = Once(KEY, "write"), task.toggled(at=LATER)
    removes = name == "REMOVING_ONCE"
    plan = deleting(task.id, once=once) if removes else changing(task.id, lambda task: task.toggled(at=LATER), once)
    kept = [] if removes else [done]
    assert await tasks.commit(plan) == Committed(tuple(kept), 2, replayed=True)
    assert await stored(tasks) == kept
    assert left == []


@pytest.mark.parametrize("times", [1, 3])
async def test_a_transaction_under_a_key_whose_answer_was_lost_is_asked_again_and_has_happened_once(
    times: int, postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    await add(tasks, make_task(parent_id=task.id))  # so no shared statement deletes it
    left = times
    run = postgres_store._sender._connections.run

    async def losing(work: Callable[[psycopg.AsyncConnection[Any]], Awaitable[Any]], **how: int) -> Any:
        nonlocal left
        answer = await run(work, **how)
        if left and isinstance(answer, Committed):
            left -= 1
            raise psycopg.errors.AdminShutdown("after the commit")
        return answer

    monkeypatch.setattr(postgres_store._sender._connections, "run", losing)
    committed = await tasks.commit(deleting(task.id, once=Once(KEY, "delete")))
    assert (committed.change, left) == (3, 0)
    assert await stored(tasks) == []
