"""Reading `postmaster.pid`, and asking whether the server it speaks of is there."""

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PORT = 5432  # names the socket's file; no network port is opened
SOCKET = f".s.PGSQL.{PORT}"
_SSL_REQUEST = bytes.fromhex("00000008 04d2162f")  # PostgreSQL's documentation, "Message Formats"
_ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What the file says of the server of a data folder. It may be out of date: believe `listens` only."""

    pid: int
    socket_folder: Path
    status: str

    @classmethod
    def read(cls, data: Path) -> "Postmaster | None":
        """The server that last used `data`, unless it stopped in order; what it has not yet written is empty.

        The lines are PostgreSQL's `src/include/utils/pidfile.h`.
        """
        with suppress(OSError, ValueError):
            written = os.fsdecode((data / "postmaster.pid").read_bytes()).splitlines()
            pid, _, _, _, socket_folder, _, _, status, *_ = written + [""] * 8
            # A relative folder is relative to where the server stands, which is its data folder.
            if int(pid) <= 0:  # a server without clients, or a group of processes to `kill`
                return None
            return cls(int(pid), Path(os.path.normpath(data / socket_folder)), status.strip())
        return None

    def listens(self) -> bool:
        """Whether a server answers on the socket, whatever has become of the pid.

        An accepted connection proves nothing: the kernel accepts for a process that is being killed.
        """
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.settimeout(_ANSWER_SECONDS)
            probe.connect(str(self.socket_folder / SOCKET))
            probe.sendall(_SSL_REQUEST)
            return probe.recv(1) != b""
        return False

    def is_ready(self) -> bool:
        """Whether the server takes statements."""
        return self.status == "ready" and self.listens()
