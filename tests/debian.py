"""Programs of Debian packages for tests: the installed ones, or copies unpacked for the tests."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from todo_adapters.embedded.locks import FileLock, wait_until

_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
_KEPT = Path(sys.prefix) / "debian"  # beside what else the tests need
_SECONDS = 40
# Nobody waits for long where there is no network.
_APT = ["-q", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=5", "-o", "Acquire::https::Timeout=5"]


@dataclass(frozen=True)
class Program:
    """Where it is, and the environment in which it finds its libraries."""

    path: str
    environment: dict[str, str] = field(default_factory=dict)


class _NotToBeHad(Exception):
    """Says why."""


def program(name: str) -> Program:
    """That program of the package of its name; skips the test, and says why, where it cannot be had."""
    found = _found(name)
    if isinstance(found, str):
        pytest.skip(f"{name} is not installed, and Debian's package cannot be had: {found}")
    return found


@cache
def _found(name: str) -> Program | str:
    if (installed := shutil.which(name, path=_PATH)) is not None:
        return Program(installed)
    missing = [tool for tool in ("apt-get", "apt-cache", "dpkg", "ldd") if shutil.which(tool) is None]
    if missing:
        return f"there is no {missing[0]}"
    try:
        return _unpacked(name)
    except subprocess.CalledProcessError as problem:
        return (problem.stderr.strip().splitlines() or [f"{problem}"])[-1]
    except (OSError, subprocess.TimeoutExpired, _NotToBeHad) as problem:
        return f"{problem}"


def _unpacked(name: str) -> Program:
    _KEPT.mkdir(exist_ok=True)
    with closing(FileLock(_KEPT / "lock")) as lock:
        if not wait_until(lock.take, time.monotonic() + 2 * _SECONDS):
            raise _NotToBeHad("another process is taking too long to fetch it")
        kept, failed = _KEPT / name, _failed(name)
        if failed.exists():
            raise _NotToBeHad(failed.read_text())
        try:
            if not kept.exists():
                with tempfile.TemporaryDirectory(dir=_KEPT) as folder:
                    _fetch(name, Path(folder) / "new")
                    (Path(folder) / "new").rename(kept)
        except (OSError, subprocess.SubprocessError, _NotToBeHad) as problem:
            failed.write_text(f"{problem}")  # the other workers of this run need not try
            raise
        return _program_in(kept, name)


def _failed(name: str) -> Path:
    return Path(os.environ["TODO_TEST_CLUSTER"]) / f"no-{name}"


def _program_in(folder: Path, name: str) -> Program:
    path = next((folder / sub / name for sub in ("usr/sbin", "usr/bin") if (folder / sub / name).exists()), None)
    if path is None:
        raise _NotToBeHad("its package has no such program")
    libraries = sorted({f"{found.parent}" for found in folder.rglob("*.so.*")})
    return Program(f"{path}", {"LD_LIBRARY_PATH": os.pathsep.join(libraries)} if libraries else {})


def _fetch(name: str, folder: Path) -> None:
    """Unpack the package, and the libraries that the program still misses from the packages that it depends on."""
    _unpack([name], folder)
    fetched = {name}
    while missing := _missing_libraries(_program_in(folder, name)):
        depended = _run("apt-cache", "depends", "--important", *sorted(fetched)).stdout
        wanted = set(re.findall(r"Depends: (lib[\w.+-]+)", depended)) - fetched
        wanted = {each for each in wanted if not _is_installed(each)}
        if not wanted:
            raise _NotToBeHad(f"nothing that it depends on has {missing[0]}")
        _unpack(sorted(wanted), folder)
        fetched |= wanted


def _unpack(packages: list[str], folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as archives:
        try:
            _run("apt-get", *_APT, "download", *packages, cwd=archives)
        except subprocess.CalledProcessError:  # many an image has no lists: they are fetched to a place of our own
            own = _own_lists(folder.parent)
            _run("apt-get", *_APT, *own, "update")
            _run("apt-get", *_APT, *own, "download", *packages, cwd=archives)
        for archive in Path(archives).glob("*.deb"):
            _run("dpkg", "-x", f"{archive}", f"{folder}")


def _own_lists(parent: Path) -> list[str]:
    state = parent / "apt"
    (state / "lists/partial").mkdir(parents=True, exist_ok=True)
    (state / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::lists={state}/lists", "-o", f"Dir::Cache={state}/cache"]


def _missing_libraries(made: Program) -> list[str]:
    return re.findall(r"(\S+) => not found", _run("ldd", made.path, env={**os.environ, **made.environment}).stdout)


def _is_installed(package: str) -> bool:
    asked = subprocess.run(["dpkg", "-s", package], capture_output=True, text=True, check=False)
    return "Status: install ok installed" in asked.stdout


def _run(
    *command: str, cwd: str | None = None, env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=_SECONDS,
        stdin=subprocess.DEVNULL,
    )
