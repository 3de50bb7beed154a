"""All operations by subject, and their routes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from litestar import Request
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.types import Receive as AsgiReceive
from litestar.types import Scope as AsgiScope
from litestar.types import Send as AsgiSend

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
from todo_app.http.turns import RequestTurns
from todo_core import TaskService

SUBJECTS: Final[tuple[Subject, ...]] = (TASKS, LISTS, RECURRING, TRASH, CHANGES, SYNC, BATCH)


def operations() -> Iterator[Operation]:
    """All operations below `/api/{user_id}`."""
    for subject in SUBJECTS:
        yield from subject.operations


def by_path() -> dict[str, dict[str, Operation]]:
    """The operations below `/api` by path, such as `/api/{user_id}/tasks`, and method."""
    found: dict[str, dict[str, Operation]] = {}
    for operation in operations():
        found.setdefault("/api/{user_id}" + operation.path, {})[operation.method] = operation
    return found


def routes(tasks: TaskService, live: Live, service: Service) -> list[HTTPRouteHandler | ASGIRouteHandler]:
    """The router's handlers, including the public operations."""
    alone = RequestTurns(max_concurrent=1, max_waiting=_WAITING_MAX, detail=_ALONE)
    below = [_route(path, answering, tasks, live, alone) for path, answering in by_path().items()]
    return [*below, *(_public(each, service) for each in PUBLIC)]


def _route(
    path: str, by_method: Mapping[str, Operation], tasks: TaskService, live: Live, alone: RequestTurns
) -> ASGIRouteHandler:
    # An ASGI handler: Litestar's request and response, which are not needed, would cost a tenth of each answer.
    async def handle(scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        request: Scope = scope  # type: ignore[assignment]
        request["path_template"] = path
        if (operation := by_method.get(request["method"])) is None:
            raise MethodNotAllowedException
        if not operation.large:
            answer = await operation.answer(tasks, live, request, receive)
            await answer(request, receive, send)
            return
        owner = request["user"].owner
        receive = await alone.take(owner, receive)
        try:
            answer = await operation.answer(tasks, live, request, receive)
            await answer(request, receive, send)
        finally:
            alone.give_back(owner)

    # The gate has read the user and the thing, and replaced both by `-`: the router looks the path up in a table.
    return ASGIRouteHandler(_PLACEHOLDER.sub("-", path), copy_scope=False)(handle)


_WAITING_MAX: Final = 999  # of one user, who has fewer places
_ALONE: Final = "You may have one undo or restoration at a time: read the answer of the one before this."
_PLACEHOLDER: Final = re.compile(r"\{\w+\}")


def _public(operation: PublicOperation, service: Service) -> HTTPRouteHandler:
    async def handle(request: Request[Any, Any, Any]) -> Reply:
        return await operation.handler(service, Exchange.of(request.scope))

    return HTTPRouteHandler(operation.path, http_method="GET", status_code=200)(handle)
