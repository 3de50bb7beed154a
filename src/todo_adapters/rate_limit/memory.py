"""A rate limiter that counts in this process alone."""

from dataclasses import dataclass
from time import monotonic

from limits import parse

from todo_adapters.rate_limit.limiter import SWEEP_EVERY, Verdict, verdict


@dataclass(slots=True)
class _Window:
    ends: float
    count: int


class MemoryRateLimiter:
    """Counts in this process alone: every worker process allows the full limit.

    Only the notation of limits is the library's: its own memory storage (5.8) scans all keys at every hit, which is too
    slow for a limit per user.
    """

    def __init__(self, limit: str) -> None:
        item = parse(limit)
        self.amount = item.amount
        self.window = item.get_expiry()
        self._windows: dict[str, _Window] = {}
        self._sweep_at = monotonic() + SWEEP_EVERY

    async def hit(self, key: str) -> Verdict:
        """As `RateLimiter.hit`."""
        now = monotonic()
        window = self._windows.get(key)
        if window is None or now >= window.ends:
            window = self._windows[key] = self._open(now)
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

    def _open(self, now: float) -> _Window:
        if now >= self._sweep_at:
            self._windows = {key: window for key, window in self._windows.items() if now < window.ends}
            self._sweep_at = now + SWEEP_EVERY
        return _Window(ends=now + self.window, count=0)
