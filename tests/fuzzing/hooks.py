"""What Schemathesis must know about the API and cannot find in its document."""

from typing import Any

import schemathesis
from schemathesis import Case, GenerationMode, HookContext

from todo_core import Cursor, InvalidInput, Problem, Sort, Task
from todo_core.due import is_date, is_readable, is_time_zone
from todo_core.task import TAGS_MAX
from todo_core.testing.examples import ANN, NOON, make_id, make_task

CURSORS = {sort.value: Cursor.behind(make_task(), sort).encode() for sort in Sort}
KEY = "Idempotency-Key"
ZONE = "Time-Zone"
DATED = {"start_date", "due_date", "time_zone", "recurrence", "recurrence_from"}
# No document can say which ids there are, nor which may be brought.
IDS = {"id", "list_id", "parent_id", "before", "after"}
sent: dict[str, Any] = {}


@schemathesis.hook
def before_call(_: HookContext, case: Case, __: dict[str, Any]) -> None:
    """Make requests good that are meant to be."""
    if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        make_the_query_good(case)
        if "If-Match" in case.headers:
            case.headers.pop("Merge-Base", None)  # one or the other
        make_the_body_good(case)
        if not is_time_zone(case.headers.get(ZONE, "UTC")):
            case.headers[ZONE] = "Europe/Madrid"
        if KEY in case.headers:
            use_a_key_for_one_request(case)


def make_the_body_good(case: Case) -> None:
    """No ids that only the server knows, no tags beyond the limit (a schema cannot count those that are distinct)."""
    if case.operation.path.endswith("/batch"):
        case.body = {"operations": [{"op": "create", "task": {"title": "Milk"}}]}
    elif case.operation.path.endswith("/reschedule"):
        case.body = {"due_date": "2026-12-01"}
    elif isinstance(case.body, dict):
        for name in IDS & case.body.keys():
            del case.body[name]
        if case.body.get("tags"):
            case.body["tags"] = case.body["tags"][:TAGS_MAX]
        make_the_dates_good(case.body)


def use_a_key_for_one_request(case: Case) -> None:
    """Leave out a key that another request was sent under: the server would refuse this one, rightly."""
    key = str(case.headers[KEY]).strip('"')
    request = (case.method, case.formatted_path, case.body)
    if sent.setdefault(key, request) != request:
        del case.headers[KEY]


def make_the_query_good(case: Case) -> None:
    """Places of that listing, and days that exist: no document can say which those are."""
    for name in ("due_from", "due_before"):
        if name in case.query and not is_readable(case.query[name]):
            case.query[name] = "2026-12-01"
    case.query.pop("since", None)
    if "cursor" in case.query:
        sort = case.query.get("sort", Sort.NEWEST)
        places = {"/tasks": CURSORS.get(sort), "/history": "2"}
        place = next((place for end, place in places.items() if case.operation.path.endswith(end)), None)
        if place is None:
            del case.query["cursor"]
        else:
            case.query["cursor"] = place


def make_the_dates_good(body: dict[str, Any]) -> None:
    """Leave out of a task's dates what the rules refuse. They are judged together, so a change names all of them."""
    dated = {name: body.get(name) for name in DATED}
    if "occurrence" in body and not is_date(body["occurrence"]):
        del body["occurrence"]
    if not DATED.isdisjoint(body):
        while problems := problems_of(dated):
            dated |= dict.fromkeys({problem.field for problem in problems} & DATED)
        body |= dated


def problems_of(dated: dict[str, Any]) -> tuple[Problem, ...]:
    try:
        Task.new(id=make_id(1), owner=ANN, at=NOON, title="x", **dated)
    except InvalidInput as refusal:
        return refusal.problems
    return ()
