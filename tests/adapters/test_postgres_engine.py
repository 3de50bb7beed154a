"""From a URL to connections: what libpq gets, what is never shown, and how dead connections are noticed."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any, cast

import psycopg
import pytest
from factories import ANN, make_task
from psycopg.pq import TransactionStatus
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_adapters.postgres.batch import execute
from todo_adapters.postgres.engine import Engine, connection_arguments, driver_connection
from todo_adapters.postgres.url import without_foreign_parameters
from todo_core import StoreUnavailable, TaskQuery
from todo_core.testing.writing import add


async def backend(engine: Engine) -> int:
    async with engine.connect() as connection:
        [(pid,)] = await execute(connection, "select pg_backend_pid()", {})
        return cast("int", pid)


def terminate_others(url: str) -> None:
    statement = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database()"
    with psycopg.connect(url) as connection:
        connection.execute(f"{statement} and pid <> pg_backend_pid()")


WAITING = "from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


async def waiting(url: str, statements: int) -> None:
    """Wait until so many statements wait for a lock."""
    async with asyncio.timeout(10), await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while True:
            cursor = await connection.execute(f"select count(*) {WAITING}")
            if await cursor.fetchone() == (statements,):
                return
            await asyncio.sleep(0.02)


def terminate_waiting(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(f"select pg_terminate_backend(pid) {WAITING}")


def test_a_url_as_neon_gives_it_is_passed_on_to_libpq() -> None:
    url = "postgresql://ann:s%40cret@ep-x-pooler.eu.neon.tech/db?sslmode=require&channel_binding=require"
    arguments = connection_arguments(url)
    assert arguments["password"] == "s@cret"
    assert (arguments["sslmode"], arguments["channel_binding"]) == ("require", "require")
    assert "options" not in arguments


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://ann@host:5433/db", {"host": "host", "port": "5433", "user": "ann", "dbname": "db"}),
        ("postgresql://ann@%2Frun%2Fpg%20data/db", {"host": "/run/pg data"}),
        ("postgresql:///db?host=/run/pg&port=5433", {"host": "/run/pg", "port": "5433"}),
        ("postgresql://a:1,b:2/db?target_session_attrs=read-write", {"host": "a,b", "port": "1,2"}),
        ("postgresql://host/db?connect_timeout=1&client_encoding=latin1", {"connect_timeout": "1"}),
        ("postgresql://host/db?application_name=mine", {"application_name": "mine"}),
    ],
)
def test_urls_are_read_as_libpq_documents_them(url: str, expected: dict[str, str]) -> None:
    arguments = connection_arguments(url)
    assert arguments | expected == arguments
    assert arguments["client_encoding"] == "utf8"


def test_the_environment_says_how_long_to_wait_for_a_connection_unless_the_url_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PGCONNECT_TIMEOUT", raising=False)
    assert connection_arguments("postgresql://host/db")["connect_timeout"] == "5"
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "8")
    assert connection_arguments("postgresql://host/db")["connect_timeout"] == "8"
    assert connection_arguments("postgresql://host/db?connect_timeout=3")["connect_timeout"] == "3"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://ann:secret@host/db",
        "host=secret",
        "postgresql://ann:secret@h/db?strange=secret",
        "postgresql://ann:secret@h/db?pgbouncer=true&strange=secret",
        "postgresql://ann:secret@h/db?schema=secret",
        "postgresql://ann:a/b?secret=1@h/db",
        "postgresql://ann:a/b?strange=1&secret@h/db",
        "postgresql://ann:x@h/db?%00secret=1",
        "postgresql://%zzsecret",
    ],
)
def test_an_invalid_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="database URL") as problem:
        create_engine(url)
    assert "secret" not in str(problem.value)
    assert problem.value.__suppress_context__ or problem.value.__context__ is None


@pytest.mark.parametrize(
    "password", ["a@secret", "a@b@secret", "a/secret", "1/secret", "a@b/secret", "a/b?c@secret", "%secret"]
)
def test_a_password_that_makes_the_url_ambiguous_is_refused_with_what_to_encode(password: str) -> None:
    with pytest.raises(
        ValueError, match=r"percent-encode @ / : % # \? in the user and password \(@ is %40\)"
    ) as problem:
        connection_arguments(f"postgresql://ann:{password}@127.0.0.1:1/db")
    assert "secret" not in str(problem.value)


@pytest.mark.parametrize(
    "url", ["postgresql://ann:secret/db", "postgresql://h/db?port=secret", "postgresql://a:1,b:secret/db"]
)
def test_a_port_that_is_no_number_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="port in the database URL is not a number") as problem:
        connection_arguments(url)
    assert "secret" not in str(problem.value)


@pytest.mark.parametrize("value", ["require", "1", "false", "prefer", "True", "", "secret"])
def test_another_ssl_than_true_is_refused_with_what_to_write(value: str) -> None:
    with pytest.raises(
        ValueError, match="parameter ssl with another value than true: write sslmode=require"
    ) as problem:
        connection_arguments(f"postgresql://ann:secret@h/db?application_name=x&ssl={value}")
    assert "secret" not in str(problem.value)


def test_an_ssl_that_is_part_of_a_password_is_answered_with_what_to_encode() -> None:
    with pytest.raises(ValueError, match="percent-encode"):
        connection_arguments("postgresql://ann:a/b?ssl=secret@h/db")


@pytest.mark.parametrize("password", ["a:b", "a?b", "a#b", "a&b=c", "a%40b"])
def test_other_characters_of_a_password_are_read_as_libpq_does(password: str) -> None:
    read = connection_arguments(f"postgresql://ann:{password}@h/db?user=bob@server")
    assert (read["host"], read["password"], read["user"]) == ("h", password.replace("%40", "@"), "bob@server")


@pytest.mark.parametrize(
    ("given", "read", "dropped"),
    [
        ("postgresql://h/db", "postgresql://h/db", ()),
        ("postgresql://h/db?", "postgresql://h/db", ()),
        ("postgresql://h/db?pgbouncer=true", "postgresql://h/db", ("pgbouncer",)),
        ("postgresql://h/db?schema=public&sslmode=require", "postgresql://h/db?sslmode=require", ("schema",)),
        (
            "postgres://p.ref:a%40b@aws-0.pooler.supabase.com:6543/postgres?sslmode=require&supa=base-pooler.x",
            "postgres://p.ref:a%40b@aws-0.pooler.supabase.com:6543/postgres?sslmode=require",
            ("supa",),
        ),
        (
            "postgresql://h/db?pgbouncer=true&connect_timeout=15&connection_limit=1&pool_timeout=0&ssl=true",
            "postgresql://h/db?connect_timeout=15&ssl=true",
            ("pgbouncer", "connection_limit", "pool_timeout"),
        ),
        ("postgresql://ann:?supa=1&@h/db?sup%61=2", "postgresql://ann:?supa=1&@h/db", ("supa",)),
        (
            "postgresql:///db?host=/run/pg&workaround=supabase-pooler.vercel",
            "postgresql:///db?host=/run/pg",
            ("workaround",),
        ),
    ],
)
def test_parameters_for_other_clients_are_left_out(
    given: str, read: str, dropped: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    assert without_foreign_parameters(given) == (read, dropped)
    assert connection_arguments(given) == connection_arguments(read)
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [", ".join(dropped)] * bool(
        dropped
    )


def test_a_parameter_that_nobody_knows_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match="does not know, sslaccept: remove it"):
        connection_arguments("postgresql://ann:x@h/db?pgbouncer=true&sslaccept=strict")
    with pytest.raises(ValueError, match="does not know, schema: name the schema with options="):
        connection_arguments("postgresql://ann:x@h/db?schema=mine")


@pytest.mark.parametrize("option", [option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()])
def test_every_option_of_libpqs_is_passed_on(option: str) -> None:
    assert without_foreign_parameters(f"postgresql://h/db?{option}=1") == (f"postgresql://h/db?{option}=1", ())


def test_an_engine_does_not_show_its_password() -> None:
    engine = create_engine("postgresql://ann:secret@host/db")
    assert "secret" not in f"{engine!r} {engine.sync_engine!r} {engine.sync_engine.url!r} {engine.pool!r}"


async def test_statements_speak_utf8_and_commit_by_themselves(engine: Engine) -> None:
    async with engine.connect() as connection:
        assert await (await connection.execute("show client_encoding")).fetchone() == ("UTF8",)
        await connection.execute("create table kept (n int)")
    async with engine.connect() as connection:
        assert await (await connection.execute("select count(*) from kept")).fetchone() == (0,)


@pytest.mark.parametrize("ping_after", [0, 1000])
async def test_connections_that_died_while_idle_are_replaced_silently(
    database_url: str, ping_after: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("todo_adapters.postgres.engine.PING_AFTER", ping_after)
    engine = create_engine(database_url)
    tasks = (store := PostgresTaskStore(engine)).tasks_of(ANN)
    await asyncio.gather(store.ready(), tasks.page(TaskQuery()), add(tasks, make_task()))  # several connections
    terminate_others(database_url)
    await add(tasks, make_task())
    await store.ready()
    await store.aclose()
    await engine.dispose()


async def test_a_connection_that_dies_in_use_fails_one_write_and_no_read(database_url: str) -> None:
    engine = create_engine(database_url)
    tasks = (store := PostgresTaskStore(engine)).tasks_of(ANN)
    with psycopg.connect(database_url) as other:
        other.execute("lock table tasks")
        reading = asyncio.ensure_future(tasks.page(TaskQuery()))
        writing = asyncio.ensure_future(add(tasks, make_task()))
        await waiting(database_url, 2)
        terminate_waiting(database_url)
        await asyncio.wait({writing}, timeout=5)
        with pytest.raises(StoreUnavailable):  # it may have been stored before the connection was lost
            writing.result()
    assert (await reading).items == ()
    await add(tasks, make_task())
    await store.aclose()
    await engine.dispose()


async def test_only_idle_connections_are_pinged(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pings = []

    def ping(dialect: DefaultDialect, connection: Any) -> bool:
        pings.append(connection)
        return original(dialect, connection)

    engine = create_engine(database_url)
    original = type(engine.sync_engine.dialect).do_ping
    monkeypatch.setattr(type(engine.sync_engine.dialect), "do_ping", ping)
    assert len({await backend(engine) for _ in range(3)}) == 1
    assert len(pings) == 0
    await engine.dispose()

    monkeypatch.setattr("todo_adapters.postgres.engine.PING_AFTER", 0)
    engine = create_engine(database_url)
    assert len({await backend(engine) for _ in range(3)}) == 1
    assert len(pings) == 2
    await engine.dispose()


async def test_connections_that_die_as_soon_as_they_are_made_count_as_an_outage(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*_: object) -> bool:
        raise psycopg.OperationalError("terminated")

    engine = create_engine(database_url)
    monkeypatch.setattr("todo_adapters.postgres.engine.PING_AFTER", -1)
    monkeypatch.setattr(type(engine.sync_engine.dialect), "do_ping", dead)
    with pytest.raises(psycopg.OperationalError, match="as soon as they were made"):
        await engine.take()
    with pytest.raises(StoreUnavailable):
        await PostgresTaskStore(engine).tasks_of(ANN).get(make_task().id)
    assert engine.pool.checkedout() == 0
    await engine.dispose()


async def test_a_connection_that_is_given_up_while_it_is_made_is_closed_immediately() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        while await reader.read(1024):
            pass
        ended.set()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        engine = create_engine(f"postgresql://ann@127.0.0.1:{port}/db?sslmode=disable")
        connecting = asyncio.create_task(engine.take())
        await begun.wait()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError) as given_up:
            await connecting
        await asyncio.wait_for(ended.wait(), 5)
        await engine.dispose()
    assert given_up.value  # it lives to the end: nothing has waited for its collection


@pytest.mark.parametrize(("size", "ahead"), [(1, 1), (2, 2), (3, 2), (10, 6)])
async def test_half_of_the_connections_and_one_are_opened_ahead(database_url: str, size: int, ahead: int) -> None:
    for in_use in range(size + 1):
        engine = create_engine(database_url, pool_size=size)
        begun = [await engine.take() for _ in range(in_use)]
        for _ in range(2):  # the second time they are open already
            async with asyncio.timeout(4):  # less than it would wait for one that is in use
                await engine.open_ahead()
            assert (engine.pool.checkedin(), engine.pool.checkedout()) == (max(0, ahead - in_use), in_use)
        for each in begun:
            await engine.give_back(each)
        assert (engine.pool.checkedin(), engine.pool.checkedout()) == (max(ahead, in_use), 0)
        await engine.dispose()


async def test_connections_that_are_opened_ahead_all_go_back_if_that_is_given_up_meanwhile(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = create_engine(database_url)
    give_back = engine.give_back

    async def given_up(taken: PoolProxiedConnection) -> None:
        opening.cancel()
        await give_back(taken)

    monkeypatch.setattr(engine, "give_back", given_up)
    opening = asyncio.create_task(engine.open_ahead())
    await asyncio.wait({opening})
    assert opening.cancelled()
    assert (engine.pool.checkedin(), engine.pool.checkedout()) == (6, 0)
    await engine.dispose()


async def test_a_database_that_does_not_answer_withholds_no_connection_for_long(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = create_engine(database_url, pool_timeout=0.2)
    async with engine.connect(), engine.connect():
        pass
    connecting = asyncio.Event()

    async def silent(connection: psycopg.AsyncConnection[Any], _: str) -> None:
        async with connection:
            connecting.set()
            await asyncio.Event().wait()

    monkeypatch.setattr("todo_adapters.postgres.engine._prepare_nothing_behind_a_pooler", silent)
    async with asyncio.timeout(4):
        await engine.open_ahead()
    assert connecting.is_set()
    assert (engine.pool.checkedin(), engine.pool.checkedout()) == (2, 0)
    await engine.dispose()


async def test_connections_that_cannot_be_opened_ahead_are_left_to_the_calls_that_need_them() -> None:
    engine = create_engine("postgresql://ann@127.0.0.1:1/db")
    await engine.open_ahead()
    assert (engine.pool.checkedin(), engine.pool.checkedout()) == (0, 0)
    with pytest.raises(psycopg.OperationalError):
        await engine.take()
    await engine.dispose()


async def test_nobody_waits_for_ever_for_a_free_connection(database_url: str) -> None:
    engine = create_engine(database_url, pool_size=1, pool_timeout=0.1)
    async with engine.connect():
        with pytest.raises(StoreUnavailable):
            await PostgresTaskStore(engine).ready()
    await PostgresTaskStore(engine).ready()
    await engine.dispose()


async def test_statements_are_prepared_on_a_direct_connection(engine: Engine) -> None:
    async with engine.connect() as connection:
        assert connection.prepare_threshold is not None


async def test_a_connection_that_cannot_be_made_is_not_tried_again_by_the_same_call() -> None:
    attempts: list[asyncio.StreamWriter] = []

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(writer)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        engine = create_engine(f"postgresql://ann@127.0.0.1:{port}/db?sslmode=disable&gssencmode=disable")
        with pytest.raises(StoreUnavailable) as unavailable:
            await PostgresTaskStore(engine).ready()
        await engine.dispose()
    assert len(attempts) == 1
    assert isinstance(unavailable.value.__cause__, psycopg.OperationalError)


async def test_a_connection_that_comes_back_in_a_transaction_is_closed(database_url: str) -> None:
    engine = create_engine(database_url, pool_size=1)
    async with engine.connect() as connection:
        await connection.execute("begin")
    assert connection.closed
    assert engine.pool.checkedout() == 0
    async with engine.connect() as another:
        assert another.info.transaction_status == TransactionStatus.IDLE
    await engine.dispose()


@pytest.mark.parametrize("statement", ["select 1", "begin"])
async def test_a_connection_goes_back_completely_even_if_its_caller_is_cancelled_meanwhile(
    database_url: str, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = create_engine(database_url, pool_size=1)
    closing, go_on = asyncio.Event(), asyncio.Event()

    async def slow(work: Callable[[], object]) -> object:
        closing.set()
        await go_on.wait()
        return await greenlet_spawn(work)

    taken = await engine.take()
    await driver_connection(taken).execute(statement)
    monkeypatch.setattr("todo_adapters.postgres.engine.greenlet_spawn", slow)
    giving = asyncio.create_task(engine.give_back(taken))
    await closing.wait()
    for _ in range(2):
        giving.cancel()
        await asyncio.sleep(0)
        assert not giving.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await giving
    monkeypatch.undo()
    assert engine.pool.checkedout() == 0
    async with engine.connect() as another:
        assert another.info.transaction_status == TransactionStatus.IDLE
    await engine.dispose()


def test_the_orm_is_not_loaded() -> None:
    program = """
import sys, todo_app.main, todo_adapters.postgres
print([name for name in sys.modules if name.startswith("sqlalchemy.orm")])
"""
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert loaded == "[]\n"
