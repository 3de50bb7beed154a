"""A server's memory while requests of every kind are served, among them streams, batches and recurring tasks."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random
from urllib.parse import urlencode, urlsplit

import uvloop

from benchmarks import report, usage
from benchmarks.events import opened
from benchmarks.load import User, request, send
from benchmarks.subjects import Server
from todo_adapters.system import SystemIds
from todo_core import Sort

STREAMS = 50
CONNECTIONS = 32
READINGS = 10
KINDS = {"list": 25, "get": 20, "create": 10, "toggle": 15, "changes": 5, "batch": 10, "any list": 15}
"""Of a hundred requests."""
FILTERS = {
    "completed": ("true", "false"), "q": ("milk", "a" * 50), "priority": ("high", "none"), "tag": ("home",),
    "due_from": ("2026-11-28",), "due_before": ("2027-11-28",), "list_id": ("none",), "parent_id": ("none",),
}  # fmt: skip


def table(server: Server, users: list[User], requests: int) -> str:
    """The memory before, and after each tenth of the requests."""
    rows = [_row(server, 0)]

    def note(served: int) -> None:
        rows.append(_row(server, served))
        print(rows[-1], flush=True)

    uvloop.run(_serve(server, users, requests, note))
    return report.table(["requests served", "worker's memory, MiB (PSS)", "parent and worker, MiB (PSS)"], rows)


def _row(server: Server, served: int) -> list[str]:
    [worker] = usage.workers(server.pid)
    return [f"{served:,}", *(f"{usage.memory_mib(pid):.1f}" for pid in (worker, server.pid))]


async def _serve(server: Server, users: list[User], requests: int, note: Callable[[int], None]) -> None:
    """Send that many requests while streams are open. Raises `SystemExit` for an answer that is not a success."""

    def judge(status: int, body: bytes, _: float) -> None:
        if not 200 <= status < 300:
            raise SystemExit(f"{status} {body.decode(errors='replace')}")

    streams = [await opened(server, user) for user in users[:STREAMS]]
    reading = [asyncio.create_task(_read(stream)) for stream in streams]
    chance, part = Random(0), requests // READINGS  # noqa: S311  (no secret)
    for number in range(1, READINGS + 1):
        await send(server.url, _requests(server, users, part, chance), judge, CONNECTIONS)
        note(number * part)
    if any(each.done() for each in reading):
        raise SystemExit("a stream has ended")


async def _read(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass


def _requests(server: Server, users: list[User], count: int, chance: Random) -> Iterator[bytes]:
    host, ids = urlsplit(server.url).netloc, SystemIds()
    for kind in chance.choices(list(KINDS), list(KINDS.values()), k=count):
        user = chance.choice(users)
        if kind == "batch":
            yield request(host, user, "batch", body=_batch(str(ids.new(datetime.now(UTC)))))
        elif kind == "any list":
            chosen = chance.sample(list(FILTERS.items()), chance.randrange(len(FILTERS) + 1))
            query = {"sort": chance.choice(list(Sort)), **{name: chance.choice(values) for name, values in chosen}}
            yield request(host, user, "list", query="?" + urlencode(query))
        else:
            yield request(host, user, kind, chance.choice(user.tasks))


def _batch(task: str) -> bytes:
    """A task that recurs is created, completed once, and deleted."""
    members = {"id": task, "title": "Water the plants", "due_date": "2026-11-28", "recurrence": "FREQ=WEEKLY;BYDAY=SA"}
    operations = [
        {"op": "create", "task": members}, {"op": "complete", "id": task}, {"op": "delete", "id": task},
    ]  # fmt: skip
    return json.dumps({"operations": operations}).encode()
