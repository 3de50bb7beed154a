"""What happened to an owner's things: pairs of before and after, and the log that keeps them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, get_type_hints
from uuid import UUID

from todo_core.errors import InvalidInput, Problem
from todo_core.lists import TaskList, Thing
from todo_core.task import OwnerId, Task

Action: TypeAlias = Literal[
    "created", "edited", "completed", "reopened", "skipped", "moved", "deleted", "restored", "undone"
]
"""What was done to a thing."""

Kind: TypeAlias = Literal["task", "list"]
"""What a thing is."""

Members: TypeAlias = Mapping[str, object]
"""Some members of a thing, by name, as `Task` or `TaskList` holds them."""

LIMIT_MAX: Final = 200
LIMIT_DEFAULT: Final = 50


@dataclass(frozen=True, slots=True)
class Pair:
    """What happens to one thing: `before` is None for a creation, `after` for a deletion.

    `named` is what was done to it, where that is more than the two tell. Of a deletion, `root` is the thing together
    with which it is deleted, and brought back, and `took` how many things were deleted with it, itself included; of
    what is brought back, `root` is the thing with which it was deleted. Raises `ValueError` where the two are not one
    thing, or where `after` is not one version further.
    """

    before: Thing | None
    after: Thing | None
    named: Action | None = None
    root: UUID | None = None
    took: int = 1

    def __post_init__(self) -> None:
        before, after = self.before, self.after
        if before is None or after is None:
            if before is after:
                raise ValueError("a pair is of a thing before, after, or both")
            return
        kept = (type(after), after.id, after.owner, after.created_at)
        if kept != (type(before), before.id, before.owner, before.created_at):
            raise ValueError("a change must keep the thing's id, owner and time of creation")
        if after.version != before.version + 1:
            raise ValueError("a change must raise the thing's version by one")

    @property
    def thing(self) -> Thing:
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
        completed = _is_completed(self.after)
        if completed is not _is_completed(self.before):
            return "completed" if completed else "reopened"
        return "moved" if where_is(self.before) != where_is(self.after) else "edited"


def changed(things: Iterable[tuple[Thing, Thing]]) -> list[Pair]:
    """The pairs of those things, as they were and as they are, that are not the very same."""
    return [Pair(before, after) for before, after in things if after is not before]


def _is_completed(thing: Thing) -> bool:
    return isinstance(thing, Task) and thing.completed


def kind_of(thing: Thing) -> Kind:
    """What that thing is."""
    return "task" if isinstance(thing, Task) else "list"


def where_is(thing: Thing) -> tuple[object, ...]:
    """Where that thing stands: its list, its parent and its position."""
    where = (thing.list_id, thing.parent_id) if isinstance(thing, Task) else ()
    return (*where, thing.position)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the log: what one change did to one thing. `before` and `after` hold the members that differ.

    Several entries share the `number` of their change. `before` is None for a creation, `after` for a deletion: of that
    `root` is the thing together with which it was deleted, None where that is itself, and `took` how many things were
    deleted with it, itself included; `root` of what was brought back is the same.
    """

    number: int
    at: datetime
    client: str | None
    kind: Kind = "task"
    id: UUID
    action: Action
    before: Members | None
    after: Members | None
    root: UUID | None = None
    took: int = 1

    @property
    def is_in_trash(self) -> bool:
        """Whether it is a deletion that can be taken back, if it is the last entry about its thing."""
        return self.after is None and bool(self.before)

    @property
    def heads_trash(self) -> bool:
        """Whether it is such a deletion, and of what was asked for, not of what went with it."""
        return self.is_in_trash and self.root is None


def difference(pair: Pair) -> tuple[dict[str, object] | None, dict[str, object] | None]:
    """The members that differ, as they were before and as they are after."""
    before, after = pair.before, pair.after
    if before is None or after is None:
        return _all(before), _all(after)
    names = [name for name in LOGGED[kind_of(before)] if getattr(before, name) != getattr(after, name)]
    return {name: getattr(before, name) for name in names}, {name: getattr(after, name) for name in names}


def _all(thing: Thing | None) -> dict[str, object] | None:
    return None if thing is None else {name: getattr(thing, name) for name in LOGGED[kind_of(thing)]}


def growth_of(pairs: Iterable[Pair]) -> dict[Kind, int]:
    """How many more things of each kind there are after these pairs."""
    growth: dict[Kind, int] = {"task": 0, "list": 0}
    for pair in pairs:
        growth[kind_of(pair.thing)] += (pair.before is None) - (pair.after is None)
    return growth


def entry_of(pair: Pair, *, number: int, at: datetime, client: str | None) -> Entry:
    """The line that the log keeps of a pair of that change."""
    before, after = difference(pair)
    return Entry(
        number=number,
        at=at,
        client=client,
        kind=kind_of(pair.thing),
        id=pair.thing.id,
        action=pair.action,
        before=before,
        after=after,
        root=pair.root,
        took=pair.took,
    )


def rooted(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, of which each that deletes says together with what: the topmost of them that it was in or below."""
    gone: dict[UUID, Thing] = {pair.thing.id: pair.thing for pair in pairs if pair.after is None}
    roots = {thing_id: _root(thing, gone) for thing_id, thing in gone.items()}
    took = Counter(roots.values())
    return [
        replace(pair, root=None if root == pair.thing.id else root, took=took.get(pair.thing.id, 1)) if root else pair
        for pair, root in ((pair, roots.get(pair.thing.id)) for pair in pairs)
    ]


def _root(thing: Thing, gone: Mapping[UUID, Thing]) -> UUID:
    for _ in gone:
        above = gone.get(thing.parent_id or thing.list_id or thing.id) if isinstance(thing, Task) else None
        if above is None:
            break
        thing = above
    return thing.id


def together(first: Sequence[Pair], second: Sequence[Pair]) -> list[Pair]:
    """Pairs that were decided on one state, as one pair of each thing: with what differs in either."""
    merged = {pair.thing.id: pair for pair in first}
    for pair in second:
        other = merged.get(pair.thing.id)
        if other is not None and other.after is not None and pair.after is not None:
            _, differing = difference(pair)
            values: dict[str, Any] = differing or {}
            both = replace(other.after, **values)
            pair = Pair(pair.before, both, pair.named or other.named)
        merged[pair.thing.id] = pair
    return list(merged.values())


def encoded(members: Members | None) -> dict[str, Any] | None:
    """Members as JSON holds them."""
    return None if members is None else {name: _json(value) for name, value in members.items()}


def packed(thing: Thing) -> dict[str, Any]:
    """A thing as JSON holds it, without whose it is."""
    kind = kind_of(thing)
    return {"kind": kind, "id": str(thing.id)} | {name: _json(getattr(thing, name)) for name in LOGGED[kind]}


def unpacked(owner: OwnerId, kept: Mapping[str, Any]) -> Thing:
    """That owner's thing, from what `packed` made of it."""
    of: Any = Task if kept["kind"] == "task" else TaskList
    members = {name: _READERS[name](kept[name]) for name in LOGGED[kept["kind"]]}
    return of(id=UUID(kept["id"]), owner=owner, **members)  # type: ignore[no-any-return]


def decoded(members: Mapping[str, Any] | None) -> dict[str, object] | None:
    """Members from what `encoded` made of them."""
    return None if members is None else {name: _READERS[name](value) for name, value in members.items()}


def _json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _as_it_is(value: object) -> object:
    return value


def _id(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)


def _reader(hint: object) -> Callable[[Any], object]:
    if "datetime" in str(hint):
        return _moment
    if "Id" in str(hint):
        return _id
    return tuple if "tuple" in str(hint) else _as_it_is


def _logged(kind: type[Thing]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.name not in ("id", "owner"))


LOGGED: Final[Mapping[Kind, tuple[str, ...]]] = {"task": _logged(Task), "list": _logged(TaskList)}
"""The members that the log keeps; whose a thing is, and which, stands beside them."""
# What both kinds have is of one type in both.
_HINTS: Final = get_type_hints(TaskList) | get_type_hints(Task)
_READERS: Final = {name: _reader(_HINTS[name]) for names in LOGGED.values() for name in names}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in an owner's log, right behind one entry: a change's number, and a thing that it touched."""

    number: int
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeQuery:
    """A page of one owner's log: of one thing or of all, from the beginning or the newest first, behind which place.

    Entries come by number, and those of one number by id. `trash`: only deletions that nothing has taken back, and of
    which something is left to restore; of those deleted together the one that was asked for. Raises `InvalidInput` for
    a limit that is not 1 to 200.
    """

    of: UUID | None = None
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
            if self.of in (None, entry.id) and (not self.trash or (entry is last[entry.id] and entry.heads_trash))
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
