"""Limits how many callers run at a time; a waiting caller holds no connection."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from time import monotonic
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from todo_core import StoreUnavailable

Turn: TypeAlias = AbstractAsyncContextManager[None]
AT_ONCE: Final[Turn] = nullcontext()
"""A turn that nobody waits for."""
_NOTED_MAX: Final = 1000  # owners
_HALF_LIFE: Final = 2.0  # seconds
_LATELY: Final = 10.0  # seconds
_TICK: Final = 0.01  # seconds, by which the loop's clock may be early
_HEAVY: Final = 4  # times as much as another


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


@asynccontextmanager
async def both(first: Turn, second: Turn) -> AsyncIterator[None]:
    """Wait for the first turn, and with it for the second."""
    async with first, second:
        yield


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


class FairTurns:
    """At most `max_concurrent` turns at a time, of which some owners have a part.

    So other owners need not wait for the end of long turns, or share the database's processors with many of them:

    - Heavy owners have one place, or a quarter of them. An owner is heavy if it has lately used more than `light`
      seconds, and more than four times as much as another recent owner: where all turns take long, as with a distant or
      busy database, nobody is.
      One that has waited for half of the timeout takes any free place, except the last of three or more.
    - New owners, of whom nothing is known from the last seconds, have half of four or more, so that the long turns of
      several do not begin together. One that has waited for `light` seconds, or half of the timeout, takes any free
      place.

    Waiting callers are served by their time of arrival plus the seconds that their owner has lately used.
    """

    def __init__(self, max_concurrent: int, *, timeout: float, light: float) -> None:
        """`timeout`: as for `Turns`."""
        self._free = max_concurrent
        self._free_for = {
            "heavy": max(1, max_concurrent // 4),
            "new": max_concurrent if max_concurrent < 4 else max_concurrent // 2,
            "other": max_concurrent,
        }
        self._kept_free = 1 if max_concurrent > 2 else 0  # from heavy owners beyond their part
        self._timeout = timeout
        self._light = light
        self._patience = {"heavy": timeout / 2, "new": min(light, timeout / 2), "other": 0.0}  # seconds
        self._waiting: list[tuple[str, float, asyncio.Future[str]]] = []  # since when; whose place it gets
        self._used: dict[str, tuple[float, float]] = {}  # seconds used, and when that was so; the latest is last

    @asynccontextmanager
    async def of(self, owner: str) -> AsyncIterator[None]:
        """Wait for a turn of that owner. Raises `StoreUnavailable`."""
        place = await self._place(owner)
        began = monotonic()
        try:
            yield
        finally:
            self._note(owner, monotonic() - began)
            self._give_back(place)

    async def _place(self, owner: str) -> str:
        turn: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        waiting = owner, monotonic(), turn
        self._waiting.append(waiting)
        self._pass_on()
        if turn.done():
            return turn.result()
        call_later = asyncio.get_running_loop().call_later
        late = [call_later(seconds + _TICK, self._pass_on) for seconds in self._patience.values() if seconds]
        try:
            async with asyncio.timeout(self._timeout):
                return await turn
        except BaseException as problem:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            else:  # it got a place in the same moment
                self._give_back(turn.result())
            if isinstance(problem, TimeoutError):
                raise StoreUnavailable from problem
            raise
        finally:
            for each in late:
                each.cancel()

    def _give_back(self, place: str) -> None:
        self._free += 1
        self._free_for[place] += 1
        self._pass_on()

    def _pass_on(self) -> None:
        if not (self._free and self._waiting):
            return
        now = monotonic()
        bound = max(self._light, _HEAVY * min(map(self._used_by, self._used), default=0.0))
        for waiting in sorted(self._waiting, key=lambda each: each[1] + self._used_by(each[0])):
            owner, since, turn = waiting
            if not self._free:
                return
            place = "heavy" if self._used_by(owner) > bound else "other" if self._is_known(owner, now) else "new"
            late = now - since >= self._patience[place]
            if late and not self._free_for[place] and (place == "new" or self._free > self._kept_free):
                place = "other"
            if not turn.done() and self._free_for[place]:  # done: cancelled just now
                self._free -= 1
                self._free_for[place] -= 1
                self._waiting.remove(waiting)
                turn.set_result(place)

    def _is_known(self, owner: str, now: float) -> bool:
        return owner in self._used and self._used[owner][1] > now - _LATELY

    def _used_by(self, owner: str) -> float:
        """Seconds that the owner has used lately: what is `_HALF_LIFE` seconds old counts half."""
        used, at = self._used.get(owner, (0.0, 0.0))
        return used * 0.5 ** ((monotonic() - at) / _HALF_LIFE) if used else 0.0

    def _note(self, owner: str, took: float) -> None:
        now, used = monotonic(), self._used_by(owner) + took
        self._used.pop(owner, None)
        self._used[owner] = used, now
        while (oldest := next(iter(self._used))) != owner:
            if len(self._used) <= _NOTED_MAX and self._is_known(oldest, now):
                return
            del self._used[oldest]
