"""Connections for statements: taken from the pool, and kept for the next statement if the pool can spare them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, TypeVar

from psycopg import AsyncConnection
from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy.pool import PoolProxiedConnection

from todo_adapters.postgres.engine import Engine, driver_connection, unread_data_of
from todo_adapters.postgres.failures import unavailable_where_it_passes

A = TypeVar("A")
Work: TypeAlias = Callable[[AsyncConnection[Any]], Awaitable[A]]
LINGER: Final = 1.0  # seconds that a connection is kept after a statement, for the next one


class _Held:
    """A connection that was taken from the pool."""

    __slots__ = ("connection", "has_unread_data", "since", "taken")

    def __init__(self, taken: PoolProxiedConnection) -> None:
        self.taken = taken
        self.connection = driver_connection(taken)
        self.has_unread_data = unread_data_of(self.connection)
        self.since = 0.0
        """When it was kept."""


class Connections:
    """Lends connections. A checkout from the pool costs more than a small statement (docs/performance.md).

    A connection is therefore kept for the next statement for `LINGER` seconds, as long as at least half of the pool
    remains free.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: list[_Held] = []  # a stack: the one used last is used next
        self._timer: asyncio.TimerHandle | None = None
        self._going_back: set[asyncio.Task[None]] = set()

    async def run(self, work: Work[A], *, leave: int = 0) -> A:
        """What `work` returns. If it raises, its connection is returned to the pool, or closed if it is not usable.

        One that only reads is not: a new one may lead to the primary, or to a database that takes writes again.
        `leave`: how many kept connections it leaves to others, for work that takes long.
        """
        held = await self._taken(leave)
        try:
            answer = await work(held.connection)
        except BaseException as problem:
            await self._engine.give_back(held.taken, usable=not isinstance(problem, ReadOnlySqlTransaction))
            raise
        if self._can_be_spared():
            self._keep(held)
        else:
            await self._engine.give_back(held.taken)
        return answer

    async def aclose(self) -> None:
        """Return all kept connections to the pool."""
        self._give_back(before=float("inf"))
        if self._going_back:
            await asyncio.wait(self._going_back)

    async def _taken(self, leave: int) -> _Held:
        while len(self._kept) > leave:
            held = self._kept.pop()
            if not held.has_unread_data():
                return held
            await self._engine.give_back(held.taken)  # the pool tests it before it is used again
        with unavailable_where_it_passes():  # which is not repeated, unlike a statement that lost its connection
            taken = await self._engine.take()
        return _Held(taken)

    def _can_be_spared(self) -> bool:
        pool = self._engine.pool
        return pool.checkedout() <= pool.size() // 2

    def _keep(self, held: _Held) -> None:
        loop = asyncio.get_running_loop()
        held.since = loop.time()
        self._kept.append(held)
        if self._timer is None:
            self._timer = loop.call_later(LINGER, self._give_back_unused)

    def _give_back_unused(self) -> None:
        loop = asyncio.get_running_loop()
        self._give_back(before=loop.time() - LINGER)
        if self._kept:
            self._timer = loop.call_at(self._kept[0].since + LINGER, self._give_back_unused)

    def _give_back(self, *, before: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._kept and self._kept[0].since <= before:
            going_back = asyncio.create_task(self._engine.give_back(self._kept.pop(0).taken))
            self._going_back.add(going_back)
            going_back.add_done_callback(self._going_back.discard)
