"""The operating-system account that PostgreSQL runs under: ours, or an unprivileged one if we are root."""

import errno
import os
import pwd
import signal
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from todo_adapters.embedded.errors import EmbeddedDatabaseError

_LESSER_ACCOUNTS = ("postgres", "nobody")


class ProcessOptions(TypedDict, total=False):
    """The arguments of `subprocess` that start a process under another account."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """The account of PostgreSQL's processes. PostgreSQL refuses to run as root, which uses `postgres` or `nobody`."""

    uid: int
    gid: int
    dropped: bool

    @classmethod
    def for_cluster(cls, folder: Path) -> "Account":
        """The account for the cluster in `folder`: for root, the owner of existing data."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid(), dropped=False)
        if folder.exists() and (owner := folder.stat()).st_uid != 0:
            return cls(owner.st_uid, owner.st_gid, dropped=True)
        for name in _LESSER_ACCOUNTS:
            with suppress(KeyError):
                entry = pwd.getpwnam(name)
                return cls(entry.pw_uid, entry.pw_gid, dropped=True)
        raise EmbeddedDatabaseError(
            "PostgreSQL refuses to run as root and this system has neither a user 'postgres' nor 'nobody': "
            "run as an ordinary user or set DATABASE_URL."
        )

    def require_name(self) -> None:
        """Raise `EmbeddedDatabaseError` if the uid has no user name, which `initdb` requires."""
        try:
            pwd.getpwuid(self.uid)
        except KeyError:
            raise EmbeddedDatabaseError(
                f"PostgreSQL's initdb needs a user name, and the uid {self.uid} has none in /etc/passwd: add one "
                f"(useradd --uid {self.uid} todo), run as a user that has a name, or set DATABASE_URL."
            ) from None

    def give(self, path: Path) -> None:
        """Change the owner of `path`, which must be ours, to this account."""
        if self.dropped:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def read(self, path: Path) -> bytes:
        """The content of this account's file. Raises `EmbeddedDatabaseError` for anything else.

        The account could put a link there, or above it, to what only root may read.
        """
        owners = (self.uid,) if self.dropped else (self.uid, 0)
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                found = os.fstat(file.fileno())
                if stat.S_ISREG(found.st_mode) and found.st_uid in owners:
                    return file.read()
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR):  # a link, a socket, a folder
                raise
        raise EmbeddedDatabaseError(
            f"{path} is not a regular file that belongs to the uid {self.uid}, as which PostgreSQL runs: it may "
            "have been replaced, so find out what it is, and restore it."
        )

    def does(self, script: str, *arguments: str, within: Path = Path("/")) -> bool:
        """Whether a shell command succeeds with this account's rights, in a folder that it cannot replace."""
        command = ["/bin/sh", "-c", script, "sh", *arguments]
        path = {"PATH": os.environ.get("PATH", os.defpath)}
        done = subprocess.run(  # noqa: S603 (a script of ours)
            command, cwd=within, env=path, stderr=subprocess.DEVNULL, check=False, **self.process_options()
        )
        return done.returncode == 0

    def signal(self, pid: int, number: signal.Signals) -> bool:
        """Signal a process with this account's rights, and return whether that was possible.

        The account may have written the pid: as root we could signal any process, and without capabilities not even
        this account's.
        """
        if not self.dropped:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
                return True
            return False
        return self.does('kill -s "$1" "$2"', number.name.removeprefix("SIG"), str(pid))

    def process_options(self) -> ProcessOptions:
        """The arguments of `subprocess` for a process of this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.dropped else {}
