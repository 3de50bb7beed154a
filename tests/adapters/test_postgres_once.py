"""Creations under a key in PostgreSQL: races, cuts and lost answers brought about on purpose; and how keys expire."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from factories import ANN, BOB, LATER, NOON, make_id, make_task
from psycopg import sql
from serving import eventually
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from todo_adapters.postgres.once import Once, insert_once_many

from todo_adapters.postgres import PostgresTaskStore, batch, once, pruning
from todo_adapters.postgres import store as store_module
from todo_adapters.postgres.pruning import prune_keys
from todo_core import IdempotencyKey, KeyReused, OwnedTasks, StoreUnavailable, Task, TaskQuery
from todo_core.testing.writing import add_once

KEY = IdempotencyKey("key")
KEEP = """
    insert into idempotency_keys (user_id, key, id, title, version, created_at, updated_at)
        values (%(owner)s, %(key)s, %(id)s, %(title)s, 1, %(at)s, %(at)s)
"""
ADD = """
    insert into tasks (user_id, id, title, version, created_at, updated_at, search_text)
        values (%(owner)s, %(id)s, %(title)s, 1, %(at)s, %(at)s, '')
"""


@pytest.fixture
async def rival(database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Somebody else's connection, in a transaction: another replica in the middle of its statement."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        yield connection


def values(task: Task) -> dict[str, object]:
    return {"owner": task.owner, "key": KEY, "id": task.id, "title": task.title, "at": task.created_at}


async def begun(work: Awaitable[Task]) -> "asyncio.Future[Task]":
    """The work, waiting for somebody else's transaction."""
    doing = asyncio.ensure_future(work)
    await asyncio.wait([doing], timeout=0.2)
    assert not doing.done()
    return doing


async def stored(tasks: OwnedTasks) -> list[Task]:
    return list((await tasks.page(TaskQuery(limit=200))).items)


def keys_in(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [key for (key,) in connection.execute("select key from idempotency_keys order by key").fetchall()]


async def test_a_repeat_waits_for_the_creation_under_way_elsewhere_and_is_told_of_it(
    postgres_store: PostgresTaskStore, rival: psycopg.AsyncConnection[Any]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    theirs = make_task()
    await rival.execute(KEEP, values(theirs))
    await rival.execute(ADD, values(theirs))
    doing = await begun(add_once(tasks, KEY, make_task()))
    await rival.commit()
    assert await doing == theirs
    assert await stored(tasks) == [theirs]


async def test_a_repeat_creates_where_the_creation_under_way_elsewhere_comes_to_nothing(
    postgres_store: PostgresTaskStore, rival: psycopg.AsyncConnection[Any]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await rival.execute(KEEP, values(make_task()))
    doing = await begun(add_once(tasks, KEY, mine := make_task()))
    await rival.rollback()
    assert await doing == mine
    assert await stored(tasks) == [mine]


async def test_another_task_under_a_key_that_is_just_being_used_is_refused(
    postgres_store: PostgresTaskStore, rival: psycopg.AsyncConnection[Any]
) -> None:
    await rival.execute(KEEP, values(make_task(title="Theirs")))
    doing = await begun(add_once(postgres_store.tasks_of(ANN), KEY, make_task(title="Mine")))
    await rival.commit()
    with pytest.raises(KeyReused):
        await doing


async def test_it_is_so_whatever_isolation_is_the_databases_default(
    database_url: str, postgres_store: PostgresTaskStore, rival: psycopg.AsyncConnection[Any]
) -> None:
    name = sql.Identifier(urlsplit(database_url).path[1:])
    for level in ("repeatable read", "serializable"):
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("alter database {} set default_transaction_isolation = {}").format(name, sql.Literal(level))
            )
        owner = store_module.owner_id(level)
        theirs = make_task(owner=owner)
        await rival.execute(KEEP, values(theirs))
        doing = await begun(add_once(postgres_store.tasks_of(owner), KEY, make_task(owner=owner)))
        await rival.commit()
        assert await doing == theirs


async def test_a_creation_that_is_given_up_between_key_and_task_leaves_neither(
    database_url: str, engine: AsyncEngine, rival: psycopg.AsyncConnection[Any]
) -> None:
    store = PostgresTaskStore(engine, deadline=0.5)
    tasks = store.tasks_of(ANN)
    await rival.execute(ADD, values(mine := make_task()))  # so that our key is written and our task waits
    with pytest.raises(StoreUnavailable):
        await add_once(tasks, KEY, mine)
    await rival.rollback()
    await store.aclose()
    assert keys_in(database_url) == []
    assert await stored(tasks) == []
    again = await add_once(tasks, KEY, make_task())
    assert await stored(tasks) == [again]
    await store.aclose()


async def test_a_creation_that_is_killed_between_key_and_task_leaves_neither_and_is_sent_again(
    database_url: str, postgres_store: PostgresTaskStore, rival: psycopg.AsyncConnection[Any]
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await rival.execute(ADD, values(mine := make_task()))
    doing = await begun(add_once(tasks, KEY, mine))
    terminate = "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and datname = %s"
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert connection.execute(terminate, [connection.info.dbname]).fetchall() == [(True,)]
    await rival.rollback()
    assert await doing == mine
    again = await add_once(tasks, KEY, make_task())
    assert await stored(tasks) == [again] == [mine]
    assert keys_in(database_url) == [KEY]


@pytest.mark.parametrize("times", [1, 3])
async def test_a_creation_whose_answer_was_lost_is_asked_again_and_has_happened_once(
    times: int, postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = times

    async def losing(connection: AsyncConnection, calls: Sequence[Once]) -> list[Task | None]:
        nonlocal left
        told = await insert_once_many(connection, calls)
        if left:
            left -= 1
            raise psycopg.errors.AdminShutdown("after the commit")
        return told

    monkeypatch.setattr(store_module, "insert_once_many", losing)
    tasks = postgres_store.tasks_of(ANN)
    wishes = [make_task(), make_task()]
    told = await asyncio.gather(*(add_once(tasks, KEY, wish) for wish in wishes))
    assert told[0] == told[1]
    assert told[0] in wishes
    assert await stored(tasks) == [told[0]]
    assert left == 0


async def test_each_call_of_a_batch_gets_its_own_answer(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        first, second, bobs, other = make_task(), make_task(title="x"), make_task(owner=BOB), make_task()
        calls = [Once(KEY, first), Once(IdempotencyKey("other"), other), Once(KEY, second), Once(KEY, bobs)]
        assert await insert_once_many(connection, calls) == [first, other, first, bobs]
        calls = [Once(KEY, make_task()), Once(IdempotencyKey("new"), new := make_task()), Once(KEY, second)]
        assert await insert_once_many(connection, calls) == [first, new, first]
        found = await connection.execute(text("select user_id, count(*) from tasks group by 1 order by 1"))
        assert [tuple(row) for row in found] == [(ANN, 3), (BOB, 1)]


async def test_replicas_that_bring_the_same_keys_in_another_order_do_not_deadlock(
    engine: AsyncEngine, rival: psycopg.AsyncConnection[Any]
) -> None:
    a, b = make_task(title="a"), make_task(title="b")
    await rival.execute(KEEP, values(a) | {"key": "a"})
    async with engine.connect() as connection:
        calls = [Once(IdempotencyKey("b"), make_task(title="b")), Once(IdempotencyKey("a"), make_task(title="a"))]
        doing = asyncio.create_task(insert_once_many(connection, calls))
        await asyncio.wait([doing], timeout=0.2)
        assert not doing.done()
        await rival.execute(KEEP, values(b) | {"key": "b"})
        await rival.commit()
        assert await doing == [b, a]


def age(url: str, hours: float, key: str = "%") -> None:
    """Make the keys that are like that older."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "update idempotency_keys set used_at = used_at - make_interval(secs => %s) where key like %s",
            [hours * 3600, key],
        )


async def fill(store: PostgresTaskStore, *names: str) -> None:
    """Use these keys, and wait until whatever was begun with it has ended."""
    for name in names:
        await add_once(store.tasks_of(ANN), IdempotencyKey(name), make_task(title=name))
    if (looking := store._pruning._under_way) is not None:
        await looking


@pytest.mark.parametrize("keyed", [True, False])
async def test_expired_keys_are_forgotten_by_whoever_creates_next_and_others_kept(
    keyed: bool, postgres_store: PostgresTaskStore, engine: AsyncEngine, database_url: str
) -> None:
    await fill(postgres_store, "young", "old 1", "old 2")
    age(database_url, 23.9)
    age(database_url, 0.2, "old%")
    another = PostgresTaskStore(engine)
    if keyed:
        await another.tasks_of(BOB).add_once(IdempotencyKey("bob's"), make_task(owner=BOB))
    else:
        await another.tasks_of(BOB).add(make_task(owner=BOB))
    await asyncio.to_thread(eventually, lambda: keys_in(database_url) == ["bob's", "young"][not keyed :])
    assert len(await stored(postgres_store.tasks_of(ANN))) == 3
    fresh = await another.tasks_of(ANN).add_once(IdempotencyKey("old 1"), make_task(title="old 1"))
    assert fresh in await stored(another.tasks_of(ANN))
    await another.aclose()


async def test_a_process_looks_for_expired_keys_now_and_then_only(
    postgres_store: PostgresTaskStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(pruning, "monotonic", lambda: now)
    await fill(postgres_store, "a")
    age(database_url, 25)
    now += 599
    await fill(postgres_store, "b")
    assert keys_in(database_url) == ["a", "b"]
    now += 1
    await fill(postgres_store, "c")
    assert keys_in(database_url) == ["b", "c"]


async def test_very_many_expired_keys_are_forgotten_a_piece_at_a_time_and_by_several_at_once(
    engine: AsyncEngine, database_url: str
) -> None:
    many = "insert into idempotency_keys select 'ann', n::text, now() - interval '25 h', gen_random_uuid(), 'x', "
    with psycopg.connect(database_url) as connection:
        connection.execute(f"{many} null, null, 1, now(), now() from generate_series(1, 2500) n")  # type: ignore[arg-type]
    stores = [PostgresTaskStore(engine) for _ in range(4)]
    for number, each in enumerate(stores):
        await each.tasks_of(BOB).add(make_task(id=make_id(number), owner=BOB))
    await asyncio.to_thread(eventually, lambda: keys_in(database_url) == [])
    for each in stores:
        await each.aclose()


async def test_a_piece_is_bounded_and_leaves_alone_what_another_replica_is_forgetting(
    engine: AsyncEngine, database_url: str, rival: psycopg.AsyncConnection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "AT_ONCE", 3)
    await fill(store := PostgresTaskStore(engine), *"abcdefg")
    age(database_url, 25)
    await rival.execute("delete from idempotency_keys where key in ('a', 'b')")
    async with engine.connect() as connection:
        assert await prune_keys(connection, [None, None]) == [True, True]
        assert await prune_keys(connection, [None]) == [False]
    await rival.rollback()
    assert keys_in(database_url) == ["a", "b"]
    await store.aclose()


def partition(url: str, table: str, by: str, pieces: int = 16) -> None:
    """Make that empty table anew, in so many partitions, with all of its constraints, defaults and indexes."""
    names = {"table": sql.Identifier(table), "whole": sql.Identifier(f"{table}_whole"), "by": sql.Identifier(by)}
    with psycopg.connect(url) as connection:
        connection.execute(sql.SQL("alter table {table} rename to {whole}").format(**names))
        like = "create table {table} (like {whole} including all) partition by hash ({by})"
        connection.execute(sql.SQL(like).format(**names))
        connection.execute(sql.SQL("drop table {whole}").format(**names))
        for number in range(pieces):
            piece = "create table {piece} partition of {table} for values with (modulus {of}, remainder {number})"
            values = {"piece": sql.Identifier(f"{table}_{number}"), "of": sql.Literal(pieces)}
            connection.execute(sql.SQL(piece).format(**names, **values, number=sql.Literal(number)))


async def test_of_a_partitioned_table_only_what_has_expired_is_forgotten(
    engine: AsyncEngine, database_url: str
) -> None:
    partition(database_url, "idempotency_keys", by="user_id")
    many = """
        insert into idempotency_keys (user_id, key, used_at, id, title, version, created_at, updated_at)
            select 'user ' || n, n::text, now() - case n % 50 when 0 then interval '25 h' else interval '23 h' end,
                gen_random_uuid(), 'x', 1, now(), now() from generate_series(1, 400) n
    """
    with psycopg.connect(database_url) as connection:
        connection.execute(many)
    async with engine.connect() as connection:
        assert await prune_keys(connection, [None]) == [False]
    assert set(keys_in(database_url)) == {str(number) for number in range(1, 401) if number % 50}


async def test_where_keys_cannot_be_forgotten_at_the_moment_creating_goes_on(
    postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> list[bool]:
        raise psycopg.errors.AdminShutdown

    monkeypatch.setattr(pruning, "prune_keys", away)
    await fill(postgres_store, "a", "b")


async def test_a_key_that_expires_at_the_very_moment_is_a_new_one(
    postgres_store: PostgresTaskStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await fill(postgres_store, KEY)
    read = once._read

    async def late(connection: AsyncConnection, places: Sequence[tuple[str, str]]) -> list[Task | None]:
        with psycopg.connect(database_url) as other:
            other.execute("delete from idempotency_keys")
        return await read(connection, places)

    monkeypatch.setattr(once, "_read", late)
    assert await add_once(tasks, KEY, task := make_task(title="New")) == task
    assert task in await stored(tasks)


async def test_keys_are_found_by_their_primary_key_and_expired_ones_by_age(engine: AsyncEngine) -> None:
    many = "insert into idempotency_keys select 'user ' || n % 200, n::text, now() - n * interval '5 s', "
    async with engine.connect() as connection:
        await connection.execute(
            text(many + "gen_random_uuid(), 'x', null, null, 1, now(), now() from generate_series(1, 20000) n")
        )
        await connection.execute(text("analyze idempotency_keys"))
        explain = "explain " + once._READ_KEYS
        parameters = {"owner_array": "{ann,bob}", "key_array": "{a,b}"}
        plan = str(await batch.execute(connection, explain, parameters))  # type: ignore[arg-type]
        assert "idempotency_keys_pkey" in plan
        assert "Seq Scan" not in plan
        parameters = {"life": pruning.KEY_LIFE, "most": 10}  # few of many, as there
        plan = str(await batch.execute(connection, "explain " + pruning._PRUNE, parameters))  # type: ignore[arg-type]
        assert "idempotency_keys_used_at" in plan
        assert "idempotency_keys_pkey" in plan
        assert "Seq Scan" not in plan


async def test_moments_come_back_in_utc(postgres_store: PostgresTaskStore) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add_once(tasks, KEY, task := make_task(created_at=NOON, updated_at=LATER, completed_at=LATER))
    again = await add_once(tasks, KEY, make_task(completed_at=NOON))
    assert again == task
    assert str(again.created_at.tzinfo) == str(NOON.tzinfo)
