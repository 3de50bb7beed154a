"""How often a key may act in a while: counted in this process, or for several replicas in Valkey or Redis."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, time
from typing import Final, NamedTuple, Protocol

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.errors import StorageError
from redis.asyncio import BlockingConnectionPool

STORE_TIMEOUT: Final = 0.25  # seconds: longer than any answer of a healthy store, short enough to be waited for
STORE_COOLDOWN: Final = 1.0  # seconds without another attempt, an outage costs one wait a second, not one each
_CONNECTIONS: Final = 8
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
        return _verdict(window.count, self.amount, window.ends - now)

    async def aclose(self) -> None:
        """As `RateLimiter.aclose`: there is nothing to close."""

    def peek(self, key: str) -> Verdict:
        """Whether the next `hit` would pass, and how many would from now on; counts nothing."""
        now = self._now()
        window = self._windows.get(key)
        if window is None or now >= window.ends:
            return Verdict(allowed=True, remaining=self.amount, reset_after=self.window)
        return _verdict(window.count, self.amount, window.ends - now)._replace(allowed=window.count < self.amount)

    def _open(self, now: float) -> _Window:
        if now >= self._sweep_at:
            self._windows = {key: window for key, window in self._windows.items() if now < window.ends}
            self._sweep_at = now + _SWEEP_EVERY
        return _Window(ends=now + self.window, count=0)


class SharedRateLimiter:
    """Counts in Valkey or Redis, for all processes that use it. While that is away, everything passes.

    `on_failure` is called for every act that had to be let through uncounted.
    """

    def __init__(self, limit: str, url: str, *, on_failure: Callable[[], None] = lambda: None) -> None:
        self._item: RateLimitItem = parse(limit)
        self.amount = self._item.amount
        self.window = self._item.get_expiry()
        # Valkey speaks Redis's protocol: one client library serves both.
        url = url.replace("valkey", "redis", 1)
        self._connections = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=STORE_TIMEOUT,
            socket_timeout=STORE_TIMEOUT,
            socket_connect_timeout=STORE_TIMEOUT,
        )
        self._storage = RedisStorage(
            f"async+{url}",
            wrap_exceptions=True,
            implementation="redispy",
            connection_pool=self._connections,  # type: ignore[arg-type]  # documented, but not annotated
        )
        self._on_failure = on_failure
        self._away_until = 0.0
        self._ends: dict[str, float] = {}  # what the store said; a window's end never changes

    async def hit(self, key: str) -> Verdict:
        """As `RateLimiter.hit`."""
        if monotonic() >= self._away_until:
            try:
                async with asyncio.timeout(STORE_TIMEOUT):
                    return await self._ask(self._item.key_for(key))
            except (StorageError, TimeoutError):
                self._away_until = monotonic() + STORE_COOLDOWN
        self._on_failure()
        return Verdict(allowed=True, remaining=self.amount, reset_after=self.window)

    async def aclose(self) -> None:
        """As `RateLimiter.aclose`."""
        await self._connections.aclose()

    async def _ask(self, key: str) -> Verdict:
        count = await self._storage.incr(key, self.window)
        now = time()
        if count == 1:
            self._forget_the_ended(now)
            self._ends[key] = now + self.window
        elif self._ends.get(key, 0.0) <= now:
            self._ends[key] = await self._storage.get_expiry(key)
        return _verdict(count, self.amount, min(self.window, self._ends[key] - now))

    def _forget_the_ended(self, now: float) -> None:
        if len(self._ends) > 10_000:
            self._ends = {key: ends for key, ends in self._ends.items() if ends > now}


def _verdict(count: int, amount: int, seconds: float) -> Verdict:
    return Verdict(count <= amount, max(0, amount - count), max(1, math.ceil(seconds)))
