"""Writes the log's lines in a thread of its own: logging never blocks, whatever happens to the descriptor."""

import os
import select
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Final

from todo_app.streams import say

MAX_BYTES: Final = 1024 * 1024  # of waiting lines; further ones are dropped, and counted
GATHER: Final = 0.05  # seconds that a line waits for others: a write per line costs more than making the line
FLUSH_TIMEOUT: Final = 2.0  # seconds
_IDLE: Final = 1.0  # seconds without a line, after which the thread ends; the next line starts another one
_PIPE_BUF: Final = 4096  # bytes that a pipe writes atomically, so that workers do not mix their lines
_RETRY: Final = (1.0, 60.0)  # seconds after the first failed write, and the maximum


class LineWriter:
    """Accepts lines without blocking and writes them in order; a failed write is repeated, at growing intervals."""

    def __init__(self, descriptor: int, on_drop: Callable[[], object] = lambda: None) -> None:
        self._descriptor = descriptor
        self._on_drop = on_drop
        self._begin()
        _WRITERS.add(self)

    def _begin(self) -> None:
        """Begin anew: a fork has neither the thread nor, for certain, a free lock; what waits is its parent's."""
        self._lines: list[bytes] = []
        self._size = 0  # of the lines that wait or are being written
        self._writes = False
        self._failure: str | None = None
        self._changed = threading.Condition()
        self._hurry = threading.Event()

    def write(self, line: bytes) -> None:
        """Accept a line, newline included."""
        with self._changed:
            if self._size + len(line) > MAX_BYTES:
                self._on_drop()
                return
            self._size += len(line)
            self._lines.append(line)
            if not self._writes:
                self._writes = True
                self._start()
            elif len(self._lines) == 1:
                self._changed.notify_all()

    def _start(self) -> None:
        """Start the thread with all signals blocked: one that it took would not wake the main thread, and be lost."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            threading.Thread(target=self._work, daemon=True).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def flush(self) -> None:
        """Wait up to `FLUSH_TIMEOUT` until all lines are written. Report on standard error if some are not."""
        self._hurry.set()
        with self._changed:
            self._changed.wait_for(lambda: self._size == 0 or self._failure is not None, FLUSH_TIMEOUT)
            left, reason = self._size, self._failure or "nobody reads it"
        self._hurry.clear()
        if left:
            say(f"todo: {left} bytes of the log could not be written to standard output: {reason}")

    def _work(self) -> None:
        while lines := self._gathered():
            for piece in _pieces(lines):
                self._write(piece)
                with self._changed:
                    self._size -= len(piece)
                    self._changed.notify_all()

    def _gathered(self) -> list[bytes]:
        """The lines to write next; empty if the thread is to end."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._lines, _IDLE):
                self._writes = False
                return []
        self._hurry.wait(GATHER)
        with self._changed:
            lines, self._lines = self._lines, []
        return lines

    def _write(self, data: bytes) -> None:
        pause, longest = _RETRY
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
                self._failure = None
            except BlockingIOError:  # another process made it non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                self._failed(error.strerror or type(error).__name__)
                time.sleep(pause)
                pause = min(2 * pause, longest)

    def _failed(self, reason: str) -> None:
        if self._failure is None:
            say(
                f"todo: the log cannot be written to standard output: {reason}; "
                "dropped lines are counted in todo_log_lines_dropped_total"
            )
        with self._changed:
            self._failure = reason
            self._changed.notify_all()


_WRITERS: Final = weakref.WeakSet[LineWriter]()


def _begin_anew() -> None:
    for writer in _WRITERS:
        writer._begin()


os.register_at_fork(after_in_child=_begin_anew)


def _pieces(lines: list[bytes]) -> Iterator[bytes]:
    """The lines joined to pieces of at most `_PIPE_BUF` bytes; a longer line is a piece of its own."""
    start = size = 0
    for place, line in enumerate(lines):
        if size and size + len(line) > _PIPE_BUF:
            yield b"".join(lines[start:place])
            start, size = place, 0
        size += len(line)
    yield b"".join(lines[start:])
