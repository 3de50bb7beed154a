"""What is measured: servers as processes, each on a database of its own in one embedded PostgreSQL."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from benchmarks.load import User, request, send
from todo_adapters.embedded import EmbeddedPostgres
from todo_adapters.jwt_identity import issue_token

SECRET = "of the benchmark, and of no use elsewhere"  # noqa: S105
LIMIT = "1000000000/hour"
START_SECONDS = 60.0
TODO = str(Path(sys.executable).with_name("todo"))


@dataclass(frozen=True)
class Database:
    """A running PostgreSQL: where it is, and its main process."""

    url: str
    pid: int

    def make(self, name: str) -> str:
        """The URL of a new, empty database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()


@contextmanager
def database() -> Iterator[Database]:
    """An embedded PostgreSQL with its data as safe as in production, which is removed afterwards."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing is left behind then either
    with (
        tempfile.TemporaryDirectory(prefix="todo-bench-") as folder,
        EmbeddedPostgres.start(Path(folder), max_connections=400) as server,
    ):
        pid = (Path(folder) / "postgres/cluster/data/postmaster.pid").read_text().split()[0]
        yield Database(server.url, int(pid))


@dataclass
class Server:
    """A server under test, and what it writes to its standard output."""

    url: str
    pid: int
    log: Path
    users: list[User] = field(default_factory=list)


FASTIFY = "Fastify + SQL"
COMMANDS = {
    "todo-api": [TODO, "serve", "--host", "127.0.0.1", "--port", "{port}", "--workers", "{workers}"],
    "FastAPI + SQLModel": [
        sys.executable, "-m", "uvicorn", "benchmarks.peer:app", "--host", "127.0.0.1", "--port", "{port}",
        "--no-access-log", "--log-level", "warning",
    ],
    FASTIFY: ["node", "--no-deprecation", "server.mjs"],
}  # fmt: skip


def comparable() -> list[str]:
    """What can be measured here: Fastify needs node and npm."""
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        print(f"{FASTIFY} is left out: {' and '.join(missing)} not found")
    return [name for name in COMMANDS if name != FASTIFY or not missing]


@contextmanager
def _folder(name: str) -> Iterator[Path | None]:
    """Where the server's program is, with its packages; None where it is installed with this one."""
    if name != FASTIFY:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="todo-bench-") as folder:
        for file in (Path(__file__).parent / "fastify").iterdir():
            shutil.copy(file, folder)
        npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--silent"]
        subprocess.run(npm, cwd=folder, check=True)
        yield Path(folder)


@contextmanager
def serving(
    name: str, database_url: str, *, workers: int = 1, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Server]:
    """That server on that database, from when it answers until the end of the block."""
    port = free_port()
    usual = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "TODO_RATE_LIMIT": LIMIT, "PORT": str(port)}
    variables = {**usual, **settings}
    command = [part.format(port=port, workers=workers) for part in COMMANDS[name]]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TODO_", "BETTER_AUTH_"))}
    with (
        _folder(name) as folder,
        tempfile.NamedTemporaryFile(prefix="todo-bench-") as log,
        subprocess.Popen(
            command, cwd=folder, env=environment | variables, stdout=log, start_new_session=True
        ) as process,
    ):
        try:
            _wait_for(port, process)
            yield Server(f"http://127.0.0.1:{port}", process.pid, Path(log.name))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def seed(url: str, users: int, tasks: int, secret: str = SECRET, prefix: str = "bench-") -> list[User]:
    """So many users, each with so many tasks, made through the server itself."""
    people = [user_named(f"{prefix}{number}", secret) for number in range(users)]
    by_name = {person.name: person for person in people}
    host = urlsplit(url).netloc

    def note(status: int, body: bytes, _: float) -> None:
        if status != 201:
            raise SystemExit(f"a task could not be made: {status} {body.decode(errors='replace')}")
        made = json.loads(body)
        by_name[made["user_id"]].tasks.append(made["id"])

    requests = (request(host, person, "create") for _ in range(tasks) for person in people)
    asyncio.run(send(url, requests, note, 16))
    return people


def forget(url: str, users: list[User]) -> None:
    """Delete every task of these users: a deployed server is left as it was."""
    host, found = urlsplit(url).netloc, True
    while found:
        tasks: list[tuple[User, str]] = []
        by_name = {user.name: user for user in users}

        def note(status: int, body: bytes, _: float) -> None:
            if status == 200:
                tasks.extend((by_name[task["user_id"]], task["id"]) for task in json.loads(body)["items"])  # noqa: B023

        asyncio.run(send(url, [request(host, user, "list", query="?limit=200") for user in users], note, 8))
        asyncio.run(send(url, [request(host, user, "delete", task) for user, task in tasks], lambda *_: None, 8))
        found = bool(tasks)


def user_named(name: str, secret: str = SECRET) -> User:
    """A user without tasks, with a token for a day."""
    return User(name, issue_token(secret.encode(), name, timedelta(days=1), datetime.now(UTC)), [])


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        # An answer, not a connection: the port is open before a worker reads from it.
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), START_SECONDS) as probe:
            probe.sendall(b"GET /health/live HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            if probe.recv(1):
                return
        time.sleep(0.05)
    raise SystemExit("the server did not start")
