"""What a user has deleted: to be looked through, restored, or erased for good."""

from typing import Final
from uuid import UUID

from todo_app.api import examples, wire
from todo_app.api.listing import PAGES, read_trash
from todo_app.api.operation import DELETE, READ, WRITE, Answer, Call, Subject, read_id
from todo_app.api.replies import reply_with_nothing, reply_with_page, reply_with_things
from todo_app.http.exchange import Reply
from todo_core import InvalidInput, NotInTrash, TooMany

TRASH: Final = Subject("trash", "What a user has deleted.")


def read_trashed(call: Call[None]) -> UUID:
    """The id in the path. Raises `NotInTrash` for what is none."""
    return read_id(call.exchange.named, NotInTrash)


@TRASH.operation(
    "GET",
    "/trash",
    scope=READ,
    query=PAGES,
    answers={200: Answer("One page, newest first.", wire.Trash, examples.TRASH, ("Link",))},
    refuses=(InvalidInput,),
)
async def list_trash(call: Call[None]) -> Reply:
    """List what is in the trash.

    Deleted tasks and lists that nothing has brought back, one for each deletion. They are erased at `erased_at`.
    """
    page = await call.tasks.trash(call.owner, read_trash(call.query_string))
    view = wire.Trash.of(page, call.tasks.history_kept)
    return reply_with_page(call, "trash", view, view.next_cursor)


@TRASH.operation(
    "POST",
    "/trash/{trashed_id}/restore",
    scope=WRITE,
    answers={200: Answer("What is back.", wire.Things, examples.UNDONE, ("Change", "Idempotency-Replayed"))},
    refuses=(NotInTrash, TooMany),
)
async def restore_trashed(call: Call[None]) -> Reply:
    """Restore a deleted task or list.

    It comes back with all that its deletion took, and with the ids; versions go on. Where its list or its parent is
    gone, a task is in the inbox, or at the top.
    """
    return reply_with_things(await call.tasks.restore(call.owner, read_trashed(call), call.options))


@TRASH.operation(
    "DELETE",
    "/trash/{trashed_id}",
    scope=DELETE,
    answers={204: Answer("Erased.", headers=("Idempotency-Replayed",))},
    refuses=(NotInTrash,),
)
async def erase_trashed(call: Call[None]) -> Reply:
    """Erase a deleted task or list for good.

    It, and all that its deletion took, cannot be restored any more, and its text leaves the history.
    """
    erased = await call.tasks.erase(call.owner, read_trashed(call), call.options)
    return reply_with_nothing(erased)


@TRASH.operation("DELETE", "/trash", scope=DELETE, answers={204: Answer("Erased.", headers=("Idempotency-Replayed",))})
async def empty_trash(call: Call[None]) -> Reply:
    """Erase everything in the trash for good.

    What is deleted meanwhile stays.
    """
    done = await call.tasks.empty_trash(call.owner, call.options)
    return reply_with_nothing(done)
