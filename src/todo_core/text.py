"""How texts are compared where case and composition do not count."""

from unicodedata import normalize


def folded(text: str) -> str:
    """The text without its differences of case and of composition: equal for all spellings that a search finds alike.

    Full case folding (Unicode §3.13) between two NFKC normalizations (UAX #15): the first so that no spelling folds
    otherwise than another, the second since folding decomposes. Folding it again changes nothing.
    """
    return normalize("NFKC", normalize("NFKC", text).casefold())
