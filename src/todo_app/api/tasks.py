"""What a user can do with tasks."""

from typing import Final

from todo_app.api import examples, wire
from todo_app.api.listing import HISTORY, LISTING, read_history, read_listing
from todo_app.api.operation import READ, WRITE, Answer, Body, Call, Subject
from todo_app.api.replies import (
    CHANGED,
    reply_with,
    reply_with_changed,
    reply_with_created,
    reply_with_nothing,
    reply_with_page,
    reply_with_thing,
)
from todo_app.http.exchange import Reply
from todo_app.http.reading import JSON, MERGE_PATCH
from todo_core import InvalidInput, Problem, TaskExists, TooMany

TASKS: Final = Subject("tasks", "A user's tasks.")
AS_IT_IS: Final = "The task as it is now."


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
    return reply_with_created(call, created.task, created)


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
    return reply_with_thing(call, await call.tasks.get(call.owner, call.task_id))


@TASKS.operation(
    "POST",
    "/tasks/{task_id}/move",
    scope=WRITE,
    body=Body(wire.Move, examples.MOVE),
    answers={200: Answer(AS_IT_IS, wire.Task, examples.MOVED, CHANGED)},
)
async def move_task(call: Call[wire.Move]) -> Reply:
    """Move a task.

    With its subtasks: to a list, below another task, or next to one. Without `before` and `after` it is the last there.
    There are at most five levels. Where no room is left between two positions, the siblings get new ones in the same
    change.
    """
    moved = await call.tasks.move(call.owner, call.task_id, call.options, **call.body.where())
    return reply_with_changed(moved.task, moved)


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
    edited = await call.tasks.edit(call.owner, call.task_id, call.options, **call.body.members())
    return reply_with_changed(edited.task, edited)


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
    return reply_with_nothing(deleted)


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
    return reply_with_changed(committed.task, committed)


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
    return reply_with(wire.Summary.of(await call.tasks.summary(call.owner)))
