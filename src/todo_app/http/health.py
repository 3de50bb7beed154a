"""Whether the process lives and whether it can do its work: for load balancers and orchestrators."""

from litestar import get
from litestar.handlers import HTTPRouteHandler

from todo_app.http.exchange import Reply
from todo_core import TaskStore

_OK = [(b"content-type", b"application/json")]


def health_routes(store: TaskStore) -> list[HTTPRouteHandler]:
    """`/health/live` and `/health/ready`, open to everybody: they tell nothing but yes or no."""

    @get("/health/live")
    async def live() -> Reply:
        return Reply(200, _OK, b'{"status":"live"}')

    @get("/health/ready")
    async def ready() -> Reply:
        await store.ready()
        return Reply(200, _OK, b'{"status":"ready"}')

    return [live, ready]
