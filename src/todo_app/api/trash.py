"""Operations on the trash: listing, restoring, erasing."""

from typing import Final
from uuid import UUID

from todo_app.api import examples, wire
from todo_app.api.ids import read_id
from todo_app.api.listing import PAGES, read_trash
from todo_app.api.operation import DELETE, READ, WRITE, Answer, Call, Subject
from todo_app.api.replies import give_way_before, reply_with_nothing, reply_with_page, reply_with_things
from todo_app.http.exchange import Reply
from todo_core import NotInTrash, TooMany

TRASH: Final = Subject("trash", "Deleted tasks and lists.")


def read_trashed(call: Call[None]) -> UUID:
    """The id in the path. Raises `NotInTrash` for anything else."""
    return read_id(call.exchange.path_parameter, NotInTrash)


@TRASH.operation(
    "GET",
    "/trash",
    scope=READ,
    query=PAGES,
    answers={200: Answer("One page, newest first.", wire.Trash, examples.TRASH, ("Link",))},
)
async def list_trash(call: Call[None]) -> Reply:
    """List the trash.

    Deleted tasks and lists, one item for each deletion. They are erased at `erased_at` or later.
    """
    page = await call.tasks.trash(call.owner, read_trash(call.query_string))
    await give_way_before(page.items)
    view = wire.Trash.of(page, call.tasks.history_kept)
    return reply_with_page(call, "trash", view, view.next_cursor)


@TRASH.operation(
    "POST",
    "/trash/{trashed_id}/restore",
    scope=WRITE,
    large=True,
    answers={
        200: Answer("The restored tasks and lists.", wire.Things, examples.UNDONE, ("Change", "Idempotency-Replayed"))
    },
    refuses=(NotInTrash, TooMany),
)
async def restore_trashed(call: Call[None]) -> Reply:
    """Restore a deleted task or list.

    With everything that was deleted with it, with the same ids and later versions. A task whose list is gone comes back
    in the inbox, one whose parent is gone at the top level.
    """
    return await reply_with_things(await call.tasks.restore(call.owner, read_trashed(call), call.options))


@TRASH.operation(
    "DELETE",
    "/trash/{trashed_id}",
    scope=DELETE,
    answers={204: Answer("Erased.", headers=("Idempotency-Replayed",))},
    refuses=(NotInTrash,),
)
async def erase_trashed(call: Call[None]) -> Reply:
    """Erase a deleted task or list for good.

    With everything that was deleted with it. It cannot be restored, and its content is removed from the history.
    """
    erased = await call.tasks.erase(call.owner, read_trashed(call), call.options)
    return reply_with_nothing(erased)


@TRASH.operation("DELETE", "/trash", scope=DELETE, answers={204: Answer("Erased.", headers=("Idempotency-Replayed",))})
async def empty_trash(call: Call[None]) -> Reply:
    """Erase everything in the trash for good.

    Things that are deleted meanwhile stay.
    """
    done = await call.tasks.empty_trash(call.owner, call.options)
    return reply_with_nothing(done)
