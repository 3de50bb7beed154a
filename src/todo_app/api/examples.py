"""The OpenAPI document's examples, made by the code that makes the answers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

import todo_core
from todo_app.api.names import unknown
from todo_app.api.wire import ChangedThings, History, Lists, Summary, TaskPage, Things, Trash
from todo_app.api.wire import Task as TaskView
from todo_app.api.wire import TaskList as ListView
from todo_app.http.errors import (
    INTERNAL,
    BodyTooLarge,
    BodyTooSlow,
    InternalError,
    MalformedRequest,
    NotYourPath,
    TooManyRequests,
    UnsupportedMediaType,
)
from todo_app.http.gate import NOT_YOURS
from todo_app.http.problems import problem_of
from todo_app.http.reading import BODY_MAX, BODY_SECONDS, NOT_READ
from todo_app.http.turns import too_many_at_once
from todo_core import (
    ChangeNotFound,
    ChangePage,
    Cursor,
    Entry,
    IdentityUnavailable,
    InsufficientScope,
    InvalidInput,
    KeyReused,
    ListId,
    ListNotFound,
    MergeConflict,
    NotAuthenticated,
    NotInTrash,
    Page,
    Pair,
    Problem,
    ResyncRequired,
    Sort,
    StoreUnavailable,
    SyncItem,
    SyncPage,
    SyncToken,
    Task,
    TaskExists,
    TaskId,
    TaskList,
    TaskNotFound,
    TodoError,
    TooMany,
    UndoConflict,
    Version,
    VersionConflict,
    owner_id,
)
from todo_core.changes import difference
from todo_core.merging import SINCE_RULE
from todo_core.queries import LIMIT_RULE
from todo_core.sync import Mark, Stage
from todo_core.task import TITLE_RULE

MADE: Final = datetime(2026, 11, 5, 12, 0, tzinfo=UTC)
CHANGED: Final = datetime(2026, 11, 5, 12, 30, tzinfo=UTC)
TASK: Final = Task.new(
    id=TaskId(UUID("019a540b-b400-7cc3-98c4-dc0c0c07398f")),
    owner=owner_id("ann"),
    title="Buy oat milk",
    description="two litres",
    priority="high",
    tags=["home"],
    due_date="2026-12-01T17:00:00",
    time_zone="Europe/Madrid",
    at=MADE,
)
MILK: Final = Task.new(id=TASK.id, owner=TASK.owner, title="Buy oat milk", at=MADE)
CURSOR: Final = Cursor.behind(TASK, Sort.NEWEST).encode()
KEY: Final = "8e03978e-40d5-43e8-bc93-6894a57f9324"
REQUEST_ID: Final = "5f1d1f2cbd0c4be1a2f0c3d4"


def _shown(view: msgspec.Struct) -> Any:
    return msgspec.json.decode(msgspec.json.encode(view))


_DUE: Final = {"priority": "high", "tags": ["home"], "due_date": "2026-12-01T17:00:00", "time_zone": "Europe/Madrid"}
CREATE: Final = {
    "described": {"title": "Buy oat milk", "description": "two litres", **_DUE},
    "shortest": {"title": "Buy oat milk"},
    "done": {"title": "Call Bob", "completed": True},
    "whole_day": {"title": "Pay the rent", "due_date": "2026-12-01"},
    "each_month": {"title": "Pay the rent", "due_date": "2026-12-01", "recurrence": "FREQ=MONTHLY"},
}
PUT: Final = {
    "content": {"title": "Buy oat milk", "description": "three litres", "completed": True},
    "as_read": _shown(TaskView.of(TASK)) | {"description": "three litres"},
}
EDIT: Final = {
    "title": {"title": "Buy oat milk and bread"},
    "clear": {"description": None, "due_date": None, "tags": None},
    "done": {"completed": True},
}
COMPLETE: Final = {
    "done": {"completed": True},
    "open": {"completed": False},
    "toggle": {},
    "one_time": {"completed": True, "occurrence": "2026-12-01"},
}
_DONE: Final = TASK.edited(completed=True, at=CHANGED)
_EDITED: Final = TASK.edited(title="Buy oat milk and bread", at=CHANGED)
RENT: Final = Task.new(
    id=TASK.id,
    owner=TASK.owner,
    title="Pay the rent",
    due_date="2096-12-01",
    recurrence="FREQ=MONTHLY;COUNT=3",
    at=MADE,
)
_MOVED: Final = {"version": 2, "updated_at": "2026-11-05T12:30:00Z"}
SKIP: Final = {"seen": {"occurrence": "2096-12-01"}, "whichever": {}}
MOVED_ON: Final = _shown(TaskView.of(RENT)) | {**_MOVED, "due_date": "2097-01-01"}
RESCHEDULE: Final = {"later": {"due_date": "2096-12-03"}}
RESCHEDULED: Final = _shown(TaskView.of(RENT)) | {**_MOVED, "due_date": "2096-12-03"}
OCCURRENCES: Final = {"items": ["2096-12-01", "2097-01-01", "2097-02-01"]}
CREATED: Final = _shown(TaskView.of(TASK))
DONE: Final = _shown(TaskView.of(_DONE))
PUT_DONE: Final = DONE | {"description": "three litres"}
EDITED: Final = _shown(TaskView.of(_EDITED))
LISTED: Final = _shown(TaskPage.of(Page((TASK,), None)))
GROCERIES: Final = TaskList.new(
    id=ListId(UUID("019a540b-b400-7cc3-98c4-dc0c0c07398e")),
    owner=TASK.owner,
    name="Groceries",
    color="#ff8800",
    at=MADE,
)
NEW_LIST: Final = {"colored": {"name": "Groceries", "color": "#ff8800"}, "shortest": {"name": "Groceries"}}
LIST_EDIT: Final = {"name": {"name": "Food"}, "clear": {"color": None}}
LIST: Final = _shown(ListView.of(GROCERIES))
LISTS: Final = _shown(Lists([ListView.of(GROCERIES)]))
LIST_PUT: Final = {"content": {"name": "Food", "color": "#ff8800"}, "as_read": LIST | {"name": "Food"}}
LIST_EDITED: Final = _shown(ListView.of(GROCERIES.edited(name="Food", at=CHANGED)))
LIST_MOVED: Final = LIST | _MOVED | {"position": "01h"}
MOVE_LIST: Final[dict[str, Any]] = {"last": {}}
MOVE: Final[dict[str, Any]] = {"inbox": {"list_id": None}, "top": {"parent_id": None}, "last": {}}
MOVED: Final = CREATED | _MOVED | {"position": "019a540bb7"}
_NEW_LIST, _NEW_TASK = "019a540b-b400-7cc3-98c4-dc0c0c073990", "019a540b-b400-7cc3-98c4-dc0c0c073991"
BATCH: Final[dict[str, Any]] = {
    "create": {"operations": [{"op": "create", "task": {"title": "Buy oat milk"}}]},
    "with_ids_of_yours": {
        "operations": [
            {"op": "create_list", "list": {"name": "Groceries", "id": _NEW_LIST}},
            {"op": "create", "task": {"title": "Buy oat milk", "list_id": _NEW_LIST, "id": _NEW_TASK}},
            {"op": "edit", "id": _NEW_TASK, "changes": {"priority": "high"}},
            {"op": "complete", "id": _NEW_TASK},
        ]
    },
}
BATCH_DONE: Final = {
    "change": 2,
    "results": [{"kind": "task", "id": str(TASK.id), "deleted": False, "value": _shown(TaskView.of(MILK))}],
}
SUMMARY: Final = _shown(Summary.of(todo_core.Summary.of([TASK])))


def _entry(number: int, pair: Pair) -> Entry:
    before, after = difference(pair)
    at, action = pair.thing.updated_at, pair.action
    return Entry(number=number, at=at, client=None, id=TASK.id, action=action, before=before, after=after)


HISTORY: Final = _shown(History.of(ChangePage((_entry(1, Pair(None, TASK)),), None)))

UNDONE: Final = _shown(Things(3, [TaskView.of(replace(TASK, version=Version(2), updated_at=CHANGED))], []))
TRASH: Final = _shown(Trash.of(ChangePage((_entry(2, Pair(TASK, None)),), None), timedelta(days=30)))

# A token for the beginning of a log that is never too old, so that it works wherever it is tried.
SYNC_TOKEN: Final = SyncToken(Mark(0, None, datetime(2999, 12, 31, tzinfo=UTC))).encode(TASK.owner)
_FIRST: Final = SyncToken(Mark(1, TASK.id, MADE), Stage.LISTED)
CHANGED_THINGS: Final = _shown(
    ChangedThings.of(SyncPage((SyncItem("task", TASK.id, TASK),), _FIRST, more=True, full=True), TASK.owner)
)
_CHANGED: Final = ChangedThings.of(
    SyncPage((SyncItem("task", TASK.id, _DONE),), SyncToken(Mark(2, TASK.id, CHANGED)), more=False), TASK.owner
)
EVENT: Final = f"event: changes\nid: {_CHANGED.next}\ndata: {msgspec.json.encode(_CHANGED).decode()}\n\n"

INVALID_QUERY: Final = "invalid_query"
UNKNOWN_PARAMETER: Final = "unknown_parameter"
_REFUSALS: Final = (
    MalformedRequest(NOT_READ),
    NotAuthenticated(),
    NotYourPath(NOT_YOURS),
    InsufficientScope("tasks:write"),
    TaskNotFound(),
    ListNotFound(),
    BodyTooSlow(f"The body must arrive within {BODY_SECONDS:.0f} seconds."),
    VersionConflict(3),
    BodyTooLarge(f"A body may have at most {BODY_MAX} bytes."),
    UnsupportedMediaType("Send the body as application/json in UTF-8, without a content coding."),
    InvalidInput([Problem("title", TITLE_RULE)]),
    TooMany("tasks", 10_000),
    ChangeNotFound(),
    ResyncRequired(),
    NotInTrash(),
    UndoConflict([(TASK.id, Problem("title", "has been changed since"))]),
    KeyReused(),
    TaskExists(),
    MergeConflict([Problem("title", SINCE_RULE)]),
    TooManyRequests(1800),
    too_many_at_once(16, 64),
    InternalError(INTERNAL),
    StoreUnavailable(),
    IdentityUnavailable(),
)


def refusals() -> dict[str, Any]:
    """An example of every refusal by code, and two more for the query."""
    in_query = {
        INVALID_QUERY: InvalidInput([Problem("limit", LIMIT_RULE)]),
        UNKNOWN_PARAMETER: InvalidInput([unknown("page", ())]),
    }
    return {name: _example(refusal) for name, refusal in ({each.code: each for each in _REFUSALS} | in_query).items()}


def _example(refusal: TodoError) -> dict[str, Any]:
    problem = problem_of(refusal, REQUEST_ID)
    return {"summary": problem.title, "value": msgspec.to_builtins(problem)}
