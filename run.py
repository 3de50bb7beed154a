#!/usr/bin/env python3
"""From a bare clone to a running server or a checked project: makes .venv, installs what uv.lock pins, hands over."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

# Only the standard library, and a syntax that older Pythons can read: they must get as far as the sentence in `main`.
OLDEST_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
STAMP = VENV / "run.json"
FETCHED_UV = VENV / ".uv"

# What each kind of environment asks of `uv sync`. "dev" holds all that "server" holds, so it serves as well.
# For "dev" the bytecode is made now: the processes of the tests would each make it at the same time.
KINDS = {"server": ("--no-dev", "--extra", "all"), "dev": ("--group", "dev", "--compile-bytecode")}
# A .venv belongs to one version of Python and one place: its scripts carry absolute paths.
HOME = f"{sys.implementation.cache_tag} {ROOT}"

HELP = """\
usage: python3 run.py COMMAND [ARGUMENTS]

  serve [--host H] [--port P] [--workers N]   start the service, with a PostgreSQL of its own unless DATABASE_URL is set
  test [--force] [NOX ARGUMENTS]              check what has changed since it was last green, with --force everything;
                                              CI measures coverage too (`test -l` lists the sessions)
  migrate | token USER | mcp USER | openapi | --version   the other commands of `todo`

The first run installs exactly what uv.lock pins into .venv, beside this file, and needs the network for that. Later
runs start immediately. Nothing is installed anywhere else but in uv's cache. To install again, delete .venv: it holds
no tasks."""


def main(argv: list[str]) -> int:
    if sys.version_info[:2] < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        stop(f"this needs Python 3.11 or newer, and {sys.executable} is {found}. Try a newer one: python3.11 run.py")
    if os.name == "nt":
        stop("this needs Linux or macOS")
    if not argv or argv[0] in ("-h", "--help"):
        print(HELP)
        return 0
    try:
        if argv[0] == "test":
            prepare("dev")
            os.chdir(ROOT)
            if argv[1:2] == ["--force"]:
                os.environ["TODO_TEST_FORCE"] = argv.pop(1)
            hand_over("nox", argv[1:])
        prepare("server")
        hand_over("todo", argv)
    except KeyboardInterrupt:
        return 130


def prepare(kind: str) -> None:
    """Have .venv hold what `kind` needs. Without a change since the last time this only compares a digest."""
    if is_ready(kind, read_stamp()):
        return
    with only_one_at_a_time():
        stamp = read_stamp()  # somebody else may have finished the work while we waited
        if not is_ready(kind, stamp):
            # Development tools, once installed, stay: switching between `serve` and `test` must cost nothing.
            install("dev" if "dev" in (kind, stamp.get("kind")) else kind, stamp)


def is_ready(kind: str, stamp: dict[str, str]) -> bool:
    wanted = {"kind": stamp.get("kind"), "inputs": digest_of_inputs(), "home": HOME}
    tools = ("python", "todo") if kind == "server" else ("python", "todo", "nox")
    return stamp == wanted and stamp["kind"] in (kind, "dev") and all(os.access(BIN / tool, os.X_OK) for tool in tools)


def digest_of_inputs() -> str:
    """A digest of the files that decide which packages belong in .venv."""
    digest = hashlib.sha256()
    for name in ("uv.lock", "pyproject.toml"):
        digest.update(hashlib.sha256((ROOT / name).read_bytes()).digest())
    return digest.hexdigest()


def install(kind: str, stamp: dict[str, str]) -> None:
    say("installing what uv.lock pins into .venv (up to half a minute the first time)")
    if not is_reusable(stamp):
        run([sys.executable, "-m", "venv", "--clear", "--without-pip", VENV])
    digest = digest_of_inputs()
    write_stamp(kind, inputs=None)  # if we are interrupted, the next run sees this and starts over
    version, requirement = pinned_uv()
    uv = find_uv(version) or fetch_uv(requirement)
    environment = {"UV_PROJECT_ENVIRONMENT": str(VENV), "UV_PYTHON_DOWNLOADS": "never"}
    run([uv, "sync", "--frozen", "--python", BIN / "python", *KINDS[kind]], **environment)
    write_stamp(kind, inputs=digest)


def is_reusable(stamp: dict[str, str]) -> bool:
    """Whether `uv sync` may build on this .venv: it works, it is for this place, and no install broke off in it."""
    if not stamp.get("inputs", "never ours") or stamp.get("home", HOME) != HOME:
        return False
    question = "import sys; print(sys.implementation.cache_tag)"
    try:
        answer = subprocess.run([BIN / "python", "-c", question], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return answer.stdout.strip() == sys.implementation.cache_tag


def read_stamp() -> dict[str, str]:
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(kind: str, *, inputs: str | None) -> None:
    partial = STAMP.with_suffix(".part")
    partial.write_text(json.dumps({"kind": kind, "inputs": inputs, "home": HOME}), encoding="utf-8")
    partial.replace(STAMP)


def pinned_uv() -> tuple[str, str]:
    """The version of uv that uv.lock pins, and the line that makes pip accept nothing else."""
    import tomllib

    with (ROOT / "uv.lock").open("rb") as file:
        packages = tomllib.load(file)["package"]
    uv = next(package for package in packages if package["name"] == "uv")
    hashes = " ".join(f"--hash={wheel['hash']}" for wheel in uv["wheels"])
    return uv["version"], f"uv=={uv['version']} {hashes}\n"


def find_uv(version: str) -> str | None:
    """A uv that is at hand and no older than the pinned one, so that it understands the lock file."""
    for candidate in (shutil.which("uv"), FETCHED_UV / "bin" / "uv"):
        try:
            found = subprocess.run([candidate or "", "--version"], capture_output=True, text=True, check=True)
            if numbers(found.stdout.split()[1]) >= numbers(version):
                return str(candidate)
        except (OSError, subprocess.CalledProcessError, IndexError, ValueError):
            continue  # not there, or a shim that runs nothing
    return None


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def fetch_uv(requirement: str) -> Path:
    wanted = VENV / "uv-requirement.txt"
    wanted.write_text(requirement, encoding="utf-8")
    # A folder of its own: from site-packages `uv sync` would remove it, and PEP 668 has nothing to say about it.
    options: list[str | Path] = [
        "--require-hashes",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--upgrade",
        "--target",
        FETCHED_UV,
    ]
    run([*pip(), "install", *options, "-r", wanted], PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0", PIP_NO_INPUT="1")
    return FETCHED_UV / "bin" / "uv"


def pip() -> list[str | Path]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if not importlib.util.find_spec("ensurepip"):
        stop(
            f"{sys.executable} comes without pip and ensurepip. On Debian and Ubuntu: sudo apt install python3-venv."
            " Or install uv: https://docs.astral.sh/uv/"
        )
    run([BIN / "python", "-m", "ensurepip"])
    return [BIN / "python", "-m", "pip"]


def run(command: list[str | Path], **environment: str) -> None:
    """Run quietly; on failure show everything it wrote and stop."""
    # Children inherit the lock: if we are killed, nobody starts over before they have ended too.
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        close_fds=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
        stop(f"this failed, as said above: {' '.join(map(str, command))}")


@contextmanager
def only_one_at_a_time() -> Iterator[None]:
    with (ROOT / ".venv.lock").open("a") as file:
        os.set_inheritable(file.fileno(), True)
        if not lock(file, wait=False):
            say("waiting for another run.py to finish installing")
            lock(file, wait=True)
        yield


def lock(file: IO[str], *, wait: bool) -> bool:
    """Hold `file` until every process that has it open closes it or ends."""
    import fcntl  # here, since Windows lacks it

    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # another error says that this file system has no locks
        return False
    return True


def hand_over(tool: str, arguments: list[str]) -> NoReturn:
    """Become `tool`, as in an activated environment."""
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "VIRTUAL_ENV": str(VENV), "PATH": path}
    command = [str(BIN / tool), *arguments]
    os.execve(command[0], command, environment)


def say(sentence: str) -> None:
    print(f"run.py: {sentence}", file=sys.stderr, flush=True)


def stop(sentence: str) -> NoReturn:
    sys.exit(f"run.py: {sentence}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
