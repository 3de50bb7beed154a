"""Creates a cluster under a temporary name, and renames it when it is complete."""

import secrets
import shutil
import tempfile
from pathlib import Path

from todo_adapters.embedded.folders import sync
from todo_adapters.embedded.programs import Programs

NAME = "todo"  # of the database and of its owner
_UNFINISHED = "new-"


def create_cluster(folder: Path, programs: Programs, *, durable: bool, deadline: float) -> None:
    """Make `folder` with `data` and `password` in it, completely or not at all."""
    fresh = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder.parent))
    try:
        data, password = fresh / "data", fresh / "password"
        data.mkdir(mode=0o700)
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
        sync(password)
        for path in (password, data, fresh):  # the folder last: its owner can replace what is in it
            programs.account.give(path)
        _fill(data, programs, durable=durable, deadline=deadline)
        sync(fresh)
        fresh.rename(folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def remove_unfinished(home: Path) -> None:
    """Remove what an interrupted creation left behind."""
    for leftover in home.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(leftover)


def _fill(data: Path, programs: Programs, *, durable: bool, deadline: float) -> None:
    where = ("-D", programs.name_of(data))
    # A relative name, since the account may not be able to follow the full path; a file, since argv is public.
    access = (f"--username={NAME}", "--auth=scram-sha-256", "--pwfile=../password")
    text = ("--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    memory = "dynamic_shared_memory_type=mmap"  # as for the server itself
    # While a new file of the write-ahead log is filled with zeros, every commit waits: 5 to 45 ms for the usual 16 MB.
    small = "--wal-segsize=1"  # MB
    no_sync = () if durable else ("--no-sync",)
    programs.run("initdb", *where, *access, *text, small, "--set", memory, *no_sync, data=data, deadline=deadline)
    single = (
        "--single",
        *where,
        "-c",
        memory,
        "-c",
        "exit_on_error=on",
        "-c",
        f"fsync={'on' if durable else 'off'}",
        "postgres",
    )
    programs.run("postgres", *single, stdin=f"create database {NAME};\n", data=data, deadline=deadline)
