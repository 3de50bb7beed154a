"""Time limits that cost little: those of one length share a timer of the event loop."""

import asyncio
from itertools import takewhile
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary


class Deadlines:
    """Time limits of `seconds`, each for a block: `with deadlines.one():`.

    As `asyncio.timeout`: a block that takes longer is cancelled and raises `TimeoutError`, and any other cancellation
    stays one. A timer of uvloop for each block would cost several per cent of a write (docs/performance.md).
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watches: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = WeakKeyDictionary()

    def one(self) -> "Deadline":
        """A limit for the block of the current task that it is entered for."""
        loop = asyncio.get_running_loop()
        watch = self._watches.get(loop)
        if watch is None:
            watch = self._watches[loop] = _Watch(self._seconds)
        return Deadline(watch, loop)


class Deadline:
    """The limit of one block. `expired`: the block was cancelled, because it took too long."""

    __slots__ = ("_cancelling", "_loop", "_task", "_watch", "expired")

    def __init__(self, watch: "_Watch", loop: asyncio.AbstractEventLoop) -> None:
        self._watch, self._loop = watch, loop
        self.expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a time limit needs a task that it can cancel")
        self._task = task
        self._cancelling = task.cancelling()
        self._watch.begin(self, self._loop)
        return self

    def expire(self) -> None:
        """Cancel the block."""
        self.expired = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._watch.end(self)
        if self.expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class _Watch:
    """The limits in one event loop. All are equally long, so the first to begin is the first to expire."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expiries: dict[Deadline, float] = {}
        self._has_timer = False

    def begin(self, deadline: Deadline, loop: asyncio.AbstractEventLoop) -> None:
        self._expiries[deadline] = expiry = loop.time() + self._seconds
        if not self._has_timer:
            self._has_timer = True
            loop.call_at(expiry, self._look, loop)

    def end(self, deadline: Deadline) -> None:
        self._expiries.pop(deadline, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for deadline in list(takewhile(lambda each: self._expiries[each] <= now, self._expiries)):
            del self._expiries[deadline]
            deadline.expire()
        self._has_timer = bool(self._expiries)
        if self._has_timer:
            loop.call_at(next(iter(self._expiries.values())), self._look, loop)
