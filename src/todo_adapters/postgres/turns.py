"""Who may go now: limits how many callers run at a time for each key; a waiting caller holds no connection."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager, nullcontext
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

from todo_core import StoreUnavailable

_NOTED_MAX: Final = 1000  # owners
_LONG_FOR: Final = 60.0  # seconds


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

    def discard(self, owner: str) -> None:
        """Forget that owner, if it was noted."""
        self._until.pop(owner, None)

    def __contains__(self, owner: str) -> bool:
        return self._until.get(owner, 0.0) > monotonic()


class TurnsOfOwners:
    """At most `max_concurrent` turns at a time, one of which is kept free of owners whose last turn took long.

    So nobody else waits for the end of a long turn, except for the first one of an owner.
    """

    def __init__(self, max_concurrent: int, *, timeout: float, long: float) -> None:
        """`timeout`: as for `Turns`. `long`: seconds."""
        self._all = Turns(max_concurrent, timeout=timeout)
        self._long_ones = Turns(max_concurrent - 1, timeout=timeout)
        self._long = long
        self._took_long = Lately(_LONG_FOR)

    @asynccontextmanager
    async def of(self, owner: str) -> AsyncIterator[None]:
        """Wait for a turn of that owner. Raises `StoreUnavailable`."""
        async with self._long_ones.at(None) if owner in self._took_long else nullcontext(), self._all.at(None):
            began = monotonic()
            try:
                yield
            finally:
                self._took_long.discard(owner)
                if monotonic() - began > self._long:
                    self._took_long.add(owner)
