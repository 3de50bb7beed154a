"""Private folders and files: created for this user only, checked before they are trusted, and synced to disk."""

import errno
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from todo_adapters.embedded.errors import EmbeddedDatabaseError

_LEADS_NOWHERE: Final = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "does not exist",
    errno.ELOOP: "leads in a circle: delete it, or name another folder",
}


def make_private(folder: Path) -> None:
    """Make the folder, and missing ones above it, with mode 0700, or fewer rights if the umask is stricter.

    Raises `EmbeddedDatabaseError` for what is no folder, and for an existing one that another user could have written
    to.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        require_link_to_something(path)
        path.mkdir(mode=0o700, exist_ok=True)
    found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise EmbeddedDatabaseError(f"TODO_DATA_DIR: {folder} is not a folder: name a folder of its own.")
    # Without others' right to write, neither the system nor other programs could use their folders.
    is_shared = found.st_mode & stat.S_ISVTX or folder == Path("/")
    require_ours(folder, found, 0o022, "name a folder of its own" if is_shared else f"chmod go-w '{folder}'")


def require_link_to_something(path: Path) -> None:
    """Raise `EmbeddedDatabaseError` for a link whose target does not exist, as on a disk that is not mounted."""
    if not path.is_symlink():
        return
    try:
        path.stat()
    except OSError as error:
        if (why := _LEADS_NOWHERE.get(error.errno or 0)) is None:
            raise
        raise EmbeddedDatabaseError(f"TODO_DATA_DIR: {path} is a link to {path.readlink()}, which {why}.") from None


def read_private(path: Path) -> str:
    """The text of a file that no other user can read or write. Raises `EmbeddedDatabaseError` for any other file."""
    with open(path, encoding="ascii", opener=_without_waiting) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise EmbeddedDatabaseError(
                f"TODO_DATA_DIR: {path} is not a regular file: delete it to have a new one made."
            )
        require_ours(path, found, 0o077, f"chmod 600 '{path}', or delete it to have a new one made")
        return file.read()


def require_ours(path: Path, found: os.stat_result, forbidden: int, way_out: str) -> None:
    """Refuse a path that belongs to another user than us or root, or has one of these bits in its mode."""
    if found.st_uid not in (us := os.geteuid(), 0):
        raise EmbeddedDatabaseError(
            f"TODO_DATA_DIR: {path} belongs to {_name(found.st_uid)}, who could replace what is in it, and this "
            f"process runs as {_name(us)}: run as its owner, give it away with chown, or name another folder."
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & forbidden:
        able = "write" if mode & forbidden & 0o022 else "read"
        raise EmbeddedDatabaseError(
            f"TODO_DATA_DIR: {path} has the mode {mode:04o}, so others can {able} it: {way_out}."
        )


def sync(path: Path) -> None:
    """Write a file's content, or a folder's names, to disk, so that they survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; opening a named pipe would wait for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _name(uid: int) -> str:
    with suppress(KeyError):
        return f"the user {pwd.getpwuid(uid).pw_name}"
    return f"the uid {uid}"
