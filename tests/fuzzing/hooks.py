"""What Schemathesis cannot know of the API from its document."""

from typing import Any

import schemathesis
from schemathesis import Case, GenerationMode, HookContext

from todo_core import Cursor, Sort
from todo_core.testing.examples import make_task

CURSORS = {sort.value: Cursor.behind(make_task(), sort).encode() for sort in Sort}


@schemathesis.hook.apply_to(operation_id="listTasks")
def before_call(_: HookContext, case: Case, __: dict[str, Any]) -> None:
    """Cursors are opaque and belong to their order: where a good one is meant, send one."""
    meant = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if meant and "cursor" in case.query:
        case.query["cursor"] = CURSORS[case.query.get("sort", Sort.NEWEST)]
