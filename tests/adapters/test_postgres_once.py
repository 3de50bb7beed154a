"""Commits under a key in PostgreSQL: forced races, cut connections, lost answers; and how keys expire."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from adapters.statements import begun, columns, holding
from factories import ANN, BOB, LATER, NOON, make_id, make_task
from partitions import partition
from psycopg import sql
from serving import eventually
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from todo_adapters.postgres import PostgresTaskStore, create_engine, pruning, transaction, writing
from todo_adapters.postgres import store as store_module
from todo_adapters.postgres.pruning import pruning as forgetting
from todo_adapters.postgres.table import changes, used_keys
from todo_adapters.postgres.transaction import make_owner
from todo_adapters.postgres.writing import Outcome, Write, Writing
from todo_adapters.system import SystemClock, SystemIds
from todo_core import (
    KEY_LIFE,
    ChangeQuery,
    Committed,
    Decision,
    IdempotencyKey,
    KeyReused,
    Once,
    OwnedTasks,
    OwnerId,
    Pair,
    Plan,
    Seen,
    Sees,
    StoreUnavailable,
    Task,
    TaskExists,
    TaskQuery,
    TaskService,
    WriteOptions,
)
from todo_core.testing.log import whole_log
from todo_core.testing.writing import add, add_once, changing, creating, deleting, once_for
from todo_core.use_cases import changes as use_cases

KEY = IdempotencyKey("key")
KEEP = """
    insert into used_keys (user_id, key, fingerprint, number, answer) values (%(owner)s, 'key', %(fingerprint)s, 7,
        jsonb_build_array(jsonb_build_object(
            'id', %(id)s::uuid, 'title', %(title)s::text, 'tags', '[]'::jsonb, 'version', 1,
            'created_at', %(created_at)s::timestamptz, 'updated_at', %(updated_at)s::timestamptz)))
"""
ADD = """
    insert into tasks (user_id, id, title, version, created_at, updated_at, search_text)
        values (%(owner)s, %(id)s, %(title)s, 1, %(created_at)s, %(updated_at)s, '')
"""


def kept(task: Task) -> dict[str, object]:
    """The parameters of `KEEP`, for that task's creation."""
    return columns(task) | {"fingerprint": once_for(KEY, task).fingerprint}


@pytest.fixture
async def there(engine: AsyncEngine) -> None:
    """Owners have their rows."""
    async with engine.connect() as connection:
        for owner in (ANN, BOB, *map(OwnerId, ISOLATIONS)):
            await make_owner(connection, owner)


ISOLATIONS = ("repeatable read", "serializable")


async def stored(tasks: OwnedTasks) -> list[Task]:
    return list((await tasks.page(TaskQuery(limit=200))).items)


def keys_in(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [key for (key,) in connection.execute("select key from used_keys order by key").fetchall()]


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
    database_url: str, engine: AsyncEngine, there: None, level: str
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


async def test_a_creation_that_is_given_up_leaves_neither_key_nor_task(
    database_url: str, engine: AsyncEngine, there: None
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
    told = await asyncio.gather(*(add_once(tasks, KEY, wish) for wish in wishes))
    assert told[0] == told[1]
    assert told[0] in wishes
    assert await stored(tasks) == [told[0]]
    assert left == []


def losing_answers(keyed: Writing, times: int) -> tuple[Writing, list[int]]:
    """The same statement, whose answer is lost so often; and what of that is still to come."""
    left = list(range(times))

    async def losing(connection: AsyncConnection, calls: Sequence[Write]) -> Sequence[Outcome]:
        told = await keyed.passing(connection, calls)
        if left:
            left.pop()
            raise psycopg.errors.AdminShutdown("after the commit")
        return told

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

    async def losing(work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
        nonlocal left
        answer = await run(work)
        if left and isinstance(answer, Committed):
            left -= 1
            raise psycopg.errors.AdminShutdown("after the commit")
        return answer

    monkeypatch.setattr(postgres_store._sender._connections, "run", losing)
    committed = await tasks.commit(deleting(task.id, once=Once(KEY, "delete")))
    assert (committed.change, left) == (3, 0)
    assert await stored(tasks) == []


async def test_repeats_that_arrive_together_share_a_statement_with_the_first(
    postgres_store: PostgresTaskStore, there: None
) -> None:
    tasks = postgres_store.tasks_of(ANN)
    told = await asyncio.gather(*(add_once(tasks, KEY, make_task()) for _ in range(20)))
    assert len(set(told)) == 1
    assert await stored(tasks) == [told[0]]


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
    engine: AsyncEngine, database_url: str, there: None
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
    told = await asyncio.gather(*asked)
    assert told[:10] == told[:9:-1]
    assert len(await stored(stores[0].tasks_of(ANN))) == 10
    for store in stores:
        await store.aclose()


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
    keyed: bool, postgres_store: PostgresTaskStore, engine: AsyncEngine, database_url: str
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
async def test_many_expired_keys_are_removed_in_pieces_and_by_several_stores_at_once(
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
    engine: AsyncEngine, database_url: str, monkeypatch: pytest.MonkeyPatch, table: Any, moment: Any, fill: str
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
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
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


async def test_removing_a_key_and_using_it_again_do_not_deadlock(engine: AsyncEngine, database_url: str) -> None:
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


async def test_moments_come_back_in_utc(postgres_store: PostgresTaskStore) -> None:
    tasks = postgres_store.tasks_of(ANN)
    await add_once(tasks, KEY, task := make_task(created_at=NOON, updated_at=LATER, completed_at=LATER))
    again = await add_once(tasks, KEY, make_task(completed_at=NOON))
    assert again == task
    assert str(again.created_at.tzinfo) == str(NOON.tzinfo)


async def test_a_trash_that_is_emptied_twice_at_once_under_a_key_is_empty_for_both(
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
