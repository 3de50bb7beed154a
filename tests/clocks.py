"""Clocks for tests, and waiting until a condition is true."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime


class FrozenClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


class Seconds:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeLoop(asyncio.SelectorEventLoop):
    """A loop whose clock moves only when a test moves it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def settle(self) -> None:
        """Run whatever can run without time passing."""
        self.call_soon(self.stop)
        self.run_forever()
        while self._ready:  # type: ignore[attr-defined]
            self.call_soon(self.stop)
            self.run_forever()

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at each timer on the way."""
        end = self.now + seconds
        self.settle()
        while (due := self._next_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            self.settle()
        self.now = end
        self.settle()

    def _next_timer(self) -> float | None:
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0].cancelled():
            heapq.heappop(timers)._scheduled = False  # type: ignore[attr-defined]
        return timers[0].when() if timers else None


async def until(condition: Callable[[], bool]) -> None:
    """Return when it has come true; five seconds are too long."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (nobody could set an event)
            await asyncio.sleep(0.001)
