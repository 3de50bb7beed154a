"""Sends requests to the application in this process as a server does, also bytes that no HTTP client sends."""

import asyncio
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
from dependency_injector.providers import Object
from factories import ANN

from todo_adapters.jwt_identity import issue_token
from todo_adapters.memory import MemoryTaskStore
from todo_app.container import Container
from todo_app.http.exchange import App
from todo_app.log import Log
from todo_app.main import create_app
from todo_app.settings import Settings
from todo_core import OwnerId, Task, TaskQuery, TaskStore

SECRET = "known to the tests only, and long enough"
ORIGIN = "https://app.example"
UNLIMITED = "1000000/hour"
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"

STREAM = (b"content-type", b"text/event-stream")  # an answer that goes on for as long as its client stays
NO_HOST = (b"host", b"\n")  # among a request's headers: it goes without any

Headers = dict[str, str] | list[tuple[bytes, bytes]]
Fields = Iterable[tuple[bytes, bytes]]


def token(owner: str = ANN, *, life: timedelta = timedelta(hours=1), now: datetime | None = None, **more: Any) -> str:
    """A token that proves that owner; `more` as `issue_token` takes it."""
    return issue_token(SECRET.encode(), owner, life, now or datetime.now(UTC), **more)


def token_of(client: str) -> str:
    """A token that proves Ann, and names the program that it was issued to."""
    claims = jwt.decode(token(), options={"verify_signature": False})
    return jwt.encode(claims | {"client_id": client}, SECRET, algorithm="HS256")


def settings(**values: Any) -> Settings:
    """Settings that let a test ask as often as it likes."""
    usual = {"secret": SECRET, "cors_origins": (ORIGIN,), "rate_limit": UNLIMITED, "bad_token_limit": UNLIMITED}
    return replace(Settings.read({}), **{**usual, **values})


@dataclass
class Service:
    """The application on a store in memory, and what it wrote into its log."""

    app: App
    store: TaskStore
    container: Container
    log_file: int
    tokens: dict[str, str] = field(default_factory=dict)
    log_from: int = 0

    async def ask(
        self,
        method: str,
        path: str | bytes,
        *,
        user: str | None = ANN,
        headers: Headers | None = None,
        json_: Any = ...,
        body: bytes | Sequence[bytes] = b"",
        type_: str | None = JSON,
    ) -> httpx.Response:
        """The answer. `path` is sent as it is, query included; a body of several parts arrives in as many messages."""
        if json_ is not ...:
            body = json.dumps(json_).encode()
        sent = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
        fields = [_field(name, value) for name, value in sent]
        names = {name for name, _ in fields}
        if user is not None and b"authorization" not in names:
            fields.append((b"authorization", b"Bearer " + self.token(user).encode()))
        if body and type_ is not None and b"content-type" not in names:
            fields.append((b"content-type", type_.encode()))
        if isinstance(body, bytes) and body and b"content-length" not in names:
            fields.append((b"content-length", b"%d" % len(body)))
        elif not isinstance(body, bytes) and not names & {b"content-length", b"transfer-encoding"}:
            fields.append((b"transfer-encoding", b"chunked"))
        parts = [body] if isinstance(body, bytes) else list(body)
        target = path.encode() if isinstance(path, str) else path
        return await ask(self.app, method, target, fields, parts)

    def token(self, user: str) -> str:
        """A token of that user's: the same one all along, as a client would use it."""
        if user not in self.tokens:
            self.tokens[user] = token(user)
        return self.tokens[user]

    async def tasks_of(self, *owners: str) -> list[Task]:
        """Everything that is stored for them."""
        pages = [await self.store.tasks_of(OwnerId(owner)).page(TaskQuery(limit=200)) for owner in owners]
        return [task for page in pages for task in page.items]

    def log(self) -> list[dict[str, Any]]:
        """What has been logged since the last `forget`, every line of it JSON."""
        return [json.loads(line) for line in self.raw_log().split(b"\n")[:-1]]

    def raw_log(self) -> bytes:
        """The log as it was written since the last `forget`."""
        self.container.log().flush()
        return os.pread(self.log_file, os.fstat(self.log_file).st_size, self.log_from)

    def forget(self) -> None:
        """Be as good as new. To make a service takes far longer than most of what tests ask of it."""
        if isinstance(self.store, MemoryTaskStore):
            self.store._owners.clear()
        self.log_from += len(self.raw_log())


def _field(name: str | bytes, value: str | bytes) -> tuple[bytes, bytes]:
    return (
        name.lower() if isinstance(name, bytes) else name.lower().encode(),
        value if isinstance(value, bytes) else value.encode("utf-8"),
    )


def make_service(store: TaskStore | None = None, **values: Any) -> Service:
    """A service on `store`; `values` are settings. Nothing of it is shared with another one."""
    store = store or MemoryTaskStore()
    with tempfile.TemporaryFile() as file:
        descriptor = os.dup(file.fileno())
    container = Container(settings=settings(**values))
    container.store.override(Object(store))
    container.log.override(Object(Log("info", descriptor)))
    return Service(create_app(container), store, container, descriptor)


async def ask(
    app: App, method: str, target: bytes, fields: Fields, parts: Sequence[bytes] = (b"",), *, version: str = "1.1"
) -> httpx.Response:
    """Give one request to an ASGI application, as Granian would, and take its whole answer.

    A part that is None stands for a client that has gone away. Of a stream its beginning is the answer.
    """
    incoming, sent, answered = _incoming(parts), list[dict[str, Any]](), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not incoming:
            await answered.wait()
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and (not message["more_body"] or STREAM in sent[0]["headers"]):
            answered.set()

    await app(_scope(method, target, fields) | {"http_version": version}, receive, send)
    start, *bodies = sent
    assert start["type"] == "http.response.start"
    assert STREAM in start["headers"] or not bodies[-1].get("more_body", False)
    content = b"".join(message["body"] for message in bodies)
    return httpx.Response(start["status"], headers=start["headers"], content=content)


def _incoming(parts: Sequence[bytes]) -> list[dict[str, Any]]:
    """What ASGI says of the parts of a body."""
    return [
        {"type": "http.disconnect"}
        if part is None
        else {"type": "http.request", "body": part, "more_body": number < len(parts)}
        for number, part in enumerate(parts, 1)
    ]


def _scope(method: str, target: bytes, fields: Fields) -> dict[str, Any]:
    """What ASGI says of a request before its body; with a Host, unless there is one or it is to be without."""
    fields = list(fields)
    if not any(name == b"host" for name, _ in fields):
        fields.insert(0, (b"host", b"todo.example"))
    raw_path, _, query = target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": raw_path.decode("utf-8", "replace"),  # nobody should look at it: it has been decoded once
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [field for field in fields if field != NO_HOST],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "extensions": {},
        "state": {},
    }
