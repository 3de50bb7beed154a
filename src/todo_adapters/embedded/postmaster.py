"""Reads `postmaster.pid`, and checks whether the server that it names is running."""

import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from todo_adapters.embedded.account import Account
from todo_adapters.embedded.errors import EmbeddedDatabaseError
from todo_adapters.embedded.sockets import SOCKET, reachable

_SSL_REQUEST = bytes.fromhex("00000008 04d2162f")  # PostgreSQL's documentation, "Message Formats"
_ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The server that `postmaster.pid` names. The file may be stale: rely on `listens` only."""

    pid: int
    status: str
    folder: Path
    """Where its socket is."""
    uid: int
    """The account that it runs under."""

    @classmethod
    def read(cls, folder: Path, account: Account) -> "Postmaster | None":
        """The server that last used `folder/data`, None if it was shut down; lines not written yet are empty.

        Only a file of the account is believed. PostgreSQL's `src/include/utils/pidfile.h` documents the lines.
        """
        with suppress(OSError, ValueError, EmbeddedDatabaseError):
            written = os.fsdecode(account.read(folder / "data/postmaster.pid")).splitlines()
            pid, _, _, _, _, _, _, status, *_ = written + [""] * 8
            if int(pid) <= 0:  # a single-user server; `kill` would take it for a process group
                return None
            return cls(int(pid), status.strip(), folder, account.uid)
        return None

    def listens(self) -> bool:
        """Whether a server answers on the socket.

        An accepted connection is not enough: the kernel accepts even while the process is being killed. The socket
        must also be the account's own: the account could have put a link to another user's socket there.
        """
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError), reachable(self.folder) as folder:
            found = (self.folder / SOCKET).lstat()
            if not stat.S_ISSOCK(found.st_mode) or found.st_uid != self.uid:
                return False
            probe.settimeout(_ANSWER_SECONDS)
            probe.connect(f"{folder}/{SOCKET}")
            probe.sendall(_SSL_REQUEST)
            return probe.recv(1) != b""
        return False

    def is_ready(self) -> bool:
        """Whether the server accepts statements."""
        return self.status == "ready" and self.listens()
