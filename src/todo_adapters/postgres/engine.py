"""Makes a connection pool from a URL, one that works behind poolers and recovers from restarts and idle times."""

import asyncio
import logging
import re
import select
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Final, cast

import sqlalchemy
from psycopg import AsyncConnection, Error, OperationalError, ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError, InvalidRequestError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool
from sqlalchemy.util import greenlet_spawn

from todo_adapters.postgres.addresses import Addresses
from todo_adapters.postgres.driver import Connection
from todo_adapters.postgres.url import ENCODE, connect_timeout, without_foreign_parameters

_log: Final = logging.getLogger(__name__)

PING_AFTER: Final = 10.0
"""Seconds that a connection may be idle without being tested before its next use."""

# Defaults that a URL may override, by libpq's names. Without the first, a network that drops packets costs minutes.
_UNLESS_GIVEN: Final = {"tcp_user_timeout": 10_000, "fallback_application_name": "todo-api"}
_PORTS: Final = re.compile(r"[0-9, ]*")


def connection_arguments(url: str) -> dict[str, Any]:
    """The arguments of psycopg's `connect`, from a `postgresql://` URL as libpq documents it (§34.1.1.2).

    What the URL leaves open is taken from libpq's environment variables (§34.15), as `psql` does.

    Parameters for other clients are dropped, with a warning. Raises `ValueError`, which does not quote the URL, if
    libpq cannot read it, or would read a part of the password as the host or port; `BadVariable` for a bad
    `PGCONNECT_TIMEOUT`.
    """
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("a database URL must begin with postgresql://")
    readable, dropped = without_foreign_parameters(url)
    if dropped:
        _log.warning("left out of the database URL, for other clients: %s", ", ".join(dropped))
    try:
        given = conninfo_to_dict(readable)
    except ProgrammingError:
        raise ValueError(f"the database URL is not one that PostgreSQL can read; {ENCODE}") from None
    if not _PORTS.fullmatch(str(given.get("port") or "")):  # part of a password, perhaps: libpq would quote it
        raise ValueError(f"the port in the database URL is not a number; {ENCODE}")
    if "connect_timeout" not in given:
        given["connect_timeout"] = connect_timeout()
    return {**_UNLESS_GIVEN, **given, "client_encoding": "utf8", "autocommit": True}


def create_engine(url: str, *, pool_size: int = 10, pool_timeout: float = 5.0, sharded: bool = False) -> "Engine":
    """An engine with at most `pool_size` connections, opened as needed or by `open_ahead`, in autocommit mode.

    A call waits up to `pool_timeout` seconds for a free connection; when one is opened, all addresses of the host are
    tried within half of that. A connection that was idle for `PING_AFTER` seconds, or has unread data, is tested before
    use; if it is dead, all connections opened before that moment are replaced. `sharded`: each statement names one
    owner. Raises `ValueError` for an invalid URL.
    """
    addresses = Addresses(connection_arguments(url), timeout=pool_timeout)

    def connect() -> Any:
        return engine.dialect.loaded_dbapi.connect(async_creator_fn=lambda: _connect(addresses, sharded))

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg_async://",
        creator=connect,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        use_native_hstore=False,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout,
        pool_use_lifo=True,
    )
    _ping_what_sat_idle(engine)
    return Engine(engine, sharded=sharded)


class Engine:
    """Lends connections of the driver, from SQLAlchemy's pool. It belongs to one event loop.

    SQLAlchemy's `AsyncEngine` does the same, but importing it loads the ORM: 7 MiB of each server.
    """

    def __init__(self, sync_engine: sqlalchemy.Engine, *, sharded: bool) -> None:
        self.sync_engine = sync_engine
        """What has the pool, and its events."""
        self.sharded = sharded
        """Whether each statement must name exactly one owner."""

    @property
    def pool(self) -> QueuePool:
        """The pool; `dispose` replaces it."""
        return cast("QueuePool", self.sync_engine.pool)

    async def take(self) -> PoolProxiedConnection:
        """A connection from the pool, until `give_back`.

        Raises `psycopg.Error` if none can be made (or SQLAlchemy's `DBAPIError`, if the first one fails while it is
        asked for the database's version), and SQLAlchemy's `TimeoutError` if none becomes free.
        """
        try:
            return await greenlet_spawn(self.sync_engine.raw_connection)
        except InvalidRequestError as problem:
            raise OperationalError("two connections were lost as soon as they were made") from problem

    async def give_back(self, taken: PoolProxiedConnection, *, usable: bool = True) -> None:
        """Return it to the pool, or close it if it is in a transaction, lost or not `usable`.

        A cancellation does not stop it.
        """
        is_idle = driver_connection(taken).info.transaction_status == TransactionStatus.IDLE
        await _to_its_end(greenlet_spawn(taken.close if usable and is_idle else taken.invalidate))

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection[Any]]:
        """A connection, taken and given back. Raises as `take`."""
        taken = await self.take()
        try:
            yield driver_connection(taken)
        finally:
            await self.give_back(taken)

    async def open_ahead(self) -> None:
        """Open connections until half of them and one are open, so that later calls need not wait for new ones.

        Ends early if one cannot be made, or after the time that a call waits for one: the calls that need one are told
        why.
        """
        taken: list[PoolProxiedConnection] = []
        try:
            async with asyncio.timeout(self.pool.timeout()):
                while self.pool.checkedin() + self.pool.checkedout() <= self.pool.size() // 2:
                    taken.append(await self.take())
        except (Error, SQLAlchemyError, TimeoutError) as problem:
            _log.debug("not all connections were opened ahead: %s", type(problem).__name__)
        finally:
            await _to_its_end(self._give_all_back(taken))

    async def _give_all_back(self, taken: Iterable[PoolProxiedConnection]) -> None:
        for each in taken:
            await self.give_back(each)

    async def dispose(self) -> None:
        """Close all connections that are not taken."""
        await greenlet_spawn(self.sync_engine.dispose)


def driver_connection(taken: PoolProxiedConnection) -> AsyncConnection[Any]:
    """The driver's connection of one that was taken."""
    return cast("AsyncConnection[Any]", taken.driver_connection)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait until `work` has ended; a cancellation meanwhile is raised then."""
    task, cancelled = asyncio.create_task(work), list[asyncio.CancelledError]()
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = [error]
    task.result()
    if cancelled:
        raise cancelled.pop()


async def _connect(addresses: Addresses, sharded: bool) -> Connection:
    connection = await addresses.connect()
    connection.sharded = sharded
    await _prepare_nothing_behind_a_pooler(connection, _SHARDED if sharded else _WHOLE)
    return connection


# Times are returned in UTC, whatever the database's setting. If no pooler is in between, statements see the newest
# version of the rows that they lock, and plans are generic. With sharded tables the plan depends on the owner: Citus
# refuses to execute a generic one. A statement of several owners ends PostgreSQL 18.4 with a segmentation fault, if it
# chooses partitions while it runs and meets a row that has just changed: so it reads all partitions, if there are any.
_WHOLE: Final = {"plans": "force_generic_plan", "pruning": "off"}
_SHARDED: Final = {"plans": "auto", "pruning": "on"}
_ASK: Final = """
    select pg_backend_pid(), set_config('TimeZone', 'UTC', false), pg_backend_pid() = %(pid)s and
        set_config('default_transaction_isolation', 'read committed', false) is not null and
        set_config('plan_cache_mode', %(plans)s, false) is not null and
        set_config('enable_partition_pruning', %(pruning)s, false) is not null
"""


async def _prepare_nothing_behind_a_pooler(connection: AsyncConnection[Any], session: dict[str, str]) -> None:
    """Turn prepared statements off behind a pooler, which may send consecutive statements to different servers.

    There, psycopg's statement names could be unknown, or name another client's statement. A pooler is recognized by the
    process id that it announces, which differs from the server's.
    """
    try:
        values = {"pid": connection.info.backend_pid, **session}
        cursor = await connection.execute(_ASK, values, prepare=False)
        if await cursor.fetchone() != (connection.info.backend_pid, "UTC", True):
            connection.prepare_threshold = None
    except BaseException:
        await connection.close()
        raise


def _ping_what_sat_idle(engine: sqlalchemy.Engine) -> None:
    # SQLAlchemy's own pre-ping costs a round trip at every checkout.
    @event.listens_for(engine, "checkin")
    def remember(_: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        entry.info["idle_since"] = monotonic()

    @event.listens_for(engine, "checkout")
    def ping(connection: DBAPIConnection, entry: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
        try:
            idle = monotonic() - entry.info.get("idle_since", monotonic())
            if idle >= PING_AFTER or unread_data_of(entry.driver_connection)():
                engine.dialect.do_ping(connection)
        except Error as problem:
            raise InvalidatePoolError from problem


def unread_data_of(connection: Any) -> Callable[[], bool]:
    """A function that says whether the driver's connection has unread data. Needs no round trip.

    Between statements that is usually the server's message that it ends the connection. A write sent on such a
    connection would fail, and it would be unknown whether it was carried out.
    """
    arrived = select.poll()
    arrived.register(connection.pgconn.socket, select.POLLIN)
    return lambda: bool(arrived.poll(0))
