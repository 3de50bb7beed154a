"""Keeps an issuer's keys at hand: fetched in time, one fetch at once, never more often than the cooldown allows."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from todo_adapters.jwt_identity.jwks import Key, KeySet, key_set

NO_KEYS: Final = KeySet()

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often keys are fetched and how long they last, in seconds; `JwtPolicy` says what each is for."""

    fresh_for: float
    stale_for: float
    cooldown: float


class KeySource:
    """The keys that an issuer serves, as `fetch` gets them.

    Known keys answer at once, whatever the issuer does: only a token with an unknown key waits for a fetch, and any
    number of those wait for the same one. A failed fetch leaves the keys as they were, until they are too old.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        pace: Pace,
        *,
        on_failure: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_failure` is called once per failed fetch; `monotonic` counts seconds and never goes back."""
        self._fetch = fetch
        self._pace = pace
        self._on_failure = on_failure
        self._monotonic = monotonic
        self._keys = NO_KEYS
        self._fetched_at = self._tried_at = -math.inf
        self._fetching: asyncio.Task[None] | None = None

    def current(self) -> KeySet:
        """The keys to trust now, the same object while they do not change. Starts a fetch if they are not fresh."""
        age = self._monotonic() - self._fetched_at
        if age >= self._pace.fresh_for:
            self._start_fetch()
        return self._keys if age < self._pace.stale_for else NO_KEYS

    async def find(self, alg: str, kid: str | None) -> tuple[Key | None, KeySet]:
        """The key that fits a token, and the set that it is in; fetches the keys anew, if it may, for one unknown."""
        keys = self.current()
        key = keys.find(alg, kid)
        if key is None and (fetching := self._start_fetch()) is not None:
            # Not `await fetching`: a caller who gives up must not take the fetch away from the others.
            await asyncio.wait([fetching])
            keys = self.current()
            key = keys.find(alg, kid)
        return key, keys

    async def aclose(self) -> None:
        """End a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _start_fetch(self) -> asyncio.Task[None] | None:
        """The fetch under way, started now if the cooldown is over; None if it is not."""
        now = self._monotonic()
        if self._fetching is None and now - self._tried_at >= self._pace.cooldown:
            self._tried_at = now
            self._fetching = asyncio.create_task(self._renew())
        return self._fetching

    async def _renew(self) -> None:
        try:
            keys = key_set(await self._fetch())
        except Exception as error:  # whatever goes wrong, the keys that are known go on serving
            _log.warning("The issuer's keys could not be fetched: %s", error)
            self._on_failure()
        else:
            self._fetched_at = self._monotonic()
            self._keys = self._keys if keys == self._keys else keys
        finally:
            self._fetching = None
