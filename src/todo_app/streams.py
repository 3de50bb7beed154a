"""Standard input, output and error as they may be found: missing, full, or read by nobody."""

import sys
from contextlib import suppress


def say(text: str) -> None:
    """Write lines to standard error, in one piece."""
    with suppress(OSError):  # nobody is left who could be told
        print(text, file=sys.stderr, flush=True)  # noqa: T201
