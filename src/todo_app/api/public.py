"""Operations without a token, for operators. They reveal nothing about users."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST

from todo_app.api.operation import Described
from todo_app.http.docs import Asset
from todo_app.http.errors import MalformedRequest, TooManyAtOnce
from todo_app.http.exchange import Exchange, Reply
from todo_app.http.reading import JSON
from todo_app.http.resource import METADATA, metadata
from todo_core import SCOPES, StoreUnavailable, TaskStore


class Scraped(Protocol):
    """Metrics that can be scraped."""

    async def scrape(self) -> bytes:
        """All metrics in Prometheus's text format."""
        ...


@dataclass(frozen=True, slots=True)
class Service:
    """What these operations need."""

    store: TaskStore
    metrics: Scraped
    document: Asset
    public_url: str | None
    issuer: str | None


Handler: TypeAlias = Callable[[Service, Exchange], Awaitable[Reply]]


@dataclass(frozen=True, kw_only=True)
class PublicOperation(Described):
    """One operation with the method GET."""

    handler: Callable[[Service, Exchange], Awaitable[Reply]]
    answer: str
    content: dict[str, Any]
    tagged: bool = False


PUBLIC: Final[list[PublicOperation]] = []
_OK: Final = [(b"content-type", b"application/json")]


def _operation(path: str, **declared: Any) -> Callable[[Handler], Handler]:
    def declare(handler: Handler) -> Handler:
        PUBLIC.append(PublicOperation(path=path, handler=handler, **declared))
        return handler

    return declare


def _state(state: str) -> dict[str, Any]:
    schema = {"type": "object", "required": ["status"], "properties": {"status": {"const": state}}}
    return {JSON: {"schema": schema, "example": {"status": state}}}


@_operation("/health/live", answer="The process is running.", content=_state("live"))
async def is_live(_: Service, __: Exchange) -> Reply:
    """Check that the process is running.

    For a supervisor. Does not use the database.
    """
    return Reply(200, _OK, b'{"status":"live"}')


@_operation("/health/ready", answer="Ready.", content=_state("ready"), refuses=(StoreUnavailable,))
async def is_ready(service: Service, _: Exchange) -> Reply:
    """Check that the service can answer.

    For a load balancer: 503 while the database is unavailable.
    """
    await service.store.ready()
    return Reply(200, _OK, b'{"status":"ready"}')


@_operation("/metrics", answer="The metrics.", content={"text/plain": {"schema": {"type": "string"}}})
async def get_metrics(service: Service, _: Exchange) -> Reply:
    """Get the service's metrics.

    In Prometheus's text format.
    """
    return Reply(200, [(b"content-type", CONTENT_TYPE_LATEST.encode())], await service.metrics.scrape())


_RESOURCE: Final = {
    "type": "object",
    "required": ["resource", "scopes_supported", "bearer_methods_supported"],
    "properties": {
        "resource": {"type": "string", "format": "uri"},
        "authorization_servers": {"type": "array", "items": {"type": "string", "format": "uri"}},
        "scopes_supported": {"type": "array", "items": {"enum": list(SCOPES)}},
        "bearer_methods_supported": {"type": "array", "items": {"const": "header"}},
        "resource_name": {"type": "string"},
    },
}


@_operation(METADATA, answer="The metadata.", content={JSON: {"schema": _RESOURCE}}, refuses=(MalformedRequest,))
async def get_resource_metadata(service: Service, exchange: Exchange) -> Reply:
    """Get the authorization servers for `/mcp`.

    RFC 9728: for clients of the Model Context Protocol that sign in by themselves.
    """
    return Reply(200, _OK, msgspec.json.encode(metadata(exchange, service.public_url, service.issuer)))


@_operation(
    "/openapi.json",
    answer="The document.",
    content={JSON: {"schema": {"type": "object"}}},
    tagged=True,
    refuses=(TooManyAtOnce,),
)
async def get_openapi(service: Service, exchange: Exchange) -> Reply:
    """Get this document.

    OpenAPI 3.1; the page at `/docs` shows it.
    """
    return service.document.reply(exchange)
