"""How often a key may act in a while: counted in Valkey or Redis, for all replicas together."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, time
from typing import Final

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.errors import StorageError
from redis import RedisError
from redis.asyncio import BlockingConnectionPool

from todo_adapters.rate_limit.limiter import Verdict, verdict

STORE_COOLDOWN: Final = 1.0  # seconds without another attempt, an outage costs one wait a second, not one each
_CONNECTIONS: Final = 8


class SharedRateLimiter:
    """Counts in Valkey or Redis, for all processes that use it. While that is away, everything passes.

    `on_failure` is called for every act that had to be let through uncounted, because the store did not answer within
    `timeout` seconds, or had not a moment ago.
    """

    def __init__(
        self, limit: str, url: str, *, timeout: float = 0.25, on_failure: Callable[[], None] = lambda: None
    ) -> None:
        self._item: RateLimitItem = parse(limit)
        self.amount = self._item.amount
        self.window = self._item.get_expiry()
        # Valkey speaks Redis's protocol: one client library serves both.
        url = url.replace("valkey", "redis", 1)
        self._connections = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
        )
        self._storage = RedisStorage(
            f"async+{url}",
            wrap_exceptions=True,
            implementation="redispy",
            connection_pool=self._connections,  # type: ignore[arg-type]  # documented, but not annotated
        )
        self._timeout = timeout
        self._on_failure = on_failure
        self._away_until = 0.0
        self._ends: dict[str, float] = {}  # what the store said; a window's end never changes

    async def hit(self, key: str) -> Verdict:
        """As `RateLimiter.hit`."""
        if monotonic() >= self._away_until:
            try:
                async with asyncio.timeout(self._timeout):
                    return await self._ask(self._item.key_for(key))
            except (StorageError, TimeoutError):
                self._away_until = monotonic() + STORE_COOLDOWN
                await self._close_idle()  # they are most likely as dead, and each would cost another cooldown
        self._on_failure()
        return Verdict(allowed=True, remaining=self.amount, reset_after=self.window)

    async def aclose(self) -> None:
        """As `RateLimiter.aclose`."""
        await self._connections.aclose()

    async def _close_idle(self) -> None:
        with suppress(RedisError):  # a connection that does not even close in time
            await self._connections.disconnect(inuse_connections=False)

    async def _ask(self, key: str) -> Verdict:
        count = await self._storage.incr(key, self.window)
        now = time()
        if count == 1:
            self._forget_the_ended(now)
            self._ends[key] = now + self.window
        elif self._ends.get(key, 0.0) <= now:
            self._ends[key] = await self._storage.get_expiry(key)
        return verdict(count, self.amount, min(self.window, self._ends[key] - now))

    def _forget_the_ended(self, now: float) -> None:
        if len(self._ends) > 10_000:
            self._ends = {key: ends for key, ends in self._ends.items() if ends > now}
