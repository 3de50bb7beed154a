"""Operations on lists."""

from typing import Final

from todo_app.api import examples, wire
from todo_app.api.operation import READ, WRITE, Answer, Body, Call, Subject
from todo_app.api.replies import (
    CHANGED,
    reply_with,
    reply_with_changed,
    reply_with_created,
    reply_with_nothing,
    reply_with_thing,
)
from todo_app.http.exchange import Reply
from todo_app.http.reading import JSON, MERGE_PATCH
from todo_core import ListNotFound, TaskExists, TooMany

LISTS: Final = Subject("lists", "A user's lists.")
AS_IT_IS: Final = "The list after the change."


@LISTS.operation("GET", "/lists", scope=READ, answers={200: Answer("All lists.", wire.Lists, examples.LISTS)})
async def list_lists(call: Call[None]) -> Reply:
    """List all lists.

    In the user's order. The inbox is not among them.
    """
    lists = await call.tasks.lists(call.owner)
    return reply_with(wire.Lists([wire.TaskList.of(each) for each in lists]))


@LISTS.operation(
    "POST",
    "/lists",
    scope=WRITE,
    body=Body(wire.NewList, examples.NEW_LIST),
    answers={
        201: Answer("The list as stored.", wire.TaskList, examples.LIST, ("Location", *CHANGED)),
        200: Answer(
            "The list with that `id`, which was created alike before; unchanged.",
            wire.TaskList,
            examples.LIST,
            ("Location", "ETag"),
        ),
    },
    refuses=(TooMany, TaskExists, ListNotFound),
)
async def create_list(call: Call[wire.NewList]) -> Reply:
    """Create a list.

    It becomes the last one. Under an `Idempotency-Key`, repeating the request creates nothing; the
    answer is 404 if the list has been erased since.
    """
    created = await call.tasks.create_list(call.owner, call.options, **call.body.members())
    return reply_with_created(call, created.task_list, created)


@LISTS.operation(
    "GET",
    "/lists/{list_id}",
    scope=READ,
    answers={
        200: Answer("The list.", wire.TaskList, examples.LIST, ("ETag",)),
        304: Answer("The client has this version already.", headers=("ETag",)),
    },
)
async def get_list(call: Call[None]) -> Reply:
    """Get a list.

    If the client has this version already (`If-None-Match`), the answer is 304, without a body.
    """
    return reply_with_thing(call, await call.tasks.get_list(call.owner, call.list_id))


@LISTS.operation(
    "PUT",
    "/lists/{list_id}",
    scope=WRITE,
    merges=True,
    body=Body(wire.ListPut, examples.LIST_PUT),
    answers={200: Answer(AS_IT_IS, wire.TaskList, examples.LIST_EDITED, CHANGED)},
)
async def put_list(call: Call[wire.ListPatch]) -> Reply:
    """Change a list, sending it as it was read.

    As PATCH: absent members stay, and `null` clears. Read-only members are accepted and ignored.
    """
    return await edit_list(call)


@LISTS.operation(
    "PATCH",
    "/lists/{list_id}",
    scope=WRITE,
    merges=True,
    body=Body(wire.ListPatch, examples.LIST_EDIT, (MERGE_PATCH, JSON)),
    answers={200: Answer(AS_IT_IS, wire.TaskList, examples.LIST_EDITED, CHANGED)},
)
async def edit_list(call: Call[wire.ListPatch]) -> Reply:
    """Change a list.

    RFC 7396: absent members stay, and `null` clears the color.
    """
    edited = await call.tasks.edit_list(call.owner, call.list_id, call.options, **call.body.members())
    return reply_with_changed(edited.task_list, edited)


@LISTS.operation(
    "POST",
    "/lists/{list_id}/move",
    scope=WRITE,
    body=Body(wire.MoveList, examples.MOVE_LIST, required=False),
    answers={200: Answer(AS_IT_IS, wire.TaskList, examples.LIST_MOVED, CHANGED)},
)
async def move_list(call: Call[wire.MoveList | None]) -> Reply:
    """Move a list.

    Before or after another one; without either it becomes the last.
    """
    where = {} if call.body is None else call.body.where()
    moved = await call.tasks.move_list(call.owner, call.list_id, call.options, **where)
    return reply_with_changed(moved.task_list, moved)


@LISTS.operation(
    "DELETE",
    "/lists/{list_id}",
    scope=WRITE,
    answers={204: Answer("Deleted.", headers=("Change", "Idempotency-Replayed"))},
)
async def delete_list(call: Call[None]) -> Reply:
    """Delete a list.

    It goes to the trash with all of its tasks, as one change.
    """
    deleted = await call.tasks.delete_list(call.owner, call.list_id, call.options)
    return reply_with_nothing(deleted)
