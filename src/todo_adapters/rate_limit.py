"""How often a key may act in a while: the port, and the count in this process."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, NamedTuple, Protocol

from limits import parse

_SWEEP_EVERY: Final = 60.0  # seconds


class Verdict(NamedTuple):
    """Whether this one passes, how many more would, and in how many seconds (rounded up) the count begins anew."""

    allowed: bool
    remaining: int
    reset_after: int


class RateLimiter(Protocol):
    """A limit on how often each key may act."""

    @property
    def amount(self) -> int:
        """How many may pass in one window."""
        ...

    @property
    def window(self) -> int:
        """The window's length in seconds. It begins with a key's first act (a fixed window for each key)."""
        ...

    async def hit(self, key: str) -> Verdict:
        """Count one act of `key`, and say whether it passes. Acts that do not pass are counted as well."""
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


@dataclass(slots=True)
class _Window:
    ends: float
    count: int


class MemoryRateLimiter:
    """Counts in this process alone: each worker process lets the whole limit pass.

    `limits` has a memory storage too. It looks through all of its keys at every hit (5.8), which a limit per user
    cannot afford, so the counting is ours and the notation is that library's.
    """

    def __init__(self, limit: str, *, now: Callable[[], float] = monotonic) -> None:
        item = parse(limit)
        self.amount = item.amount
        self.window = item.get_expiry()
        self._now = now
        self._windows: dict[str, _Window] = {}
        self._sweep_at = now() + _SWEEP_EVERY

    async def hit(self, key: str) -> Verdict:
        """As `RateLimiter.hit`."""
        now = self._now()
        window = self._windows.get(key)
        if window is None or now >= window.ends:
            window = self._windows[key] = self._open(now)
        window.count += 1
        return verdict(window.count, self.amount, window.ends - now)

    async def aclose(self) -> None:
        """As `RateLimiter.aclose`: there is nothing to close."""

    def peek(self, key: str) -> Verdict:
        """Whether the next `hit` would pass, and how many would from now on; counts nothing."""
        now = self._now()
        window = self._windows.get(key)
        if window is None or now >= window.ends:
            return Verdict(allowed=True, remaining=self.amount, reset_after=self.window)
        return verdict(window.count, self.amount, window.ends - now)._replace(allowed=window.count < self.amount)

    def _open(self, now: float) -> _Window:
        if now >= self._sweep_at:
            self._windows = {key: window for key, window in self._windows.items() if now < window.ends}
            self._sweep_at = now + _SWEEP_EVERY
        return _Window(ends=now + self.window, count=0)


def verdict(count: int, amount: int, seconds: float) -> Verdict:
    """What a key's count means in a window of `amount` that ends in `seconds`."""
    return Verdict(count <= amount, max(0, amount - count), max(1, math.ceil(seconds)))
