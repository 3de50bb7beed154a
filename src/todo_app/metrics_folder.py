"""The folder in which several workers share their metrics."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from todo_app.settings import SettingsError

PREFIX: Final = "todo-metrics-"


@contextmanager
def metrics_folder(data_dir: Path) -> Iterator[Path]:
    """A folder that exists during the context. Folders that killed servers left behind are removed.

    It is in the data folder, because temporary folders are cleaned. If that is not writable, as in a container, it is
    in the temporary folder; cleaners that respect locks (systemd-tmpfiles) do not touch it. Raises `SettingsError` if
    neither is writable.
    """
    try:
        folder, lock = _locked_folder(data_dir)
    except OSError:
        try:
            folder, lock = _locked_folder(Path(tempfile.gettempdir()))
        except OSError as error:
            raise SettingsError(
                f"there is no folder for the metrics of several workers ({error}): make TODO_DATA_DIR or the folder "
                "for temporary files writable, or use --workers 1"
            ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """A new folder and the descriptor of its lock, which workers inherit: the lock is free when all have ended."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in parent.glob(f"{PREFIX}*"):
        _remove_if_unused(left)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = _lock(folder)
        if lock is not None:
            return folder, lock


def _remove_if_unused(folder: Path) -> None:
    with suppress(OSError):  # another user's, or being removed by another process
        if folder.lstat().st_uid == os.geteuid() and (lock := _lock(folder)) is not None:
            shutil.rmtree(folder)
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """The descriptor that holds the folder's lock; None if it is taken, or the folder was just removed."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), folder.lstat()):
                return descriptor
        except OSError:
            os.close(descriptor)
    return None
