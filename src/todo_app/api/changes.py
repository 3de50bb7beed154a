"""Operations on changes: undo."""

from typing import Final

from todo_app.api import examples, wire
from todo_app.api.ids import read_number
from todo_app.api.operation import WRITE, Answer, Call, Subject
from todo_app.api.replies import reply_with_things
from todo_app.http.exchange import Reply
from todo_core import ChangeNotFound, TooMany, UndoConflict

CHANGES: Final = Subject("changes", "Undoing changes.")


@CHANGES.operation(
    "POST",
    "/changes/{number}/undo",
    scope=WRITE,
    large=True,
    answers={
        200: Answer(
            "The new change, and the tasks and lists after it, without those that it deleted.",
            wire.Things,
            examples.UNDONE,
            ("Change", "Idempotency-Replayed"),
        )
    },
    refuses=(ChangeNotFound, UndoConflict, TooMany),
)
async def undo_change(call: Call[None]) -> Reply:
    """Undo a change.

    Everything that the change did is reversed by a new change, which can be undone in turn. If a later change has set
    one of its members to something else, nothing is changed, and `errors` names the members. Undoing a creation
    deletes, which needs the scope `tasks:delete`. A position that another task or list has taken is replaced by one
    next to it.
    """
    number, may_delete = read_number(call.exchange.path_parameter), call.identity.may("tasks:delete")
    # Not in a variable, which would hold all things until the answer is made.
    return await reply_with_things(await call.tasks.undo(call.owner, number, call.options, may_delete=may_delete))
