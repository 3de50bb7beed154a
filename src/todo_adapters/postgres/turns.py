"""Who may go now: limits how many callers run at a time for each key; a waiting caller holds no connection."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

from todo_core import StoreUnavailable

_NOTED_MAX: Final = 1000  # owners
_LONG_TO_SHORT: Final = 4  # a turn is short below a quarter of the seconds that make one long


class Turns:
    """At most `max_concurrent` callers at a time for each key, in the order of arrival."""

    def __init__(self, max_concurrent: int, *, timeout: float) -> None:
        """`timeout`: seconds after which a waiting caller gets `StoreUnavailable`."""
        self._max_concurrent = max_concurrent
        self._timeout = timeout
        # Weak, so that only keys in use are kept.
        self._places: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def at(self, key: Hashable) -> AsyncIterator[None]:
        """Wait for a turn at that key. Raises `StoreUnavailable`."""
        places = self._places.get(key)
        if places is None:
            places = self._places[key] = asyncio.Semaphore(self._max_concurrent)
        if places.locked():
            try:
                async with asyncio.timeout(self._timeout):
                    await places.acquire()
            except TimeoutError as problem:
                raise StoreUnavailable from problem
        else:
            await places.acquire()  # without waiting
        try:
            yield
        finally:
            places.release()


class Lately:
    """Owners of whom something was noted in the last seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: dict[str, float] = {}

    def add(self, owner: str) -> None:
        """Note that owner."""
        if len(self._until) >= _NOTED_MAX:
            self._until.clear()
        self._until[owner] = monotonic() + self._seconds

    def __contains__(self, owner: str) -> bool:
        return self._until.get(owner, 0.0) > monotonic()


class TurnsOfOwners:
    """At most `max_concurrent` turns at a time, of which owners whose last two turns took long have one together.

    So others do not wait for the end of long turns, or share the database's processors with many of them. Of three
    places or more, one is kept for owners whose turns are known to be short.
    """

    def __init__(self, max_concurrent: int, *, timeout: float, long: float) -> None:
        """`timeout`: as for `Turns`. `long`: seconds."""
        self._all = Turns(max_concurrent, timeout=timeout)
        self._of_unknown = Turns(max(2, max_concurrent - 1), timeout=timeout)
        self._of_long = Turns(1, timeout=timeout)
        self._long = long
        self._long_in_a_row: dict[str, int] = {}  # of known owners, up to two

    @asynccontextmanager
    async def of(self, owner: str) -> AsyncIterator[None]:
        """Wait for a turn of that owner. Raises `StoreUnavailable`."""
        async with self._first(owner), self._all.at(None):
            began = monotonic()
            try:
                yield
            finally:
                self._note(owner, monotonic() - began)

    def _first(self, owner: str) -> AbstractAsyncContextManager[None]:
        match self._long_in_a_row.get(owner):
            case None:
                return self._of_unknown.at(None)
            case 2:
                return self._of_long.at(None)
            case _:
                return nullcontext()

    def _note(self, owner: str, took: float) -> None:
        before = self._long_in_a_row.get(owner)
        if before is None and len(self._long_in_a_row) >= _NOTED_MAX:
            self._long_in_a_row.clear()
        if took > self._long:
            self._long_in_a_row[owner] = min((before or 0) + 1, 2)
        elif before is None or took < self._long / _LONG_TO_SHORT:  # in between, only the others may have made it long
            self._long_in_a_row[owner] = 0
