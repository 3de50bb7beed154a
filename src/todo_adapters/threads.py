"""Runs long work in a thread, so that the event loop goes on."""

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
_MANY: Final = 500  # rows or things; fewer are processed within some milliseconds
_SWITCH_INTERVAL: Final = 0.0002  # seconds


async def in_thread_if_many(size: int, work: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """What `work` returns. For many things it runs in a thread, so that it does not block the event loop."""
    if size < _MANY:
        return work(*arguments, **named)
    return await in_thread(work, *arguments, **named)


async def in_thread(work: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """What `work` returns in a thread that often gives way to the event loop."""
    return await asyncio.to_thread(_giving_way, partial(work, *arguments, **named))


def consumed(rows: list[T]) -> Iterator[T]:
    """The rows in order, each removed from the list: freeing thousands together would block the event loop."""
    rows.reverse()
    while len(rows) > _MANY:
        for _ in range(_MANY):
            yield rows.pop()
        examine_young()
    while rows:
        yield rows.pop()


def examine_young() -> None:
    """Examine for garbage what has been made since the last time: after each part of long work.

    Python does so by itself when it has made thousands of objects more than it has freed. Work that frees rows while it
    makes things from them would keep that number low, until one examination of a hundred thousand objects stops all
    threads for 15 ms.
    """
    gc.collect(0)


def let_go(things: list[Any]) -> None:
    """Free what only this list holds, if it is much in a thread, and return at once.

    Freeing thousands of things with their texts together would block the event loop. Whoever calls this must drop what
    else holds them before.
    """
    if len(things) >= _MANY:
        asyncio.get_running_loop().run_in_executor(None, partial(_giving_way, partial(_free, things)))


def _free(things: list[Any]) -> None:
    while things:
        things.pop()


def _giving_way(work: Callable[[], R]) -> R:
    with SHORT_TURNS:
        return work()


class _ShortTurns:
    """A context in which threads take turns of 0.2 ms, not of the usual 5.

    While a thread computes, the event loop waits for the end of such a turn whenever it has let go of the interpreter's
    lock. The interval holds for the whole process, and is as before when all such work has ended: if it always held,
    each request would cost more (docs/performance.md).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._usual = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(min(self._usual, _SWITCH_INTERVAL))
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                sys.setswitchinterval(self._usual)


SHORT_TURNS: Final = _ShortTurns()
"""While some thread is in it, threads take short turns."""
