"""The document's examples: made by what makes the answers, so that their form is right."""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from todo_app.http.errors import (
    BodyTooLarge,
    BodyTooSlow,
    InternalError,
    MalformedRequest,
    NotYourPath,
    TooManyAtOnce,
    TooManyRequests,
    UnsupportedMediaType,
)
from todo_app.http.problems import problem_of
from todo_app.http.reading import BODY_MOST, BODY_SECONDS, NOT_READ
from todo_app.http.wire import TaskListView, TaskView
from todo_core import (
    Cursor,
    IdentityUnavailable,
    InvalidInput,
    KeyReused,
    NotAuthenticated,
    Page,
    Problem,
    Sort,
    StoreUnavailable,
    Task,
    TaskId,
    TaskNotFound,
    TodoError,
    VersionConflict,
    owner_id,
)
from todo_core.queries import LIMIT_RULE
from todo_core.task import TITLE_RULE

MADE: Final = datetime(2026, 11, 5, 12, 0, tzinfo=UTC)
CHANGED: Final = datetime(2026, 11, 5, 12, 30, tzinfo=UTC)
TASK: Final = Task.new(
    id=TaskId(UUID("019a540b-b400-7cc3-98c4-dc0c0c07398f")),
    owner=owner_id("ann"),
    title="Buy oat milk",
    description="two litres",
    completed=False,
    at=MADE,
)
CURSOR: Final = Cursor.behind(TASK, Sort.NEWEST).encode()
KEY: Final = "8e03978e-40d5-43e8-bc93-6894a57f9324"
REQUEST_ID: Final = "5f1d1f2cbd0c4be1a2f0c3d4"

CREATE: Final = {
    "described": {"title": "Buy oat milk", "description": "two litres"},
    "shortest": {"title": "Buy oat milk"},
    "done": {"title": "Call Bob", "completed": True},
}
PUT: Final = {
    "content": {"title": "Buy oat milk", "description": "three litres", "completed": True},
    "as_read": msgspec.to_builtins(TaskView.of(TASK)) | {"description": "three litres"},
}
EDIT: Final = {
    "title": {"title": "Buy oat milk and bread"},
    "clear": {"description": None},
    "done": {"completed": True},
}
COMPLETE: Final = {"done": {"completed": True}, "open": {"completed": False}, "toggle": {}}
CREATED: Final = msgspec.to_builtins(TaskView.of(TASK))
DONE: Final = msgspec.to_builtins(TaskView.of(TASK.as_completed(at=CHANGED)))
PUT_ANSWER: Final = DONE | {"description": "three litres"}
EDITED: Final = msgspec.to_builtins(TaskView.of(TASK.edited(title="Buy oat milk and bread", at=CHANGED)))
LISTED: Final = msgspec.to_builtins(TaskListView.of(Page((TASK,), None)))

INVALID_QUERY: Final = "invalid_query"
_REFUSALS: Final = (
    MalformedRequest(NOT_READ),
    NotAuthenticated(),
    NotYourPath("The path must begin with /api/ and your own user id, as your token has it in `sub`."),
    TaskNotFound(),
    BodyTooSlow(f"The body must arrive within {BODY_SECONDS:.0f} seconds."),
    VersionConflict(3),
    BodyTooLarge(f"A body may have at most {BODY_MOST} bytes."),
    UnsupportedMediaType("Send the body as application/json in UTF-8, without a content coding."),
    InvalidInput([Problem("title", TITLE_RULE)]),
    KeyReused(),
    TooManyRequests(1800),
    TooManyAtOnce(16, 64),
    InternalError("The request failed for no fault of yours; its id names it in our log."),
    StoreUnavailable(),
    IdentityUnavailable(),
)


def refusals() -> dict[str, Any]:
    """An example of every refusal that an operation may answer, by its code; one more for what a listing refuses."""
    query = InvalidInput([Problem("limit", LIMIT_RULE)])
    return {refusal.code: _example(refusal) for refusal in _REFUSALS} | {INVALID_QUERY: _example(query)}


def _example(refusal: TodoError) -> dict[str, Any]:
    problem = problem_of(refusal, REQUEST_ID)
    return {"summary": problem.title, "value": msgspec.to_builtins(problem)}
