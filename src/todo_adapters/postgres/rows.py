"""Converts tasks, lists and log entries to rows and back; derived from `Task` and from the tables."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final
from unicodedata import is_normalized
from uuid import UUID

from sqlalchemy import ARRAY, Column

from todo_adapters.postgres.batch import DIALECT, Columns, array_literal
from todo_adapters.postgres.table import tasks
from todo_core import Entry, Kind, OwnerId, SyncItem, Task, TaskList, Thing, searchable
from todo_core.changes import LOGGED, Members, as_json, decoded, packed, unpacked
from todo_core.text import folded

READ: Final = tuple(field.name for field in fields(Task) if field.name != "owner")
"""The columns that `task_of` takes, in this order; the owner is known from the call."""

WRITTEN: Final[dict[str, Callable[[Task], Any]]] = {
    "user_id": attrgetter("owner"),
    **{name: attrgetter(name) for name in READ},
    "position": lambda task: None if task.position == task.id.hex else task.position,
    "search_text": searchable,
    "tag_keys": lambda task: tuple(map(folded, task.tags)),
}
"""The value of each column, from a task."""

PLAIN: Final = tuple(
    name
    for name in WRITTEN
    if name == "description" or not (tasks.c[name].nullable or tasks.c[name].server_default is not None)
)
"""The description, and the columns without a default."""

PLACED: Final = (*PLAIN, "list_id", "parent_id")
"""The same, and where a task is."""

COMMON: Final = (*PLAIN, "priority", "tags", "tag_keys", "start_date", "due_date", "time_zone")
"""The columns of tasks that neither recur nor are in a list, below another, moved or completed."""

CHANGING: Final = tuple(name for name in WRITTEN if name not in ("user_id", "id", "created_at"))
"""The columns that an edit of a task can change."""

COMPLETING: Final = ("completed_at", "version", "updated_at")
"""The columns that completing and reopening change."""

WEIGHT_OF_LISTS: Final = 20  # rows: most owners have fewer
_CHARACTERS_OF_A_ROW: Final = 50
_CHARACTERS_FOLDED: Final = 5  # so many take at most as long to fold, send and store as a row to read
_ARRAYS: Final = frozenset(name for name in WRITTEN if isinstance(tasks.c[name].type, ARRAY))
_POSITION_READ: Final = READ.index("position")
_ARRAYS_READ: Final = tuple(READ.index(name) for name in READ if name in _ARRAYS)


def task_of(owner: OwnerId, row: Sequence[Any]) -> Task:
    """That owner's task from the `READ` columns of a row. Not checked again: the table's constraints hold the rules."""
    values = list(row)
    for place in _ARRAYS_READ:
        values[place] = tuple(values[place])
    values[_POSITION_READ] = values[_POSITION_READ] or values[0].hex
    if values[-1].tzinfo is not UTC:  # behind a pooler, the connection's time zone may not be ours
        values = [value.astimezone(UTC) if isinstance(value, datetime) else value for value in values]
    return Task.restored(values[0], owner, *values[1:])


def weight_of(task: Task | None) -> int:
    """The cost of writing the task, in rows of a listing."""
    if task is None:
        return 1
    texts = (task.title, task.description or "", *task.tags)
    slow = sum(map(_folded_slowly, texts))
    return 1 + sum(map(len, texts)) // _CHARACTERS_OF_A_ROW + slow // _CHARACTERS_FOLDED


def _folded_slowly(text: str) -> int:
    """How many characters take long to fold: all that are not composed; a tenth of what folding adds to others."""
    if text.isascii():
        return 0
    return (len(text.casefold()) - len(text)) // 10 if is_normalized("NFKC", text) else len(text)


def task_columns(names: Iterable[str], written: Sequence[Task]) -> Columns:
    """The values of these columns, from those tasks. Arrays are sent as text: they may differ in length."""
    return {name: _column(name, [WRITTEN[name](task) for task in written]) for name in names}


def _column(name: str, values: list[Any]) -> list[Any]:
    return list(map(array_literal, values)) if name in _ARRAYS else values


def kind_of_column(column: Column[Any]) -> str:
    """PostgreSQL's name for the column's type."""
    return column.type.compile(DIALECT).replace(' COLLATE "C"', "")


def unnested(names: Iterable[str], **others: str) -> str:
    """A FROM item with one row, `call`, per call: these columns of tasks, the others, and `place`."""
    kinds = {name: "text" if name in _ARRAYS else kind_of_column(tasks.c[name]) for name in names} | others
    arrays = ", ".join(f"%({name})s::{kind}[]" for name, kind in kinds.items())
    return f"unnest({arrays}) with ordinality as call({', '.join(kinds)}, place)"


def from_call(names: Iterable[str]) -> list[str]:
    """SQL expressions for these columns, from the row `call`."""
    return [f"call.{name}::{kind_of_column(tasks.c[name])}" if name in _ARRAYS else f"call.{name}" for name in names]


def json_text(members: Members | None) -> str | None:
    """Members as JSON text for the log."""
    return None if members is None else JSON.encode(members)


JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=as_json)
"""Encodes members of tasks and lists."""


def logged(names: Iterable[str]) -> str:
    """SQL for what the log keeps of a row of tasks that was just written with these columns."""
    pairs = ", ".join(f"{name!r}, tasks.{name}" for name in LOGGED["task"] if name in names)
    return f"jsonb_strip_nulls(jsonb_build_object({pairs}))"


LOGGED_ROW: Final = logged(WRITTEN)
"""The same, for a row with all columns."""

LOGGED_LIST: Final = f"jsonb_build_object({', '.join(f'{name!r}, lists.{name}' for name in LOGGED['list'])})"
"""The same, for a row of lists."""

ENTRY: Final = ("number", "at", "client", "kind", "id", "action", "before", "after", "root", "took")
"""The columns that `entry_of` takes, in this order."""


def entry_of(row: Sequence[Any]) -> Entry:
    """The entry from the `ENTRY` columns of a row."""
    number, at, client, kind, thing_id, action, before, after, root, took = row
    if before is None or after is None:
        before, after = (_whole(kind, thing_id, each) for each in (before, after))
    return Entry(
        number=number,
        at=at.astimezone(UTC),
        client=client,
        kind=kind,
        id=thing_id,
        action=action,
        before=decoded(before),
        after=decoded(after),
        root=root,
        took=took,
    )


def _whole(kind: Kind, thing_id: UUID, kept: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """All members of a thing, from those that were stored of its creation or deletion."""
    return kept and {**_NOTHING[kind], "position": thing_id.hex, **kept}


def _defaults(kind: type[Thing]) -> Mapping[str, Any]:
    return {field.name: field.default for field in fields(kind) if field.default is not MISSING}


_NOTHING: Final[Mapping[Kind, Mapping[str, Any]]] = {"task": _defaults(Task), "list": _defaults(TaskList)}
"""The members' defaults, which creations and deletions may leave out."""


def fitting(columns: Sequence[str]) -> Callable[[Task], bool]:
    """Whether a task has the defaults in all columns but these; `position` is not among them."""
    others = tuple(name for name in LOGGED["task"] if name not in (*columns, "position"))
    of_others = attrgetter(*others)
    usual = tuple(_NOTHING["task"][name] for name in others)
    return lambda task: of_others(task) == usual and task.position == task.id.hex


def answer_text(answer: Iterable[Thing]) -> str:
    """An answer as JSON, for `used_keys`."""
    return JSON.encode(list(map(packed, answer)))


def answer_of(owner: OwnerId, kept: Iterable[Mapping[str, Any]]) -> tuple[Thing | SyncItem, ...]:
    """The things from what `used_keys` has of an answer."""
    return tuple(_thing_of(owner, each) for each in kept)


def _thing_of(owner: OwnerId, kept: Mapping[str, Any]) -> Thing | SyncItem:
    """A stored thing, or what stands for one that is gone. Most are stored as in the log, with their kind and id."""
    kind, thing_id = kept.get("kind", "task"), UUID(kept["id"])
    if kept.keys() == {"kind", "id"}:
        return SyncItem(kind, thing_id, None)
    return unpacked(owner, {**(_whole(kind, thing_id, kept) or {}), "kind": kind})


LIST_READ: Final = tuple(field.name for field in fields(TaskList) if field.name != "owner")
"""The columns that `list_of` takes, in this order."""


def list_of(owner: OwnerId, row: Sequence[Any]) -> TaskList:
    """That owner's list from the `LIST_READ` columns of a row."""
    values: list[Any] = [value.astimezone(UTC) if isinstance(value, datetime) else value for value in row]
    return TaskList(owner=owner, **dict(zip(LIST_READ, values, strict=True)))
