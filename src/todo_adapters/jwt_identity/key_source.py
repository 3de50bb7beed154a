"""Caches an issuer's keys: refreshed in the background, one fetch at a time, with pauses in between."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from todo_adapters.jwt_identity.jwks import Key, KeySet, key_set
from todo_adapters.threads import in_thread
from todo_core import IdentityUnavailable

NO_KEYS: Final = KeySet()
FRESH_FOR: Final = 300.0  # seconds until known keys are fetched again, in the background
STALE_FOR: Final = 3600.0  # seconds for which known keys are used at most, if the issuer stays unavailable
COOLDOWN: Final = 10.0  # seconds between two fetches, after one that succeeded
EARLY_EVERY: Final = 60.0  # seconds between two fetches that do not wait for the cooldown
RETRY: Final = 2.0  # seconds between a failed fetch and the next one
QUIET_FOR: Final = 60.0  # seconds between two warnings of the same outage
MISSED: Final = 100
"""How many unknown `kid`s are remembered at most."""

_log = logging.getLogger(__name__)


class KeySource:
    """The keys that an issuer publishes, as `fetch` returns them.

    Known keys are returned without waiting. Only a token with an unknown key waits for a fetch, and all such tokens
    wait for the same one. A failed fetch leaves the keys as they were, until they are too old.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        on_failure: Callable[[], None] = lambda: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_failure` is called once per failed fetch, `on_change` once per fetch that changed the keys."""
        self._fetch = fetch
        self._on_failure = on_failure
        self._on_change = on_change
        self._keys = NO_KEYS
        self._fetched = NO_KEYS  # equal to `_keys`, but with the last fetch's reasons why others are unusable
        self._fetched_at = self._allowed_at = self._early_at = self._quiet_until = -math.inf
        self._missed: set[str | None] = set()  # the `kid`s that were unknown after a fetch
        self._answered = False  # whether the last fetch that has ended succeeded
        self._fetching: asyncio.Task[None] | None = None
        self._due: asyncio.TimerHandle | None = None

    def current(self) -> KeySet:
        """The present keys, the same object while they do not change. Starts a fetch if they are not fresh."""
        age = monotonic() - self._fetched_at
        if age >= FRESH_FOR:
            self._start_fetch()
        return self._keys if age < STALE_FOR else NO_KEYS

    async def find(self, alg: str, kid: str | None) -> tuple[Key | None, KeySet]:
        """The key that matches a token, and its key set. For an unknown key they are fetched, unless it is too soon.

        Raises `IdentityUnavailable` for an unknown key while the issuer does not answer. During the cooldown, an
        unknown key schedules a fetch for its end, but one that was not asked for before may cause an early fetch: the
        issuer may just have begun to sign with it. Without a key, the set is the one fetched last, with its reasons.
        """
        keys = self.current()
        key = keys.find(alg, kid)
        if key is None:
            if (fetching := self._start_fetch(early=kid not in self._missed)) is not None:
                # Not `await fetching`: a cancelled caller must not cancel the fetch that others wait for.
                await asyncio.wait([fetching])
            if not self._answered:
                raise IdentityUnavailable
            if fetching is None:
                self._fetch_when_allowed()
            keys = self.current()
            key = keys.find(alg, kid)
        if key is None:
            self._miss(kid)
            return None, self._fetched
        return key, keys

    def _miss(self, kid: str | None) -> None:
        if len(self._missed) >= MISSED:
            self._missed.clear()
        self._missed.add(kid)

    async def aclose(self) -> None:
        """End a fetch that is under way."""
        self._forget_timer()
        if self._fetching is not None:
            self._answered = False
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _start_fetch(self, *, early: bool = False) -> asyncio.Task[None] | None:
        """The fetch under way, started now unless it is too soon; None if it is."""
        now = monotonic()
        early = early and self._answered and self._early_at <= now < self._allowed_at
        if self._fetching is None and (early or now >= self._allowed_at):
            if early:
                self._early_at = now + EARLY_EVERY
            self._allowed_at = now + COOLDOWN
            self._forget_timer()
            self._fetching = asyncio.create_task(self._renew())
        return self._fetching

    def _fetch_when_allowed(self) -> None:
        if self._due is None:
            left = self._allowed_at - monotonic()
            self._due = asyncio.get_running_loop().call_later(left, self._fetch_now)

    def _fetch_now(self) -> None:
        self._allowed_at = monotonic()  # a timer may be early by its resolution
        self._start_fetch()

    def _forget_timer(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    async def _renew(self) -> None:
        try:
            keys = await in_thread(key_set, await self._fetch())  # up to 20 ms, for 64 KiB
        except Exception as error:  # after any error the known keys remain in use
            self._failed(error)
        else:
            self._answered = True
            self._fetched_at = monotonic()
            self._quiet_until = -math.inf
            self._fetched = keys
            if keys != self._keys:
                self._keys = keys
                self._on_change()
        finally:
            self._fetching = None

    def _failed(self, error: Exception) -> None:
        self._answered = False
        self._allowed_at = monotonic() + RETRY
        if monotonic() >= self._quiet_until:
            self._quiet_until = monotonic() + QUIET_FOR
            _log.warning("The issuer's keys could not be fetched: %s", error)
        self._on_failure()
