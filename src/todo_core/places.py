"""Where things are: lists, subtasks, and the order among siblings; and what a move changes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Literal, TypeAlias, TypedDict, TypeVar
from uuid import UUID

from todo_core.changes import Pair, changed, where_is
from todo_core.errors import InvalidInput, Problem
from todo_core.families import APART_RULE, Siblings, misplaced
from todo_core.lists import TaskList, Thing
from todo_core.positions import between, just_behind, spread
from todo_core.queries import Cursor, Sort
from todo_core.seen import Seen
from todo_core.task import LIST_RULE, PARENT_RULE, RULES, ListId, Rule, Task, TaskId, is_id, require_known

NEIGHBOUR_RULE: Final = "must be the id of another of your {}"
ONE_RULE: Final = "must not be given together with before"
Member: TypeAlias = Literal["list_id", "parent_id", "before", "after"]
V = TypeVar("V", bound=Thing)


class Where(TypedDict, total=False):
    """Where a task is to be moved. What is absent follows from the other members, or stays as it is.

    `before` and `after` name a sibling, and only one may be given; without either the task becomes the last.
    """

    list_id: ListId | None
    parent_id: TaskId | None
    before: TaskId
    after: TaskId


def _beside_rules(kind: Literal["tasks", "lists"]) -> dict[str, Rule]:
    return dict.fromkeys(("before", "after"), Rule(is_id, NEIGHBOUR_RULE.format(kind)))


WHERE: Final[Mapping[str, Rule]] = {name: RULES[name] for name in ("list_id", "parent_id")} | _beside_rules("tasks")
"""The rules of the members of `Where`, as far as they can be judged without the tasks and lists."""
WHERE_OF_LISTS: Final[Mapping[str, Rule]] = _beside_rules("lists")
"""Those of the members that say where a list is to be moved."""


def require_where(given: Mapping[str, object], rules: Mapping[str, Rule]) -> None:
    """Raise `InvalidInput` if a member breaks its rule, and `TypeError` if there is another."""
    require_known(given, rules.keys())
    if wrong := [Problem(name, rules[name].sentence) for name, value in given.items() if not rules[name].holds(value)]:
        raise InvalidInput(wrong)


def placed(seen: Seen, task: Task) -> list[Pair]:
    """The pairs that create that task as the last of its siblings, in its parent's list. Raises `InvalidInput`.

    The task's position must be the digits of a new id.
    """
    where: Where = {} if task.parent_id is None else {"parent_id": task.parent_id}
    if task.list_id is not None:
        where["list_id"] = task.list_id
    if not where:
        return [Pair(None, task)]
    siblings = _siblings(seen, task, where)
    position, others = _last(seen, siblings, task, task.position, task.updated_at)
    return [*others, Pair(None, replace(task, list_id=siblings.list_id, position=position))]


def moved(seen: Seen, task: Task, where: Where, *, at: datetime, fresh: str) -> list[Pair]:
    """The pairs that move that task, with its subtasks; none if it is there already.

    `fresh` are the digits of a new id. Raises `InvalidInput`, naming the member at fault.
    """
    siblings = _siblings(seen, task, where)
    others: list[Pair] = []
    if (name := _neighbour(where)) is not None:
        position, others = _beside(seen, siblings, task, (name, where[name]), fresh, at)
    elif Siblings.of(task) == siblings and _is_last(seen, siblings, task):
        return []
    else:
        position, others = _last(seen, siblings, task, fresh, at)
    to = {"list_id": siblings.list_id, "parent_id": siblings.parent_id, "position": position}
    pairs = [*others, *_taken_along(seen, task, to, at)]
    if wrong := misplaced(seen, pairs):
        raise InvalidInput(dict.fromkeys(Problem(name or _asked(where), problem.detail) for _, problem in wrong))
    return pairs


def is_there(task: Task, where: Where) -> bool:
    """Whether the task is in the list and below the parent that `where` names."""
    return not _apart(where, Siblings.of(task))


def _neighbour(where: Where) -> Literal["before", "after"] | None:
    if "before" in where:
        if "after" in where:
            raise InvalidInput([Problem("after", ONE_RULE)])
        return "before"
    return "after" if "after" in where else None


def _asked(where: Where) -> Member:
    return "parent_id" if "parent_id" in where else "list_id"


def _siblings(seen: Seen, task: Task, where: Where) -> Siblings:
    """The siblings that the task moves to. Raises `InvalidInput` for an unknown id or a contradiction."""
    if (name := _neighbour(where)) is not None:
        beside = seen.find(where[name])
        if beside is None or beside.id == task.id:
            raise InvalidInput([Problem(name, NEIGHBOUR_RULE.format("tasks"))])
        return _agreeing(where, Siblings.of(beside), name)
    if (parent_id := where.get("parent_id")) is not None:
        if (parent := seen.find(parent_id)) is None:
            raise InvalidInput([Problem("parent_id", PARENT_RULE)])
        return _agreeing(where, Siblings(parent.list_id, parent_id), "parent_id")
    if "list_id" in where:
        if (list_id := where["list_id"]) is not None and seen.find_list(list_id) is None:
            raise InvalidInput([Problem("list_id", LIST_RULE)])
        return Siblings(list_id, None)
    return Siblings(task.list_id, None) if "parent_id" in where else Siblings.of(task)


def _agreeing(where: Where, siblings: Siblings, said_by: Member) -> Siblings:
    if wrong := _apart(where, siblings):
        raise InvalidInput([Problem(name, APART_RULE.format(said_by)) for name in wrong])
    return siblings


def _apart(where: Where, siblings: Siblings) -> list[Member]:
    """Which of `list_id` and `parent_id` in `where` differ from those of these siblings."""
    there: Where = {"list_id": siblings.list_id, "parent_id": siblings.parent_id}
    names: tuple[Literal["list_id", "parent_id"], ...] = ("list_id", "parent_id")
    return [name for name in names if name in where and where[name] != there[name]]


def _taken_along(seen: Seen, task: Task, to: Mapping[str, object], at: datetime) -> list[Pair]:
    """The pairs of a task that moves `to` there, and of its subtasks if the list changes."""
    inside = {"list_id": to["list_id"]}
    below = seen.below([task.id]) if to["list_id"] != task.list_id else []
    return changed([(task, task.with_stored(at, to)), *((each, each.with_stored(at, inside)) for each in below)])


def _is_last(seen: Seen, siblings: Siblings, task: Task) -> bool:
    return [each.id for each in seen.page(siblings.query(last_first=True, limit=1))] == [task.id]


def _last(seen: Seen, siblings: Siblings, task: Task, fresh: str, at: datetime) -> tuple[str, list[Pair]]:
    """The position after all siblings, and the pairs that make room for it."""
    last = next((each for each in seen.page(siblings.query(last_first=True, limit=2)) if each.id != task.id), None)
    return _between(seen, siblings, task, (last, None), fresh, at)


def _beside(
    seen: Seen,
    siblings: Siblings,
    task: Task,
    neighbour: tuple[Literal["before", "after"], TaskId],
    fresh: str,
    at: datetime,
) -> tuple[str, list[Pair]]:
    """The position right before or after that sibling, and the pairs that make room for it."""
    here, backwards = seen.task(neighbour[1]), neighbour[0] == "before"
    behind = Cursor.behind(here, Sort.POSITION_DESCENDING if backwards else Sort.POSITION)
    found = seen.page(siblings.query(last_first=backwards, behind=behind, limit=2))
    if found and found[0].id == task.id:
        return task.position, []  # it is there already
    there = next((each for each in found if each.id != task.id), None)
    return _between(seen, siblings, task, (there, here) if backwards else (here, there), fresh, at)


def _between(
    seen: Seen,
    siblings: Siblings,
    task: Task,
    neighbours: tuple[Task | None, Task | None],
    fresh: str,
    at: datetime,
) -> tuple[str, list[Pair]]:
    low, high = (None if each is None else each.position for each in neighbours)
    if position := _room(low, high, fresh):
        return position, []
    others = [each for each in seen.page(siblings.query()) if each.id != task.id]
    place = next((at for at, each in enumerate(others) if each.position == high), len(others))
    return _spread(others, place, fresh, at)


def _room(low: str | None, high: str | None, fresh: str) -> str | None:
    """A position between the two, None if there is none; at the end `fresh`, or just behind one with a later id."""
    if high is not None:
        return between(low or "", high)
    return fresh if low is None or low < fresh else just_behind(low)


def _spread(others: Sequence[V], place: int, fresh: str, at: datetime) -> tuple[str, list[Pair]]:
    """The position at index `place` among the others, and the pairs that give all of those new positions."""
    positions = [*spread(len(others)), fresh] if place == len(others) else spread(len(others) + 1)
    mine = positions.pop(place)
    spread_out = zip(others, positions, strict=True)
    return mine, changed((each, each.with_stored(at, {"position": new})) for each, new in spread_out)


def with_free_positions(seen: Seen, pairs: Sequence[Pair], fresh: str) -> list[Pair]:
    """The pairs, with no position that a sibling already has: a duplicate is moved just after that sibling.

    `fresh` are the digits of a new id. Where there is no room, the siblings get new positions too. A thing that does
    not move, or whose list or parent is created by the same pairs, cannot collide.
    """
    after = seen.with_changed({pair.thing.id: pair.after for pair in pairs})
    new = {pair.thing.id for pair in pairs if pair.before is None}
    groups: dict[Siblings | None, list[Thing]] = {}
    for pair in pairs:
        if pair.after is not None and new.isdisjoint(_inside_of(pair.after)) and _comes(pair):
            group = Siblings.of(pair.after) if isinstance(pair.after, Task) else None
            groups.setdefault(group, []).append(pair.after)
    if not groups:
        return list(pairs)
    known = {pair.thing.id for pair in pairs}
    free: dict[UUID, str] = {}
    made_room: list[Thing] = []
    for siblings, things in groups.items():
        positions = _free_positions({each.position for each in _others(after, siblings, things)}, things, fresh)
        if positions is None:
            others = _others(after, siblings, things, all_of_them=True)
            positions = _spread_among(others, things)
            made_room += (each for each in others if each.id not in known)
        free |= positions
    at = max(each.updated_at for things in groups.values() for each in things)
    moved = changed((each, each.with_stored(at, {"position": free[each.id]})) for each in made_room)
    return [*(_at(pair, free.get(pair.thing.id)) for pair in pairs), *moved]


def _spread_among(others: Sequence[Thing], things: Sequence[Thing]) -> dict[UUID, str]:
    """New positions for all of these, each of `things` just after the other that has the same position."""
    ids = {thing.id for thing in things}
    ordered = sorted([*others, *things], key=lambda each: (each.position, each.id in ids))
    return {each.id: position for each, position in zip(ordered, spread(len(ordered)), strict=True)}


def _inside_of(thing: Thing) -> set[UUID | None]:
    return {thing.list_id, thing.parent_id} if isinstance(thing, Task) else set()


def _comes(pair: Pair) -> bool:
    """Whether it creates its thing, or moves it."""
    return pair.before is None or where_is(pair.before) != where_is(pair.after)  # type: ignore[arg-type]  # there is one


def _at(pair: Pair, position: str | None) -> Pair:
    if position is None or pair.after is None or pair.after.position == position:
        return pair
    return replace(pair, after=replace(pair.after, position=position))


def _others(
    after: Seen, siblings: Siblings | None, things: Sequence[Thing], *, all_of_them: bool = False
) -> list[Thing]:
    """The other siblings, limited to those that matter for the positions of these things."""
    ids = {thing.id for thing in things}
    if siblings is None:
        return [each for each in after.all_lists().values() if each.id not in ids]
    query = siblings.query()
    if len(things) == 1 and not all_of_them:  # two from its position on suffice, and perhaps itself
        behind = Cursor(Sort.POSITION, TaskId(UUID(int=0)), things[0].position)
        query = siblings.query(behind=behind, limit=3)
    return [each for each in after.page(query) if each.id not in ids]


def _free_positions(others: set[str], things: Sequence[Thing], fresh: str) -> dict[UUID, str] | None:
    """A position for each thing that no other has; None if there is no room."""
    taken, free = set(others), dict[UUID, str]()
    for thing in sorted(things, key=lambda each: each.position):
        position: str | None = thing.position
        if position in taken:
            later = [each for each in (*taken, *(each.position for each in things)) if each > thing.position]
            position = _room(thing.position, min(later, default=None), fresh)
        if position is None:
            return None
        taken.add(position)
        free[thing.id] = position
    return free


def moved_list(seen: Seen, task_list: TaskList, where: Mapping[str, ListId], *, at: datetime, fresh: str) -> list[Pair]:
    """The pairs that move that list before or after another one, or to the end; none if it is there already.

    Raises `InvalidInput`, naming the member at fault.
    """
    lists = sorted(seen.all_lists().values(), key=lambda each: each.position)
    others = [each for each in lists if each.id != task_list.id]
    place = len(others)
    if (name := _neighbour(where)) is not None:  # type: ignore[arg-type]  # reads only these two keys
        ids = [each.id for each in others]
        if where[name] not in ids:
            raise InvalidInput([Problem(name, NEIGHBOUR_RULE.format("lists"))])
        place = ids.index(where[name]) + (name == "after")
    if lists.index(task_list) == place:
        return []
    low, high = others[place - 1].position if place else None, others[place].position if place < len(others) else None
    position, made_room = _room(low, high, fresh), list[Pair]()
    if position is None:
        position, made_room = _spread(others, place, fresh, at)
    return [*made_room, Pair(task_list, task_list.with_stored(at, {"position": position}))]
