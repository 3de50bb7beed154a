"""Processes that use an embedded PostgreSQL by commands, and checks of its folder and its server."""

import os
import pwd
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from todo_adapters.embedded.locks import FileLock, wait_until

SOURCES = Path(__file__).parents[3] / "src"
IS_ROOT = os.geteuid() == 0
ORDINARY_UID = pwd.getpwnam("nobody").pw_uid
only_root = pytest.mark.skipif(not IS_ROOT, reason="only root can switch to another account")

# A process that uses the database and executes commands, one a line. With a uid it first becomes an ordinary user,
# after everything is imported: the interpreter itself may lie where that user cannot read.
USER = """
import os, signal, sys
from pathlib import Path
from todo_adapters.embedded import EmbeddedDatabaseError, EmbeddedPostgres, binaries
# Past the buffer of `print`, in the middle of which the signal may come.
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"interrupted\\n"))
folder, durable, uid, packages = sys.argv[1:]
if packages:
    binaries._wheel = lambda: Path(packages)
if uid:
    os.setgroups([]), os.setgid(int(uid)), os.setuid(int(uid))
try:
    database = EmbeddedPostgres.start(Path(folder), durable=bool(durable))
    print("ready", database.url, flush=True)
except EmbeddedDatabaseError as error:
    print("error", error, flush=True)
    sys.exit(1)
for line in sys.stdin:
    if line == "stop in a child\\n":
        if not (child := os.fork()):
            database.stop()
            os._exit(0)
        os.waitpid(child, 0)
    elif line == "stop\\n":
        database.stop()
    print("done", flush=True)
os._exit(0)
"""


class User:
    """A process that uses the database in a folder."""

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = False,
        uid: int | None = None,
        packages: str = "",
        within: Sequence[str] = (),
    ) -> None:
        """`within` is a command that runs another one, in surroundings of its own."""
        uid_text = "" if uid is None else str(uid)
        self.process = subprocess.Popen(
            [*within, sys.executable, "-c", USER, str(folder), "yes" if durable else "", uid_text, packages],
            env=os.environ | {"PYTHONPATH": str(SOURCES)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def hear(self) -> str:
        """The next line that the process prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def url(self) -> str:
        """The address that it was given."""
        word, _, rest = self.hear().partition(" ")
        assert word == "ready", rest
        return rest

    def error(self) -> str:
        """The sentence that it was refused with."""
        word, _, rest = self.hear().partition(" ")
        assert word == "error", rest
        return rest

    def do(self, command: str) -> None:
        """Have it obey, and wait until it has."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        assert self.hear() == "done"

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()


def postmaster_pid(folder: Path) -> int:
    return int((folder / "postgres/cluster/data/postmaster.pid").read_text().split()[0])


def kill_postmaster(folder: Path) -> None:
    with suppress(OSError, ValueError):
        os.kill(postmaster_pid(folder), signal.SIGKILL)


def is_running(folder: Path) -> bool:
    """Whether any process of the folder's cluster lives."""
    lock = FileLock(folder / "postgres/cluster.lock")
    try:
        return not lock.take()
    finally:
        lock.close()


def starts(folder: Path) -> int:
    """How often the folder's server was started."""
    return (folder / "postgres/postgres.log").read_text().count("starting PostgreSQL")


def write(url: str, word: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("create table if not exists note (word text)")
        connection.execute("insert into note values (%s)", [word])


def read(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [word for (word,) in connection.execute("select word from note")]


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
        assert row is not None
        return row[0]


def soon(condition: Callable[[], bool]) -> bool:
    return wait_until(condition, time.monotonic() + 20)


@contextmanager
def a_folder_for_everybody(parent: str | None = None) -> Iterator[Path]:
    """A folder outside of pytest's, which only its owner may enter."""
    with tempfile.TemporaryDirectory(prefix="todo-", dir=parent) as made:
        Path(made).chmod(0o755)
        yield Path(made)
