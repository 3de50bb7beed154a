"""A rate limiter that counts in Valkey or Redis, for all replicas together."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Final, TypeVar

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.errors import StorageError
from redis import RedisError
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError

from todo_adapters.rate_limit.addresses import try_all_addresses
from todo_adapters.rate_limit.limiter import SWEEP_EVERY, Verdict, verdict

STORE_COOLDOWN: Final = 1.0  # seconds between attempts: an outage delays one request per second, not each
_CONNECTIONS: Final = 8
_GUARD: Final = 10.0  # seconds: longer than our own timeout, which allows for a busy event loop (`_in_time`)

_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class _Hits:
    """Hits of one key that are sent to the store together, so that a flood costs it no more than a few requests."""

    count: int = 0
    sent: "asyncio.Task[tuple[int, float] | None]" = field(init=False)


class SharedRateLimiter:
    """Counts in Valkey or Redis, for all processes that use it. While that is unavailable, everything is allowed.

    `on_failure` is called for every hit that was allowed without being counted, because the store did not answer within
    `timeout` seconds, or failed less than `STORE_COOLDOWN` ago; with the cause, which quotes no key and no password.
    """

    def __init__(
        self,
        limit: str,
        url: str,
        *,
        timeout: float = 0.25,
        on_failure: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self._item: RateLimitItem = parse(limit)
        self.amount = self._item.amount
        self.window = self._item.get_expiry()
        self._connections, self._storage = _storage(url)
        self._timeout = timeout
        self._on_failure = on_failure
        self._turns = asyncio.Semaphore(_CONNECTIONS)  # fair, unlike the library's own queue
        self._gathering: dict[str, _Hits] = {}
        self._unavailable_until = 0.0
        self._cause: Exception = TimeoutError()
        self._ends: dict[str, float] = {}  # as the store reported them; a window's end does not change
        self._sweep_at = time() + SWEEP_EVERY

    async def hit(self, key: str) -> Verdict:
        """As `RateLimiter.hit`."""
        hits = self._gathering.get(key)
        if hits is None:
            hits = self._gathering[key] = _Hits()
            hits.sent = asyncio.create_task(self._send(key, hits))
        hits.count += 1
        place = hits.count
        # Not `await hits.sent`: a cancelled caller must not cancel the count that others wait for.
        await asyncio.wait([hits.sent])
        window = hits.sent.result()
        if window is None:
            self._on_failure(self._cause)
            return Verdict(allowed=True, remaining=self.amount, reset_after=self.window)
        before, seconds = window
        return verdict(before + place, self.amount, seconds)

    async def _send(self, key: str, hits: "_Hits") -> tuple[int, float] | None:
        """The count before these hits, and in how many seconds the window ends; None if the store is unavailable."""
        async with self._turns:  # without the timeout: or a caller who fills this queue would go uncounted
            del self._gathering[key]
            if monotonic() < self._unavailable_until:
                return None
            try:
                count, seconds = await self._in_time(self._ask(self._item.key_for(key), hits.count))
            except (StorageError, TimeoutError) as error:
                self._cause = _cause(error)
                self._unavailable_until = monotonic() + STORE_COOLDOWN
                await self._close_idle()  # probably dead too, and each would cost another cooldown
                return None
        return count - hits.count, seconds

    async def _in_time(self, asking: Coroutine[None, None, _Answer]) -> _Answer:
        """The answer, or `TimeoutError`. Waits twice: after the first wait, the loop reads answers that arrived while
        it was busy.
        """
        task = asyncio.create_task(asking)
        for _ in range(2):
            await asyncio.wait([task], timeout=self._timeout / 2)
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=self._timeout)
            raise TimeoutError
        return task.result()

    async def aclose(self) -> None:
        """As `RateLimiter.aclose`."""
        await self._connections.aclose()

    async def _close_idle(self) -> None:
        with suppress(RedisError, TimeoutError):  # a dead connection may not close in time
            async with asyncio.timeout(self._timeout):
                await self._connections.disconnect(inuse_connections=False)

    async def _ask(self, key: str, hits: int) -> tuple[int, float]:
        """Add these hits. The count, and the seconds until the window ends."""
        count = await self._storage.incr(key, self.window, hits)
        now = time()
        self._sweep(now)
        if count == hits:
            self._ends[key] = now + self.window
        elif self._ends.get(key, 0.0) <= now:
            self._ends[key] = await self._storage.get_expiry(key)
        return count, min(self.window, self._ends[key] - now)

    def _sweep(self, now: float) -> None:
        if now >= self._sweep_at:
            self._ends = {key: ends for key, ends in self._ends.items() if ends > now}
            self._sweep_at = now + SWEEP_EVERY


def _cause(error: StorageError | TimeoutError) -> Exception:
    own = error.storage_error if isinstance(error, StorageError) else error
    # What the server answers to a command may quote the key, which has a user's id.
    harmless = isinstance(own, RedisConnectionError | TimeoutError)
    return own.with_traceback(None) if harmless else RedisError(type(own).__name__)


def _storage(url: str) -> tuple[ConnectionPool, RedisStorage]:
    # Valkey uses Redis's protocol and client library.
    url = url.replace("valkey", "redis", 1)
    connections = ConnectionPool.from_url(
        url, max_connections=_CONNECTIONS, socket_timeout=_GUARD, socket_connect_timeout=_GUARD
    )
    try_all_addresses(connections)
    storage = RedisStorage(
        f"async+{url}",
        wrap_exceptions=True,
        implementation="redispy",
        connection_pool=connections,  # type: ignore[arg-type]  # documented, but not annotated
    )
    return connections, storage
