"""Locks on files, which the kernel frees when the last process that holds them is gone, however it went."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_POLL_SECONDS = 0.005


class FileLock:
    """One opening of a lock file; processes that inherit the descriptor hold the lock together (`flock(2)`).

    Nothing here blocks: `take` and `share` answer whether the lock is now ours.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def fileno(self) -> int:
        """The descriptor, to be inherited by a process that shall hold the lock as long as it lives."""
        return self._descriptor

    def take(self) -> bool:
        """Hold the lock alone, if nobody else holds it."""
        return self._lock(fcntl.LOCK_EX)

    def share(self) -> bool:
        """Hold the lock with everybody else who shares it, if nobody holds it alone."""
        return self._lock(fcntl.LOCK_SH)

    def release(self) -> None:
        """Give the lock back at once, even where a forked process still has the descriptor."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the descriptor; processes that inherited it go on holding the lock."""
        os.close(self._descriptor)

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def wait_until(condition: Callable[[], bool], deadline: float) -> bool:
    """Whether `condition` came true before `time.monotonic()` reached `deadline`; it is asked at least once."""
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
