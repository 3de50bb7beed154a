"""Operations on tasks."""

from typing import Final

from todo_app.api import examples, wire
from todo_app.api.listing import HISTORY, LISTING, read_history, read_listing
from todo_app.api.operation import READ, WRITE, Answer, Body, Call, Subject
from todo_app.api.replies import (
    CHANGED,
    give_way_before,
    reply_with_changed,
    reply_with_created,
    reply_with_nothing,
    reply_with_page,
    reply_with_summary,
    reply_with_thing,
)
from todo_app.http.exchange import Reply
from todo_app.http.reading import JSON, MERGE_PATCH
from todo_core import InvalidInput, TaskExists, TaskNotFound, TooMany

TASKS: Final = Subject("tasks", "A user's tasks.")
AS_IT_IS: Final = "The task after the change."


@TASKS.operation(
    "GET",
    "/tasks",
    scope=READ,
    query=LISTING,
    answers={200: Answer("One page.", wire.TaskPage, examples.LISTED, ("Link",))},
)
async def list_tasks(call: Call[None]) -> Reply:
    """List tasks.

    One page, newest first by default, by the timestamp in the `id`. A task that is created or deleted between two pages
    neither repeats nor hides another; a task whose sort value changes may be on both pages or on neither.
    """
    page = await call.tasks.page(call.owner, read_listing(call.query_string))
    await give_way_before(page.items)
    view = wire.TaskPage.of(page)
    return reply_with_page(call, "tasks", view, view.next_cursor)


@TASKS.operation(
    "POST",
    "/tasks",
    scope=WRITE,
    body=Body(wire.NewTask, examples.CREATE),
    answers={
        201: Answer(
            "The task as stored; under a key that was used before, as it was stored at that time.",
            wire.Task,
            examples.CREATED,
            ("Location", *CHANGED),
        ),
        200: Answer(
            "The task with that `id`, which was created alike before; unchanged.",
            wire.Task,
            examples.CREATED,
            ("Location", "ETag"),
        ),
    },
    refuses=(TooMany, TaskExists, TaskNotFound),
)
async def create_task(call: Call[wire.NewTask]) -> Reply:
    """Create a task.

    It becomes the last in its list, or the last subtask of its parent, in the parent's list. Under an
    `Idempotency-Key`, or with an `id` of your own, repeating the request creates nothing: with an `id`, the answer is
    200 and the task in its present state; under a key, 404 if the task has been erased since.
    """
    created = await call.tasks.create(call.owner, call.options, **call.body.members())
    return reply_with_created(call, created.task, created)


@TASKS.operation(
    "GET",
    "/tasks/{task_id}",
    scope=READ,
    answers={
        200: Answer("The task.", wire.Task, examples.CREATED, ("ETag",)),
        304: Answer("The client has this version already.", headers=("ETag",)),
    },
)
async def get_task(call: Call[None]) -> Reply:
    """Get a task.

    If the client has this version already (`If-None-Match`), the answer is 304, without a body.
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

    With its subtasks: to a list, below another task, or next to one. Without `before` and `after` it becomes the last
    there. There are at most five levels. If there is no room between two positions, the siblings get new ones in the
    same change.
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

    As PATCH: absent members stay, and `null` clears. Read-only members are accepted and ignored.
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
    """Change a task.

    RFC 7396: absent members stay, and `null` clears an optional member. Another `list_id` or `parent_id` moves the task
    to the end there, with its subtasks.
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

    It goes to the trash with its subtasks, and can be restored for as long as changes are kept.
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
    """Complete, reopen or toggle a task.

    Without a body, or with `{}`, the task is toggled. With `completed`, repeating the request changes nothing, unless
    the task recurs: then each request completes an occurrence, and the task moves to the next one and stays open. With
    `occurrence`, the `due_date` that the client saw, nothing changes if the task has moved on since.
    """
    match call.body:
        case wire.Completion(occurrence=str(occurrence), completed=completed):
            if completed is not True:
                raise InvalidInput([wire.NOT_COMPLETING])
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
)
async def list_history(call: Call[None]) -> Reply:
    """List a task's history.

    Its changes, with the value of each changed member before and after; also after its deletion. Changes are kept for a
    time that the operator sets: if the oldest one is not `created`, older ones have been pruned.
    """
    query = read_history(call.query_string, call.task_id)
    page = await call.tasks.history(call.owner, query)
    if any(entry.kind != "task" for entry in page.items):
        raise TaskNotFound
    await give_way_before(page.items)
    view = wire.History.of(page)
    return reply_with_page(call, f"tasks/{call.task_id}/history", view, view.next_cursor)


@TASKS.operation(
    "GET",
    "/summary",
    scope=READ,
    answers={200: Answer("The numbers.", wire.Summary, examples.SUMMARY)},
)
async def get_summary(call: Call[None]) -> Reply:
    """Count tasks.

    How many are open and completed, and the open ones by tag, priority and list.
    """
    return await reply_with_summary(await call.tasks.summary(call.owner))
