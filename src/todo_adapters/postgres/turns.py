"""Limits how many callers run at a time for each key. A waiting caller holds no connection."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from todo_core import StoreUnavailable


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
