"""The outermost layer: request id, security headers, HEAD, access log, and the answer to every exception."""

import re
from collections.abc import Callable
from random import getrandbits
from time import perf_counter
from typing import Final, TypeAlias

from todo_app.http.errors import cause_of, is_refusal
from todo_app.http.exchange import App, Exchange, Header, Message, Receive, Scope, Send, fields_of
from todo_app.http.problems import reply_to

Observe: TypeAlias = Callable[[Exchange, float], None]
"""Called once per request with the exchange and its duration in seconds, after the answer was sent."""

_OWN_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")

# The list of the OWASP REST Security Cheat Sheet.
SECURITY_HEADERS: Final[tuple[Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=63072000; includeSubDomains"),
    # Also for requests without an Origin: a cache must not give their answers to a page that may not read them.
    (b"vary", b"Origin"),
)
# For answers that do not set their own value, as the docs page does.
DEFAULT_HEADERS: Final[tuple[Header, ...]] = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)


class Edge:
    """Wraps the service: every answer, including the router's own 404, has the common headers and is logged."""

    def __init__(
        self, app: App, *, observe: Observe, report: Callable[[Exchange, Exception], None], root_path: str = ""
    ) -> None:
        """`root_path`: the prefix that a proxy removes from each path (ASGI's term)."""
        self._app = app
        self._root_path = root_path
        self._observe = observe
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        fields = fields_of(scope["headers"])
        exchange = Exchange(scope, _request_id(fields), fields)
        if exchange.method == "HEAD":
            scope["method"] = "GET"
        scope["root_path"] = self._root_path
        with_headers = _with_headers(exchange, send)
        try:
            await self._app(scope, receive, with_headers)
        except Exception as raised:  # every error is answered, and bugs are reported
            error = cause_of(raised)
            if not is_refusal(error):
                self._report(exchange, error)
            if exchange.status == 0:
                await reply_to(error, exchange)(scope, receive, with_headers)
            raised.__traceback__ = error.__traceback__ = None  # which has the frames that have the error
        finally:
            self._observe(exchange, perf_counter() - started)
            exchange.leave_scope()


def _request_id(fields: dict[bytes, bytes]) -> str:
    own = fields.get(b"x-request-id")
    if own is not None and _OWN_ID.fullmatch(own):
        return own.decode()
    return f"{getrandbits(96):024x}"  # not a secret


def _with_headers(exchange: Exchange, send: Send) -> Send:
    """A `send` that adds the common headers, and drops the body of an answer to HEAD."""
    bodiless = exchange.method == "HEAD"

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.status = message["status"]
            own = dict(message["headers"])
            message["headers"] = [
                *message["headers"],
                *SECURITY_HEADERS,
                *exchange.answer_headers,
                *[header for header in DEFAULT_HEADERS if header[0] not in own],
                (b"x-request-id", exchange.request_id.encode()),
            ]
        elif bodiless:
            if message.get("more_body", False):
                return
            message["body"] = b""
        await send(message)

    return with_headers
