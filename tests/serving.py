"""Runs `todo serve` as a process, and talks to it through sockets, also in bytes that no HTTP client sends."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias, cast

import httpx
from fork_server import Forked, forked

from todo_adapters.jwt_identity import issue_token

TODO = str(Path(sys.executable).with_name("todo"))
SECRET = "of the tests with real servers, and of no use elsewhere"
SETTINGS = ("TODO_", "BETTER_AUTH_", "DATABASE_", "PROMETHEUS_")
CI = bool(os.environ.get("CI"))
START_SECONDS = 100.0
# For every client that needs no TLS: httpx would load all certificates of the machine for each, in 50 ms.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def environment(**variables: str) -> dict[str, str]:
    """This process's environment with these settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return {**kept, **variables}


def run(*arguments: str, through: Sequence[str] = (), **variables: str) -> "subprocess.CompletedProcess[str]":
    """Carry out a command of the program to its end. `through` is a command that becomes it."""
    if _may_be_forked(through, variables):
        return forked(arguments, environment(**variables), 90)
    command = [*through, TODO, *arguments]
    return subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, timeout=90, check=False
    )


def _may_be_forked(through: Sequence[str], variables: Mapping[str, str]) -> bool:
    """Whether a process of this run may be forked from one that has read what a new interpreter reads."""
    return not (CI or through or any(name.startswith("PYTHON") for name in variables))


def token_for(owner: str = "ann", now: datetime | None = None, **more: Any) -> str:
    """A token of one hour that a server with `SECRET` accepts; `more` as `issue_token` takes it."""
    return issue_token(SECRET.encode(), owner, timedelta(hours=1), now or datetime.now(UTC), **more)


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether a server answers there, with 200."""
    try:
        return httpx.get(url, timeout=5, verify=NO_TLS).status_code == 200
    except httpx.TransportError:
        return False


def eventually(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """The first true answer of `condition`; fails if there is none in time."""
    deadline = time.monotonic() + seconds
    pause = 0.01
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"the condition was not met within {seconds} seconds"
        time.sleep(pause)
        pause = min(1.5 * pause, 0.1)  # what takes long must not be slowed down by being watched
    return answer


class Server:
    """A running `todo serve`. Its output goes into files below `folder`. `through` is a command that becomes it."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        host: str = "127.0.0.1",
        port: int | None = None,
        through: Sequence[str] = (),
        **variables: str,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self._out, self._err = folder / f"out-{self.port}", folder / f"err-{self.port}"
        command = ["serve", "--host", host, "--port", str(self.port), *arguments]
        settings = environment(**{"TODO_DATA_DIR": str(folder / "data"), **variables})
        with self._out.open("ab") as out, self._err.open("ab") as err:
            if _may_be_forked(through, variables):
                self.process: Forked | subprocess.Popen[bytes] = Forked(command, settings, self._out, self._err)
            else:
                self.process = subprocess.Popen(
                    [*through, TODO, *command],
                    env=settings,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def started(self) -> "Server":
        """Wait until it answers."""
        eventually(lambda: self.process.poll() is not None or self.answers(), START_SECONDS)
        assert self.process.poll() is None, self.said()
        return self

    def answers(self) -> bool:
        """Whether anybody serves at its port."""
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health/live", timeout=5, verify=NO_TLS).status_code == 200
        return False

    def said(self) -> str:
        """What it wrote to standard error."""
        return self._err.read_text()

    def log(self) -> bytes:
        """What it wrote to standard output."""
        return self._out.read_bytes()

    def family(self) -> list[int]:
        """The processes in its session, itself included: the database is in one of its own."""
        return [pid for pid, session, _ in _processes() if session == self.process.pid]

    def workers(self) -> set[int]:
        """The processes that answer; where they are not forked, Python has one more, to clear up after them."""
        named = {pid: command for pid, session, command in _processes() if session == self.process.pid}
        return {pid for pid, command in named.items() if "resource_tracker" not in command} - {self.process.pid}

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its end; returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def discard(self) -> None:
        """End whatever is left of it; fails if it does not end when it is asked to."""
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            for pid in self.family():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(10)

    def greeting_token(self) -> str:
        """The token in the greeting."""
        found = re.search(r"Bearer ([\w.-]+)", self.greeting())
        assert found, self.said()
        return found[1]

    def greeting(self) -> str:
        """What it says to a newcomer as soon as it serves."""
        eventually(lambda: "Serving" in self.said() or self.process.poll() is not None, START_SECONDS)
        return self.said()

    def client(self, token: str) -> httpx.Client:
        """A client that shows that token."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=20, verify=NO_TLS)


def _processes() -> list[tuple[int, int, str]]:
    """Every living process, its session and its command, from ps, which every POSIX system has."""
    asked = ["ps", "-A", "-ww", "-o", "pid=,sess=,stat=,args="]
    lines = subprocess.run(asked, capture_output=True, encoding="utf-8", errors="replace", check=True).stdout
    found = [[*line.split(None, 3), ""][:4] for line in lines.splitlines()]
    return [(int(pid), int(session), command) for pid, session, state, command in found if not state.startswith("Z")]


def lives(pid: int) -> bool:
    """Whether that process runs."""
    return any(pid == other for other, *_ in _processes())


def database_pid(data_dir: Path) -> int | None:
    """The embedded database's process, if it runs."""
    with suppress(OSError, ValueError, IndexError):  # it may be there, and still empty
        pid = int((data_dir / "postgres/cluster/data/postmaster.pid").read_text().splitlines()[0])
        if lives(pid):
            return pid
    return None


def serving_events(server: Server) -> list[dict[str, Any]]:
    """The events with which it logged that it serves, without their times; waits for the first."""

    def logged() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in server.log().splitlines(keepends=True) if line.endswith(b"\n")]
        return [line for line in lines if line["event"] == "serving" and line.pop("time")]

    return cast("list[dict[str, Any]]", eventually(logged))


def raw(port: int, *pieces: bytes | float, timeout: float = 10.0, finish: bool = False) -> bytes:
    """What comes back until the end of the connection for these bytes; a number is a pause in seconds.

    `finish` says after the last piece that no more will come.
    """
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                if isinstance(piece, bytes):
                    connection.sendall(piece)
                else:
                    time.sleep(piece)
            if finish:
                connection.shutdown(socket.SHUT_WR)
        with suppress(TimeoutError, ConnectionResetError):
            while data := connection.recv(65536):
                answer += data
    return answer


def statuses(answer: bytes) -> list[int]:
    """The statuses of the answers that came back on one connection."""
    return [int(status) for status in re.findall(rb"(?:^|[^\w])HTTP/1\.[01] (\d{3})", answer)]


def head(method: str = "GET", target: str = "/health/live", *fields: str, version: str = "HTTP/1.1") -> bytes:
    """A request's head that asks for the connection to be closed."""
    named = {field.partition(":")[0].lower() for field in fields}
    usual = [field for field in ("Host: x", "Connection: close") if field.partition(":")[0].lower() not in named]
    return "\r\n".join([f"{method} {target} {version}", *usual, *fields, "", ""]).encode("latin-1")


Serve: TypeAlias = Callable[..., Server]
"""The fixture `serve`: starts a server with these arguments and variables, and ends it with the test."""
