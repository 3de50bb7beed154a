"""How used keys and old changes expire in PostgreSQL: in pieces, by one replica at a time, in nobody's way."""

import asyncio
from typing import Any

import psycopg
import pytest
from adapters.keys import KEY, keys_in, stored
from factories import ANN, BOB, make_id, make_task
from partitions import partition
from serving import eventually

from todo_adapters.postgres import PostgresTaskStore, create_engine, pruning, transaction
from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.pruning import pruning as forgetting
from todo_adapters.postgres.table import changes, used_keys
from todo_core import KEY_LIFE, IdempotencyKey
from todo_core.testing.writing import add, add_once


def age(url: str, hours: float, key: str = "%") -> None:
    """Make the keys that are like that older."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "update used_keys set used_at = used_at - make_interval(secs => %s) where key like %s",
            [hours * 3600, key],
        )


async def fill(store: PostgresTaskStore, *names: str) -> None:
    """Use these keys, and wait until whatever was begun with it has ended."""
    for name in names:
        await add_once(store.tasks_of(ANN), IdempotencyKey(name), make_task(title=name))
    if (looking := store._pruning._under_way) is not None:
        await looking


@pytest.mark.parametrize("keyed", [True, False])
async def test_the_next_creation_removes_expired_keys_and_keeps_the_others(
    keyed: bool, postgres_store: PostgresTaskStore, engine: Engine, database_url: str
) -> None:
    await fill(postgres_store, "young", "old 1", "old 2")
    age(database_url, 23.9)
    age(database_url, 0.2, "old%")
    another = PostgresTaskStore(engine)
    if keyed:
        await add_once(another.tasks_of(BOB), IdempotencyKey("bob's"), make_task(owner=BOB))
    else:
        await add(another.tasks_of(BOB), make_task(owner=BOB))
    await asyncio.to_thread(eventually, lambda: keys_in(database_url) == ["bob's", "young"][not keyed :])
    assert len(await stored(postgres_store.tasks_of(ANN))) == 3
    fresh = await add_once(another.tasks_of(ANN), IdempotencyKey("old 1"), make_task(title="old 1"))
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


MANY_KEYS = """
    insert into used_keys select 'user ' || n % 7, n::text, now() - case n % 50 when 0 then interval '23 h'
        else interval '25 h' end, 'x', 1, '[]' from generate_series(1, 2500) n
"""
MANY_CHANGES = """
    insert into changes select 'user ' || n % 7, n, gen_random_uuid(), now() - case n % 50 when 0 then interval '29 d'
        else interval '31 d' end, 'edited' from generate_series(1, 2500) n
"""
LEFT = "select (select count(*) from used_keys), (select count(*) from changes where user_id like 'user %')"


@pytest.mark.parametrize(("partitioned", "sharded"), [(False, False), (True, False), (True, True)])
async def test_many_expired_keys_are_removed_in_pieces_by_several_stores_concurrently(
    database_url: str, partitioned: bool, sharded: bool
) -> None:
    engine = create_engine(database_url, sharded=sharded)
    if partitioned:
        partition(database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute(MANY_KEYS)
        connection.execute(MANY_CHANGES)
    stores = [PostgresTaskStore(engine) for _ in range(4)]
    for number, each in enumerate(stores):
        await add(each.tasks_of(BOB), make_task(id=make_id(number), owner=BOB))

    def left() -> tuple[int, int]:
        with psycopg.connect(database_url) as connection:
            return connection.execute(LEFT).fetchall()[0]

    await asyncio.to_thread(eventually, lambda: left() == (50, 50))
    for each in stores:
        await each.aclose()
    await engine.dispose()


@pytest.mark.parametrize(
    ("table", "moment", "fill"), [(used_keys, used_keys.c.used_at, MANY_KEYS), (changes, changes.c.at, MANY_CHANGES)]
)
async def test_a_cleanup_piece_is_bounded_and_skips_rows_another_replica_is_removing(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch, table: Any, moment: Any, fill: str
) -> None:
    monkeypatch.setattr(pruning, "PIECE", 1000)
    forget = forgetting(table, moment, KEY_LIFE if table is used_keys else 30 * KEY_LIFE)
    async with await psycopg.AsyncConnection.connect(database_url) as rival, engine.connect() as connection:
        await rival.execute(fill)  # type: ignore[arg-type]
        await rival.commit()
        await rival.execute(f"delete from {table} where user_id = 'user 3'")  # type: ignore[arg-type]  # noqa: S608
        assert await forget(connection, [None, None]) == [1000, 1000]
        assert await forget(connection, [None]) == [1000]
        assert 0 < (await forget(connection, [None]))[0] < 1000
        await rival.rollback()
        expired = f"select distinct user_id from {table} where {moment.name} < now() - interval '24.5 h'"  # noqa: S608
        assert ("user 3",) in await (await rival.execute(expired)).fetchall()  # type: ignore[arg-type]


async def test_cleanup_is_left_to_another_replica_that_is_already_removing_everything(database_url: str) -> None:
    engine = create_engine(database_url, sharded=True)
    store = PostgresTaskStore(engine)
    async with await psycopg.AsyncConnection.connect(database_url) as rival:
        await rival.execute(MANY_KEYS)
        await rival.commit()
        await rival.execute("delete from used_keys")
        await add(store.tasks_of(BOB), make_task(owner=BOB))
        assert store._pruning._under_way is not None
        await asyncio.wait_for(store._pruning._under_way, 10)
    await store.aclose()
    await engine.dispose()


async def test_creating_works_even_if_expired_keys_cannot_be_removed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    async def unavailable(*call: object) -> list[bool]:
        tried.append(call)
        raise psycopg.errors.AdminShutdown

    monkeypatch.setattr(pruning, "pruning", lambda *_: unavailable)
    await fill(store := PostgresTaskStore(engine), "a", "b")
    await store.aclose()
    assert tried


async def test_a_key_that_expires_during_the_request_counts_as_new(
    postgres_store: PostgresTaskStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await fill(postgres_store, KEY)
    lock = transaction._locked

    async def late(*arguments: Any, **others: Any) -> Any:
        with psycopg.connect(database_url) as other:
            other.execute("delete from used_keys")
        return await lock(*arguments, **others)

    monkeypatch.setattr(transaction, "_locked", late)
    assert await add_once(tasks, KEY, task := make_task(title="New")) == task
    assert task in await stored(tasks)


async def test_removing_a_key_and_using_it_again_do_not_deadlock(engine: Engine, database_url: str) -> None:
    """Whoever uses it holds the owner and waits for the key; whoever forgets it holds the key and waits for nobody."""
    store = PostgresTaskStore(engine)
    tasks = store.tasks_of(ANN)
    await fill(store, KEY)
    async with await psycopg.AsyncConnection.connect(database_url) as forgetter:
        await forgetter.execute("delete from used_keys")
        doing = asyncio.ensure_future(add_once(tasks, KEY, make_task(title=KEY)))
        assert await doing == (await stored(tasks))[0]  # it has not gone yet
        await forgetter.commit()
    assert (await add_once(tasks, KEY, new := make_task(title="New"))) == new
    await store.aclose()
