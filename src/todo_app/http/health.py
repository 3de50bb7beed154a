"""Whether the process lives and can do its work, and how much of that it does: for those who run the service."""

from typing import Protocol

from litestar import get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST

from todo_app.http.exchange import Reply
from todo_core import TaskStore


class Exposition(Protocol):
    """What can be scraped."""

    def exposition(self) -> bytes:
        """All numbers in Prometheus's text format."""
        ...


_OK = [(b"content-type", b"application/json")]


def health_routes(store: TaskStore, metrics: Exposition) -> list[HTTPRouteHandler]:
    """`/health/live`, `/health/ready` and `/metrics`, open to everybody: they tell nothing of any user's."""

    @get("/health/live")
    async def live() -> Reply:
        return Reply(200, _OK, b'{"status":"live"}')

    @get("/health/ready")
    async def ready() -> Reply:
        await store.ready()
        return Reply(200, _OK, b'{"status":"ready"}')

    @get("/metrics")
    async def scrape() -> Reply:
        return Reply(200, [(b"content-type", CONTENT_TYPE_LATEST.encode())], metrics.exposition())

    return [live, ready, scrape]
