"""Comparison of texts without regard to case and Unicode composition."""

from functools import lru_cache
from typing import Final
from unicodedata import normalize

_SHORT: Final = 50  # characters: a tag, which is compared with others and stored, mostly with many tasks


def folded(text: str) -> str:
    """The text with case and composition normalized: equal for all spellings that a search treats as the same.

    Full case folding (Unicode §3.13) between two NFKC normalizations (UAX #15): the first so that all compositions fold
    alike, the second because folding decomposes. Idempotent.
    """
    return _short_folded(text) if len(text) <= _SHORT else _folded(text)


def _folded(text: str) -> str:
    return normalize("NFKC", normalize("NFKC", text).casefold())


_short_folded = lru_cache(256)(_folded)
