"""The fixtures that several files of tests of the storage share: connections to a test's database, and owners in it."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # and in the fixtures: the tests of the tools load nothing of the storage
    import psycopg

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
