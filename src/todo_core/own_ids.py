"""Ids chosen by clients, so that they can refer to what they created offline."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import RFC_4122, UUID

from todo_core.changes import LOGGED, ChangeQuery, Entry, kind_of
from todo_core.errors import InvalidInput, Problem, TaskExists
from todo_core.lists import ListSettable, Thing
from todo_core.seen import Seen, Sees
from todo_core.task import Settable, Task

T = TypeVar("T")
AHEAD_MAX: Final = timedelta(minutes=10)
ID_RULE: Final = "must be a UUIDv7 (RFC 9562 §5.7) whose timestamp is at most ten minutes in the future"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_TIME_SHIFT: Final = 80  # bits behind the milliseconds
_VERSION: Final = 7


def with_own_id(value: UUID | None, now: datetime, make: Callable[[], T]) -> T:
    """What `make` returns. Raises `InvalidInput` with its faults, and that of an id that no client may choose."""
    if value is None or _may_be_chosen(value, now):
        return make()
    wrong = Problem("id", ID_RULE)
    try:
        make()
    except InvalidInput as error:
        raise InvalidInput([wrong, *(each for each in error.problems if each.field != "id")]) from None
    raise InvalidInput([wrong])


def _may_be_chosen(value: object, now: datetime) -> bool:
    if not isinstance(value, UUID):
        return False
    is_seventh = value.version == _VERSION and value.variant == RFC_4122
    return is_seventh and (value.int >> _TIME_SHIFT) * _MILLISECOND <= now - _EPOCH + AHEAD_MAX


def sees_own_id(thing: Thing) -> Sees:
    """What `made_before` must see, except the history of a thing that exists already."""
    tasks = frozenset({thing.id} if isinstance(thing, Task) else ())
    return Sees(tasks, last_entries=frozenset({thing.id}), lists=not tasks)


def made_before(seen: Seen, wanted: Thing) -> Thing | None:
    """The thing that has the wanted id, if it was created with the same members; None if the id is free.

    Raises `TaskExists` if another thing has or had the id: ids are not reused.
    """
    [last], now = seen.last_of([wanted.id]), seen.thing(wanted)
    if last is None and now is None:
        return None
    first = seen.logged(ChangeQuery(of=wanted.id, limit=1))
    if now is None or not (first and _made_alike(wanted, first[0])):
        raise TaskExists
    return now


def _made_alike(wanted: Thing, first: Entry) -> bool:
    """Whether the entry `first` created a thing with the wanted members. A subtask's list may be left out."""
    if first.before is not None or first.after is None or first.kind != kind_of(wanted):
        return False
    made: dict[str, Any] = dict(first.after)
    made["completed"] = made.get("completed_at") is not None
    settable = (Settable if isinstance(wanted, Task) else ListSettable).__annotations__
    names = [name for name in settable if name in LOGGED[first.kind] or name == "completed"]
    if getattr(wanted, "parent_id", None) is not None and getattr(wanted, "list_id", None) is None:
        names.remove("list_id")
    return all(getattr(wanted, name) == made[name] for name in names)
