"""The folder of the server's Unix socket, by a path that clients can use whatever the folder is called."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from todo_adapters.embedded.errors import EmbeddedDatabaseError

PORT: Final = 5432
"""Names the socket's file; no network port is opened."""

SOCKET: Final = f".s.PGSQL.{PORT}"
"""The socket's file in its folder."""

_PATH_BYTES = 103  # of a socket: `sun_path` of macOS, which is four bytes shorter than that of Linux
_FOLDER_BYTES = _PATH_BYTES - len(f"/{SOCKET}")
_DESCRIPTORS = "/proc/self/fd"


def require_reachable(folder: Path) -> None:
    """Raise `EmbeddedDatabaseError` if `reachable` could not reach a socket in that folder."""
    if not (_works_by_its_name(folder) or Path(_DESCRIPTORS).exists()):
        raise EmbeddedDatabaseError(
            f"No client could reach a Unix socket in {folder}: without /proc the folder's path must have at most "
            f"{_FOLDER_BYTES} bytes, and neither comma nor colon. Name another folder with TODO_DATA_DIR."
        )


@contextmanager
def reachable(folder: Path) -> Iterator[str]:
    """A path of the folder for connecting to the socket in it, within the context.

    If a socket cannot have the folder's own path (too long, or with a comma or colon), it is the path of a descriptor
    (`proc_pid_fd(5)`), which works in this process and in those forked from it. Unlike a link in a temporary folder,
    no cleaner can remove it; unlike `/proc/<pid>/fd`, it needs no right over another process. Raises `OSError`.
    """
    if _works_by_its_name(folder):
        yield str(folder)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"{_DESCRIPTORS}/{descriptor}"
    finally:
        os.close(descriptor)


def remove_sockets(folder: Path) -> None:
    """Remove what a killed server left there. PostgreSQL would refuse to start if its pid were that of a process."""
    for name in (SOCKET, f"{SOCKET}.lock"):
        (folder / name).unlink(missing_ok=True)


def _works_by_its_name(folder: Path) -> bool:
    # In a URL's host, a comma is special to libpq, and a colon to SQLAlchemy.
    return len(os.fsencode(folder / SOCKET)) <= _PATH_BYTES and not set(str(folder)) & set(",:")
