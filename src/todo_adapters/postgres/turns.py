"""Who may go now: limits how many callers run at a time for each key; a waiting caller holds no connection."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

from todo_core import StoreUnavailable

_OVERTAKEN_FOR: Final = 1.0  # seconds
_OVERTAKEN_MAX: Final = 1000  # owners


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


class Overtaken:
    """The owners whose things others were changing just now, so that to decide without a lock was in vain."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def add(self, owner: str) -> None:
        """Remember that owner for a second."""
        if len(self._until) >= _OVERTAKEN_MAX:
            self._until.clear()
        self._until[owner] = monotonic() + _OVERTAKEN_FOR

    def __contains__(self, owner: str) -> bool:
        return self._until.get(owner, 0.0) > monotonic()
