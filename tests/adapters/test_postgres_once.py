"""Commits under a key in PostgreSQL, beside those of other processes: each happens once, and is repeated whole."""

import asyncio
from urllib.parse import urlsplit

import psycopg
import pytest
from adapters.keys import ISOLATIONS, KEY, stored
from adapters.statements import ADD, begun, columns, holding
from factories import ANN, LATER, NOON, make_task
from psycopg import sql

from todo_adapters.postgres import PostgresTaskStore, transaction
from todo_adapters.postgres.engine import Engine
from todo_adapters.system import SystemClock, SystemIds
from todo_core import (
    ChangeQuery,
    Committed,
    Decision,
    IdempotencyKey,
    KeyReused,
    Once,
    Pair,
    Plan,
    Seen,
    Sees,
    Task,
    TaskExists,
    TaskService,
    WriteOptions,
)
from todo_core.testing.log import whole_log
from todo_core.testing.writing import add, add_once, changing, creating, once_for
from todo_core.use_cases import changes as use_cases

KEEP = """
    insert into used_keys (user_id, key, fingerprint, number, answer) values (%(owner)s, 'key', %(fingerprint)s, 7,
        jsonb_build_array(jsonb_build_object(
            'id', %(id)s::uuid, 'title', %(title)s::text, 'tags', '[]'::jsonb, 'version', 1,
            'created_at', %(created_at)s::timestamptz, 'updated_at', %(updated_at)s::timestamptz)))
"""


def kept(task: Task) -> dict[str, object]:
    """The parameters of `KEEP`, for that task's creation."""
    return columns(task) | {"fingerprint": once_for(KEY, task).fingerprint}


@pytest.mark.parametrize("same_id", [False, True])
async def test_a_repeat_waits_for_a_creation_in_another_process_and_returns_its_task(
    postgres_store: PostgresTaskStore, database_url: str, there: None, same_id: bool
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    theirs = make_task()
    mine = theirs if same_id else make_task()
    async with holding(database_url, ANN) as rival:
        await rival.execute(KEEP, kept(theirs))
        await rival.execute(ADD, columns(theirs))
        doing = await begun(tasks.commit(creating(mine, once_for(KEY, mine))), database_url)
    assert await doing == Committed((theirs,), 7, replayed=True)
    assert await stored(tasks) == [theirs]


async def test_a_plan_that_creates_what_another_process_has_just_created_is_decided_again(
    postgres_store: PostgresTaskStore, database_url: str, there: None
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    theirs = make_task()

    def put(seen: Seen) -> Decision:
        before = seen.tasks[theirs.id]
        after = theirs if before is None else before.edited(at=LATER, title="Mine")
        return Decision((Pair(before, after),), (after,))

    async with holding(database_url, ANN) as rival:
        await rival.execute(ADD, columns(theirs))
        doing = await begun(tasks.commit(Plan(decide=put, sees=Sees(frozenset({theirs.id})))), database_url)
    assert (await doing).task.title == "Mine"


async def test_a_task_is_not_created_with_the_id_of_a_list_that_was_created_while_it_waited(
    postgres_store: PostgresTaskStore, database_url: str, there: None
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    task = make_task()
    async with holding(database_url, ANN) as rival:
        await rival.execute(
            "insert into lists (user_id, id, name, position, version, created_at, updated_at) "
            "values (%(owner)s, %(id)s, 'Theirs', 'a', 1, %(created_at)s, %(updated_at)s)",
            columns(task),
        )
        await rival.execute("update owners set number = number + 1, lists = lists + 1 where user_id = %s", [ANN])
        doing = await begun(add(tasks, task), database_url)
    with pytest.raises(TaskExists):
        await doing
    assert await stored(tasks) == []


async def test_a_repeat_creates_the_task_if_the_creation_in_another_process_fails(
    postgres_store: PostgresTaskStore, database_url: str, there: None
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    async with holding(database_url, ANN) as rival:
        await rival.execute(KEEP, kept(make_task()))
        doing = await begun(add_once(tasks, KEY, mine := make_task()), database_url)
        await rival.rollback()
    assert await doing == mine
    assert await stored(tasks) == [mine]


async def test_another_task_under_a_key_that_is_just_being_used_is_refused(
    postgres_store: PostgresTaskStore, database_url: str, there: None
) -> None:
    async with holding(database_url, ANN) as rival:
        await rival.execute(KEEP, kept(make_task(title="Theirs")))
        doing = await begun(add_once(postgres_store.tasks_of(ANN), KEY, make_task(title="Mine")), database_url)
    with pytest.raises(KeyReused):
        await doing


async def test_a_repeat_of_an_edit_waits_for_the_edit_in_another_process_and_returns_its_task(
    postgres_store: PostgresTaskStore, database_url: str
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    theirs = task.edited(title="Edited", at=LATER)
    async with holding(database_url, ANN) as rival:
        await rival.execute(
            "update tasks set title = %(title)s, version = 2, updated_at = %(updated_at)s where id = %(id)s",
            columns(theirs),
        )
        await rival.execute(KEEP.replace("'version', 1", "'version', 2"), columns(theirs) | {"fingerprint": "edit"})
        plan = changing(task.id, lambda task: task.edited(title="Edited", at=LATER), Once(KEY, "edit"))
        doing = await begun(tasks.commit(plan), database_url)
    assert await doing == Committed((theirs,), 7, replayed=True)
    assert await stored(tasks) == [theirs]


async def test_an_edit_under_a_key_that_is_just_being_used_is_refused(
    postgres_store: PostgresTaskStore, database_url: str
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add(tasks, task := make_task())
    async with holding(database_url, ANN) as rival:
        await rival.execute(KEEP, kept(make_task(title="Theirs")))
        plan = changing(task.id, lambda task: task.toggled(at=LATER), Once(KEY, "edit"))
        doing = await begun(tasks.commit(plan), database_url)
    with pytest.raises(KeyReused):
        await doing
    assert await stored(tasks) == [task]


@pytest.mark.parametrize("level", ISOLATIONS)
async def test_a_repeat_works_with_every_default_isolation_level(
    database_url: str, engine: Engine, there: None, level: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = sql.Identifier(urlsplit(database_url).path[1:])
        connection.execute(
            sql.SQL("alter database {} set default_transaction_isolation = {}").format(name, sql.Literal(level))
        )
    await engine.dispose()  # what is connected already has the old default
    store = PostgresTaskStore(engine)
    theirs = make_task()
    async with holding(database_url, ANN) as rival:
        await rival.execute(KEEP, kept(theirs))
        doing = await begun(add_once(store.tasks_of(ANN), KEY, make_task()), database_url)
    assert await doing == theirs
    await store.aclose()


async def test_repeats_that_arrive_together_share_a_statement_with_the_first(
    postgres_store: PostgresTaskStore, there: None
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    outcomes = await asyncio.gather(*(add_once(tasks, KEY, make_task()) for _ in range(20)))
    assert len(set(outcomes)) == 1
    assert await stored(tasks) == [outcomes[0]]


@pytest.mark.parametrize("size", [0, 3, 600])
async def test_a_repeat_returns_as_many_things_as_the_first_time(postgres_store: PostgresTaskStore, size: int) -> None:
    tasks = postgres_store.tasks_of(ANN)
    made = tuple(make_task(description="milk \U0001f95b") for _ in range(size))
    plan = Plan(decide=lambda _: Decision(tuple(Pair(None, each) for each in made), made), once=Once(KEY, "many"))
    first, again = await tasks.commit(plan), await tasks.commit(plan)
    assert (again.answer, again.change, again.replayed) == (made, first.change, True)


async def test_what_is_stored_in_portions_is_one_change_with_one_time(
    postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "_PORTION", 3)
    tasks = postgres_store.tasks_of(ANN)
    made = [make_task() for _ in range(10)]
    committed = await tasks.commit(Plan(decide=lambda _: Decision(tuple(Pair(None, each) for each in made))))
    log = await whole_log(tasks)
    assert [entry.id for entry in log] == sorted(each.id for each in made)
    assert {(entry.number, entry.at) for entry in log} == {(committed.change, log[0].at)}
    assert set(await stored(tasks)) == set(made)


async def test_replicas_with_the_same_keys_in_another_order_do_not_deadlock(
    engine: Engine, database_url: str, there: None
) -> None:
    stores = [PostgresTaskStore(engine) for _ in range(2)]
    keys = [IdempotencyKey(f"{number}") for number in range(10)]
    for order in (keys, keys[::-1]):
        assert order[0] != order[-1]
    asked = [
        add_once(store.tasks_of(ANN), key, make_task(title=key))
        for store, order in zip(stores, (keys, keys[::-1]), strict=True)
        for key in order
    ]
    outcomes = await asyncio.gather(*asked)
    assert outcomes[:10] == outcomes[:9:-1]
    assert len(await stored(stores[0].tasks_of(ANN))) == 10
    for store in stores:
        await store.aclose()


async def test_moments_come_back_in_utc(postgres_store: PostgresTaskStore) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add_once(tasks, KEY, task := make_task(created_at=NOON, updated_at=LATER, completed_at=LATER))
    again = await add_once(tasks, KEY, make_task(completed_at=NOON))
    assert again == task
    assert str(again.created_at.tzinfo) == str(NOON.tzinfo)


async def test_two_concurrent_requests_to_empty_the_trash_under_one_key_both_find_it_empty(
    postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use_cases, "LIMIT_MAX", 2)
    service = TaskService(postgres_store, SystemClock(), SystemIds())
    once = WriteOptions(once=Once(KEY, "empty"))
    for number in range(9):
        await service.delete(ANN, (await service.create(ANN, title=f"Secret {number}")).task.id)

    async def empty() -> int:
        await service.empty_trash(ANN, once)
        return len((await service.trash(ANN, ChangeQuery())).items)

    assert await asyncio.gather(empty(), empty()) == [0, 0]
