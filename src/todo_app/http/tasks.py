"""The seven things a user can do with tasks, over HTTP: read the request, call one use case, shape the answer."""

import re
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar
from urllib.parse import parse_qsl, quote, urlencode
from uuid import UUID

import msgspec
from litestar import Controller, Request, delete, get, patch, post, put
from litestar.datastructures import State
from litestar.params import FromPath
from msgspec import UnsetType

from todo_app.http.exchange import Exchange, Header, Reply
from todo_app.http.idempotency import REPLAYED, read_idempotency_key
from todo_app.http.preconditions import is_unmodified, read_if_match
from todo_app.http.query import read_query
from todo_app.http.reading import JSON, MERGE_PATCH, no_body, read_json, read_optional_json
from todo_app.http.wire import Completion, NewTask, TaskListView, TaskPatch, TaskPut, TaskView, or_as_it_is
from todo_core import (
    Creation,
    Expected,
    IdempotencyKey,
    OwnerId,
    Page,
    Task,
    TaskId,
    TaskNotFound,
    TaskService,
    TodoError,
)

Body = TypeVar("Body")
Caller: TypeAlias = Request[OwnerId, TaskService, State]
"""A request that the gate let in: `user` is the owner whom its token proves, `auth` what they may call."""

NEW_TASK: Final = msgspec.json.Decoder(NewTask)
PATCH: Final = msgspec.json.Decoder(TaskPatch)
PUT: Final[msgspec.json.Decoder[TaskPatch]] = msgspec.json.Decoder(TaskPut)
COMPLETION: Final = msgspec.json.Decoder(Completion)
_encode: Final = msgspec.json.Encoder().encode

_JSON: Final[Header] = (b"content-type", b"application/json")
_FRESH: Final[Header] = (b"cache-control", b"private, no-cache, no-transform")
_UUID: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def task_id(text: str) -> TaskId:
    """The id in a path: a UUID in the form of RFC 9562 §4. Anything else names no task: raises `TaskNotFound`."""
    if not _UUID.fullmatch(text):
        raise TaskNotFound
    return TaskId(UUID(text))


def reply_with(task: Task, status: int = 200, *headers: Header) -> Reply:
    """The task, with its version as the entity tag."""
    tag = (b"etag", b'"%d"' % task.version)
    return Reply(status, [_JSON, _FRESH, tag, *headers], _encode(TaskView.of(task)))


def reply_with_page(page: Page, path: str, query_string: bytes) -> Reply:
    """The page, with a link to the next one (RFC 8288) that keeps the filters."""
    view = TaskListView.of(page)
    headers = [_JSON, _FRESH]
    if view.next_cursor is not None:
        kept = [(name, value) for name, value in parse_qsl(query_string.decode()) if name != "cursor"]
        target = f"{path}?{urlencode([*kept, ('cursor', view.next_cursor)])}"
        headers.append((b"link", f'<{target}>; rel="next"'.encode()))
    return Reply(200, headers, _encode(view))


def tasks_path(request: Caller) -> str:
    """Where the caller's tasks are reached from outside."""
    return f"{request.scope['root_path']}/api/{quote(request.user, safe='')}/tasks"


async def asked(request: Caller, wanted: TaskId, body: Awaitable[Body]) -> tuple[Body, Expected]:
    """The body, and the versions that `If-Match` allows. That the task is unknown is told before any fault of these."""
    exchange = Exchange.of(request.scope)
    try:
        return await body, read_if_match(exchange)
    except TodoError:
        await request.auth.get(request.user, wanted)
        read_if_match(exchange)  # what cannot be read at all comes before a rule that the body breaks
        raise


async def created(request: Caller, new: NewTask, key: IdempotencyKey | None) -> Creation:
    """The new task; under a key that has been used, the one that was new then."""
    if key is None:
        task = await request.auth.create(
            request.user, title=new.title, description=new.description, completed=new.completed
        )
        return Creation(task, replayed=False)
    return await request.auth.create_once(
        request.user, key, title=new.title, description=new.description, completed=new.completed
    )


def reply_with_new(creation: Creation, path: str) -> Reply:
    """The task that was created and where it is; a replay says that it is one, and otherwise the same as then."""
    task = creation.task
    location = (b"location", f"{path}/{task.id}".encode())
    return reply_with(task, 201, location, *((REPLAYED,) if creation.replayed else ()))


async def edited(request: Caller, wanted: TaskId, body: Awaitable[TaskPatch]) -> Reply:
    """The task with what the body names changed; the rest stays."""
    change, expected = await asked(request, wanted, body)
    task = await request.auth.edit(
        request.user,
        wanted,
        title=or_as_it_is(change.title),
        description=or_as_it_is(change.description),
        completed=or_as_it_is(change.completed),
        expected=expected,
    )
    return reply_with(task)


def completion(tasks: TaskService, body: Completion | None) -> Callable[..., Awaitable[Task]]:
    """What a request to complete asks for: toggling, unless the body says otherwise."""
    if body is None or isinstance(body.completed, UnsetType):
        return tasks.toggle
    return tasks.complete if body.completed else tasks.reopen


class TaskController(Controller):
    """`/api/{user_id}/tasks`. The gate has settled who calls and that the path is theirs."""

    path = "/api/{user_id:str}/tasks"

    @get()
    async def page(self, request: Caller) -> Reply:
        """One page of the caller's tasks."""
        query_string = request.scope["query_string"]
        page = await request.auth.page(request.user, read_query(query_string))
        return reply_with_page(page, tasks_path(request), query_string)

    @post()
    async def create(self, request: Caller) -> Reply:
        """A new task; with an `Idempotency-Key` only once, however often it is asked for."""
        key = read_idempotency_key(Exchange.of(request.scope))
        creation = await created(request, await read_json(request, NEW_TASK, JSON), key)
        return reply_with_new(creation, tasks_path(request))

    @get("/{task:str}")
    async def read(self, request: Caller, task: FromPath[str]) -> Reply:
        """One task; nothing but its tag if the caller has that version already."""
        found = await request.auth.get(request.user, task_id(task))
        if is_unmodified(Exchange.of(request.scope), found.version):
            return Reply(304, [_FRESH, (b"etag", b'"%d"' % found.version)])
        return reply_with(found)

    @put("/{task:str}")
    async def edit_as_read(self, request: Caller, task: FromPath[str]) -> Reply:
        """The task with some values changed; what only GET gives is accepted too, and ignored."""
        wanted = task_id(task)
        return await edited(request, wanted, read_json(request, PUT, JSON))

    @patch("/{task:str}")
    async def edit(self, request: Caller, task: FromPath[str]) -> Reply:
        """The task with some values changed."""
        wanted = task_id(task)
        return await edited(request, wanted, read_json(request, PATCH, MERGE_PATCH, JSON))

    @patch("/{task:str}/complete")
    async def complete(self, request: Caller, task: FromPath[str]) -> Reply:
        """The task toggled, or done or open where the body says so."""
        wanted, tasks = task_id(task), request.auth
        reading = read_optional_json(request, COMPLETION, JSON, MERGE_PATCH)
        body, expected = await asked(request, wanted, reading)
        return reply_with(await completion(tasks, body)(request.user, wanted, expected=expected))

    # The status is the reply's own; Litestar would refuse a handler of 204 that is annotated with a reply.
    @delete("/{task:str}", status_code=200)
    async def remove(self, request: Caller, task: FromPath[str]) -> Reply:
        """The task is gone."""
        wanted = task_id(task)
        _, expected = await asked(request, wanted, no_body())
        await request.auth.delete(request.user, wanted, expected=expected)
        return Reply(204, [_FRESH])
