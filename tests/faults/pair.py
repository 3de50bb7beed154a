"""A primary and its standby as docs/operations.md makes them: two PostgreSQL servers, each with a port and a disk."""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
from databases import roomy_folder
from faults.database import Database
from pages import ROOT, blocks_of
from serving import eventually, free_port

from todo_adapters.embedded.account import Account
from todo_adapters.embedded.binaries import find_binaries
from todo_adapters.embedded.locks import FileLock
from todo_adapters.embedded.programs import Programs

SECONDS = 60.0  # for each program of PostgreSQL
PASSWORD = "of-the-pairs-and-of-no-use-elsewhere"
ADDRESS, COPYING, SYNCHRONOUS, PROMOTING = (
    block.text for block in blocks_of(ROOT / "docs/operations.md") if block.runner == "tests/faults/pair.py"
)


class Machine:
    """One PostgreSQL server. `folder` is the machine's disk."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder, self._data = folder, folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._account = Account.for_cluster(self._data)
        for path in (folder, self._data):
            path.mkdir(mode=0o700)
            self._account.give(path)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"postgresql://todo:{PASSWORD}@{self.address}/todo"

    def make(self) -> None:
        """Fill the disk with an empty cluster."""
        (self._folder / "password").write_text(PASSWORD)
        self._account.give(self._folder / "password")
        text = ("--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        self.run("initdb", "-D", "DATA", "--username=todo", "--auth=scram-sha-256", "--pwfile=../password", *text)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs beside the disk."""
        with self._programs() as programs:
            here = [programs.name_of(self._data) if each == "DATA" else each for each in arguments]
            programs.run(program, *here, data=self._data, deadline=monotonic() + SECONDS)

    def start(self) -> None:
        """Start it and wait until it takes statements."""
        values = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "dynamic_shared_memory_type": "mmap",  # files beside the data, which end with them
        }
        arguments = [part for name, value in values.items() for part in ("-c", f"{name}={value}")]
        with self._programs() as programs, (self._folder / "log").open("ab") as log:
            where = ("-D", programs.name_of(self._data))
            started = programs.spawn("postgres", *where, *arguments, data=self._data, streams=log, environment={})
        self._process = started
        eventually(lambda: started.poll() is not None or self._answers(), SECONDS)
        assert started.poll() is None, (self._folder / "log").read_text()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, dbname="postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def burn(self) -> None:
        """The machine is gone: every process of it, without notice, and the disk."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGSTOP)  # so that it starts nothing while its children are counted
            for pid in [self._process.pid, *children(self._process.pid)]:
                os.kill(pid, signal.SIGKILL)
            self._process.wait(SECONDS)
            with self._alone():
                shared_memory = (self._data / "postmaster.pid").read_text().splitlines()[6].split()[1]
                subprocess.run(["ipcrm", "-m", shared_memory], check=True)  # the kernel's, which lives on
                shutil.rmtree(self._data)
        self._process = None

    @contextmanager
    def _programs(self) -> Iterator[Programs]:
        with self._alone() as lock:
            yield Programs(find_binaries(self._account), self._account, lock)

    @contextmanager
    def _alone(self) -> Iterator[FileLock]:
        """When no process of this server is left."""
        lock = FileLock(self._folder / "lock")
        try:
            eventually(lock.take)
            yield lock
        finally:
            lock.close()


class Pair(Database):
    """A primary and a standby that follows it. `kill` is the end of the primary, `start` the promotion of the standby.

    The standby may be behind, unless it is synchronous: no commit is acknowledged then before it is on both disks.
    """

    def __init__(self, folder: Path) -> None:
        self._primary, self._standby = Machine(folder / "one"), Machine(folder / "two")
        self.url = self._primary.url

    def make(self, *, synchronous: bool) -> None:
        """Make both, and wait until one follows the other."""
        self._primary.make()
        self._primary.start()
        self._do("create database todo", dbname="postgres")
        self._standby.run(*shlex.split(self._here(COPYING)), "--checkpoint=fast")
        self._standby.start()
        if synchronous:
            for statement in SYNCHRONOUS.strip().split("\n"):
                self._do(statement)
        expected = "sync" if synchronous else "async"
        eventually(lambda: self._do("select state, sync_state from pg_stat_replication") == [("streaming", expected)])

    @property
    def both(self) -> str:
        """The URL that names both hosts, and means whichever takes writes."""
        return self._here(ADDRESS).strip()

    def _here(self, text: str) -> str:
        """What the document says, with these machines' addresses."""
        addresses = {"db1:5432": self._primary.address, "db2:5432": self._standby.address, "PASSWORD": PASSWORD}
        for name, here in addresses.items():
            text = text.replace(name, here)
        return text

    def kill(self) -> None:
        self._primary.burn()

    def start(self) -> None:
        self.url = self._standby.url
        assert self._do(PROMOTING) == [(True,)]

    def stop(self) -> None:
        for machine in (self._primary, self._standby):
            machine.burn()

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """While the standby gets nothing."""
        [(sender,)] = self._do("select pid from pg_stat_replication")
        os.kill(sender, signal.SIGSTOP)
        yield
        with suppress(ProcessLookupError):  # it may have ended with its machine
            os.kill(sender, signal.SIGCONT)

    def _do(self, statement: str, **named: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True, **named) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def pair(*, synchronous: bool) -> Iterator[Pair]:
    """A new one, in memory: it survives its processes, as disks do."""
    with tempfile.TemporaryDirectory(prefix="todo-p-", dir=roomy_folder(), ignore_cleanup_errors=True) as folder:
        made = Pair(Path(folder))
        try:
            made.make(synchronous=synchronous)
            yield made
        finally:
            made.stop()


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(child) for child, parent in map(str.split, listed.splitlines()) if int(parent) == pid]
