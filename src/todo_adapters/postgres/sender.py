"""Sends all statements: shared by several calls, within a deadline, with errors translated for the core."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias, TypeVar
from weakref import WeakValueDictionary

import psycopg
from psycopg import AsyncConnection, IsolationLevel

from todo_adapters.deadlines import Deadlines
from todo_adapters.postgres.batch import Batch
from todo_adapters.postgres.coalescer import Coalescer
from todo_adapters.postgres.connections import Connections, Work
from todo_adapters.postgres.engine import Engine
from todo_adapters.postgres.failures import lost_a_race, lost_its_connection, unavailable_where_it_passes
from todo_adapters.postgres.turns import AT_ONCE, FairTurns, Lately, Turn, Turns, both
from todo_core import StoreUnavailable

A = TypeVar("A")
C = TypeVar("C")
_RACES: Final = 5
_CANCELLING: Final = 0.5  # seconds that the database has to cancel a statement
MAX_CALLS: Final = 64  # in one statement, so that the first does not wait long for the last
MAX_WEIGHT: Final = 400  # of one statement: the cost of 400 rows, some milliseconds in which other users wait
APART: Final = 64  # the cost, in rows, of a read that lighter ones of its kind do not share a statement with
MAX_CONCURRENT: Final = 1  # statements of one kind, and as many of reads apart, so that more calls share one
# Low, so that connections remain for shared statements: a search may take long, a transaction may wait for a lock.
MAX_UNSHARED: Final = 4
MAX_TRANSACTIONS: Final = 2
MAX_WAITING: Final = 2
MAX_SIDE_BY_SIDE: Final = 4  # with sharded tables, where owners do not share statements
_UNSHARED_SHARE: Final = 4  # an unshared read gets this fraction of the deadline, so that others get a turn


class Unwritten(Exception):
    """Ends a transaction that has written nothing but, perhaps, the owner's row."""


class Held(Unwritten):
    """Another transaction holds the owner's row."""


Transaction: TypeAlias = Callable[[AsyncConnection[Any], bool], Awaitable[A]]
"""Statements of one transaction; the flag says whether they may wait for the owner's row."""


class Sender:
    """Sends calls; waiting calls of one kind share a statement.

    With sharded tables, only calls of one owner share a statement; statements of several owners run concurrently.
    """

    def __init__(
        self, engine: Engine, deadline: float, on_outage: Callable[[BaseException], None] = lambda _: None
    ) -> None:
        """`on_outage` is called with the cause of each statement's temporary failure."""
        self._on_outage = on_outage
        self._connections = Connections(engine)
        self.deadline = deadline
        self.limits = Deadlines(2 * deadline)
        """For a whole call."""
        self._statements = Deadlines(deadline)
        self._abandoned = Deadlines(deadline + _CANCELLING)
        self.sharded = engine.sharded
        # With sharded tables separate ones for each owner, as long as it has calls.
        self._coalescers: MutableMapping[object, Coalescer[Any, Any]] = WeakValueDictionary() if self.sharded else {}
        self._side_by_side = Turns(MAX_SIDE_BY_SIDE, timeout=deadline)
        self._owners = Turns(1, timeout=deadline / 2)
        self._unshared_reads = FairTurns(MAX_UNSHARED, timeout=deadline / 2, light=0.1)
        self._transactions = FairTurns(MAX_TRANSACTIONS, timeout=deadline, light=1.0)
        self._waiting = Turns(MAX_WAITING, timeout=deadline)
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._unshared: set[asyncio.Task[Any]] = set()
        self._behind_owners: MutableMapping[object, Coalescer[Any, Any]] = WeakValueDictionary()  # one per owner
        self.owners_writing = Turns(1, timeout=deadline)
        """For what writes to one owner's things in several statements, or waits."""
        self.overtaken = Lately(1.0)
        """Owners of whom a creation decided without a lock has lost a race: decide the next ones behind it."""

    def begin_call(self) -> None:
        """Mark a call that may send several statements as under way: `drain` waits for its `end_call`."""
        self._calls += 1
        self._idle.clear()

    def end_call(self) -> None:
        """Mark the call as ended."""
        self._calls -= 1
        if not self._calls:
            self._idle.set()

    def read(self, batch: Batch[C, A], call: C, *, owner: str = "", weight: int = 1) -> Awaitable[A]:
        """The answer to a call that changes nothing. It is repeated if its connection is lost.

        `weight` is the call's cost, in rows that are read or looked up; one above `APART` shares with none below.
        Raises `StoreUnavailable` after about twice the deadline at the latest.
        """
        return self._coalescer(batch, owner, repeatable=True, apart=weight > APART).call(
            call, owner=owner, weight=weight
        )

    async def read_unshared(self, batch: Batch[C, A], call: C, *, owner: str) -> A:
        """As `read`, in a statement of its own: for a call whose cost has no bound, which would delay others.

        Each owner has at most one under way in this process. The statement gets a quarter of the deadline. Heavy
        owners have a quarter of the places, and new ones half at first (`FairTurns`).
        """

        async def work(connection: AsyncConnection[Any]) -> Sequence[A]:
            async with asyncio.timeout(self.deadline / _UNSHARED_SHARE):
                return await batch(connection, [call])

        async def in_turn() -> A:
            async with self._owners.at(owner), self._unshared_reads.of(owner):
                return (await self._run(work, repeatable=True, leave=1))[0]

        return await self._tracked(in_turn())

    def write(
        self, batch: Batch[C, A], call: C, *, owner: str = "", weight: int = 1, repeatable: bool = False
    ) -> Awaitable[A]:
        """As `read`, for a call that writes: not repeated if it may have been carried out.

        `repeatable`: all calls of that kind are idempotent.
        """
        return self._coalescer(batch, owner, repeatable=repeatable).call(call, owner=owner, weight=weight)

    def write_waiting(
        self, batch: Batch[C, A], call: C, *, owner: str, weight: int, repeatable: bool = False
    ) -> Awaitable[A]:
        """As `write`, for a statement that may wait for this owner's row: only this owner's calls share it."""
        if (queue := self._behind_owners.get((batch, owner))) is None:

            async def send(calls: Sequence[C]) -> Sequence[A]:
                turn = both(self.owners_writing.at(owner), self._waiting.at(None))
                return await self._run(lambda connection: batch(connection, calls), repeatable=repeatable, turn=turn)

            queue = self._behind_owners[batch, owner] = self._gathering(send)
        return queue.call(call, owner=owner, weight=weight)

    async def in_transaction(self, work: Transaction[A], *, owner: str, repeatable: bool = False) -> A:
        """What `work` returns, run in one transaction. It may be called several times.

        First it must not wait for the owner's row; if it raises `Held`, it is called again and may wait, among the few
        that do, since each holds a connection. Each owner has at most one under way. `repeatable`: it is idempotent.
        """

        async def in_turn(turn: Turn, *, waits: bool) -> A:
            async with turn:
                return await self._run(lambda on: _transaction(on, work, waits), repeatable=repeatable, leave=1)

        async def in_turns() -> A:
            with unavailable_where_it_passes():
                async with asyncio.timeout(2 * self.deadline), self.owners_writing.at(owner):
                    try:
                        return await in_turn(self._transactions.of(owner), waits=False)
                    except Held:
                        return await in_turn(self._waiting.at(None), waits=True)

        return await self._tracked(in_turns())

    async def drain(self) -> None:
        """Return when all calls so far have been answered and all connections are back in the pool."""
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
        try:
            return await task
        finally:
            del task  # or its error would refer to this frame, and the frame to it

    def _coalescer(self, batch: Batch[C, A], owner: str, *, repeatable: bool, apart: bool = False) -> Coalescer[C, A]:
        key = (batch, owner if self.sharded else None, apart)
        if (coalescer := self._coalescers.get(key)) is None:

            async def send(calls: Sequence[C]) -> Sequence[A]:
                turn = self._side_by_side.at(None) if self.sharded else AT_ONCE
                return await self._run(lambda connection: batch(connection, calls), repeatable=repeatable, turn=turn)

            coalescer = self._coalescers[key] = self._gathering(send)
        return coalescer

    def _gathering(self, send: Callable[[Sequence[C]], Awaitable[Sequence[A]]]) -> Coalescer[C, A]:
        return Coalescer(
            send,
            max_size=MAX_CALLS,
            max_weight=MAX_WEIGHT,
            max_concurrent=MAX_CONCURRENT,
            timeout=self.deadline,
        )

    async def _run(self, work: Work[A], *, repeatable: bool, leave: int = 0, turn: Turn = AT_ONCE) -> A:
        """What `work` returns, in that turn, within the deadline. Repeated if it had no effect, or is `repeatable`.

        The client enforces the deadline: a pooler refuses or ignores `statement_timeout`. At the deadline the driver
        asks the server to cancel the statement; if the network drops that, a second cancellation ends the connection.
        The wait for the turn is part of it: a deadline of its own would be such a second cancellation.
        """
        try:
            with self._abandoned.one(), self._statements.one():
                async with turn:
                    for _ in range(_RACES):
                        try:
                            return await self._connections.run(work, leave=leave)
                        except psycopg.Error as problem:
                            if not (lost_a_race(problem) or (repeatable and lost_its_connection(problem))):
                                raise
                    return await self._connections.run(work, leave=leave)
        except Exception:
            with self._outages_reported():  # entered only now: it takes time
                raise

    @contextmanager
    def _outages_reported(self) -> Iterator[None]:
        try:
            with unavailable_where_it_passes(sharded=self.sharded):
                yield
        except StoreUnavailable as outage:
            if outage.__cause__ is not None:
                self._on_outage(outage.__cause__)
            raise


async def _transaction(connection: AsyncConnection[Any], work: Transaction[A], waits: bool) -> A:
    # A database may have another default; after a lock, the newest values must be read.
    await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
    ends: list[Unwritten] = []  # none in a variable, or it would refer to this frame, and the frame to it
    try:
        async with connection.transaction():
            try:
                return await work(connection, waits)
            except Unwritten as unwritten:
                ends.append(unwritten)
                # Committed, without a wait for disk or standby: a rollback makes the driver drop prepared statements.
                await connection.execute("set local synchronous_commit = off")
    except psycopg.Error:
        if not ends:
            raise
    raise ends.pop()
