"""All operations by subject, and what answers them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from litestar import Request
from litestar.exceptions import MethodNotAllowedException
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
from todo_app.http.exchange import App, Exchange, Receive, Reply, Scope, Send
from todo_app.http.live import Live
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


def apps(tasks: TaskService, live: Live) -> dict[str, App]:
    """The operations below `/api` as ASGI applications, by path, in which the gate has put `-` for user and thing."""
    return {_PLACEHOLDER.sub("-", path): _app(path, operations, tasks, live) for path, operations in by_path().items()}


def _app(path: str, by_method: Mapping[str, Operation], tasks: TaskService, live: Live) -> App:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        scope["path_template"] = path
        if (operation := by_method.get(scope["method"])) is None:
            raise MethodNotAllowedException
        reply = await operation.answer(tasks, live, scope, receive)
        await reply(scope, receive, send)

    return answer


_PLACEHOLDER: Final = re.compile(r"\{\w+\}")


def public_routes(service: Service) -> list[HTTPRouteHandler]:
    """The router's handlers of the public operations."""
    return [_public(each, service) for each in PUBLIC]


def _public(operation: PublicOperation, service: Service) -> HTTPRouteHandler:
    async def handle(request: Request[Any, Any, Any]) -> Reply:
        return await operation.handler(service, Exchange.of(request.scope))

    return HTTPRouteHandler(operation.path, http_method="GET", status_code=200)(handle)
