"""How often a key may act in a while: counted in this process alone."""

from collections.abc import Callable
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

    `limits` has a memory storage too. It looks through all of its keys at every hit (5.8), which a limit per user
    cannot afford, so the counting is ours and the notation is that library's.
    """

    def __init__(self, limit: str, *, now: Callable[[], float] = monotonic) -> None:
        item = parse(limit)
        self.amount = item.amount
        self.window = item.get_expiry()
        self._now = now
        self._windows: dict[str, _Window] = {}
        self._sweep_at = now() + SWEEP_EVERY

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

    def forget(self) -> None:
        """Begin every count anew."""
        self._windows.clear()

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
            self._sweep_at = now + SWEEP_EVERY
        return _Window(ends=now + self.window, count=0)
