"""How often a key may act in a while: the port, and what a count means."""

import math
from typing import Final, NamedTuple, Protocol

SWEEP_EVERY: Final = 60.0
"""Seconds between two looks through all windows for those that have ended: they must not pile up."""


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


def verdict(count: int, amount: int, seconds: float) -> Verdict:
    """What a key's count means in a window of `amount` that ends in `seconds`."""
    return Verdict(count <= amount, max(0, amount - count), max(1, math.ceil(seconds)))
