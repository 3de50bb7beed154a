"""Databases that a scenario may kill: what they report as committed is on the disk."""

import os
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
from databases import roomy_folder
from serving import database_pid, eventually

from todo_adapters.embedded import EmbeddedPostgres

MEGABYTES = 160  # of the small file system: a new cluster takes about half


class Database(ABC):
    """What servers write to, and how a scenario looks at it from beside them."""

    url: str

    @abstractmethod
    def start(self) -> None:
        """Have it take statements, also after `kill`."""

    @abstractmethod
    def kill(self) -> None:
        """End it as nobody would."""

    @abstractmethod
    def stop(self) -> None:
        """End it for good."""

    def answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=2).close()
            return True
        return False

    def connections(self) -> int:
        """How many the service has."""
        with psycopg.connect(self.url) as connection:
            return int(connection.execute(f"select count(*) {SERVICE}").fetchall()[0][0])

    def terminate_connections(self) -> None:
        """Drop those of the service, as a database does that is suspended."""
        with psycopg.connect(self.url) as connection:
            connection.execute(f"select pg_terminate_backend(pid, 5000) {SERVICE}")

    def terminate_pooled(self) -> None:
        """Drop those of everybody else, such as a pooler's."""
        with psycopg.connect(self.url) as connection:
            connection.execute(f"select pg_terminate_backend(pid, 5000) {OTHERS}")

    def quiet(self) -> None:
        """Wait until no statement of the service is under way."""
        eventually(self._is_quiet, 30)

    def _is_quiet(self) -> bool:
        with psycopg.connect(self.url) as connection:
            return connection.execute(f"select {OTHERS} and state <> 'idle'").fetchone() is None

    @contextmanager
    def locked(self, statement: str) -> Iterator[None]:
        """While somebody else's transaction holds what that statement locks."""
        with psycopg.connect(self.url) as other:
            other.execute(statement)
            yield
            other.rollback()


class OneDatabase(Database):
    """A database in a folder whose path is short, so that its address stays the same from start to start."""

    def __init__(self, folder: Path, *, durable: bool = True, max_connections: int = 100) -> None:
        self._folder, self._durable, self._most = folder, durable, max_connections
        self.start()

    def start(self) -> None:
        """Start it and wait until it takes statements."""
        self._server = EmbeddedPostgres.start(self._folder, durable=self._durable, max_connections=self._most)
        self.url = self._server.url

    def kill(self) -> None:
        """End it as the kernel ends what takes too much memory."""
        self._signal(signal.SIGKILL)

    def shut_down_fast(self) -> None:
        """End it as an operator does, without waiting for anybody."""
        self._signal(signal.SIGINT)

    def _signal(self, number: signal.Signals) -> None:
        pid = database_pid(self._folder)
        assert pid is not None
        os.kill(pid, number)
        eventually(lambda: database_pid(self._folder) is None)
        self._server.stop()

    def stop(self) -> None:
        self._server.stop()

    @contextmanager
    def connections_taken(self, paused: AbstractContextManager[None]) -> Iterator[None]:
        """While others have every connection, those included that the service had, which is `paused` meanwhile."""
        with ExitStack() as stack:
            with paused:
                self.terminate_connections()
                for _ in range(self._most + 1):
                    try:
                        stack.enter_context(psycopg.connect(self.url))
                    except psycopg.OperationalError:
                        break
                else:
                    raise AssertionError("it takes more connections than it should")
            yield


OTHERS = """
    from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""
SERVICE = "from pg_stat_activity where application_name = 'todo-api'"


@contextmanager
def database(**options: int | bool) -> Iterator[OneDatabase]:
    """A new one, in memory: it survives its processes, as a disk does."""
    with tempfile.TemporaryDirectory(prefix="todo-f-", dir=roomy_folder(), ignore_cleanup_errors=True) as folder:
        made = OneDatabase(Path(folder), **options)  # type: ignore[arg-type]
        try:
            yield made
        finally:
            made.stop()


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of a few megabytes. Raises `PermissionError` where none may be mounted."""
    with tempfile.TemporaryDirectory(prefix="todo-d-", dir=roomy_folder()) as folder:
        mounting = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=0755", "tmpfs", folder]
        if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
            raise PermissionError("only root may mount a small file system, and not in every container")
        try:
            yield Path(folder)
        finally:
            eventually(lambda: subprocess.run(["umount", folder], capture_output=True, check=False).returncode == 0)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """While there is no byte left on it."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 65536)
        with filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 512)
        yield
    finally:
        filler.unlink()
