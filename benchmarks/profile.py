"""Where the CPU time of a request goes, layer by layer: the application in this process, without sockets, profiled."""

import asyncio
import cProfile
import json
import os
import pstats
import time
from collections import defaultdict
from collections.abc import Iterable
from random import Random
from typing import Any

from benchmarks import report
from benchmarks.load import MIX, User
from benchmarks.subjects import LIMIT, SECRET
from todo_app.container import Container
from todo_app.log import Log
from todo_app.main import create_app
from todo_app.settings import Settings

CONCURRENT = 13  # requests under way, as many as share a statement on average with 32 connections

# A layer is the files whose path has one of these parts; the first that fits counts.
LAYERS = {
    "driver: a statement and its rows": ("/psycopg/", "/psycopg_binary/"),
    "pool: checkouts": ("/sqlalchemy/", "/greenlet/"),
    "statements: arrays, rows, plans of writes": tuple(
        f"postgres/{name}" for name in ("batch", "rows", "listing", "reading", "writing", "transaction")
    ),
    "sharing: gathering, deadlines, connections": ("todo_adapters/postgres/",),
    "identity: header, token by its digest": ("jwt_identity/", "http/identification"),
    "limit per user": ("/rate_limit/",),
    "metrics": ("todo_app/metrics", "/prometheus_client/"),
    "log": ("todo_app/log", "todo_app/line_writer"),
    "edge and gate: id, headers, path, origin": ("http/edge", "http/gate", "http/exchange"),
    "operations: body, id, JSON, answer": ("todo_app/api/", "todo_app/http/"),
    "core: rules, ids, clock": ("todo_core/", "todo_adapters/system", "uuid.py", "dataclasses.py"),
    "event loop and all else": ("",),
}
KINDS = ("get", "list", "create", "toggle", "mix")


def measure(url: str, users: list[User], requests: int) -> str:
    """A table of layers, in CPU microseconds per request."""
    import uvloop

    by_kind = {kind: uvloop.run(_layers(url, users, kind, requests)) for kind in KINDS}
    rows: list[list[object]] = [[layer, *(by_kind[kind][layer] for kind in KINDS)] for layer in LAYERS]
    rows.append(["**in all**", *(sum(by_kind[kind].values()) for kind in KINDS)])
    return report.table(["CPU µs per request", *KINDS], rows)


async def _layers(url: str, users: list[User], kind: str, requests: int) -> dict[str, float]:
    container = Container(
        settings=Settings.read({"DATABASE_URL": url, "BETTER_AUTH_SECRET": SECRET, "TODO_RATE_LIMIT": LIMIT})
    )
    container.log.override(Log("info", os.open(os.devnull, os.O_WRONLY)))
    app = create_app(container)
    async with _Life(app):
        chance = Random(0)  # noqa: S311  (no secret)
        kinds = chance.choices(list(MIX), list(MIX.values()), k=requests) if kind == "mix" else [kind] * requests
        scopes = [_scope(users[number % len(users)], each, number) for number, each in enumerate(kinds)]
        await _ask(app, scopes[: requests // 5])
        began = time.process_time()
        await _ask(app, scopes)
        cost = (time.process_time() - began) / requests * 1e6
        profiler = cProfile.Profile(time.thread_time)
        profiler.enable()
        await _ask(app, scopes)
        profiler.disable()
    # A profiler slows calls more than work: its shares hold, its times do not.
    own = _own_times(pstats.Stats(profiler).stats)  # type: ignore[attr-defined]
    if absent := LAYERS.keys() - own.keys():
        raise SystemExit(f"no file is in these layers any more: {', '.join(sorted(absent))}")
    return {layer: cost * own[layer] / sum(own.values()) for layer in LAYERS}


class _Life:
    """ASGI's lifespan, begun and ended."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._sent: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._got: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._app({"type": "lifespan", "state": {}}, self._sent.get, self._got.put))
        await self._sent.put({"type": "lifespan.startup"})
        await self._got.get()

    async def __aexit__(self, *_: object) -> None:
        await self._sent.put({"type": "lifespan.shutdown"})
        await self._task


def _scope(user: User, kind: str, number: int) -> dict[str, Any]:
    method, path, query = "GET", f"/api/{user.name}/tasks", b""
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {user.token}".encode())]
    if kind == "list":
        query = b"limit=20"
    elif kind == "create":
        method = "POST"
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]
    else:
        path += f"/{user.tasks[number % len(user.tasks)]}"
    if kind == "toggle":
        method, path = "PATCH", f"{path}/complete"
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": method,
        "path": path, "raw_path": path.encode(), "query_string": query, "root_path": "", "headers": headers,
        "state": {}, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "extensions": {},
    }  # fmt: skip


_BODY = json.dumps({"title": "A new task", "description": "of the profile"}).encode()


async def _ask(app: Any, scopes: Iterable[dict[str, Any]]) -> None:
    left = iter(scopes)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": _BODY, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message.get("status", 200) >= 300:
            raise SystemExit(f"an answer was bad: {message}")

    async def client() -> None:
        for scope in left:
            await asyncio.create_task(app({**scope, "state": {}}, receive, send))

    await asyncio.gather(*(client() for _ in range(CONCURRENT)))


def _own_times(stats: dict[Any, Any]) -> dict[str, float]:
    """Each layer's own time; that of built-in functions is their callers'."""
    own: dict[str, float] = defaultdict(float)
    for (file, _, _), (_, _, time_, _, callers) in stats.items():
        if file != "~":
            own[_layer(file)] += time_
        for (caller, _, _), (_, _, part, _) in callers.items() if file == "~" else ():
            own[_layer(caller)] += part
    return own


def _layer(file: str) -> str:
    return next(layer for layer, parts in LAYERS.items() if any(part in file for part in parts))
