"""Connections to PostgreSQL: how a URL becomes a pool that survives poolers, restarts and idle nights."""

import logging
import os
import select
import sys
from functools import partial
from time import monotonic
from typing import Any, Final

from psycopg import AsyncConnection, Error, ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from todo_adapters.postgres.addresses import Addresses
from todo_adapters.postgres.sharding import SHARDED
from todo_adapters.postgres.url import without_foreign_parameters

_log: Final = logging.getLogger(__name__)

# What a URL may override (libpq's own names): nobody should wait for minutes on a network that swallows packets.
_UNLESS_GIVEN: Final = {"tcp_user_timeout": 10_000, "fallback_application_name": "todo-api"}
_CONNECT_TIMEOUT: Final = "5"  # unless the URL or PGCONNECT_TIMEOUT says otherwise


def connection_arguments(url: str) -> dict[str, Any]:
    """What psycopg's `connect` takes, from a `postgresql://` URL as libpq documents it (§34.1.1.2).

    What the URL leaves open is taken from libpq's environment variables (§34.15), as `psql` does.

    Parameters for other clients are left out, with a warning. Raises `ValueError`, which does not quote the URL, where
    libpq cannot read it.
    """
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("a database URL must begin with postgresql://")
    readable, dropped = without_foreign_parameters(url)
    if dropped:
        _log.warning("left out of the database URL, for other clients: %s", ", ".join(dropped))
    try:
        given = conninfo_to_dict(readable)
    except ProgrammingError:
        raise ValueError("the database URL is not one that PostgreSQL can read") from None
    timeout = os.environ.get("PGCONNECT_TIMEOUT", _CONNECT_TIMEOUT)
    return {**_UNLESS_GIVEN, "connect_timeout": timeout, **given, "client_encoding": "utf8", "autocommit": True}


def create_engine(
    url: str, *, pool_size: int = 10, pool_timeout: float = 5.0, ping_after: float = 10.0, sharded: bool = False
) -> AsyncEngine:
    """An engine of at most `pool_size` connections, opened as they are needed, each statement its own transaction.

    A call waits `pool_timeout` seconds for a free connection; making one, all addresses of the host get their turn in
    half of that. One that sat idle for `ping_after` seconds, or on which
    something has come meanwhile, such as its end, is tried before it is used, and replaced with all its contemporaries
    if it is dead. `sharded`: every statement of an owner is to name that one alone. Raises `ValueError` for a URL that
    is none.
    """
    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=partial(_connect, Addresses(connection_arguments(url), timeout=pool_timeout), sharded),
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        use_native_hstore=False,
        hide_parameters=True,  # in messages: they are what users wrote
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout,
        pool_use_lifo=True,
        execution_options={SHARDED: True} if sharded else {},
    )
    _ping_what_sat_idle(engine, ping_after)
    return engine


async def _connect(addresses: Addresses, sharded: bool) -> AsyncConnection[Any]:
    connection = await addresses.connect()
    await _prepare_nothing_behind_a_pooler(connection, "auto" if sharded else "force_generic_plan")
    return connection


# On the way: moments are to come in UTC, whatever the database is set to. Where the session is this client's alone,
# statements see the newest of what they have locked, and plans are made once, for any values. Where tables are sharded,
# the owner makes the plan: Citus refuses to execute one that was made without.
_ASK: Final = """
    select pg_backend_pid(), set_config('TimeZone', 'UTC', false), pg_backend_pid() = %(pid)s and
        set_config('default_transaction_isolation', 'read committed', false) is not null and
        set_config('plan_cache_mode', %(plans)s, false) is not null
"""


async def _prepare_nothing_behind_a_pooler(connection: AsyncConnection[Any], plans: str) -> None:
    """Turn prepared statements off where consecutive statements may meet different servers.

    There, psycopg's statement names belong to whichever client used that server before: not found, or, worse, another
    statement. A pooler in between invents the process id that the protocol announces, and so gives itself away.
    """
    try:
        values = {"pid": connection.info.backend_pid, "plans": plans}
        cursor = await connection.execute(_ASK, values, prepare=False)
        if await cursor.fetchone() != (connection.info.backend_pid, "UTC", True):
            connection.prepare_threshold = None
    except BaseException:
        await connection.close()
        raise


def _ping_what_sat_idle(engine: AsyncEngine, seconds: float) -> None:
    # SQLAlchemy's own pre-ping asks at every checkout: a round trip more for every statement.
    @event.listens_for(engine.sync_engine, "checkin")
    def remember(_: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        entry.info["idle_since"] = monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def ping(connection: DBAPIConnection, entry: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
        try:
            idle = monotonic() - entry.info.get("idle_since", monotonic())
            if idle >= seconds or has_unread_data(entry.driver_connection):
                engine.dialect.do_ping(connection)
        except Error as problem:
            raise InvalidatePoolError from problem


def has_unread_data(connection: Any) -> bool:
    """Whether the driver's connection has something to read that nobody asked for: a look, and no round trip.

    A server that ends a connection says so at once, mostly: a write that is sent on it nevertheless would have to be
    given up, since nobody could tell whether it was carried out.
    """
    descriptor = connection.pgconn.socket
    if sys.platform == "win32":
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
