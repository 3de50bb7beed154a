"""One PostgreSQL cluster in a folder: started, joined and shut down."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

from todo_adapters.embedded.account import Account
from todo_adapters.embedded.binaries import MAJOR, find_binaries, for_initdb
from todo_adapters.embedded.creation import NAME, create_cluster, remove_unfinished
from todo_adapters.embedded.errors import EmbeddedDatabaseError
from todo_adapters.embedded.locks import FileLock, wait_until
from todo_adapters.embedded.postmaster import PORT, Postmaster
from todo_adapters.embedded.programs import Programs, complaint
from todo_adapters.embedded.sockets import choose_socket_folder, remove_temporary

_LOG_BYTES = 10 * 1024 * 1024
# PostgreSQL's fast shutdown and its immediate one, each with the seconds it is given, and then force.
_ENDINGS = (("SIGINT", 30.0), ("SIGQUIT", 10.0), ("SIGKILL", 10.0))


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server is told on every start, so that nothing depends on a file that an older version wrote."""

    durable: bool
    max_connections: int

    def arguments(self, socket_folder: str) -> list[str]:
        """The arguments for `postgres`, which shall listen in `socket_folder` and nowhere else."""
        values = {
            "cluster_name": NAME,
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": socket_folder,
            "unix_socket_permissions": "0700",
            # Files beside the data: /dev/shm may be tiny, as in containers, or be swept when its owner logs out.
            "dynamic_shared_memory_type": "mmap",
            "max_connections": str(self.max_connections),
            "shared_buffers": "64MB",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            # Anything longer would copy users' words ("Failing row contains …") into the log.
            "log_error_verbosity": "terse",
        }
        if not self.durable:
            values |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return [part for name, value in values.items() for part in ("-c", f"{name}={value}")]


class Cluster:
    """The cluster below `home`. One process at a time may start it or shut it down; the caller sees to that.

    Every process of the cluster inherits a descriptor that holds `cluster.lock`. So the lock is free exactly when no
    such process lives, whatever pid a stale `postmaster.pid` names and whoever has been given that pid since.
    """

    def __init__(self, home: Path, settings: Settings) -> None:
        self._home = home
        self._settings = settings
        self._folder = home / "cluster"
        self._data = self._folder / "data"
        self._log = home / "postgres.log"
        self._child: subprocess.Popen[bytes] | None = None

    def password(self) -> str:
        """The password of the database's owner."""
        return (self._folder / "password").read_text()

    def socket_folder(self) -> Path:
        """Where the running server listens."""
        server = Postmaster.read(self._data)
        if server is None:
            raise EmbeddedDatabaseError(f"The embedded database stopped while it was starting: see {self._log}.")
        return server.socket_folder

    def start_or_join(self, deadline: float) -> None:
        """Return when the server takes statements, started now or running already. Raises `EmbeddedDatabaseError`."""
        lock = FileLock(self._home / "cluster.lock")
        try:
            # Neither is so while the last processes of a killed server are going away, or one is still starting.
            if not wait_until(lambda: lock.take() or self._is_ready(), deadline):
                raise EmbeddedDatabaseError(f"The embedded database runs but does not answer: see {self._log}.")
            if lock.take():
                self._start(lock, deadline)
        finally:
            lock.close()

    def shut_down(self) -> None:
        """End the server: at once for its clients, in order for its data."""
        server, child = Postmaster.read(self._data), self._child
        if child is not None and child.poll() is None:
            self._end(child.pid)
            child.wait()
        # The pid is the server's only if the server is there; it might be anybody's.
        elif server is not None and server.listens():
            self._end(server.pid)
        if server is not None:
            remove_temporary(server.socket_folder, Account.for_cluster(self._folder))

    def leave(self) -> None:
        """Let the server go on without us."""
        if self._child is not None:
            self._child.returncode = 0  # Python would warn of a child that was never waited for

    def _end(self, pid: int) -> None:
        account = Account.for_cluster(self._folder)
        lock = FileLock(self._home / "cluster.lock")
        try:
            for name, seconds in _ENDINGS:
                reached = account.signal(pid, signal.Signals[name])
                if wait_until(lock.take, time.monotonic() + (seconds if reached else 0.0)):
                    return
        finally:
            lock.close()

    def _is_ready(self) -> bool:
        server = Postmaster.read(self._data)
        return server is not None and server.is_ready()

    def _start(self, lock: FileLock, deadline: float) -> None:
        account = Account.for_cluster(self._folder)
        programs = Programs(find_binaries(account), account, lock)
        remove_unfinished(self._home)
        if not self._folder.exists():
            account.require_name()
            with for_initdb(programs.folder) as folder:
                making = replace(programs, folder=folder)
                create_cluster(self._folder, making, durable=self._settings.durable, deadline=deadline)
        self._require_usable()
        child = self._child = self._launch(programs)
        try:
            wait_until(lambda: child.poll() is not None or self._is_ready(), deadline)
            if child.poll() is not None or not self._is_ready():
                reason = complaint(self._log.read_bytes().rpartition(b"starting PostgreSQL")[2])
                raise EmbeddedDatabaseError(f"The embedded database did not start: {reason} (see {self._log}).")
        except BaseException:
            account.signal(child.pid, signal.SIGQUIT)
            child.wait()
            raise

    def _require_usable(self) -> None:
        self.password()  # without it nobody could come in
        written_by = (self._data / "PG_VERSION").read_text().strip()
        if written_by != MAJOR:
            raise EmbeddedDatabaseError(
                f"The data in {self._folder} were written by PostgreSQL {written_by} and this is {MAJOR}: "
                "bring them over with pg_dump and pg_restore, or name another folder with TODO_DATA_DIR."
            )

    def _launch(self, programs: Programs) -> "subprocess.Popen[bytes]":
        environment = {}
        if stale := Postmaster.read(self._data):
            remove_temporary(stale.socket_folder, programs.account)
            # The free lock proves that this pid is not ours, but PostgreSQL would believe in it. This is how pg_ctl
            # names it a pid to disregard; its own check, for shared memory that is still in use, stays in force.
            environment["PG_GRANDPARENT_PID"] = str(stale.pid)
        else:
            (self._data / "postmaster.pid").unlink(missing_ok=True)  # a power cut may leave it empty
        folder = choose_socket_folder(self._folder, programs.account)
        spoken = ".." if folder == self._folder else str(folder)
        arguments = ("-D", programs.name_of(self._data), *self._settings.arguments(spoken))
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        with os.fdopen(os.open(self._log, flags, 0o600), "ab") as log:
            return programs.spawn("postgres", *arguments, data=self._data, streams=log, environment=environment)
