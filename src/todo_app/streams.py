"""Standard input, output and error as they may be found: missing, full, or read by nobody."""

import os
import sys
from contextlib import suppress


def open_missing() -> None:
    """Fill descriptors 0 to 2 where they are closed: the next file would get the number, and with it the log's lines.

    A missing standard output takes nothing, so that whoever writes there learns of it.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, flags)  # the lowest free number, which is this one
            os.set_inheritable(opened, True)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def show(text: str) -> None:
    """Write lines to standard output. Raises `OSError` if that takes nothing."""
    try:
        print(text, flush=True)  # noqa: T201
    except OSError:
        _to_nowhere(1)  # or the interpreter tries it again as it ends, and complains
        raise


def say(text: str) -> None:
    """Write lines to standard error, in one piece."""
    with suppress(OSError):  # nobody is left to report it to
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def forget_unwritten() -> None:
    """Drop what standard error has not taken: the interpreter would try it again as it ends, and exit with 120."""
    try:
        sys.stderr.flush()
    except OSError:
        _to_nowhere(2)


def _to_nowhere(descriptor: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
