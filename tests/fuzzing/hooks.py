"""What Schemathesis cannot know of the API from its document."""

from typing import Any

import schemathesis
from schemathesis import Case, GenerationMode, HookContext

from todo_core import Cursor, Sort
from todo_core.testing.examples import make_task

CURSORS = {sort.value: Cursor.behind(make_task(), sort).encode() for sort in Sort}
KEY = "Idempotency-Key"
sent: dict[str, Any] = {}


@schemathesis.hook
def before_call(_: HookContext, case: Case, __: dict[str, Any]) -> None:
    """Make requests good that are meant to be."""
    if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        if "cursor" in case.query:
            is_listing = case.operation.path.endswith("/tasks")
            case.query["cursor"] = CURSORS[case.query.get("sort", Sort.NEWEST)] if is_listing else "2"
        if KEY in case.headers:
            use_a_key_for_one_request(case)


def use_a_key_for_one_request(case: Case) -> None:
    """Leave out a key that another request was sent under: the server would refuse this one, rightly."""
    key = str(case.headers[KEY]).strip('"')
    request = (case.method, case.formatted_path, case.body)
    if sent.setdefault(key, request) != request:
        del case.headers[KEY]
