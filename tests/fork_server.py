"""Starts `todo` by forking a process that has loaded it, which takes half the processor time of a new one.

CI does not use it: there each server starts as users start it.
"""

import atexit
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from subprocess import CompletedProcess
from typing import cast

# What a server imports, but for prometheus_client, which reads the environment when it is imported.
LOADED = (
    *("todo_app.cli", "todo_app.server", "todo_adapters.postgres", "todo_adapters.postgres.migrations"),
    *("todo_adapters.jwt_identity", "todo_adapters.rate_limit", "litestar"),
)


class Forked:
    """A command of `todo` in a process of its own: what tests use of `subprocess.Popen`. It appends to its outputs."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], out: Path, err: Path) -> None:
        request = (list(arguments), dict(environment), str(Path.cwd()), str(out), str(err))
        self.pid = cast("int", _SERVER.ask(request))
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        if self._code is None:
            self._code = _SERVER.ask(self.pid)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended. Raises `subprocess.TimeoutExpired` if that takes longer."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("todo", timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def forked(arguments: Sequence[str], environment: Mapping[str, str], timeout: float) -> "CompletedProcess[str]":
    """Carry out a command of `todo` to its end, in at most `timeout` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        out.touch()
        err.touch()
        process = Forked(arguments, environment, out, err)
        try:
            code = process.wait(timeout)
        finally:
            process.send_signal(signal.SIGKILL)
        return CompletedProcess(["todo", *arguments], code, out.read_text(), err.read_text())


class _ForkServer:
    """The process that is forked, and the connection to it: it answers a command with a pid, and a pid with a code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def ask(self, request: object) -> int | None:
        """Its answer. The first question starts it."""
        with self._lock:
            if self._connection is None:
                self._connection = self._start()
            self._connection.send(request)
            return cast("int | None", self._connection.recv())

    @staticmethod
    def _start() -> Connection:
        ours, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-P", __file__, str(theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        atexit.register(process.wait, 10)
        atexit.register(ours.close)  # called first, and ends it
        return ours


_SERVER = _ForkServer()


def _main(connection: Connection) -> int:
    for module in LOADED:
        import_module(module)
    assert threading.active_count() == 1, "a process with threads must not be forked"
    assert "prometheus_client" not in sys.modules, "it would not see where its server keeps its metrics"
    assert "pydantic" not in sys.modules, "no server loads it"
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return 0
        if isinstance(request, int):
            pid, status = os.waitpid(request, os.WNOHANG)
            connection.send(os.waitstatus_to_exitcode(status) if pid else None)
        elif pid := os.fork():
            connection.send(pid)
        else:
            connection.close()
            return _become(*request)


def _become(arguments: list[str], environment: dict[str, str], folder: str, out: str, err: str) -> int:
    os.setsid()
    os.chdir(folder)
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
        opened = os.open(path, flags | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    sys.argv = ["todo", *arguments]
    from todo_app.__main__ import main

    return main()


if __name__ == "__main__":
    sys.exit(_main(Connection(int(sys.argv[1]))))
