"""One PostgreSQL cluster in a folder: started, joined and shut down."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from todo_adapters.embedded.account import Account
from todo_adapters.embedded.binaries import MAJOR, find_binaries, for_initdb
from todo_adapters.embedded.creation import NAME, create_cluster, remove_unfinished
from todo_adapters.embedded.errors import EmbeddedDatabaseError
from todo_adapters.embedded.folders import require_link_to_something
from todo_adapters.embedded.locks import FileLock, wait_until
from todo_adapters.embedded.postmaster import Postmaster
from todo_adapters.embedded.programs import Programs, complaint
from todo_adapters.embedded.sockets import PORT, remove_sockets

_LOG_BYTES = 10 * 1024 * 1024
# Fast shutdown, immediate shutdown, kill; with the seconds to wait for each.
_ENDINGS = (("SIGINT", 30.0), ("SIGQUIT", 10.0), ("SIGKILL", 10.0))
_HELD = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})


@contextmanager
def signals_held() -> Iterator[None]:
    """Signals that end a program wait for the end of this context. A child inherits that, and PostgreSQL undoes it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """The server's settings, passed on every start: nothing depends on a file that an older version wrote."""

    durable: bool
    max_connections: int

    def arguments(self) -> list[str]:
        """The arguments for `postgres`, which listens on a socket beside its data only."""
        values = {
            "cluster_name": NAME,
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": "..",  # from its data; a long path would be refused
            "unix_socket_permissions": "0700",
            # Files beside the data: /dev/shm may be tiny (containers), or be cleared when its owner logs out.
            "dynamic_shared_memory_type": "mmap",
            "max_connections": str(self.max_connections),
            "shared_buffers": "64MB",
            "min_wal_size": "80MB",  # the defaults; initdb writes less into its file where segments are small
            "max_wal_size": "1GB",
            "wal_buffers": "2MB",  # what follows from the shared buffers, if not cut to a segment
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            # Longer messages would copy users' data ("Failing row contains …") into the log.
            "log_error_verbosity": "terse",
        }
        if not self.durable:
            values |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return [part for name, value in values.items() for part in ("-c", f"{name}={value}")]


class Cluster:
    """The cluster below `home`. The caller must let only one process at a time start it or shut it down.

    Every process of the cluster inherits a descriptor that holds `cluster.lock`: the lock is free exactly when no such
    process is alive. `postmaster.pid` may be stale, and its pid may belong to another process by now.
    """

    def __init__(self, home: Path, settings: PostgresSettings) -> None:
        self._home = home
        self._settings = settings
        self.folder: Final = home / "cluster"
        """The folder of its data and its socket."""
        self._data = self.folder / "data"
        self._log = home / "postgres.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._account: Account | None = None
        """The account that the child runs under."""

    def password(self) -> str:
        """The password of the database's owner."""
        return Account.for_cluster(self.folder).read(self.folder / "password").decode(errors="replace")

    def start_or_join(self, deadline: float) -> None:
        """Start the server unless it runs, and wait until it accepts statements. Raises `EmbeddedDatabaseError`."""
        lock = FileLock(self._home / "cluster.lock")
        try:
            # Neither holds while the last processes of a killed server end, or while a server is starting.
            if not wait_until(lambda: lock.take() or self._is_ready(), deadline):
                raise EmbeddedDatabaseError(
                    f"The embedded database runs but does not answer: see {self._log}, or end its process, whose "
                    f"number is in {self._data / 'postmaster.pid'} (`kill -INT`), and start again."
                )
            if lock.take():
                self._start(lock, deadline)
        finally:
            lock.close()

    def shut_down(self) -> None:
        """Stop the server: clients are disconnected immediately, data are written in order."""
        server, child = self._server(), self._child
        if child is not None and child.poll() is None:
            self._end(self._account or Account.for_cluster(self.folder), child.pid)
            child.wait()
        # Without a listening server the pid may be that of any process.
        elif server is not None and server.listens():
            self._end(Account.for_cluster(self.folder), server.pid)

    def leave(self) -> None:
        """Leave the server running."""
        if self._child is not None:
            self._child.returncode = 0  # prevents Python's warning about a child that is still running

    def _end(self, account: Account, pid: int) -> None:
        with ExitStack() as closing:
            try:
                lock = FileLock(self._home / "cluster.lock")
            except FileNotFoundError:  # the folder was moved or removed while the server ran
                is_over = self._has_no_child
            else:
                closing.callback(lock.close)
                is_over = lock.take
            for name, seconds in _ENDINGS:
                reached = account.signal(pid, signal.Signals[name])
                if wait_until(is_over, time.monotonic() + (seconds if reached else 0.0)):
                    return

    def _has_no_child(self) -> bool:
        return self._child is None or self._child.poll() is not None

    def _is_ready(self, pid: int | None = None) -> bool:
        """Whether the server answers; with `pid`, whether that one does: the file may name one that was killed."""
        server = self._server()
        return server is not None and pid in (None, server.pid) and server.is_ready()

    def _claims_to_be_ready(self) -> bool:
        server = self._server()
        return server is not None and server.status == "ready"

    def _server(self) -> Postmaster | None:
        """The server that `postmaster.pid` names, if any."""
        return Postmaster.read(self.folder, Account.for_cluster(self.folder))

    def _start(self, lock: FileLock, deadline: float) -> None:
        account = Account.for_cluster(self.folder)
        programs = Programs(find_binaries(account), account, lock)
        remove_unfinished(self._home)
        for path in (self.folder, self._data):
            require_link_to_something(path)
        if not self.folder.exists():
            account.require_name()
            with for_initdb(programs.folder) as folder:
                making = replace(programs, folder=folder)
                create_cluster(self.folder, making, durable=self._settings.durable, deadline=deadline)
        self._require_usable()
        try:
            with signals_held():  # an exception before the process is known would leave it running
                child = self._child = self._launch(programs)
            self._account = account
            wait_until(lambda: child.poll() is not None or self._is_ready(child.pid), deadline)
            if child.poll() is not None or not self._is_ready(child.pid):
                reason = (
                    f"it runs, but does not answer on its socket in {self.folder}"
                    if self._claims_to_be_ready()
                    else complaint(self._log.read_bytes().rpartition(b"starting PostgreSQL")[2])
                )
                raise EmbeddedDatabaseError(f"The embedded database did not start: {reason} (see {self._log}).")
        except BaseException:
            if self._child is not None and self._child.poll() is None:
                account.signal(self._child.pid, signal.SIGQUIT)
                self._child.wait()
            raise

    def _require_usable(self) -> None:
        self.password()  # without it nobody could connect
        if self._data.is_symlink():
            raise EmbeddedDatabaseError(
                f"{self._data} is a link, and PostgreSQL would make its socket beside the link's target: move the "
                f"whole folder {self._home.parent} instead, and name it with TODO_DATA_DIR."
            )
        written_by = Account.for_cluster(self.folder).read(self._data / "PG_VERSION").decode(errors="replace").strip()
        if written_by != MAJOR:
            raise EmbeddedDatabaseError(
                f"The data in {self.folder} were written by PostgreSQL {written_by} and this is {MAJOR}: "
                "bring them over with pg_dump and pg_restore, or name another folder with TODO_DATA_DIR."
            )

    def _launch(self, programs: Programs) -> "subprocess.Popen[bytes]":
        environment = {}
        if stale := self._server():
            # The free lock proves that the pid is stale, but PostgreSQL would refuse to start because of it. With this
            # variable pg_ctl names a pid to ignore; PostgreSQL still checks for shared memory in use.
            environment["PG_GRANDPARENT_PID"] = str(stale.pid)
        else:
            # A power cut may leave it empty.
            programs.account.does("cd -P data && rm -f postmaster.pid", within=self.folder)
        remove_sockets(self.folder)
        arguments = ("-D", programs.name_of(self._data), *self._settings.arguments())
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        with os.fdopen(os.open(self._log, flags, 0o600), "ab") as log:
            return programs.spawn("postgres", *arguments, data=self._data, streams=log, environment=environment)
