"""The log of an owner's changes: pairs of before and after, and the entries that are kept of them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final, Literal, TypeAlias, get_type_hints
from uuid import UUID

from todo_core.lists import TaskList, Thing
from todo_core.task import OwnerId, Task, require_id, require_limit

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
    """One write to one thing: `before` is None for a creation, `after` for a deletion.

    `explicit_action` is the action, where it cannot be derived from the two states. For a deletion, `root` is the
    thing whose deletion took this one along (None for that thing itself), and `took` is how many things were deleted,
    itself included. For a restored thing, `root` is the thing that it was deleted with. Raises `ValueError` if the two
    are not the same thing, or if `after` is not exactly one version later.
    """

    before: Thing | None
    after: Thing | None
    explicit_action: Action | None = None
    root: UUID | None = None
    took: int = 1

    def __post_init__(self) -> None:
        before, after = self.before, self.after
        if before is None or after is None:
            if before is after:
                raise ValueError("a pair must have a before, an after, or both")
            return
        kept = (type(after), after.id, after.owner, after.created_at)
        if kept != (type(before), before.id, before.owner, before.created_at):
            raise ValueError("a change must keep the thing's id, owner and time of creation")
        if after.version != before.version + 1:
            raise ValueError("a change must raise the thing's version by one")

    @property
    def thing(self) -> Thing:
        """The thing after the change, or before its deletion."""
        return self.after or self.before  # type: ignore[return-value]  # one of them is there

    @property
    def action(self) -> Action:
        """The action, as the log names it."""
        if self.explicit_action is not None:
            return self.explicit_action
        if self.before is None:
            return "created"
        if self.after is None:
            return "deleted"
        completed = _is_completed(self.after)
        if completed is not _is_completed(self.before):
            return "completed" if completed else "reopened"
        return "moved" if where_is(self.before) != where_is(self.after) else "edited"


def changed(things: Iterable[tuple[Thing, Thing]]) -> list[Pair]:
    """The pairs of those (before, after) whose two states are different objects."""
    return [Pair(before, after) for before, after in things if after is not before]


def _is_completed(thing: Thing) -> bool:
    return isinstance(thing, Task) and thing.completed


def kind_of(thing: Thing) -> Kind:
    """The kind of a thing."""
    return "task" if isinstance(thing, Task) else "list"


def where_is(thing: Thing) -> tuple[object, ...]:
    """The list, parent and position of a task; the position of a list."""
    where = (thing.list_id, thing.parent_id) if isinstance(thing, Task) else ()
    return (*where, thing.position)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the log: what one change did to one thing. `before` and `after` hold only the members that differ.

    Entries of one change share its `number`. `before` is None for a creation, `after` for a deletion. `root` and `took`
    are those of `Pair`.
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
        """Whether this is a deletion that can be restored, provided it is the last entry about its thing."""
        return self.after is None and bool(self.before)

    @property
    def heads_trash(self) -> bool:
        """Whether this is a deletion that was asked for, not one of a thing that was deleted along with another."""
        return self.is_in_trash and self.root is None


def difference(pair: Pair) -> tuple[dict[str, object] | None, dict[str, object] | None]:
    """The members that differ, with their values before and their values after."""
    before, after = pair.before, pair.after
    if before is None or after is None:
        return _all(before), _all(after)
    kind = kind_of(before)
    values = zip(LOGGED[kind], _VALUES_OF[kind](before), _VALUES_OF[kind](after), strict=True)
    differing = [each for each in values if each[1] != each[2]]
    return {name: was for name, was, _ in differing}, {name: now for name, _, now in differing}


def _all(thing: Thing | None) -> dict[str, object] | None:
    return None if thing is None else dict(zip(LOGGED[kind_of(thing)], _VALUES_OF[kind_of(thing)](thing), strict=True))


def growth_of(pairs: Iterable[Pair]) -> dict[Kind, int]:
    """How many things of each kind these pairs create, less those that they delete."""
    growth: dict[Kind, int] = {"task": 0, "list": 0}
    for pair in pairs:
        growth[kind_of(pair.thing)] += (pair.before is None) - (pair.after is None)
    return growth


def entry_of(pair: Pair, *, number: int, at: datetime, client: str | None) -> Entry:
    """The log entry for one pair of the change `number`."""
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


def with_roots(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, with `root` and `took` set on each deletion: its root is the topmost deleted thing above it."""
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


def merged(first: Sequence[Pair], second: Sequence[Pair]) -> list[Pair]:
    """Two lists of pairs decided on the same state, merged: one pair per thing, with the members that either sets."""
    pairs = {pair.thing.id: pair for pair in first}
    for pair in second:
        other = pairs.get(pair.thing.id)
        if other is not None and other.after is not None and pair.after is not None:
            _, differing = difference(pair)
            values: dict[str, Any] = differing or {}
            both = replace(other.after, **values)
            pair = Pair(pair.before, both, pair.explicit_action or other.explicit_action)
        pairs[pair.thing.id] = pair
    return list(pairs.values())


def encoded(members: Members | None) -> dict[str, Any] | None:
    """Members as JSON values."""
    return None if members is None else {name: as_json(value) for name, value in members.items()}


def packed(thing: Thing) -> dict[str, Any]:
    """A thing as JSON values, without its owner."""
    kind = kind_of(thing)
    return {"kind": kind, "id": str(thing.id)} | {name: as_json(getattr(thing, name)) for name in LOGGED[kind]}


def unpacked(owner: OwnerId, kept: Mapping[str, Any]) -> Thing:
    """That owner's thing, from what `packed` returned."""
    of: Any = Task if kept["kind"] == "task" else TaskList
    members = {name: _READERS[name](kept[name]) for name in LOGGED[kept["kind"]]}
    return of(id=UUID(kept["id"]), owner=owner, **members)  # type: ignore[no-any-return]


def decoded(members: Mapping[str, Any] | None) -> dict[str, object] | None:
    """Members from what `encoded` returned."""
    return None if members is None else {name: _READERS[name](value) for name, value in members.items()}


def as_json(value: object) -> object:
    """A member's value as a JSON value."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


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
"""The members that the log keeps; a thing's owner and id are stored beside them."""
_VALUES_OF: Final[Mapping[Kind, Callable[[Thing], tuple[object, ...]]]] = {
    kind: attrgetter(*names) for kind, names in LOGGED.items()
}
# A member that both kinds have is of the same type in both.
_HINTS: Final = get_type_hints(TaskList) | get_type_hints(Task)
_READERS: Final = {name: _reader(_HINTS[name]) for names in LOGGED.values() for name in names}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in an owner's log, just after one entry: the number of a change, and the id of a thing that it wrote."""

    number: int
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeQuery:
    """One page of an owner's log: of one thing (`of`) or of all, oldest or newest first, starting after a place.

    Entries are ordered by number, then by id. `trash`: only deletions that have not been undone or restored, and that
    have not been erased; of things deleted together, only the one that was asked for. Raises `InvalidInput` for a
    limit outside 1 to 200, and for an `of` that is no id.
    """

    of: UUID | None = None
    trash: bool = False
    newest_first: bool = False
    after: Place | None = None
    limit: int = LIMIT_DEFAULT

    def __post_init__(self) -> None:
        require_limit(self.limit, LIMIT_MAX)
        if self.of is not None:
            require_id(self.of, "of")

    def page_of(self, log: list[Entry]) -> "ChangePage":
        """The page, computed from an owner's whole log: the reference for every storage."""
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
        """The page, from the first entries in order: pass one more than `limit`, if there is one."""
        items = tuple(entries[: self.limit])
        return ChangePage(items, place_of(items[-1]) if len(entries) > self.limit else None)


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Entries of an owner's log in order, and the place after which the next page starts, if there is one."""

    items: tuple[Entry, ...]
    next: Place | None


def place_of(entry: Entry) -> Place:
    """The entry's place in the log."""
    return Place(entry.number, entry.id)
