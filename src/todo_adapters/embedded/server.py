"""The embedded PostgreSQL's interface: start or join it, take its URL, stop it."""

import os
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.parse import quote

from todo_adapters.embedded.cluster import Cluster, PostgresSettings
from todo_adapters.embedded.creation import NAME
from todo_adapters.embedded.errors import EmbeddedDatabaseError
from todo_adapters.embedded.folders import make_private
from todo_adapters.embedded.locks import FileLock, wait_until
from todo_adapters.embedded.sockets import PORT, reachable, require_reachable

START_WITHIN: Final = 60.0
"""Seconds for a start, with a wait for another process's start in it."""

_STOP_SECONDS: Final = 60.0


class EmbeddedPostgres:
    """A running PostgreSQL in a folder, shared by every process that started it there.

    The last of these processes to call `stop` stops the database. If that one is killed instead, the database runs on
    until a later process joins it and stops it. `gate` lets one process at a time start or stop; `users` is held shared
    by all of them.
    """

    def __init__(self, cluster: Cluster, gate: FileLock, users: FileLock) -> None:
        self._cluster = cluster
        self._gate = gate
        self._users = users
        self._process = os.getpid()
        self._stopped = False
        self._reaching = ExitStack()
        password, host = cluster.password(), self._reaching.enter_context(reachable(cluster.folder))
        self._url = f"postgresql://{NAME}:{_quoted(password)}@/{NAME}?host={_quoted(host)}&port={PORT}"

    @classmethod
    def start(cls, data_dir: Path, *, durable: bool = True, max_connections: int = 100) -> "EmbeddedPostgres":
        """Start the database in `data_dir`, or join the one that runs there already, with its settings.

        The data are in `data_dir/postgres`, which is made if needed. `durable=False` is faster and may lose data in a
        power cut. Raises `EmbeddedDatabaseError`, after at most about `START_WITHIN` seconds.
        """
        home = Path(data_dir).absolute() / "postgres"
        if "\n" in str(home):
            raise EmbeddedDatabaseError(
                "TODO_DATA_DIR: the folder's path has a line break, which PostgreSQL's pid file cannot hold: "
                "name another."
            )
        require_reachable(home / "cluster")
        try:
            return cls._start(home, PostgresSettings(durable, max_connections), time.monotonic() + START_WITHIN)
        except OSError as error:
            raise EmbeddedDatabaseError(_reason(error, home)) from error

    @classmethod
    def _start(cls, home: Path, settings: PostgresSettings, deadline: float) -> "EmbeddedPostgres":
        for folder in (home.parent, home):
            make_private(folder)
        cluster = Cluster(home, settings)
        with ExitStack() as undo:
            gate, users = FileLock(home / "gate.lock"), FileLock(home / "users.lock")
            undo.callback(gate.close)
            undo.callback(users.close)
            if not wait_until(gate.take, deadline):
                raise EmbeddedDatabaseError(f"Another process has been starting the database in {home} for too long.")
            cluster.start_or_join(deadline)
            users.share()
            started = cls(cluster, gate, users)
            gate.release()
            undo.pop_all()
        return started

    @property
    def url(self) -> str:
        """The URL of its database `todo`, for libpq and psycopg, until `stop`. It contains the password.

        If the folder's path is too long for a socket, or has a comma or colon, the URL works only in this process and
        in those forked from it.
        """
        return self._url

    def stop(self) -> None:
        """Leave the database, and stop it if no other process uses it. A second call does nothing.

        In a process forked from the one that called `start` this does nothing either.
        """
        if self._stopped or os.getpid() != self._process:
            return
        self._stopped = True
        try:
            # A process that holds the gate for longer than this is starting, and will use the database.
            alone = wait_until(self._gate.take, time.monotonic() + _STOP_SECONDS)
            self._users.release()
            if alone and self._users.take():
                self._cluster.shut_down()
            else:
                self._cluster.leave()
        finally:
            self._reaching.close()
            self._users.close()
            self._gate.release()
            self._gate.close()

    def __enter__(self) -> "EmbeddedPostgres":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _reason(error: OSError, home: Path) -> str:
    if isinstance(error, PermissionError) and os.geteuid() == 0:
        return (
            f"PostgreSQL refuses to run as root, and root may not hand it to another user here ({error}), as in a "
            "container without the capabilities CHOWN, DAC_OVERRIDE, SETGID and SETUID: run as an ordinary user, or "
            "set DATABASE_URL."
        )
    return (
        f"The embedded database cannot use the folder {home} ({error}): "
        "make it writable or name another one with TODO_DATA_DIR."
    )


def _quoted(written: str) -> str:
    """What may have been written by PostgreSQL's account, as a part of a URL that adds no other part."""
    return quote(os.fsencode(written), safe="")
