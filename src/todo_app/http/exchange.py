"""The state of one request that the HTTP layers share, and the reply."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias, cast

import msgspec

from todo_core import OwnerId

# ASGI 3's own types (https://asgi.readthedocs.io).
Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

Header: TypeAlias = tuple[bytes, bytes]
PIECE: Final = 64 * 1024  # bytes of an answer's body that are passed to the server at a time
_KEY: Final = "todo.exchange"
HOST: Final = re.compile(rb"(?:[\w.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")


class Exchange:
    """One request on its way through the layers. Mutable, since it belongs to one request in one task."""

    __slots__ = (
        "_scope",
        "allowed",
        "answer_headers",
        "fields",
        "metadata_url",
        "method",
        "owner",
        "path_parameter",
        "reason",
        "request_id",
        "status",
        "turn",
    )

    def __init__(self, scope: Scope, request_id: str, fields: dict[bytes, bytes]) -> None:
        self._scope = scope
        self.request_id = request_id
        self.fields = fields
        self.method: str = scope["method"]
        self.owner: OwnerId | None = None
        self.path_parameter = ""  # the id or number in the path
        self.reason: str | None = None
        self.status = 0
        self.metadata_url: str | None = None
        self.answer_headers: list[Header] = []
        self.allowed: Callable[[], tuple[str, ...]] = tuple
        self.turn: Callable[[], None] | None = None
        scope[_KEY] = self

    @staticmethod
    def of(scope: Mapping[str, object]) -> "Exchange":
        """The exchange of that ASGI scope."""
        return scope[_KEY]  # type: ignore[return-value]

    def leave_scope(self) -> None:
        """End the cycle of scope and exchange: both are freed now, rather than by the garbage collector."""
        del self._scope[_KEY]

    def give_back_turn(self) -> None:
        """Give the user's next request its turn: this one has ended, or is a stream."""
        if (turn := self.turn) is not None:
            self.turn = None
            turn()

    def header(self, name: bytes) -> bytes | None:
        """The request's header of that (lower-case) name; several of one name are one list (RFC 9110 §5.3)."""
        return self.fields.get(name)

    @property
    def is_http1(self) -> bool:
        """Whether the request is HTTP/1.0 or 1.1."""
        return cast("str", self._scope["http_version"]).startswith("1")

    @property
    def origin(self) -> str | None:
        """The origin that the request was sent to, such as `http://127.0.0.1:8000`; None for an invalid Host."""
        host = self.header(b"host") or b""
        # An empty port is none (RFC 3986 §3.2.3).
        return f"{self._scope['scheme']}://{host.decode().removesuffix(':')}" if HOST.fullmatch(host) else None

    @property
    def route(self) -> str | None:
        """The template of the route, such as `/api/{user_id}/tasks`; None if there is none."""
        return cast("str | None", self._scope.get("path_template"))


def fields_of(headers: Iterable[Header]) -> dict[bytes, bytes]:
    """The headers by name, several of one name joined with commas (RFC 9110 §5.3)."""
    headers = list(headers)
    fields = dict(headers)
    if len(fields) != len(headers):
        fields = {}
        for name, value in headers:
            fields[name] = b"%b, %b" % (fields[name], value) if name in fields else value
    return fields


class Reply(msgspec.Struct, gc=False):
    """A complete answer as an ASGI application: status, headers (`Content-Length` is added) and body.

    `rest`: what follows `body`, in parts, each of which is freed once it is sent. So it can be sent once.
    """

    status: int
    headers: list[Header]
    body: bytes = b""
    rest: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        headers, left = self.headers, len(self.body) + sum(map(len, self.rest))
        if left or self.status not in (204, 304):
            headers = [*headers, (b"content-length", b"%d" % left)]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        parts = [*reversed(self.rest), self.body]
        self.rest.clear()
        while parts:
            part = parts.pop()
            for place in range(0, len(part) or 1, PIECE):
                piece = part[place : place + PIECE]
                left -= len(piece)
                # The server accepts the next piece when the client has read enough: unread answers stay small.
                await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
