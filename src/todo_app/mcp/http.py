"""`POST /mcp`: the tools over Streamable HTTP, stateless, with JSON answers."""

import asyncio
import gc
from collections.abc import Iterable
from typing import Any, Final

from litestar import Request
from litestar.handlers import HTTPRouteHandler

from todo_adapters.threads import examine_young, in_thread
from todo_app.api.replies import FRESH
from todo_app.http.exchange import App, Exchange, Header, Message, Receive, Reply, Scope
from todo_app.http.headers import read_time_zone
from todo_app.http.reading import JSON, read_bytes, require_type
from todo_app.http.resource import MCP
from todo_app.http.turns import give_way
from todo_app.mcp.message import read_message
from todo_app.mcp.tool import Caller
from todo_core import TaskService

_TYPE: Final = b"content-type"
_CALLER: Final = "todo.mcp.caller"
_FAILURE: Final = "todo.mcp.failure"
# The list of tools depends on the token's scopes.
_PRIVATE: Final[tuple[Header, ...]] = (FRESH, (b"vary", b"Authorization"))


class McpEndpoint:
    """The endpoint of the tools. The SDK is loaded by the first request."""

    def __init__(self, tasks: TaskService) -> None:
        self._tasks = tasks
        self._loading: asyncio.Task[App] | None = None
        self._making = asyncio.Lock()

    def route(self) -> HTTPRouteHandler:
        """The endpoint's route."""

        async def handle(request: Request[Any, Any, Any]) -> Reply:
            return await self.answer(request.scope, request.receive)  # type: ignore[arg-type]

        return HTTPRouteHandler(MCP, http_method="POST", status_code=200)(handle)

    async def answer(self, request: Scope, receive: Receive) -> Reply:
        """The SDK's answer. Raises a `TodoError` for an unreadable request, a missing scope, or a bug in a tool."""
        exchange = Exchange.of(request)
        require_type(exchange, (JSON,))
        turn = _Turn(self._making)
        caller = Caller(self._tasks, request["user"], read_time_zone(exchange), turn.take)
        body = await read_bytes(exchange, receive)
        read_message(body)
        answer, asked = _Answer(), {**request, "headers": _plain(request["headers"]), _CALLER: caller}
        sdk = await self._sdk()
        await give_way(0)
        try:
            await sdk(asked, _replayed(body, receive), answer.send)
        finally:
            turn.give_back()
        if _FAILURE in asked:
            raise asked.pop(_FAILURE)
        return answer.reply()

    async def _sdk(self) -> App:
        if self._loading is None:
            self._loading = asyncio.create_task(in_thread(_load))
        try:
            return await asyncio.shield(self._loading)
        except Exception:
            self._loading = None  # the next request tries again
            raise


class _Turn:
    """A request's turn to make a large answer, which it takes once at most."""

    def __init__(self, making: asyncio.Lock) -> None:
        self._making = making
        self._is_ours = False

    async def take(self) -> None:
        """Wait for it, and then for other requests."""
        if not self._is_ours:
            self._is_ours = await self._making.acquire()
        await give_way()

    def give_back(self) -> None:
        """End it. The SDK leaves garbage, which would be examined with that of other answers, for up to 17 ms."""
        if self._is_ours:
            self._making.release()
            examine_young()


def _load() -> App:
    """Load the SDK, which takes long: in a thread, and only if an agent calls."""
    from todo_app.mcp.server import http_server

    gc.freeze()  # or the next requests would wait 10 ms while its modules are examined

    def scope_of(request: Any) -> Scope:
        scope: Scope = request.request.scope
        return scope

    return http_server(
        lambda request: scope_of(request)[_CALLER],
        lambda request, error: scope_of(request).update({_FAILURE: error}),
    )


def _plain(headers: Iterable[Header]) -> list[Header]:
    """Those headers with the media type as the SDK knows it: in small letters and without parameters."""
    return [*(header for header in headers if header[0] != _TYPE), (_TYPE, JSON.encode())]


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body that was read, and then what follows."""
    kept: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return kept.pop() if kept else await receive()

    return replay


class _Answer:
    """Collects the answer of an ASGI application."""

    def __init__(self) -> None:
        self._start: Message = {}
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self._body += message.get("body", b"")

    def reply(self) -> Reply:
        own = [header for header in self._start["headers"] if header[0] != b"content-length"]
        return Reply(self._start["status"], [*own, *_PRIVATE], self._body)
