"""The rate limiter's port, and the verdict on a count."""

import math
from typing import Final, NamedTuple, Protocol

SWEEP_EVERY: Final = 60.0
"""Seconds between two removals of ended windows."""


class Verdict(NamedTuple):
    """Whether a hit is allowed, how many more would be, and the seconds until the window ends, rounded up."""

    allowed: bool
    remaining: int
    reset_after: int


class RateLimiter(Protocol):
    """A limit on the hits of each key, in fixed windows."""

    @property
    def amount(self) -> int:
        """How many hits are allowed in one window."""
        ...

    @property
    def window(self) -> int:
        """The window's length in seconds. A window begins with a key's first hit."""
        ...

    async def hit(self, key: str) -> Verdict:
        """Count one hit of `key`, and return whether it is allowed. Refused hits are counted as well."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


def verdict(count: int, amount: int, seconds: float) -> Verdict:
    """The verdict on a key's count in a window of `amount` hits that ends in `seconds`."""
    return Verdict(count <= amount, max(0, amount - count), max(1, math.ceil(seconds)))
