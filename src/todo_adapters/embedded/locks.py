"""File locks, which the kernel frees when the last process that holds them has ended, even if it was killed."""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

_POLL_SECONDS = 0.005


class FileLock:
    """One open descriptor of a lock file; processes that inherit it hold the lock together (`flock(2)`).

    Nothing blocks: `take` and `share` return whether the lock is now held.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def fileno(self) -> int:
        """The descriptor, for a child process that is to hold the lock as long as it lives."""
        return self._descriptor

    def take(self) -> bool:
        """Take the lock exclusively, if no other process holds it."""
        return self._lock(fcntl.LOCK_EX)

    def share(self) -> bool:
        """Take the lock shared, if no other process holds it exclusively."""
        return self._lock(fcntl.LOCK_SH)

    def release(self) -> None:
        """Release the lock now, even if a forked process still has the descriptor."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the descriptor; processes that inherited it still hold the lock."""
        os.close(self._descriptor)

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def wait_until(condition: Callable[[], bool], deadline: float) -> bool:
    """Whether `condition` became true before `time.monotonic()` reached `deadline`. It is called at least once."""
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
