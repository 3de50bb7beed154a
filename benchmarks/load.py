"""The load generator: keep-alive HTTP/1.1 connections, each sending its next request when the last is answered.

As a program (`python -m benchmarks.load`, a job as JSON on standard input, its result on standard output) it runs in a
process of its own, so that its cost is not the server's.
"""

import asyncio
import json
import random
import re
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

TIMEOUT = 60.0  # seconds beyond its time after which the load generator is given up
MIX = {"list": 40, "get": 30, "create": 15, "toggle": 15}
"""Of a hundred requests of the kind `mix`: about as a front end asks."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BODY = b'{"title":"Buy oat milk and bread on the way home","description":"from the corner shop"}'


@dataclass(frozen=True)
class User:
    """Somebody with a token and tasks."""

    name: str
    token: str
    tasks: list[str]


@dataclass(frozen=True)
class Job:
    """Requests of one kind, for so long or so many, over so many connections."""

    url: str
    users: list[User]
    kind: str
    connections: int
    seconds: float
    seed: int = 0
    most: int | None = None


@dataclass(frozen=True)
class Result:
    """How many requests were answered, how many of those badly, in how many seconds; latencies in milliseconds."""

    requests: int
    bad: int
    seconds: float
    p50: float
    p99: float


def request(host: str, user: User, kind: str, task: str = "", query: str = "", body: bytes = _BODY) -> bytes:
    """One request: get, list (of 20, however many have been created meanwhile, unless `query` says otherwise), create,
    toggle, delete, changes, batch, or undo (of the change with the number `task`). `body` is that of a creation or a
    batch.
    """
    path = f"/api/{user.name}/{kind if kind in {'changes', 'batch'} else 'tasks'}"
    methods = {"create": "POST", "batch": "POST", "undo": "POST", "toggle": "PATCH", "delete": "DELETE"}
    method = methods.get(kind, "GET")
    if kind in {"get", "toggle", "delete"}:
        path += f"/{task}"
    if kind == "toggle":
        path += "/complete"
    if kind == "undo":
        path, body = f"/api/{user.name}/changes/{task}/undo", b""
    if kind == "list":
        query = query or "?limit=20"
    lines = [f"{method} {path}{query} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {user.token}"]
    if method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body if method == "POST" else b"")


class Connection(asyncio.Protocol):
    """Sends what `requests` gives, one after the other. Calls `note` with each answer: status, body, seconds."""

    def __init__(self, requests: Iterator[bytes], note: Callable[[int, bytes, float], None]) -> None:
        self._requests = requests
        self._note = note
        self._received = b""
        self._waits = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def _next(self) -> None:
        self._waits = False
        if (request := next(self._requests, None)) is None:
            self._transport.close()
            return
        self._waits = True
        self._began = perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        found = _LENGTH.search(self._received, 0, end)
        status = int(self._received[9:12])
        whole = end + int(found[1]) if found else end
        if not found and status not in {204, 304}:
            raise ValueError("an answer without Content-Length")
        if len(self._received) >= whole:
            self._note(status, self._received[end:whole], perf_counter() - self._began)
            self._received = b""
            self._next()

    def connection_lost(self, problem: Exception | None) -> None:
        if self._waits:
            self._note(0, b"", perf_counter() - self._began)
        self.closed.set_result(None)


async def send(
    url: str, requests: Iterable[bytes], note: Callable[[int, bytes, float], None], connections: int
) -> None:
    """Send all these requests over so many connections."""
    parts, source, loop = urlsplit(url), iter(requests), asyncio.get_running_loop()
    secure = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if secure else 80)
    made = [
        (await loop.create_connection(lambda: Connection(source, note), parts.hostname, port, ssl=secure))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(each.closed for each in made))


def drive(job: Job) -> Result:
    """Carry the job out."""
    latencies: list[float] = []
    bad = 0

    def note(status: int, _: bytes, seconds: float) -> None:
        nonlocal bad
        latencies.append(seconds)
        bad += not 200 <= status < 300

    began = perf_counter()
    uvloop.run(send(job.url, _requests(job, began + job.seconds), note, job.connections))
    took = perf_counter() - began
    latencies.sort()
    p50, p99 = (latencies[int(len(latencies) * share)] * 1e3 for share in (0.5, 0.99))
    return Result(len(latencies), bad, took, p50, p99)


def _requests(job: Job, end: float) -> Iterator[bytes]:
    chance, host, sent = random.Random(job.seed), urlsplit(job.url).netloc, 0  # noqa: S311
    kinds, weights = (list(MIX), list(MIX.values())) if job.kind == "mix" else ([job.kind], [1])
    while perf_counter() < end and (job.most is None or sent < job.most):
        sent += 1
        user = chance.choice(job.users)
        yield request(host, user, chance.choices(kinds, weights)[0], chance.choice(user.tasks))


async def run_apart(job: Job) -> Result:
    """Carry the job out in a process of its own."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.load", stdin=pipe, stdout=pipe)
    try:
        async with asyncio.timeout(job.seconds + TIMEOUT):
            output, _ = await process.communicate(json.dumps(asdict(job)).encode())
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise SystemExit("the load generator failed")
    return Result(**json.loads(output))


def _main() -> None:
    given: dict[str, Any] = json.load(sys.stdin)
    users = [User(**user) for user in given.pop("users")]
    print(json.dumps(asdict(drive(Job(users=users, **given)))))


if __name__ == "__main__":
    _main()
