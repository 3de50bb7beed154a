"""The core in Starlette, on PostgreSQL: `migrate(url)` once, then `granian --interface asgi starlette_service:app`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from json import JSONDecodeError
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from todo_adapters.jwt_identity import JwtAuthenticator, JwtPolicy, bearer_token
from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_adapters.system import SystemClock, SystemIds
from todo_core import (
    Cursor,
    Identity,
    IdentityUnavailable,
    InvalidInput,
    NotAuthenticated,
    Problem,
    Scope,
    StoreUnavailable,
    Task,
    TaskNotFound,
    TaskQuery,
    TaskService,
    TodoError,
    WriteOptions,
)

STATUSES: dict[type[TodoError], HTTPStatus] = {
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    TaskNotFound: HTTPStatus.NOT_FOUND,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    IdentityUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, object]]:
    """Open what the requests share; close it in reverse order at the end."""
    clock = SystemClock()
    authenticator = JwtAuthenticator(JwtPolicy(secret=os.environ["BETTER_AUTH_SECRET"].encode()), clock)
    engine = create_engine(os.environ["DATABASE_URL"])
    store = PostgresTaskStore(engine)
    try:
        yield {"tasks": TaskService(store, clock, SystemIds()), "authenticator": authenticator}
    finally:
        await store.aclose()
        await engine.dispose()
        await authenticator.aclose()


async def caller(request: Request, scope: Scope) -> Identity:
    """The user whom the bearer token identifies. Raises unless the token has that scope."""
    values = [value.encode("latin-1") for value in request.headers.getlist("authorization")]
    identity: Identity = await request.state.authenticator.authenticate(bearer_token(values))
    if not identity.may(scope):
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        raise HTTPException(HTTPStatus.FORBIDDEN, headers={"WWW-Authenticate": challenge})
    return identity


async def create(request: Request) -> Response:
    identity = await caller(request, "tasks:write")
    options = WriteOptions(client=identity.client)
    match await body_of(request):
        case {"title": title, **rest} if rest.keys() <= {"description"}:  # the core validates the values
            members = {"title": title, "description": rest.get("description")}
            created = await request.state.tasks.create(identity.owner, options, **members)
            return JSONResponse(shown(created.task), HTTPStatus.CREATED)
    raise InvalidInput([Problem("", "must be an object with a title, and a description or none")])


async def browse(request: Request) -> Response:
    owner = (await caller(request, "tasks:read")).owner
    cursor = request.query_params.get("cursor")
    page = await request.state.tasks.page(owner, TaskQuery(after=Cursor.decode(cursor) if cursor else None))
    items = [shown(task) for task in page.items]
    return JSONResponse({"items": items, "next_cursor": page.next.encode() if page.next else None})


async def toggle(request: Request) -> Response:
    identity = await caller(request, "tasks:write")
    options = WriteOptions(client=identity.client)
    toggled = await request.state.tasks.toggle(identity.owner, request.path_params["id"], options)
    return JSONResponse(shown(toggled.task))


async def delete(request: Request) -> Response:
    identity = await caller(request, "tasks:write")
    await request.state.tasks.delete(identity.owner, request.path_params["id"], WriteOptions(client=identity.client))
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def body_of(request: Request) -> Any:
    try:
        return await request.json()
    except (JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput([Problem("", "must be JSON")]) from None


def shown(task: Task) -> dict[str, object]:
    """The task as JSON."""
    return {
        "id": str(task.id),
        "title": task.title,
        "description": task.description,
        "completed": task.completed,
        "version": task.version,
    }


async def refuse(_: Request, error: Exception) -> Response:
    """Answers every refusal of the core. An error that is not in the table is a bug: Starlette answers 500."""
    status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), None)
    if status is None or not isinstance(error, TodoError):
        raise error
    # Clients do not learn why credentials were refused.
    detail = status.phrase if isinstance(error, NotAuthenticated) else str(error)
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return JSONResponse({"code": error.code, "detail": detail}, status, headers)


app = Starlette(
    lifespan=lifespan,
    exception_handlers={TodoError: refuse},
    routes=[
        Route("/tasks", create, methods=["POST"]),
        Route("/tasks", browse, methods=["GET"]),
        Route("/tasks/{id:uuid}/toggle", toggle, methods=["POST"]),
        Route("/tasks/{id:uuid}", delete, methods=["DELETE"]),
    ],
)
