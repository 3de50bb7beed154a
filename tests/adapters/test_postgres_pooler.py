"""The store behind PgBouncer in transaction mode, where no two statements need to meet the same server connection."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from factories import ANN, LATER, make_task
from psycopg.conninfo import conninfo_to_dict

from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_adapters.postgres.migrations import is_current, migrate
from todo_core import Sort, TaskQuery, idempotency_key

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH')}:/usr/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")

CONFIGURATION = """
[databases]
pooled = host=127.0.0.1 port={port} user={user} password={password} dbname={dbname}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
"""
NOBODY = 65534  # PgBouncer refuses to run as root


@asynccontextmanager
async def on_tcp(socket_path: str) -> AsyncIterator[int]:
    """A port that leads to a Unix socket, which only this user can reach."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_unix_connection(socket_path)
        await asyncio.gather(forward(reader, outer), forward(inner, writer), return_exceptions=True)

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def pooled_url(empty_database_url: str, tmp_path: Path) -> AsyncIterator[str]:
    """A database behind a pooler that has two connections for everybody."""
    assert PGBOUNCER
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen_port = free.getsockname()[1]
    arguments = conninfo_to_dict(empty_database_url)
    account = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    async with on_tcp(f"{arguments['host']}/.s.PGSQL.{arguments.get('port', 5432)}") as port:
        (settings := tmp_path / "pgbouncer.ini").write_text(
            CONFIGURATION.format(**arguments | {"port": port, "listen_port": listen_port})
        )
        settings.chmod(0o644)
        with settings.open() as text:  # opened here, since its folder may be closed to others
            pooler = await asyncio.create_subprocess_exec(
                PGBOUNCER, "/dev/stdin", stdin=text, stderr=asyncio.subprocess.DEVNULL, cwd="/", **account
            )
        try:
            yield f"postgresql://ann@127.0.0.1:{listen_port}/pooled?connect_timeout=5"
        finally:
            pooler.kill()
            await pooler.wait()


async def reachable(url: str) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await asyncio.to_thread(lambda: psycopg.connect(url).close())
            except psycopg.OperationalError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_everything_works_behind_a_pooler_that_mixes_up_connections(pooled_url: str) -> None:
    await reachable(pooled_url)
    await asyncio.to_thread(migrate, pooled_url)
    assert await asyncio.to_thread(is_current, pooled_url)
    engine = create_engine(pooled_url, pool_size=8)
    tasks = (store := PostgresTaskStore(engine)).tasks_of(ANN)
    added = [make_task(title=f"Task {number}") for number in range(12)]
    await asyncio.gather(*map(tasks.add, added))
    for _ in range(3):
        await asyncio.gather(
            *(tasks.edit(added[0].id, lambda task: task.toggled(at=LATER)) for _ in range(15)),
            *(tasks.get(task.id) for task in added),
            *(tasks.page(TaskQuery(sort=sort, search="TASK")) for sort in Sort),
            store.ready(),
        )
    final = await tasks.get(added[0].id)
    assert (final.completed, final.version) == (True, 46)
    await asyncio.gather(*(tasks.remove(task.id, expected=task.version) for task in added[1:]))
    assert (await tasks.page(TaskQuery())).items == (final,)
    kept = [task for task in added if task != added[0]][:3]
    keys = [idempotency_key(f"{number % 3}") for number in range(12)]
    told = await asyncio.gather(*(tasks.add_once(key, kept[int(key)]) for key in keys))
    assert told == [kept[int(key)] for key in keys]
    await store.aclose()
    await engine.dispose()


async def test_nothing_is_prepared_behind_a_pooler(pooled_url: str) -> None:
    await reachable(pooled_url)
    engine = create_engine(pooled_url)
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, psycopg.AsyncConnection)
        assert driver.prepare_threshold is None
    await engine.dispose()
