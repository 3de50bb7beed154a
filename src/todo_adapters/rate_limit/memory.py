"""A rate limiter that counts in this process alone."""

from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic
from typing import Final

from limits import parse

from todo_adapters.rate_limit.limiter import Verdict, verdict

KEYS_MAX: Final = 100_000
"""How many keys are counted at a time: they take 25 MiB."""

SWEPT: Final = 100
"""How many ended windows are removed at most when one begins."""


@dataclass(slots=True)
class _Window:
    ends: float
    count: int


class MemoryRateLimiter:
    """Counts in this process alone: every worker process allows the full limit.

    While `KEYS_MAX` keys have windows that have not ended, the hits of further keys are allowed without being counted:
    whoever has so many addresses may send more than anybody counts, and can neither end the count of others nor have
    them refused.

    Only the notation of limits is the library's: its own memory storage (5.8) scans all keys at every hit, which is too
    slow for a limit per user.
    """

    def __init__(self, limit: str) -> None:
        item = parse(limit)
        self.amount = item.amount
        self.window = item.get_expiry()
        self._windows: OrderedDict[str, _Window] = OrderedDict()  # in the order of their ends

    async def hit(self, key: str) -> Verdict:
        """As `RateLimiter.hit`."""
        now = monotonic()
        window = self._windows.get(key)
        if window is None or now >= window.ends:
            window = self._open(key, now)
        window.count += 1
        return verdict(window.count, self.amount, window.ends - now)

    async def aclose(self) -> None:
        """As `RateLimiter.aclose`: there is nothing to close."""

    def forget(self) -> None:
        """Reset every count."""
        self._windows.clear()

    def peek(self, key: str) -> Verdict:
        """The verdict that the next `hit` would have, without counting it."""
        now = monotonic()
        window = self._windows.get(key)
        if window is None or now >= window.ends:
            return Verdict(allowed=True, remaining=self.amount, reset_after=self.window)
        return verdict(window.count, self.amount, window.ends - now)._replace(allowed=window.count < self.amount)

    def _open(self, key: str, now: float) -> _Window:
        self._windows.pop(key, None)
        for _ in range(SWEPT):  # and not all: of many addresses that would take long
            if not self._windows or now < next(iter(self._windows.values())).ends:
                break
            self._windows.popitem(last=False)
        window = _Window(ends=now + self.window, count=0)
        if len(self._windows) < KEYS_MAX:
            self._windows[key] = window
        return window
