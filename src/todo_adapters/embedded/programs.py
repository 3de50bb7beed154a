"""Runs PostgreSQL's programs under the right account, holding the cluster's lock while they live."""

import errno
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from todo_adapters.embedded.account import Account
from todo_adapters.embedded.errors import EmbeddedDatabaseError
from todo_adapters.embedded.locks import FileLock

_SERIOUS = re.compile(r"(?:ERROR|FATAL|PANIC|error): ")
_NO_SPACE = os.strerror(errno.ENOSPC)
_FULL = re.compile(rf"{_NO_SPACE}|: wrote only [0-9]+ of [0-9]+ bytes")
_GRACE_SECONDS = 5.0
_CURRENT_FOLDER = Path("/proc/self/cwd")


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs in `folder`. Each inherits `lock`, so that the lock is free only when none is alive."""

    folder: Path
    account: Account
    lock: FileLock

    def run(self, name: str, *arguments: str, data: Path, stdin: str = "", deadline: float) -> None:
        """Run a program on a data folder to its end.

        Raises `EmbeddedDatabaseError` if it fails or exceeds the deadline.
        """
        process = self.spawn(name, *arguments, data=data, streams=subprocess.PIPE, environment={})
        with process:
            try:
                answer, _ = process.communicate(stdin.encode(), timeout=max(0.0, deadline - time.monotonic()))
            except BaseException as error:
                _end(process)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise EmbeddedDatabaseError(
                        f"PostgreSQL's {name} took too long: try again when the machine is less busy."
                    ) from None
                raise
        if process.returncode != 0:
            raise EmbeddedDatabaseError(f"PostgreSQL's {name} failed: {complaint(answer)}.")

    def spawn(
        self, name: str, *arguments: str, data: Path, streams: int | IO[bytes], environment: dict[str, str]
    ) -> "subprocess.Popen[bytes]":
        """Start a program on a data folder, in a session of its own: Ctrl-C must not end the database first.

        The account itself enters the data folder, which it could have replaced by a link to where only root may go.
        """
        return subprocess.Popen(  # noqa: S603 (the wheel's own programs)
            ["/bin/sh", "-c", 'cd -P "$0" && exec "$@"', data.name, self.folder / name, *arguments],
            cwd=data.parent,
            env={"LC_ALL": "C", "PATH": os.defpath} | environment,  # without the caller's PG* variables and secrets
            stdin=subprocess.PIPE if streams == subprocess.PIPE else subprocess.DEVNULL,
            stdout=streams,
            stderr=subprocess.STDOUT,
            pass_fds=(self.lock.fileno(),),
            start_new_session=True,
            **self.account.process_options(),
        )

    def name_of(self, data: Path) -> str:
        """The path of the data folder, for a program that is started in it.

        An unprivileged account cannot reach a folder below root's home by its path. It need not: the process starts
        beside the folder before it gives up root's rights, and `/proc/self/cwd` names it without opening root's home.
        """
        return str(_CURRENT_FOLDER if self.account.dropped and _CURRENT_FOLDER.exists() else data)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Terminate a program; SIGTERM first, so that it frees its shared memory."""
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def complaint(output: bytes) -> str:
    """Why a program failed: the disk is full, or else its first error, from which others follow, or its last line."""
    lines = output.decode(errors="replace").strip().splitlines() or ["it wrote nothing"]
    serious = [line for line in lines if _SERIOUS.search(line)] or [line for line in lines if ": could not " in line]
    full = [line if _NO_SPACE in line else f"{line} ({_NO_SPACE})" for line in lines if _FULL.search(line)]
    return _SERIOUS.split([*full, *serious, lines[-1]][0])[-1].strip().rstrip(".")
