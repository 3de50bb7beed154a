"""Comparison of texts without regard to case and Unicode composition."""

from unicodedata import normalize


def folded(text: str) -> str:
    """The text with case and composition normalized: equal for all spellings that a search treats as the same.

    Full case folding (Unicode §3.13) between two NFKC normalizations (UAX #15): the first so that all compositions fold
    alike, the second because folding decomposes. Idempotent.
    """
    return normalize("NFKC", normalize("NFKC", text).casefold())
