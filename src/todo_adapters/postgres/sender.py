"""The one way to the database: shared statements, a deadline, and the database's failures in the core's words."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias, TypeVar
from weakref import WeakValueDictionary

import psycopg
from psycopg import IsolationLevel
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from todo_adapters.postgres.batch import Batch, driver_of, execute
from todo_adapters.postgres.coalescer import Coalescer
from todo_adapters.postgres.connections import Connections
from todo_adapters.postgres.failures import lost_a_race, lost_its_connection, unavailable_where_it_passes
from todo_adapters.postgres.sharding import SHARDED
from todo_adapters.postgres.turns import Turns

A = TypeVar("A")
C = TypeVar("C")
_RACES: Final = 5
_CANCELLING: Final = 0.5  # seconds that the database has for cancelling a statement
MAX_CALLS: Final = 64  # in one statement: more would make the first of them wait for the last
MAX_WEIGHT: Final = 1000  # of a statement's calls: as much as a thousand rows cost, about 10 ms
MAX_CONCURRENT: Final = 1  # statements of one kind: fewer are fuller
# Connections must remain for shared statements: a search may take long, a transaction may wait for a lock.
MAX_ALONE: Final = 4
MAX_TRANSACTIONS: Final = 2
MAX_WAITING: Final = 2
MAX_SIDE_BY_SIDE: Final = 4  # where no two owners share a statement
_ALONE_SHARE: Final = 4  # what is not shared has this part of the deadline: those in line behind it have the rest


class Held(Exception):
    """Somebody else holds the owner's row."""


Transaction: TypeAlias = Callable[[AsyncConnection, bool], Awaitable[A]]
"""Statements that are stored together; whether they may wait for the owner's row."""


class Sender:
    """Sends calls: those of one kind that wait for each other share a statement.

    Where the engine's tables are sharded, only those of one owner do; statements of several owners travel side by side.
    """

    def __init__(self, engine: AsyncEngine, deadline: float) -> None:
        self._connections = Connections(engine)
        self.deadline = deadline
        self.sharded = SHARDED in engine.get_execution_options()
        # Owners come and go: of those who have something in there.
        self._coalescers: MutableMapping[object, Coalescer[Any, Any]] = WeakValueDictionary() if self.sharded else {}
        self._side_by_side = Turns(MAX_SIDE_BY_SIDE, timeout=deadline)
        self._owners = Turns(1, timeout=deadline / 2)
        self._alone = Turns(MAX_ALONE, timeout=deadline / 2)
        self._transactions = Turns(MAX_TRANSACTIONS, timeout=deadline)
        self._waiting = Turns(MAX_WAITING, timeout=deadline)
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._unshared: set[asyncio.Task[Any]] = set()
        # Of those who have something in there; a coalescer lives as long as it has something to send.
        self._behind_owners: WeakValueDictionary[tuple[Batch[Any, Any], str], Coalescer[Any, Any]] = (
            WeakValueDictionary()
        )
        self._owners_writing = Turns(1, timeout=deadline)

    @contextmanager
    def call(self) -> Iterator[None]:
        """While a call is under way that may send several things: `drain` waits for its end."""
        self._calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    def read(self, batch: Batch[C, A], call: C, *, owner: str = "", weight: int = 1) -> Awaitable[A]:
        """The answer to this call, which changes nothing: it is repeated where its connection was lost.

        Owners take turns in statements. `weight` is what the call costs, in rows that are read or looked for.
        Raises `StoreUnavailable`, at the latest when about twice the deadline has passed.
        """
        return self._coalescer(batch, owner, repeatable=True).call(call, owner=owner, weight=weight)

    async def read_alone(self, batch: Batch[C, A], call: C, *, owner: str) -> A:
        """As `read`, in a statement of its own: for one whose cost has no bound: its neighbours would bear it.

        Of each owner's, one is under way at a time in this process. The statement has a quarter of the deadline: where
        no more than eight owners ask for what takes longer, everybody else gets a turn.
        """

        async def work(connection: AsyncConnection) -> Sequence[A]:
            async with asyncio.timeout(self.deadline / _ALONE_SHARE):
                return await batch(connection, [call])

        async def in_turn() -> A:
            async with self._owners.at(owner), self._alone.at(None):
                return (await self._run(work, repeatable=True))[0]

        return await self._tracked(in_turn())

    def write(self, batch: Batch[C, A], call: C, *, owner: str = "", weight: int = 1) -> Awaitable[A]:
        """The answer to this call; as `read`, but never repeated where it may have been carried out."""
        return self._coalescer(batch, owner, repeatable=False).call(call, owner=owner, weight=weight)

    def write_once(self, batch: Batch[C, A], call: C, *, owner: str = "", weight: int = 1) -> Awaitable[A]:
        """The answer to this call, whose effect is the same however often it is sent: repeated as `read` is."""
        return self.read(batch, call, owner=owner, weight=weight)

    def write_waiting(
        self, batch: Batch[C, A], call: C, *, owner: str, weight: int = 1, repeatable: bool = False
    ) -> Awaitable[A]:
        """As `write`, for a statement that may wait for this owner's row: it is shared with this owner's calls only.

        `repeatable`: for every call of that kind, as `write_once`.
        """
        queue = self._behind_owners.get((batch, owner))
        if queue is None:

            async def send(calls: Sequence[C]) -> Sequence[A]:
                with unavailable_where_it_passes():
                    async with asyncio.timeout(self.deadline), self._owners_writing.at(owner), self._waiting.at(None):
                        return await self._run(lambda connection: batch(connection, calls), repeatable=repeatable)

            queue = self._behind_owners[batch, owner] = self._gathering(send)
        return queue.call(call, owner=owner, weight=weight)

    async def in_transaction(self, work: Transaction[A], *, owner: str, repeatable: bool = False) -> A:
        """What `work` returns, its statements stored together or not at all. It may be called several times.

        It is told whether it may wait for the owner's row. Where it may not, and raises `Held`, it has another turn,
        among the few that wait: each holds a connection meanwhile. Of each owner's, one is under way at a time.
        `repeatable`: its effect is the same however often it is sent.
        """

        async def in_turn(turns: Turns, *, waits: bool) -> A:
            async with turns.at(None):
                return await self._run(lambda connection: _transaction(connection, work, waits), repeatable=repeatable)

        async def in_turns() -> A:
            with unavailable_where_it_passes():
                async with asyncio.timeout(2 * self.deadline), self._owners_writing.at(owner):
                    try:
                        return await in_turn(self._transactions, waits=False)
                    except Held:
                        return await in_turn(self._waiting, waits=True)

        return await self._tracked(in_turns())

    async def drain(self) -> None:
        """Return when every call so far has its answer, and the pool its connections."""
        await self._idle.wait()
        for coalescer in [*self._coalescers.values(), *self._behind_owners.values()]:
            await coalescer.drain()
        while self._unshared:
            await asyncio.wait(self._unshared)
        await self._connections.aclose()

    async def _tracked(self, work: Coroutine[Any, Any, A]) -> A:
        task = asyncio.ensure_future(work)
        self._unshared.add(task)
        task.add_done_callback(self._unshared.discard)
        return await task

    def _coalescer(self, batch: Batch[C, A], owner: str, *, repeatable: bool) -> Coalescer[C, A]:
        key = (batch, owner) if self.sharded else batch
        coalescer = self._coalescers.get(key)
        if coalescer is None:

            async def send(calls: Sequence[C]) -> Sequence[A]:
                return await self._run(lambda connection: batch(connection, calls), repeatable=repeatable)

            async def send_in_turn(calls: Sequence[C]) -> Sequence[A]:
                with unavailable_where_it_passes():
                    async with asyncio.timeout(self.deadline), self._side_by_side.at(None):
                        return await send(calls)

            coalescer = self._coalescers[key] = self._gathering(send_in_turn if self.sharded else send)
        return coalescer

    def _gathering(self, send: Callable[[Sequence[C]], Awaitable[Sequence[A]]]) -> Coalescer[C, A]:
        return Coalescer(
            send,
            max_size=MAX_CALLS,
            max_weight=MAX_WEIGHT,
            max_concurrent=MAX_CONCURRENT,
            timeout=self.deadline,
        )

    async def _run(self, work: Callable[[AsyncConnection], Awaitable[A]], *, repeatable: bool) -> A:
        """What `work` returns, within the deadline. Repeated where it left nothing behind, or is `repeatable` anyway.

        The deadline is kept on this side, because a pooler refuses or forgets a `statement_timeout`; the driver then
        cancels the statement. Where the network swallows that too, it would wait for ten seconds: told a second time,
        it closes the connection at once.
        """
        with unavailable_where_it_passes():
            async with asyncio.timeout(self.deadline + _CANCELLING), asyncio.timeout(self.deadline):
                for _ in range(_RACES):
                    try:
                        return await self._connections.run(work)
                    except psycopg.Error as problem:
                        if not (lost_a_race(problem) or (repeatable and lost_its_connection(problem))):
                            raise
                return await self._connections.run(work)


async def _transaction(connection: AsyncConnection, work: Transaction[A], waits: bool) -> A:
    driver = driver_of(connection)
    # Said, since a database may be set to another default: a lock must be followed by the newest values.
    await driver.set_isolation_level(IsolationLevel.READ_COMMITTED)
    async with driver.transaction():
        return await work(connection, waits)


async def answer_many(connection: AsyncConnection, calls: Sequence[None]) -> Sequence[None]:
    """Nothing, from a database that can answer."""
    await execute(connection, "select 1", {})
    return calls
