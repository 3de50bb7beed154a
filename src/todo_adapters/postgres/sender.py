"""The one way to the database: a connection, a deadline, and the database's failures in the core's words."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from todo_adapters.postgres.failures import lost_a_race, unavailable_where_it_passes
from todo_adapters.postgres.statements import Batch

A = TypeVar("A")
C = TypeVar("C")
_RACES: Final = 5


class Sender:
    """Sends calls, each in a statement of its own for now: whoever wants to gather them does it in `one`."""

    def __init__(self, engine: AsyncEngine, deadline: float) -> None:
        self._engine = engine
        self._deadline = deadline

    async def one(self, batch: Batch[C, A], call: C) -> A:
        """The answer to this call. Raises `StoreUnavailable`, at the latest when the deadline has passed.

        The deadline is kept on this side, because a pooler refuses or forgets a `statement_timeout`; the driver then
        cancels the statement.
        """

        async def send(connection: AsyncConnection) -> A:
            [answer] = await batch(connection, [call])
            return answer

        return await self._repeated(send)

    async def in_transaction(self, work: Callable[[AsyncConnection], Awaitable[A]]) -> A:
        """What `work` returns, its statements stored together or not at all. It may be called several times."""

        async def transaction(connection: AsyncConnection) -> A:
            # Said, since a database may be set to another default: a lock must be followed by the newest values.
            await connection.execution_options(isolation_level="READ COMMITTED")
            async with connection.begin():
                return await work(connection)

        return await self._repeated(transaction)

    async def _repeated(self, work: Callable[[AsyncConnection], Awaitable[A]]) -> A:
        with unavailable_where_it_passes():
            async with asyncio.timeout(self._deadline):
                for _ in range(_RACES):
                    try:
                        return await self._once(work)
                    except DBAPIError as problem:
                        if not lost_a_race(problem):
                            raise
                return await self._once(work)

    async def _once(self, work: Callable[[AsyncConnection], Awaitable[A]]) -> A:
        async with self._engine.connect() as connection:
            return await work(connection)
