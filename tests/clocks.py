"""Clocks for tests, and waiting for what comes about in its own time."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime


class FrozenClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


class Seconds:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def until(condition: Callable[[], bool]) -> None:
    """Return when it has come true; five seconds are too long."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (nobody could set an event)
            await asyncio.sleep(0.001)
