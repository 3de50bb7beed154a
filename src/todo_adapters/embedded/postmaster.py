"""Reading `postmaster.pid`, and asking whether the server it speaks of is there."""

import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PORT = 5432  # names the socket's file; no network port is opened
SOCKET = f".s.PGSQL.{PORT}"


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What the file says of the server of a data folder. It may be out of date: believe `listens` only."""

    pid: int
    socket_folder: Path
    status: str

    @classmethod
    def read(cls, data: Path) -> "Postmaster | None":
        """The server that last used `data`, unless it stopped in order or has not yet written all about itself.

        The lines are PostgreSQL's `src/include/utils/pidfile.h`.
        """
        with suppress(OSError, ValueError, IndexError):
            lines = os.fsdecode((data / "postmaster.pid").read_bytes()).splitlines()
            # A relative socket folder is relative to where the server stands, which is its data folder.
            socket_folder = Path(os.path.normpath(data / lines[4]))
            return cls(int(lines[0]), socket_folder, lines[7].strip() if len(lines) > 7 else "")
        return None

    def listens(self) -> bool:
        """Whether a server accepts connections on the socket, whatever has become of the pid."""
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(self.socket_folder / SOCKET))
            return True
        return False

    def is_ready(self) -> bool:
        """Whether the server takes statements."""
        return self.status == "ready" and self.listens()

    def signal(self, number: signal.Signals) -> None:
        """Signal the server, if it lives."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
