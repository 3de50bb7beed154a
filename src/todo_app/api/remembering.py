"""Remembers what was made of short texts that many requests have in common."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Final, TypeVar

A = TypeVar("A")
SHORT: Final = 200  # bytes
REMEMBERED: Final = 128  # texts


def remembered_if_short(read: Callable[[bytes], A]) -> Callable[[bytes], A]:
    """`read`, which is not called again for a short text that came lately. What it returns must be immutable."""
    remembered = lru_cache(REMEMBERED)(read)

    @wraps(read)
    def reading(text: bytes) -> A:
        return remembered(text) if len(text) <= SHORT else read(text)

    return reading
