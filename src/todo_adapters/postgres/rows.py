"""How tasks and log entries become rows, and rows become them again: derived from `Task` and from the tables."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY

from todo_adapters.postgres.batch import DIALECT, Columns, array_literal
from todo_adapters.postgres.table import tasks
from todo_core import Entry, OwnerId, Task, TaskId, searchable
from todo_core.changes import LOGGED, Members, decoded, encoded
from todo_core.text import folded

READ: Final = tuple(field.name for field in fields(Task) if field.name != "owner")
"""The columns that `task_of` takes, in this order; whose task it is every statement knows."""

WRITTEN: Final[dict[str, Callable[[Task], Any]]] = {
    "user_id": attrgetter("owner"),
    **{name: attrgetter(name) for name in READ},
    "search_text": searchable,
    "tag_keys": lambda task: tuple(map(folded, task.tags)),
}
"""What each column takes from a task."""

CHANGING: Final = tuple(name for name in WRITTEN if name not in ("user_id", "id", "created_at"))
"""The columns that a change of a task can change."""

COMPLETING: Final = ("completed_at", "version", "updated_at")
"""Those of them that completing and reopening change."""

_ARRAYS: Final = frozenset(name for name in WRITTEN if isinstance(tasks.c[name].type, ARRAY))
_ARRAYS_READ: Final = tuple(READ.index(name) for name in READ if name in _ARRAYS)


def task_of(owner: OwnerId, row: Sequence[Any]) -> Task:
    """That owner's task in the `READ` columns of a row. The table's own constraints have checked it."""
    values = list(row)
    for place in _ARRAYS_READ:
        values[place] = tuple(values[place])
    if values[-1].tzinfo is not UTC:  # a pooler in between forgot what was set on the connection
        values = [value.astimezone(UTC) if isinstance(value, datetime) else value for value in values]
    return Task.restored(values[0], owner, *values[1:])


def task_columns(names: Iterable[str], written: Sequence[Task]) -> Columns:
    """The values that these columns take from those tasks. Arrays of unlike length fit no array, and travel as text."""
    return {name: _column(name, [WRITTEN[name](task) for task in written]) for name in names}


def _column(name: str, values: list[Any]) -> list[Any]:
    return list(map(array_literal, values)) if name in _ARRAYS else values


def kind_of(name: str) -> str:
    """PostgreSQL's name of that column's type."""
    return tasks.c[name].type.compile(DIALECT).replace(' COLLATE "C"', "")


def unnested(names: Iterable[str], **others: str) -> str:
    """The source of a statement that has a row, `call`, for each call: these columns of tasks, others, and `place`."""
    kinds = {name: "text" if name in _ARRAYS else kind_of(name) for name in names} | others
    arrays = ", ".join(f"%({name})s::{kind}[]" for name, kind in kinds.items())
    return f"unnest({arrays}) with ordinality as call({', '.join(kinds)}, place)"


def from_call(names: Iterable[str]) -> list[str]:
    """The values of these columns, from the row `call`."""
    return [f"call.{name}::{kind_of(name)}" if name in _ARRAYS else f"call.{name}" for name in names]


def json_text(members: Members | None) -> str | None:
    """Members as the log keeps them."""
    return None if members is None else _TEXT.encode(encoded(members))


_TEXT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

LOGGED_ROW: Final = f"jsonb_strip_nulls(jsonb_build_object({', '.join(f'{name!r}, tasks.{name}' for name in LOGGED)}))"
"""All that the log keeps of a row of tasks that was just written."""

ENTRY: Final = ("number", "at", "client", "id", "action", "before", "after")
"""The columns that `entry_of` takes, in this order."""


def entry_of(row: Sequence[Any]) -> Entry:
    """The entry in the `ENTRY` columns of a row."""
    number, at, client, task_id, action, before, after = row
    whole = before is None or after is None
    return Entry(
        number=number,
        at=at.astimezone(UTC),
        client=client,
        id=TaskId(task_id),
        action=action,
        before=_members(before, whole=whole),
        after=_members(after, whole=whole),
    )


def _members(kept: Mapping[str, Any] | None, *, whole: bool) -> Members | None:
    return decoded({**_NOTHING, **kept} if whole and kept else kept)


_NOTHING: Final = {field.name: field.default for field in fields(Task) if field.default is not MISSING}
"""What a member is where a creation or a deletion does not say: its default."""


def answer_text(things: Iterable[Task]) -> str:
    """The tasks of an answer, as they are kept beside their key."""
    kept = [{"id": str(task.id), **_encoded(task)} for task in things]
    return _TEXT.encode(kept)


def _encoded(task: Task) -> Mapping[str, Any]:
    return encoded({name: getattr(task, name) for name in LOGGED}) or {}


def answer_of(owner: OwnerId, kept: Sequence[Mapping[str, Any]]) -> tuple[Task, ...]:
    """The tasks that `answer_text` wrote down."""
    return tuple(_kept_task(owner, dict(each)) for each in kept)


def _kept_task(owner: OwnerId, kept: dict[str, Any]) -> Task:
    task_id = UUID(kept.pop("id"))
    members = decoded({**_NOTHING, **{name: kept[name] for name in LOGGED if name in kept}}) or {}
    return Task.restored(task_id, owner, *(members[name] for name in READ if name != "id"))
