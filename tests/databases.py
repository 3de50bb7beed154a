"""Throw-away databases for the tests: one PostgreSQL per run, shared by every worker of pytest-xdist."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from todo_adapters.embedded import EmbeddedPostgres
from todo_adapters.embedded.locks import FileLock, wait_until

_FOLDER_VARIABLE = "TODO_TEST_CLUSTER"
_PREFIX = "todo-tests-"
_NEEDED_BYTES = 1024**3
_TEMPLATE_LOCK = 1_869_571_188  # any number that no test uses


class ScratchCluster:
    """A PostgreSQL whose data nobody will miss. The last worker that closes it stops it.

    It takes 500 connections, all workers together: 200 concurrent ones in each of two fit.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server = EmbeddedPostgres.start(folder, durable=False, max_connections=500)
        self._admin = psycopg.connect(self._server.url, autocommit=True)

    def create_database(self, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of `template`, which nobody may be connected to. Takes ~10 ms."""
        name = f"test_{uuid4().hex}"
        source = sql.Identifier(template or "template0")
        statement = sql.SQL("create database {} template {} strategy file_copy")
        self._admin.execute(statement.format(sql.Identifier(name), source))
        return self._url_of(name)

    def template(self, name: str, build: Callable[[str], None]) -> str:
        """`name`, a database made once per run: `build` fills the empty one at the URL it gets, and disconnects."""
        self._admin.execute("select pg_advisory_lock(%s)", [_TEMPLATE_LOCK])
        try:
            if self._admin.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
                fresh = self.create_database()
                build(fresh)
                rename = sql.SQL("alter database {} rename to {}")
                self._admin.execute(rename.format(sql.Identifier(_name_in(fresh)), sql.Identifier(name)))
        finally:
            self._admin.execute("select pg_advisory_unlock(%s)", [_TEMPLATE_LOCK])
        return name

    def drop(self, url: str) -> None:
        """Remove the database at `url`, throwing out who is connected to it."""
        self._admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(_name_in(url))))

    def close(self) -> None:
        """Leave the cluster; `remove_scratch_folder` removes its files at the end of the run."""
        self._admin.close()
        self._server.stop()

    def _url_of(self, name: str) -> str:
        return urlsplit(self._server.url)._replace(path=f"/{name}").geturl()

    def __enter__(self) -> "ScratchCluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def shared_scratch_cluster() -> ScratchCluster:
    """This run's cluster, started by the first worker that asks."""
    return ScratchCluster(Path(os.environ[_FOLDER_VARIABLE]))


def has_been_used(data_dir: Path, fill: Callable[[str], object] = len) -> Path:
    """`data_dir` as a first start leaves it, which takes 1.5 s: made once in a run, and from then on copied.

    `fill` gets the URL of the empty database there.
    """
    made = Path(os.environ[_FOLDER_VARIABLE], f"used-{fill.__name__}")
    lock = FileLock(made.with_suffix(".lock"))
    try:
        assert wait_until(lock.take, time.monotonic() + 60)
        if not made.exists():
            being_made = made.with_suffix(".new")
            with EmbeddedPostgres.start(being_made, durable=False) as server:
                fill(server.url)
            (being_made / "postgres/postgres.log").unlink()
            being_made.rename(made)
    finally:
        lock.close()
    subprocess.run(["cp", "-Rp", made, data_dir], check=True)  # the files belong to another account if this is root's
    return data_dir


def make_scratch_folder() -> FileLock:
    """Make the folder for this run's cluster and name it in the environment, which the workers inherit.

    The lock says that the run lives. What runs left behind that were killed is removed first.
    """
    parent = roomy_folder()
    for leftover in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            _remove_if_abandoned(leftover)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        with suppress(OSError):  # another run that is just tidying up may take it for a leftover
            lock = FileLock(folder / "run.lock")
            if lock.take():
                os.environ[_FOLDER_VARIABLE] = str(folder)
                return lock


def remove_scratch_folder(lock: FileLock) -> None:
    """Remove this run's cluster, and stop it if a worker was killed before it could."""
    _remove(Path(os.environ.pop(_FOLDER_VARIABLE)))
    lock.close()


def _remove_if_abandoned(folder: Path) -> None:
    lock = FileLock(folder / "run.lock")
    try:
        if lock.take():
            _remove(folder)
    finally:
        lock.close()


def _remove(folder: Path) -> None:
    if list(folder.glob("postgres/cluster/data/postmaster.pid")):
        EmbeddedPostgres.start(folder, durable=False).stop()
    shutil.rmtree(folder)


def roomy_folder() -> Path:
    """Where clusters are quick to make: in memory, if there is enough of it."""
    memory = Path("/dev/shm")  # noqa: S108 (mkdtemp makes a folder of its own there)
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _NEEDED_BYTES:
        return memory
    return Path(tempfile.gettempdir())


def _name_in(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")
