"""Checks a request before it is routed: origin, token, user in the path, rate limit, turn, path."""

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from functools import partial
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from todo_adapters.rate_limit import RateLimiter
from todo_app.http.errors import (
    NO_ROUTE,
    MalformedRequest,
    NoSuchRoute,
    NotYourPath,
    OriginNotAllowed,
    TooManyRequests,
)
from todo_app.http.exchange import HOST, App, Exchange, Header, Receive, Reply, Scope, Send
from todo_app.http.identification import Identification, limit_header, policy_header
from todo_app.http.resource import MCP, METADATA, base_url
from todo_app.http.turns import RequestTurns
from todo_core import OwnerId

Methods: TypeAlias = Callable[[str], tuple[str, ...]]
"""The methods that a path supports; none if there is no such path."""

_EXPOSED: Final = (  # agents in a page find where to get a token by WWW-Authenticate
    b"Change, ETag, Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, "
    b"X-Request-Id"
)
_HEADERS_READ: Final = (  # including MCP's
    b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Merge-Base, Time-Zone, "
    b"X-Request-Id, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id"
)
# A page may send any others too, as tracing and fetch libraries do: they are ignored.
_NAMES: Final = re.compile(rb"[\w!#$%&'*+.^`|~, -]{1,2048}", re.ASCII)
_PREFLIGHT: Final[tuple[Header, ...]] = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (b"access-control-max-age", b"600"),
)
_GUARDED: Final = (b"/api", MCP.encode())
_BELOW: Final = (b"/api/", MCP.encode() + b"/")
_LARGE: Final = ("/docs", "/openapi.json")  # a client that does not read one of these answers holds 0.4 MB
_SEGMENTS_MAX: Final = 16  # of a path: more than any has
_PLAIN_PATH: Final = re.compile(rb"(?:/[\w~-][\w~.-]*)+", re.ASCII)  # without escapes, empty and dot segments
_OWNER_SEGMENT: Final = 2  # of "/api/{user_id}/tasks/{task_id}/…" split at its slashes
_NAME_SEGMENT: Final = 4


NOT_YOURS: Final = "The path must begin with /api/ and your own user id, which is the `sub` of your token."


class Gate:
    """Passes a request on to the router with the caller's identity as `user` in its scope, or raises a refusal."""

    def __init__(
        self,
        app: App,
        *,
        operations: Mapping[str, App],
        identification: Identification,
        limiter: RateLimiter,
        turns: RequestTurns,
        origins: Collection[str],
        public_url: str | None,
        methods: Methods,
    ) -> None:
        """`operations`: handlers of the router `app` that are called without it, by canonical path."""
        self._app = app
        self._operations = operations
        self._identify = identification
        self._limiter = limiter
        self._policy = policy_header("default", limiter)
        self._turns = turns
        self._origins = frozenset(origin.encode() for origin in origins)
        self._public_url = public_url
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Raises a `TodoError` for a request that is refused."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange.of(scope)
        _require_host(exchange, scope)
        if (origin := exchange.header(b"origin")) is not None:
            self._allow_origin(exchange, origin)
            if exchange.method == "OPTIONS" and exchange.header(b"access-control-request-method") is not None:
                await self._preflight(exchange, origin)(scope, receive, send)
                return
        path: bytes = scope["raw_path"]
        if path in _GUARDED or path.startswith(_BELOW):
            if path == MCP.encode():
                self._prepare_mcp(exchange, origin)
            who: Hashable = await self._admit(exchange, scope)
        elif _canonical(scope).startswith(_LARGE):
            who = ("an address", self._identify.address(exchange, scope))
        else:
            await self._route(exchange, scope, receive, send)
            return
        receive = await self._turns.take(who, receive)
        exchange.turn = partial(self._turns.give_back, who)
        try:
            await self._route(exchange, scope, receive, send)
        finally:
            exchange.give_back_turn()

    async def _route(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        path = _canonical(scope)
        if exchange.owner is not None:
            path, exchange.path_parameter = _split(path)
        scope["path"] = scope["root_path"] + path  # as ASGI specifies; the router removes the prefix again
        if exchange.owner is None and path.startswith(("/api", MCP)):
            raise NoSuchRoute(f"{NO_ROUTE}: write it without percent-encoding.")
        exchange.allowed = partial(self._methods, path)
        if exchange.method == "OPTIONS":
            await self._options(path)(scope, receive, send)
            return
        await self._operations.get(path, self._app)(scope, receive, send)

    def _prepare_mcp(self, exchange: Exchange, origin: bytes | None) -> None:
        """Set the metadata's URL for refusals; refuse other origins, as MCP's transport requires."""
        if (base := base_url(exchange, self._public_url)) is not None:
            exchange.metadata_url = f"{base}{METADATA}"
        if origin is not None and origin not in self._origins:
            raise _origin_not_allowed()

    async def _admit(self, exchange: Exchange, scope: Scope) -> OwnerId:
        identity = scope["user"] = await self._identify(exchange, scope)
        owner = exchange.owner = identity.owner
        verdict = await self._limiter.hit(owner)
        exchange.answer_headers += [self._policy, limit_header("default", verdict)]
        path: bytes = scope["raw_path"]
        segments = path.split(b"/", _OWNER_SEGMENT + 1) if path.startswith(b"/api/") else []
        if len(segments) > _OWNER_SEGMENT and not _names(segments[_OWNER_SEGMENT], owner):
            raise NotYourPath(NOT_YOURS)
        if not verdict.allowed:
            raise TooManyRequests(verdict.reset_after)
        if len(segments) > _OWNER_SEGMENT + 1:
            # The user id has been checked. It is removed for the router, since it may contain a slash.
            scope["raw_path"] = b"/api/-/" + segments[-1]
        return owner

    def _allow_origin(self, exchange: Exchange, origin: bytes) -> None:
        if origin in self._origins:
            exchange.answer_headers += [
                (b"access-control-allow-origin", origin),
                # For front ends that send cookies with every request; no cookie is ever read.
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", _EXPOSED),
            ]

    def _preflight(self, exchange: Exchange, origin: bytes) -> Reply:
        if origin not in self._origins:
            raise _origin_not_allowed()
        asked = exchange.header(b"access-control-request-headers") or b""
        allowed = asked if _NAMES.fullmatch(asked) else _HEADERS_READ
        return Reply(204, [*_PREFLIGHT, (b"access-control-allow-headers", allowed)])

    def _options(self, path: str) -> Reply:
        methods = self._methods(path)
        if not methods:
            raise NoSuchRoute(f"{NO_ROUTE}.")
        return Reply(204, [(b"allow", ", ".join(methods).encode())])


def _origin_not_allowed() -> OriginNotAllowed:
    return OriginNotAllowed("This origin is not allowed: add it to TODO_CORS_ORIGINS.")


def _require_host(exchange: Exchange, scope: Scope) -> None:
    """Raise `MalformedRequest` unless the request has one valid Host; before HTTP/1.1 it may have none.

    For a request without Host, Granian (2.8) passes an empty one, which is invalid as well (RFC 9110 §4.2.1).
    """
    host = exchange.header(b"host") or b""
    if not HOST.fullmatch(host) and (host or scope["http_version"] == "1.1"):
        raise MalformedRequest(
            "HTTP/1.1 requires exactly one Host header: a host, and its port if any (RFC 9112 §3.2)."
        )


def _names(segment: bytes, owner: OwnerId) -> bool:
    """Whether that segment of a path, percent-decoded, is that owner's id."""
    expected = owner.encode()
    return segment == expected or (b"%" in segment and unquote_to_bytes(segment) == expected)


def _canonical(scope: Scope) -> str:
    """The path, decoded. Raises `NoSuchRoute` for empty or dot segments, so that each resource has only one path."""
    raw: bytes = scope["raw_path"]
    if raw.count(b"/") > _SEGMENTS_MAX:
        raise NoSuchRoute(f"{NO_ROUTE}: it has too many segments.")
    if _PLAIN_PATH.fullmatch(raw):
        return raw.decode()
    segments = [unquote_to_bytes(segment) for segment in raw.split(b"/")[1:]] if b"%" in raw else raw.split(b"/")[1:]
    if not raw.startswith(b"/"):
        raise NoSuchRoute(f"{NO_ROUTE}: it does not begin with a slash.")
    if raw != b"/" and any(segment in (b"", b".", b"..") or b"/" in segment for segment in segments):
        raise NoSuchRoute(f"{NO_ROUTE}: it has an empty or a dot segment, or an encoded slash.")
    try:
        return "/" + b"/".join(segments).decode()
    except UnicodeDecodeError:
        raise NoSuchRoute(f"{NO_ROUTE}: it is not UTF-8.") from None


def _split(path: str) -> tuple[str, str]:
    """A path with the id or number in it replaced by `-`; and that id or number, or ""."""
    parts = path.split("/", _NAME_SEGMENT + 1)
    if len(parts) <= _NAME_SEGMENT:
        return path, ""
    parameter, parts[_NAME_SEGMENT] = parts[_NAME_SEGMENT], "-"
    return "/".join(parts), parameter


def methods_by_path(served: Iterable[tuple[str, Iterable[str]]]) -> Methods:
    """A look-up of methods by path, from path templates and their methods; HEAD and OPTIONS are added."""
    table = [(re.compile(re.sub(r"\\{[^{}]+\\}", "[^/]+", re.escape(path))), frozenset(of)) for path, of in served]

    def methods(path: str) -> tuple[str, ...]:
        found = set[str]().union(*(methods for pattern, methods in table if pattern.fullmatch(path)))
        return tuple(sorted(found | {"OPTIONS"} | ({"HEAD"} if "GET" in found else set()))) if found else ()

    return methods
