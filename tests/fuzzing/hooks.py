"""What Schemathesis cannot know of the API from its document."""

from typing import Any

import schemathesis
from schemathesis import Case, GenerationMode, HookContext

from todo_core import Cursor, Sort
from todo_core.testing.examples import make_task

CURSORS = {sort.value: Cursor.behind(make_task(), sort).encode() for sort in Sort}
KEY = "Idempotency-Key"
created: dict[str, Any] = {}


@schemathesis.hook
def before_call(_: HookContext, case: Case, __: dict[str, Any]) -> None:
    """Make requests good that are meant to be."""
    if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        if "cursor" in case.query:
            case.query["cursor"] = CURSORS[case.query.get("sort", Sort.NEWEST)]
        if KEY in case.headers:
            use_a_key_for_one_task(case)


def use_a_key_for_one_task(case: Case) -> None:
    """Leave out a key that an earlier task was created under: the server would refuse another one, rightly."""
    key = str(case.headers[KEY]).strip('"')
    if created.setdefault(key, case.body) != case.body:
        del case.headers[KEY]
