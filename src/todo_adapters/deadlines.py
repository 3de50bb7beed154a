"""Time limits that cost little: those of one length share a timer of the event loop."""

import asyncio
from contextvars import Context
from itertools import takewhile
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary


class Deadlines:
    """Time limits of `seconds`, each for a block: `with deadlines.one():`.

    As `asyncio.timeout`: a block that takes longer is cancelled and raises `TimeoutError`, and any other cancellation
    stays one. With a timer of uvloop for each block, a creation would cost 7 to 10 % more (docs/performance.md).
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watches: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = WeakKeyDictionary()

    def one(self) -> "Deadline":
        """A time limit for one block: enter it with `with`, in a task."""
        loop = asyncio.get_running_loop()
        watch = self._watches.get(loop)
        if watch is None:
            watch = self._watches[loop] = _Watch(self._seconds)
        return Deadline(watch)


class Deadline:
    """The limit of one block. `expired`: the block was cancelled, because it took too long."""

    __slots__ = ("_cancelling", "_task", "_watch", "expired")

    def __init__(self, watch: "_Watch") -> None:
        self._watch = watch
        self._task: asyncio.Task[object] | None = None
        self.expired = False

    def __enter__(self) -> Self:
        self._task = task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit needs a task that it can cancel")
        self._cancelling = task.cancelling()
        self._watch.begin(self, task.get_loop())
        return self

    def expire(self) -> None:
        """Cancel the block, unless it has ended."""
        if self._task is not None:
            self.expired = True
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        task, self._task = self._task, None
        self._watch.end(self)
        if self.expired and task is not None and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class _Watch:
    """The limits in one event loop. All are equally long, so the first to begin is the first to expire."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expiries: dict[Deadline, float] = {}
        self._has_timer = False
        self._context = Context()  # else the timer would keep that of the task which happened to set it

    def begin(self, deadline: Deadline, loop: asyncio.AbstractEventLoop) -> None:
        self._expiries[deadline] = loop.time() + self._seconds
        if not self._has_timer:
            self._set_timer(loop)

    def end(self, deadline: Deadline) -> None:
        self._expiries.pop(deadline, None)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_at(next(iter(self._expiries.values())), self._expire, loop, context=self._context)
        self._has_timer = True

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._has_timer = False
        now = loop.time()
        for deadline in list(takewhile(lambda each: self._expiries[each] <= now, self._expiries)):
            del self._expiries[deadline]
            loop.call_soon(deadline.expire, context=self._context)  # if one raises, the others are still ended
        if self._expiries:
            self._set_timer(loop)
