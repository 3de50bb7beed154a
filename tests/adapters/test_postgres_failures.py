"""`StoreUnavailable` for temporary failures, the driver's error for all others."""

import asyncio
import os
import signal
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from factories import ANN, LATER, make_id, make_task
from poolers import passage_to
from psycopg import sql

from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.store import PostgresOwnedTasks
from todo_core import IdempotencyKey, StoreUnavailable, Task, TaskQuery, TaskStore, composed
from todo_core.testing.writing import add, add_once, changing, creating, edit, once_for, remove

Call = Callable[[TaskStore], Awaitable[object]]
CALLS: dict[str, Call] = {
    "add": lambda store: add(store.tasks_of(ANN), make_task(title="private")),
    "get": lambda store: store.tasks_of(ANN).get(make_id(0)),
    "edit": lambda store: edit(store.tasks_of(ANN), make_id(0), lambda task: task.toggled(at=LATER)),
    "remove": lambda store: remove(store.tasks_of(ANN), make_id(0)),
    "page": lambda store: store.tasks_of(ANN).page(TaskQuery(search="private")),
    "ready": lambda store: store.ready(),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@asynccontextmanager
async def opened(
    url: str, *, deadline: float = 5.0, on_outage: Callable[[BaseException], None] = lambda _: None, **options: Any
) -> AsyncIterator[PostgresTaskStore]:
    engine = create_engine(url, **options)
    store = PostgresTaskStore(engine, deadline=deadline, on_outage=on_outage)
    try:
        yield store
    finally:
        await store.aclose()
        await engine.dispose()


def execute(url: str, statement: str) -> None:
    """Execute this, with {db} for the database's name."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(db=sql.Identifier(urlsplit(url).path[1:])))


@contextmanager
def holding(url: str, task: Task) -> Iterator[None]:
    """While somebody else's transaction has the task locked."""
    with psycopg.connect(url) as other:
        other.execute("select from tasks where user_id = %s and id = %s for update", [task.owner, task.id])
        yield


@contextmanager
def silent_server() -> Iterator[str]:
    """The URL of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgresql://ann:secret@127.0.0.1:{server.getsockname()[1]}/db?sslmode=disable"


@every_call
async def test_an_unreachable_database_is_unavailable_and_its_password_is_not_shown(call: Call) -> None:
    async with opened("postgresql://ann:secret@127.0.0.1:1/db") as store:
        with pytest.raises(StoreUnavailable) as problem:
            await call(store)
    assert isinstance(problem.value.__cause__, psycopg.OperationalError)
    assert "secret" not in "".join(traceback.format_exception(problem.value))


@every_call
async def test_a_silent_database_is_unavailable_in_time(call: Call) -> None:
    with silent_server() as url:
        async with opened(url, deadline=0.3) as store:
            begun = monotonic()
            with pytest.raises(StoreUnavailable):
                await call(store)
            assert monotonic() - begun < 1.5


@every_call
async def test_a_network_that_drops_all_packets_delays_no_call_beyond_the_deadline(
    database_url: str, call: Call
) -> None:
    with passage_to(database_url) as (passage, url):
        async with opened(url, deadline=1) as store:  # enough for a new connection, afterwards, on a busy machine
            await store.ready()
            passage.swallow(True)
            for _ in range(2):
                begun = monotonic()
                with pytest.raises(StoreUnavailable):
                    await call(store)
                assert monotonic() - begun < 4  # the driver alone would wait for ten seconds
            passage.swallow(False)
            await store.ready()


async def test_readiness_takes_two_seconds_at_most_whatever_the_deadline() -> None:
    with silent_server() as url:
        async with opened(url, deadline=60) as store:
            begun = monotonic()
            with pytest.raises(StoreUnavailable):
                await store.ready()
            assert 1.5 < monotonic() - begun < 4


@every_call
async def test_calls_are_unavailable_while_the_database_cannot_be_reached(database_url: str, call: Call) -> None:
    async with opened(database_url) as store:
        await store.ready()
        admin = urlsplit(database_url)._replace(path="/postgres").geturl()
        with psycopg.connect(admin, autocommit=True) as connection:
            name = sql.Identifier(urlsplit(database_url).path[1:])
            connection.execute(sql.SQL("drop database {} with (force)").format(name))
        for _ in range(2):
            with pytest.raises(StoreUnavailable) as problem:
                await call(store)
            assert "private" not in "".join(traceback.format_exception(problem.value))


async def test_a_database_that_takes_no_more_connections_is_unavailable(database_url: str) -> None:
    role = sql.Identifier(f"role_{uuid4().hex}")
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("create role {} login connection limit 0 password 'x'").format(role))
        parts = urlsplit(database_url)
        url = parts._replace(netloc=f"{role.as_string().strip(chr(34))}:x@{parts.netloc.rpartition('@')[2]}").geturl()
        async with opened(url) as store:
            with pytest.raises(StoreUnavailable) as problem:
                await store.ready()
        assert "too many connections" in str(problem.value.__cause__)
        admin.execute(sql.SQL("drop role {}").format(role))


async def test_a_read_only_database_answers_calls_that_write_nothing(database_url: str) -> None:
    async with opened(database_url) as store:
        await add(store.tasks_of(ANN), task := make_task())
    execute(database_url, "alter database {db} set default_transaction_read_only = on")
    async with opened(database_url) as store:
        assert (await store.tasks_of(ANN).page(TaskQuery())).items == (task,)
        assert await edit(store.tasks_of(ANN), task.id, lambda task: task) == task
        for write in (remove(store.tasks_of(ANN), task.id), edit(store.tasks_of(ANN), task.id, _toggle)):
            with pytest.raises(StoreUnavailable):
                await write
        with pytest.raises(StoreUnavailable):
            await CALLS["add"](store)


async def test_a_database_takes_writes_again_as_soon_as_it_is_no_longer_read_only(database_url: str) -> None:
    execute(database_url, "alter database {db} set default_transaction_read_only = on")
    async with opened(database_url, pool_size=1) as store:  # what connects now stays read-only
        with pytest.raises(StoreUnavailable):
            await CALLS["add"](store)
        writable = f"{database_url}&options=-cdefault_transaction_read_only%3Doff"
        execute(writable, "alter database {db} reset all")
        with suppress(StoreUnavailable):
            await CALLS["add"](store)
        await CALLS["add"](store)


async def test_the_databases_own_statement_timeout_is_unavailability(database_url: str) -> None:
    async with opened(database_url) as before:
        await add(before.tasks_of(ANN), task := make_task())
        execute(database_url, "alter database {db} set statement_timeout = '100ms'")  # for connections that come now
        async with opened(database_url) as store:
            with holding(database_url, task), pytest.raises(StoreUnavailable) as problem:
                await remove(store.tasks_of(ANN), task.id)
        assert isinstance(problem.value.__cause__, psycopg.errors.QueryCanceled)
        assert await before.tasks_of(ANN).get(task.id) == task


async def test_a_call_that_takes_too_long_is_given_up_and_cancelled_in_the_database(database_url: str) -> None:
    async with opened(database_url, deadline=0.3) as store:
        await add(store.tasks_of(ANN), task := make_task())
        with holding(database_url, task):
            for write in (
                lambda key: remove(store.tasks_of(ANN), key),
                lambda key: edit(store.tasks_of(ANN), key, _toggle),
            ):
                with pytest.raises(StoreUnavailable):
                    await write(task.id)
            await nothing_runs(database_url)
        assert await store.tasks_of(ANN).get(task.id) == task


@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancelled_call_leaves_no_statement_no_connection_and_no_change(database_url: str, times: int) -> None:
    engine = create_engine(database_url, pool_size=2)
    store = PostgresTaskStore(engine, deadline=0.5)
    await add(store.tasks_of(ANN), task := make_task())
    with holding(database_url, task):
        for _ in range(6):  # more than the pool holds
            doing = asyncio.create_task(edit(store.tasks_of(ANN), task.id, _toggle))
            await asyncio.sleep(0.05)
            for _ in range(times):
                doing.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await doing
        await nothing_runs(database_url)
        await store.aclose()
    assert engine.pool.checkedout() == 0
    assert await store.tasks_of(ANN).get(task.id) == task
    assert await edit(store.tasks_of(ANN), task.id, _toggle) == _toggle(task)
    await store.aclose()
    await engine.dispose()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot freeze a process")
async def test_readiness_does_not_wait_for_a_frozen_database(engine: Engine) -> None:
    store = PostgresTaskStore(engine, deadline=60)
    async with engine.connect() as connection:
        backend = connection.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    try:
        begun = monotonic()
        with pytest.raises(StoreUnavailable):
            await store.ready()
        assert monotonic() - begun < 4
    finally:
        os.kill(backend, signal.SIGCONT)
    await store.ready()
    await store.aclose()


async def test_readiness_that_nobody_waits_for_any_more_leaves_nothing(database_url: str) -> None:
    async with opened(database_url, pool_size=1) as store:
        for pause in range(10):
            doing = asyncio.create_task(store.ready())
            await asyncio.sleep(pause / 1000)
            doing.cancel()
            await asyncio.wait([doing])
        await store.ready()


async def nothing_runs(url: str) -> None:
    """Wait until the database executes no statement of ours."""
    statement = """
        select count(*) from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend' and state = 'active'
    """
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        async with asyncio.timeout(5):
            while True:
                cursor = await connection.execute(f"{statement} and pid <> pg_backend_pid()")
                if await cursor.fetchone() == (0,):
                    return
                await asyncio.sleep(0.02)


UNIQUE_TITLES = """
    create unique index on tasks (title);
    insert into tasks values ('ann', gen_random_uuid(), 'private', null, null, 1, now(), now(), '')
"""


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("alter table tasks drop column tags", psycopg.errors.UndefinedColumn),
        ("alter table tasks add check (title <> 'private')", psycopg.errors.CheckViolation),
        (UNIQUE_TITLES, psycopg.errors.UniqueViolation),
    ],
)
async def test_permanent_errors_are_raised(database_url: str, damage: str, error: type[Exception]) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(damage)  # type: ignore[arg-type]
    async with opened(database_url) as store:
        with pytest.raises(error):
            await CALLS["add"](store)


async def test_without_its_tables_the_store_is_unavailable_until_they_are_there(database_url: str) -> None:
    outages: list[BaseException] = []
    with psycopg.connect(database_url) as connection:
        connection.execute("alter schema public rename to restored")
        connection.execute("create schema public")
    async with opened(database_url, on_outage=outages.append) as store:
        for name, call in CALLS.items():
            with pytest.raises(StoreUnavailable):
                await call(store)
            assert isinstance(outages.pop(), psycopg.errors.UndefinedTable), name
        with psycopg.connect(database_url) as connection:
            connection.execute("drop schema public cascade")
            connection.execute("alter schema restored rename to public")
        await store.ready()
        await CALLS["add"](store)


async def test_without_rights_to_the_tables_the_store_is_unavailable_until_they_are_granted(database_url: str) -> None:
    outages: list[BaseException] = []
    role = sql.Identifier(name := f"role_{uuid4().hex}")
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(sql.SQL("create role {}; grant select on all tables in schema public to {}").format(role, role))
        async with opened(f"{database_url}&options=-crole%3D{name}", on_outage=outages.append) as store:
            await CALLS["page"](store)
            with pytest.raises(StoreUnavailable):
                await CALLS["add"](store)
            assert isinstance(outages.pop(), psycopg.errors.InsufficientPrivilege)
            owner.execute(sql.SQL("grant all on all tables in schema public to {}").format(role))
            await CALLS["add"](store)
        owner.execute(sql.SQL("drop owned by {}; drop role {}").format(role, role))


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_concurrent_edits_succeed_whatever_isolation_is_the_default(database_url: str, isolation: str) -> None:
    execute(database_url, f"alter database {{db}} set default_transaction_isolation = '{isolation}'")
    async with AsyncExitStack() as stack:  # several, since one would let its edits share statements
        stores = [await stack.enter_async_context(opened(database_url)) for _ in range(5)]
        await add(stores[0].tasks_of(ANN), task := make_task())
        await asyncio.gather(*(edit(store.tasks_of(ANN), task.id, _toggle) for store in stores for _ in range(5)))
        assert (await stores[0].tasks_of(ANN).get(task.id)).version == 26


async def test_tasks_are_read_alike_whatever_the_session_is_set_to(database_url: str) -> None:
    async with opened(database_url) as store:
        await add(store.tasks_of(ANN), task := make_task(completed_at=LATER))
    for setting in ("timezone = 'Asia/Kathmandu'", "datestyle = 'German'", "extra_float_digits = 0"):
        execute(database_url, f"alter database {{db}} set {setting}")
    async with opened(database_url) as store:
        found = await store.tasks_of(ANN).get(task.id)
        [listed] = (await store.tasks_of(ANN).page(TaskQuery())).items
        assert repr(found) == repr(listed) == repr(task)  # equal moments may be written in different zones
        assert (await edit(store.tasks_of(ANN), task.id, _toggle)) == _toggle(task)


async def test_moments_come_in_utc_even_if_a_pooler_hands_out_another_session(database_url: str) -> None:
    engine = create_engine(database_url, pool_size=1)
    async with engine.connect() as connection:
        await connection.execute("set timezone = 'Asia/Kathmandu'")
    tasks = PostgresTaskStore(engine).tasks_of(ANN)
    await add(tasks, task := make_task(completed_at=LATER))
    assert repr(await tasks.get(task.id)) == repr(task)
    repeated = creating(other := make_task(), once_for(IdempotencyKey("key"), other))
    for replayed in (False, True):
        kept = await tasks.commit(repeated)
        assert (repr(kept.task), kept.replayed) == (repr(other), replayed)
    await engine.dispose()


def _toggle(task: Task) -> Task:
    return task.toggled(at=LATER)


async def create_twice(tasks: PostgresOwnedTasks) -> object:
    key = IdempotencyKey(f"{(task := make_task()).id}")
    return [await add_once(tasks, key, task) for _ in range(2)]


async def edit_in_a_transaction(tasks: PostgresOwnedTasks) -> object:
    edits = [changing(make_id(0), lambda task: task.toggled(at=LATER)) for _ in range(2)]
    return await tasks.commit(composed([creating(make_task()), *edits]))


STATEMENTS: dict[str, Callable[[PostgresOwnedTasks], Awaitable[object]]] = {
    "add": lambda tasks: add(tasks, make_task()),
    "add once": create_twice,
    "get": lambda tasks: tasks.get(make_id(0)),
    "edit": lambda tasks: edit(tasks, make_id(0), lambda task: task.toggled(at=LATER)),
    "edit in a transaction": edit_in_a_transaction,
    "page": lambda tasks: tasks.page(TaskQuery()),
    "search": lambda tasks: tasks.page(TaskQuery(search="milk")),
}


@pytest.mark.parametrize("call", STATEMENTS.values(), ids=STATEMENTS)
async def test_statements_go_on_after_a_columns_type_has_changed(
    database_url: str, call: Callable[[PostgresOwnedTasks], Awaitable[object]]
) -> None:
    async with opened(database_url, pool_size=2) as store:
        tasks = store.tasks_of(ANN)
        await add(tasks, make_task(id=make_id(0)))
        for _ in range(8):  # until the driver has prepared what is sent
            await asyncio.gather(*(call(tasks) for _ in range(3)))
        for table in ("tasks", "idempotency_keys"):
            for column in ("user_id", "title"):
                execute(database_url, f'alter table {table} alter column {column} type varchar(300) collate "C"')
        await asyncio.gather(*(call(tasks) for _ in range(3)))


async def test_a_commit_has_twice_the_deadline_for_all_its_statements_together(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresTaskStore(engine, deadline=1.0)
    tasks = store.tasks_of(ANN)
    await add(tasks, task := make_task())

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(PostgresOwnedTasks, "_commit_one_task", never)
        with pytest.raises(StoreUnavailable):
            await edit(tasks, task.id, lambda task: task.toggled(at=LATER))
    assert await tasks.get(task.id) == task
    await store.aclose()
