"""The one way to the database: shared statements, a deadline, and the database's failures in the core's words."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

import psycopg
from psycopg import IsolationLevel
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from todo_adapters.postgres.batch import Batch, driver_of
from todo_adapters.postgres.coalescer import Coalescer
from todo_adapters.postgres.connections import Connections
from todo_adapters.postgres.failures import lost_a_race, lost_its_connection, unavailable_where_it_passes

A = TypeVar("A")
C = TypeVar("C")
_RACES: Final = 5
_CANCELLING: Final = 0.5  # seconds that the database has for cancelling a statement
MOST_CALLS: Final = 64  # in one statement: more would make the first of them wait for the last
AT_ONCE: Final = 1  # statements of one kind: fewer are fuller
ALONE_AT_ONCE: Final = 4  # statements that are not shared: connections must remain for the others


class Sender:
    """Sends calls: those of one kind that wait for each other share a statement."""

    def __init__(self, engine: AsyncEngine, deadline: float) -> None:
        self._connections = Connections(engine)
        self._deadline = deadline
        self._coalescers: dict[Batch[Any, Any], Coalescer[Any, Any]] = {}
        self._alone: Coalescer[tuple[Batch[Any, Any], Any], Any] = Coalescer(
            self._send_alone, most=1, at_once=ALONE_AT_ONCE, patience=deadline / 2
        )
        # Of those who have something in there; a coalescer lives as long as it has something to send.
        self._queues: WeakValueDictionary[str, Coalescer[tuple[Batch[Any, Any], Any], Any]] = WeakValueDictionary()

    def read(self, batch: Batch[C, A], call: C) -> Awaitable[A]:
        """The answer to this call, which changes nothing: it is repeated where its connection was lost.

        Raises `StoreUnavailable`, at the latest when about twice the deadline has passed.
        """
        return self._coalescer(batch, harmless=True).call(call)

    def read_alone(self, batch: Batch[C, A], call: C, *, whose: str) -> Awaitable[A]:
        """As `read`, in a statement of its own: for one whose cost has no bound: its neighbours would bear it.

        Of each owner's, one is under way at a time: who asks for many waits for oneself, and the others do not.
        """
        queue = self._queues.get(whose)
        if queue is None:
            queue = self._queues[whose] = Coalescer(self._queue_up, most=1, at_once=1, patience=self._deadline / 2)
        return queue.call((batch, call))

    def write(self, batch: Batch[C, A], call: C) -> Awaitable[A]:
        """The answer to this call; as `read`, but never repeated where it may have been carried out."""
        return self._coalescer(batch, harmless=False).call(call)

    def write_once(self, batch: Batch[C, A], call: C) -> Awaitable[A]:
        """The answer to this call, whose effect is the same however often it is sent: repeated as `read` is."""
        return self.read(batch, call)

    async def in_transaction(self, work: Callable[[AsyncConnection], Awaitable[A]]) -> A:
        """What `work` returns, its statements stored together or not at all. It may be called several times."""

        async def transaction(connection: AsyncConnection) -> A:
            driver = driver_of(connection)
            # Said, since a database may be set to another default: a lock must be followed by the newest values.
            await driver.set_isolation_level(IsolationLevel.READ_COMMITTED)
            async with driver.transaction():
                return await work(connection)

        return await self._repeated(transaction, harmless=False)

    async def drain(self) -> None:
        """Return when every call so far has its answer, and the pool its connections."""
        for coalescer in [*self._coalescers.values(), *self._queues.values(), self._alone]:
            await coalescer.drain()
        await self._connections.aclose()

    async def _queue_up(self, calls: Sequence[tuple[Batch[Any, Any], Any]]) -> Sequence[Any]:
        return [await self._alone.call(call) for call in calls]

    async def _send_alone(self, calls: Sequence[tuple[Batch[Any, Any], Any]]) -> Sequence[Any]:
        [(batch, call)] = calls
        return await self._repeated(lambda connection: batch(connection, [call]), harmless=True)

    def _coalescer(self, batch: Batch[C, A], *, harmless: bool) -> Coalescer[C, A]:
        coalescer = self._coalescers.get(batch)
        if coalescer is None:

            async def send(calls: Sequence[C]) -> Sequence[A]:
                return await self._repeated(lambda connection: batch(connection, calls), harmless=harmless)

            coalescer = Coalescer(send, most=MOST_CALLS, at_once=AT_ONCE, patience=self._deadline)
            self._coalescers[batch] = coalescer
        return coalescer

    async def _repeated(self, work: Callable[[AsyncConnection], Awaitable[A]], *, harmless: bool) -> A:
        """What `work` returns, within the deadline. Repeated where it left nothing behind, or is `harmless` anyway.

        The deadline is kept on this side, because a pooler refuses or forgets a `statement_timeout`; the driver then
        cancels the statement. Where the network swallows that too, it would wait for ten seconds: told a second time,
        it closes the connection at once.
        """
        with unavailable_where_it_passes():
            async with asyncio.timeout(self._deadline + _CANCELLING), asyncio.timeout(self._deadline):
                for _ in range(_RACES):
                    try:
                        return await self._connections.run(work)
                    except psycopg.Error as problem:
                        if not (lost_a_race(problem) or (harmless and lost_its_connection(problem))):
                            raise
                return await self._connections.run(work)
