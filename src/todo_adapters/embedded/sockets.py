"""Chooses the folder of the server's Unix socket: beside the data, or a temporary folder with a short path."""

import os
import re
import socket
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from todo_adapters.embedded.account import Account
from todo_adapters.embedded.errors import EmbeddedDatabaseError
from todo_adapters.embedded.postmaster import SOCKET

_PREFIX = "todo-api-"
_NAME = re.compile(f"{_PREFIX}[a-z0-9_]+")  # no comma, at which libpq begins another host
_FILES = (SOCKET, f"{SOCKET}.lock")


def choose_socket_folder(beside_data: Path, account: Account) -> Path:
    """A folder in which a socket works for server and clients: `beside_data` if possible.

    No server may be using `beside_data`. Raises `EmbeddedDatabaseError` if there is no such folder.
    """
    if _holds_socket(beside_data):
        return beside_data
    for parent in _short_folders(account):
        with suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            if _holds_socket(folder):
                account.give(folder)
                return folder
            folder.rmdir()
    raise EmbeddedDatabaseError(
        f"No Unix socket fits into {beside_data} or a temporary folder (a path may have about 100 bytes): "
        "name a shorter folder with TODO_DATA_DIR."
    )


def may_be_chosen(folder: Path, account: Account) -> bool:
    """Whether `choose_socket_folder` may have made that temporary folder.

    Our own rights need no such limit, and our temporary folder may have been another one then.
    """
    is_ours = _NAME.fullmatch(folder.name) and str(folder.parent) in _short_folders(account)
    return bool(is_ours) or not account.dropped


def remove_temporary(folder: Path, account: Account) -> None:
    """Remove a temporary socket folder of `choose_socket_folder`; one beside the data stays.

    The account may have written the path, so only a folder that it owns is removed, and only from where we make them.
    """
    if not (folder.name.startswith(_PREFIX) and may_be_chosen(folder, account)):
        return
    with suppress(OSError), ExitStack() as closing:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        closing.callback(os.close, descriptor)
        if os.fstat(descriptor).st_uid == account.uid:
            for name in _FILES:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=descriptor)
            folder.rmdir()


def _short_folders(account: Account) -> list[str]:
    # An unprivileged account cannot enter root's own runtime and temporary folders.
    if account.dropped:
        return ["/run", "/tmp"]  # noqa: S108 (mkdtemp makes a folder of its own there)
    return [os.environ.get("XDG_RUNTIME_DIR") or "/tmp", tempfile.gettempdir(), "/tmp"]  # noqa: S108


def _holds_socket(folder: Path) -> bool:
    """Whether a socket can be made there and named in a URL, found out by trying: length and file system matter."""
    # In a URL's host, a comma is special to libpq, and a colon to SQLAlchemy.
    if set(str(folder)) & set(",:"):
        return False
    _remove_socket(folder)
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.bind(str(folder / SOCKET))
        _remove_socket(folder)
        return True
    return False


def _remove_socket(folder: Path) -> None:
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)
