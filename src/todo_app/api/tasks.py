"""What a user can do with tasks."""

from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from todo_app.api import examples, wire
from todo_app.api.listing import HISTORY, LISTING, read_history, read_listing
from todo_app.api.operation import READ, WRITE, Answer, Body, Call, Subject
from todo_app.http.exchange import Header, Reply
from todo_app.http.idempotency import REPLAYED
from todo_app.http.preconditions import is_unmodified
from todo_app.http.reading import JSON, MERGE_PATCH
from todo_core import Committed, InvalidInput, Problem, TaskExists, TooMany

TASKS: Final = Subject("tasks", "A user's tasks.")

_encode: Final = msgspec.json.Encoder().encode
JSON_TYPE: Final[Header] = (b"content-type", b"application/json")
FRESH: Final[Header] = (b"cache-control", b"private, no-cache, no-transform")
CHANGED: Final = ("ETag", "Change", "Idempotency-Replayed")


@TASKS.operation(
    "GET",
    "/tasks",
    scope=READ,
    query=LISTING,
    answers={200: Answer("One page.", wire.TaskPage, examples.LISTED, ("Link",))},
    refuses=(InvalidInput,),
)
async def list_tasks(call: Call[None]) -> Reply:
    """List tasks.

    A page of tasks, newest first if nothing else is asked for. Pages follow the sorted value: a task that is created or
    deleted meanwhile neither repeats nor hides another; one whose sorted value changes meanwhile may do either.
    """
    view = wire.TaskPage.of(await call.tasks.page(call.owner, read_listing(call.query_string)))
    return reply_with_page(call, "tasks", view, view.next_cursor)


@TASKS.operation(
    "POST",
    "/tasks",
    scope=WRITE,
    body=Body(wire.NewTask, examples.CREATE),
    answers={
        201: Answer(
            "The task as stored; under a key that was used before, as it was stored then.",
            wire.Task,
            examples.CREATED,
            ("Location", *CHANGED),
        ),
        200: Answer(
            "The task with that `id`, made alike before, as it is now.",
            wire.Task,
            examples.CREATED,
            ("Location", "ETag"),
        ),
    },
    refuses=(TooMany, TaskExists),
)
async def create_task(call: Call[wire.NewTask]) -> Reply:
    """Create a task.

    It is the last in its list, or below its parent, and in the list of that. Under an `Idempotency-Key` only once,
    however often it is sent; so is one with an `id` of yours: sent again alike it is answered with 200, as it is now.
    """
    created = await call.tasks.create(call.owner, call.options, **call.body.members())
    location = path_of(call, f"tasks/{created.task.id}").encode()
    return reply_with(created, 200 if created.change is None else 201, (b"location", location))


@TASKS.operation(
    "GET",
    "/tasks/{task_id}",
    scope=READ,
    answers={
        200: Answer("The task.", wire.Task, examples.CREATED, ("ETag",)),
        304: Answer("You have this version already.", headers=("ETag",)),
    },
)
async def get_task(call: Call[None]) -> Reply:
    """Get a task.

    Nothing but its tag if you have that version.
    """
    task = await call.tasks.get(call.owner, call.task_id)
    tag = (b"etag", b'"%d"' % task.version)
    if is_unmodified(call.exchange, task.version):
        return Reply(304, [FRESH, tag])
    return Reply(200, [JSON_TYPE, FRESH, tag], _encode(wire.Task.of(task)))


@TASKS.operation(
    "POST",
    "/tasks/{task_id}/move",
    scope=WRITE,
    body=Body(wire.Move, examples.MOVE),
    answers={200: Answer("The task as it is now.", wire.Task, examples.MOVED, CHANGED)},
)
async def move_task(call: Call[wire.Move]) -> Reply:
    """Move a task.

    With its subtasks: to a list, below another task, or next to one. Without `before` and `after` it is the last there.
    There are at most five levels. Where no room is left between two positions, the siblings get new ones in the same
    change.
    """
    return reply_with(await call.tasks.move(call.owner, call.task_id, call.options, **call.body.where()))


AS_IT_IS: Final = "The task as it is now."


@TASKS.operation(
    "PUT",
    "/tasks/{task_id}",
    scope=WRITE,
    zoned=True,
    merges=True,
    body=Body(wire.TaskPut, examples.PUT),
    answers={200: Answer(AS_IT_IS, wire.Task, examples.PUT_DONE, CHANGED)},
)
async def put_task(call: Call[wire.TaskPatch]) -> Reply:
    """Change a task, sending it as it was read.

    As PATCH: what is absent stays, and `null` clears. What only GET gives is accepted and ignored.
    """
    return await edit_task(call)


@TASKS.operation(
    "PATCH",
    "/tasks/{task_id}",
    scope=WRITE,
    zoned=True,
    merges=True,
    body=Body(wire.TaskPatch, examples.EDIT, (MERGE_PATCH, JSON)),
    answers={200: Answer(AS_IT_IS, wire.Task, examples.EDITED, CHANGED)},
)
async def edit_task(call: Call[wire.TaskPatch]) -> Reply:
    """Change some of a task.

    RFC 7396: what is absent stays, and `null` clears, where there can be nothing. Another `list_id` or `parent_id`
    moves it there, to the end, with its subtasks.
    """
    return reply_with(await call.tasks.edit(call.owner, call.task_id, call.options, **call.body.members()))


@TASKS.operation(
    "DELETE",
    "/tasks/{task_id}",
    scope=WRITE,
    answers={204: Answer("Deleted.", headers=("Change", "Idempotency-Replayed"))},
)
async def delete_task(call: Call[None]) -> Reply:
    """Delete a task.

    It goes to the trash with its subtasks, from which it can be restored for as long as changes are kept.
    """
    deleted = await call.tasks.delete(call.owner, call.task_id, call.options)
    return Reply(204, [FRESH, *change_headers(deleted)])


@TASKS.operation(
    "PATCH",
    "/tasks/{task_id}/complete",
    scope=WRITE,
    zoned=True,
    body=Body(wire.Completion, examples.COMPLETE, (JSON, MERGE_PATCH), required=False),
    answers={200: Answer(AS_IT_IS, wire.Task, examples.DONE, CHANGED)},
)
async def complete_task(call: Call[wire.Completion | None]) -> Reply:
    """Toggle a task, or set whether it is done.

    Without a body, or with `{}`, the task is toggled. With `completed`, repeating the request changes nothing, unless
    the task recurs: then this occurrence is completed, and the task moves to its next one and stays open. With
    `occurrence`, the `due_date` that was seen, that one only: where the task has moved on, nothing happens.
    """
    match call.body:
        case wire.Completion(occurrence=str(occurrence), completed=completed):
            if completed is not True:
                raise InvalidInput([Problem("occurrence", 'must stand beside "completed": true')])
            committed = await call.tasks.complete(call.owner, call.task_id, call.options, occurrence=occurrence)
        case wire.Completion(completed=bool(completed)):
            committed = await call.tasks.edit(call.owner, call.task_id, call.options, completed=completed)
        case _:
            committed = await call.tasks.toggle(call.owner, call.task_id, call.options)
    return reply_with(committed)


@TASKS.operation(
    "GET",
    "/tasks/{task_id}/history",
    scope=READ,
    query=HISTORY,
    answers={200: Answer("One page, newest first.", wire.History, examples.HISTORY, ("Link",))},
    refuses=(InvalidInput,),
)
async def list_history(call: Call[None]) -> Reply:
    """List what happened to a task.

    Its changes, with each member that they changed, before and after; also once it is deleted. Changes are kept for as
    long as the service is set to: where the last one listed is not `created`, older ones have been forgotten.
    """
    query = read_history(call.query_string, call.task_id)
    view = wire.History.of(await call.tasks.history(call.owner, query))
    return reply_with_page(call, f"tasks/{call.task_id}/history", view, view.next_cursor)


@TASKS.operation(
    "GET",
    "/summary",
    scope=READ,
    answers={200: Answer("The numbers.", wire.Summary, examples.SUMMARY)},
)
async def get_summary(call: Call[None]) -> Reply:
    """Count tasks.

    How many are open and how many are done, and the open ones by tag, by priority and by list.
    """
    return Reply(200, [JSON_TYPE, FRESH], _encode(wire.Summary.of(await call.tasks.summary(call.owner))))


def path_of(call: Call[Any], below: str) -> str:
    """Where that is reached from outside, which lies below the caller's own path."""
    return f"{call.root_path}/api/{quote(call.owner, safe='')}/{below}"


def reply_with(committed: Committed, status: int = 200, *headers: Header) -> Reply:
    """The task, with its version as the entity tag and the number of the change."""
    task = committed.task
    tag = (b"etag", b'"%d"' % task.version)
    return Reply(status, [JSON_TYPE, FRESH, tag, *headers, *change_headers(committed)], _encode(wire.Task.of(task)))


def reply_with_things(committed: Committed) -> Reply:
    """The things that came of a change, and its number."""
    return Reply(200, [JSON_TYPE, FRESH, *change_headers(committed)], _encode(wire.Things.of(committed)))


def change_headers(committed: Committed) -> list[Header]:
    headers: list[Header] = [] if committed.change is None else [(b"change", b"%d" % committed.change)]
    return [*headers, REPLAYED] if committed.replayed else headers


def reply_with_page(call: Call[None], below: str, view: msgspec.Struct, next_cursor: str | None) -> Reply:
    """The page, with a link to the next one (RFC 8288) that keeps the filters."""
    headers = [JSON_TYPE, FRESH]
    if next_cursor is not None:
        kept = [(name, value) for name, value in parse_qsl(call.query_string.decode()) if name != "cursor"]
        target = f"{path_of(call, below)}?{urlencode([*kept, ('cursor', next_cursor)])}"
        headers.append((b"link", f'<{target}>; rel="next"'.encode()))
    return Reply(200, headers, _encode(view))
