"""Standard input, output and error, which may be closed, full, or not read."""

import os
import select
import sys
from contextlib import suppress
from typing import Final, TextIO

_CHUNK: Final = 64 * 1024  # bytes of one read or write
_SAY_TIMEOUT: Final = 2.0  # seconds


class StreamError(Exception):
    """Standard input or output cannot be used. The message is one line."""


def open_missing() -> None:
    """Open /dev/null for each of the descriptors 0 to 2 that is closed: another file would get the number, and the log.

    Standard output is opened for reading only, so that writing to it fails.
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
    """Write lines to standard output. Raises `StreamError` if that fails."""
    try:
        print(f"{text}\n", end="", flush=True)  # noqa: T201 (in one piece, where output is not buffered either)
    except OSError as error:
        _to_nowhere(1)  # otherwise the interpreter tries again at its exit, and reports an error
        raise _unwritable(error) from error


def read_some() -> bytes:
    """What is next on standard input, which may be non-blocking; empty at its end. Raises `StreamError`."""
    while True:
        try:
            return os.read(0, _CHUNK)
        except BlockingIOError:
            select.select([0], [], [])
        except OSError as error:
            raise StreamError(f"standard input cannot be read: {error.strerror}") from error


def write_all(descriptor: int, data: bytes) -> None:
    """Write to a duplicate of standard output, which may be non-blocking. Raises `StreamError`."""
    while data:
        try:
            data = data[os.write(descriptor, data[:_CHUNK]) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except OSError as error:
            raise _unwritable(error) from error


def say(text: str) -> None:
    """Write lines to standard error, in one piece; drop them if nobody reads it, since no end may wait for a reader."""
    with suppress(OSError):  # there is no other place to report it
        if _takes_more(sys.stderr):
            print(f"{text}\n", end="", file=sys.stderr, flush=True)  # noqa: T201


def forget_unwritten() -> None:
    """Drop what could not be written to standard error: the interpreter would try again, and exit with 120."""
    try:
        sys.stderr.flush()
    except OSError:
        _to_nowhere(2)


def _takes_more(stream: TextIO) -> bool:
    """Whether a write to it, of the size that a pipe takes in one piece, would not block; waits a little for that."""
    try:
        descriptor = stream.fileno()
    except OSError:  # not a file of the system
        return True
    return bool(select.select([], [descriptor], [], _SAY_TIMEOUT)[1])


def _unwritable(error: OSError) -> StreamError:
    return StreamError(f"standard output cannot be written: {error.strerror}")


def _to_nowhere(descriptor: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
