"""Everything that can be asked below `/api/{user_id}`, subject by subject, and the way there."""

from collections.abc import Iterator
from typing import Any, Final

from litestar import Request
from litestar.handlers import HTTPRouteHandler

from todo_app.api.batch import BATCH
from todo_app.api.changes import CHANGES
from todo_app.api.lists import LISTS
from todo_app.api.operation import Operation, Subject
from todo_app.api.public import PUBLIC, PublicOperation, Service
from todo_app.api.recurring import RECURRING
from todo_app.api.sync import SYNC
from todo_app.api.tasks import TASKS
from todo_app.api.trash import TRASH
from todo_app.http.exchange import Exchange, Reply, Scope
from todo_app.http.live import Live
from todo_core import TaskService

SUBJECTS: Final[tuple[Subject, ...]] = (TASKS, LISTS, RECURRING, TRASH, CHANGES, SYNC, BATCH)


def operations() -> Iterator[Operation]:
    """All of them."""
    for subject in SUBJECTS:
        yield from subject.operations


def routes(tasks: TaskService, live: Live, service: Service) -> list[HTTPRouteHandler]:
    """The router's handlers, of the public operations too."""
    return [*(_route(each, tasks, live) for each in operations()), *(_public(each, service) for each in PUBLIC)]


def _route(operation: Operation, tasks: TaskService, live: Live) -> HTTPRouteHandler:
    # The gate has settled whose path it is, and put `-` in the owner's place.
    path = "/api/{user_id:str}" + operation.path.replace("}", ":str}")

    # Litestar goes by the annotation: it runs what is returned as an ASGI application, which a stream is, too.
    async def handle(request: Request[Any, Any, Any]) -> Reply:
        scope: Scope = request.scope  # type: ignore[assignment]
        return await operation.answer(tasks, live, scope, request.receive)  # type: ignore[return-value]

    # The status is the reply's own; Litestar would refuse a handler of 204 that is annotated with a reply.
    return HTTPRouteHandler(path, http_method=operation.method, status_code=200)(handle)  # type: ignore[arg-type]


def _public(operation: PublicOperation, service: Service) -> HTTPRouteHandler:
    async def handle(request: Request[Any, Any, Any]) -> Reply:
        return await operation.handler(service, Exchange.of(request.scope))

    return HTTPRouteHandler(operation.path, http_method="GET", status_code=200)(handle)
