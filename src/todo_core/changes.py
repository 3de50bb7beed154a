"""What happened to an owner's things: pairs of before and after, and the log that keeps them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, get_type_hints

from todo_core.errors import InvalidInput, Problem
from todo_core.task import Task, TaskId

Action: TypeAlias = Literal["created", "edited", "completed", "reopened", "skipped", "deleted", "restored", "undone"]
"""What was done to a thing."""

Members: TypeAlias = Mapping[str, object]
"""Some members of a thing, by name, as `Task` holds them."""

LIMIT_MAX: Final = 200
LIMIT_DEFAULT: Final = 50


@dataclass(frozen=True, slots=True)
class Pair:
    """What happens to one thing: `before` is None for a creation, `after` for a deletion.

    `named` is what was done to it, where that is more than the two tell. Raises `ValueError` where the two are not one
    thing, or where `after` is not one version further.
    """

    before: Task | None
    after: Task | None
    named: Action | None = None

    def __post_init__(self) -> None:
        before, after = self.before, self.after
        if before is None or after is None:
            if before is after:
                raise ValueError("a pair is of a thing before, after, or both")
            return
        if (after.id, after.owner, after.created_at) != (before.id, before.owner, before.created_at):
            raise ValueError("a change must keep the task's id, owner and time of creation")
        if after.version != before.version + 1:
            raise ValueError("a change must raise the task's version by one")

    @property
    def thing(self) -> Task:
        """The thing as it is after, or as it was before its deletion."""
        return self.after or self.before  # type: ignore[return-value]  # one of them is there

    @property
    def action(self) -> Action:
        """What is done to it."""
        if self.named is not None:
            return self.named
        if self.before is None:
            return "created"
        if self.after is None:
            return "deleted"
        if self.before.completed is not self.after.completed:
            return "completed" if self.after.completed else "reopened"
        return "edited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the log: what one change did to one thing. `before` and `after` hold the members that differ.

    Several entries share the `number` of their change. `before` is None for a creation, `after` for a deletion.
    """

    number: int
    at: datetime
    client: str | None
    id: TaskId
    action: Action
    before: Members | None
    after: Members | None

    @property
    def is_in_trash(self) -> bool:
        """Whether it is a deletion that can be taken back, if it is the last entry about its thing."""
        return self.after is None and bool(self.before)


def difference(pair: Pair) -> tuple[dict[str, object] | None, dict[str, object] | None]:
    """The members that differ, as they were before and as they are after."""
    before, after = pair.before, pair.after
    if before is None or after is None:
        return _all(before), _all(after)
    names = [name for name in LOGGED if getattr(before, name) != getattr(after, name)]
    return {name: getattr(before, name) for name in names}, {name: getattr(after, name) for name in names}


def _all(task: Task | None) -> dict[str, object] | None:
    return None if task is None else {name: getattr(task, name) for name in LOGGED}


def encoded(members: Members | None) -> dict[str, Any] | None:
    """Members as JSON holds them."""
    return None if members is None else {name: _json(value) for name, value in members.items()}


def decoded(members: Mapping[str, Any] | None) -> dict[str, object] | None:
    """Members from what `encoded` made of them."""
    return None if members is None else {name: _READERS[name](value) for name, value in members.items()}


def _json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _as_it_is(value: object) -> object:
    return value


def _reader(hint: object) -> Callable[[Any], object]:
    if "datetime" in str(hint):
        return _moment
    return tuple if "tuple" in str(hint) else _as_it_is


_HINTS: Final = get_type_hints(Task)
LOGGED: Final = tuple(field.name for field in fields(Task) if field.name not in ("id", "owner"))
"""The members that the log keeps; whose a thing is, and which, stands beside them."""
_READERS: Final = {name: _reader(_HINTS[name]) for name in LOGGED}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in an owner's log, right behind one entry: a change's number, and a thing that it touched."""

    number: int
    id: TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeQuery:
    """A page of one owner's log: of one thing or of all, from the beginning or the newest first, behind which place.

    Entries come by number, and those of one number by id. `trash`: only deletions that nothing has taken back, and of
    which something is left to restore. Raises `InvalidInput` for a limit that is not 1 to 200.
    """

    of: TaskId | None = None
    trash: bool = False
    newest_first: bool = False
    after: Place | None = None
    limit: int = LIMIT_DEFAULT

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= LIMIT_MAX:
            raise InvalidInput([Problem("limit", f"must be a whole number from 1 to {LIMIT_MAX}")])

    def page_of(self, log: list[Entry]) -> "ChangePage":
        """The page, from an owner's whole log: what every storage must give, in plain Python."""
        ordered = sorted(log, key=place_of)
        last = {entry.id: entry for entry in ordered}
        found = [
            entry
            for entry in ordered[:: -1 if self.newest_first else 1]
            if self.of in (None, entry.id) and (not self.trash or (entry is last[entry.id] and entry.is_in_trash))
        ]
        if (after := self.after) is not None:
            found = [one for one in found if (place_of(one) < after if self.newest_first else place_of(one) > after)]
        return self.page(found[: self.limit + 1])

    def page(self, entries: list[Entry]) -> "ChangePage":
        """The page, from the first entries in order: give one more than `limit`, where there is one."""
        items = tuple(entries[: self.limit])
        return ChangePage(items, place_of(items[-1]) if len(entries) > self.limit else None)


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Some entries of an owner's log in order, and the place behind them if there are more."""

    items: tuple[Entry, ...]
    next: Place | None


def place_of(entry: Entry) -> Place:
    """Where that entry stands."""
    return Place(entry.number, entry.id)
