"""Where things are: lists, subtasks, and the order among siblings; and what a move changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, TypeAlias, TypedDict, TypeVar
from uuid import UUID

from todo_core.changes import Pair, changed, where_is
from todo_core.errors import InvalidInput, Problem
from todo_core.lists import TaskList, Thing
from todo_core.positions import between, spread
from todo_core.queries import NONE, Cursor, Sort, TaskQuery
from todo_core.seen import Seen
from todo_core.task import LIST_RULE, PARENT_RULE, ListId, Task, TaskId

LEVELS_MAX: Final = 5
LEVELS_RULE: Final = f"would nest tasks more than {LEVELS_MAX} levels deep"
CYCLE_RULE: Final = "must not be the task itself or one of its subtasks"
APART_RULE: Final = "contradicts {}, which is in another place"
NEIGHBOUR_RULE: Final = "must be the id of another of your {}"
ONE_RULE: Final = "must not be given together with before"
LEFT_RULE: Final = "has tasks that would be left behind"
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


@dataclass(frozen=True, slots=True)
class Siblings:
    """The tasks that share one order: those at the top of a list or of the inbox, or those below one task."""

    list_id: ListId | None
    parent_id: TaskId | None

    @classmethod
    def of(cls, task: Task) -> "Siblings":
        """The siblings of that task, itself included."""
        return cls(task.list_id, task.parent_id)

    def query(self, *, last_first: bool = False, behind: Cursor | None = None, limit: int | None = None) -> TaskQuery:
        """The query that lists them."""
        sort = Sort.POSITION_DESCENDING if last_first else Sort.POSITION
        if self.parent_id is not None:
            return TaskQuery(parents=frozenset({self.parent_id}), sort=sort, after=behind, limit=limit)
        return TaskQuery(list_id=self.list_id or NONE, parents=NONE, sort=sort, after=behind, limit=limit)


def placed(seen: Seen, task: Task) -> list[Pair]:
    """The pairs that create that task as the last of its siblings, in its parent's list. Raises `InvalidInput`.

    The task's position must sort after all earlier ones.
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

    `fresh` is a position that sorts after all earlier ones. Raises `InvalidInput`, naming the member at fault.
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
        if (list_id := where["list_id"]) is not None and list_id not in seen.all_lists():
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
    """A position between the two, None if there is none; at the end `fresh`, so that later creations come after it."""
    if high is not None:
        return between(low or "", high)
    return fresh if low is None or low < fresh else None


def _spread(others: Sequence[V], place: int, fresh: str, at: datetime) -> tuple[str, list[Pair]]:
    """The position at index `place` among the others, and the pairs that give all of those new positions."""
    positions = [*spread(len(others)), fresh] if place == len(others) else spread(len(others) + 1)
    mine = positions.pop(place)
    spread_out = zip(others, positions, strict=True)
    return mine, changed((each, each.with_stored(at, {"position": new})) for each, new in spread_out)


def unshared(seen: Seen, pairs: Sequence[Pair], fresh: str) -> list[Pair]:
    """The pairs, with no position that a sibling already has: a duplicate is moved just after that sibling.

    `fresh` sorts after all positions. Where there is no room, the siblings get new positions too. A thing that does not
    move, or whose list or parent is created by the same pairs, cannot collide.
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
            behind = [each for each in (*taken, *(each.position for each in things)) if each > thing.position]
            position = between(thing.position, min(behind, default=fresh))
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


def misplaced(seen: Seen, pairs: Sequence[Pair]) -> list[tuple[UUID, Problem]]:
    """The things that these pairs would leave in an invalid place, by id, with the problem of each.

    Each list and parent must exist, subtasks must form trees of at most five levels, each within one list, and a
    deletion must include everything in or below the thing.
    """
    gone = [pair.thing for pair in pairs if pair.after is None]
    put = [pair for pair in pairs if _is_put(pair)]
    if not gone and not put:
        return []
    after = seen.with_changed({pair.thing.id: pair.after for pair in pairs})
    wrong = [*_left_behind(after, gone), *_put_wrong(after, put)]
    return wrong or list(_families(after, put))  # levels are counted only where lists and parents are right


def _is_put(pair: Pair) -> bool:
    """Whether it changes a task's list or parent, or creates it with one."""
    if not isinstance(pair.after, Task):
        return False
    was = Siblings(None, None) if pair.before is None else Siblings.of(pair.before)  # type: ignore[arg-type]  # of one kind
    return Siblings.of(pair.after) != was


def _is_put_below_another(pair: Pair) -> bool:
    return getattr(pair.before, "parent_id", None) != getattr(pair.after, "parent_id", None)


def _left_behind(after: Seen, gone: Sequence[Thing]) -> Iterator[tuple[UUID, Problem]]:
    tasks = frozenset(thing.id for thing in gone if isinstance(thing, Task))
    for child in after.page(_children(tasks)) if tasks else ():
        yield child.parent_id, Problem("id", LEFT_RULE)  # type: ignore[misc]  # it has one
    for thing in gone:
        if isinstance(thing, TaskList) and after.page(in_list(thing.id)):
            yield thing.id, Problem("id", LEFT_RULE)


def _children(parents: frozenset[TaskId]) -> TaskQuery:
    return TaskQuery(parents=parents, sort=Sort.CREATED_AT, limit=None)


def in_list(list_id: ListId) -> TaskQuery:
    """The query for all tasks in a list, on every level."""
    return TaskQuery(list_id=list_id, sort=Sort.CREATED_AT, limit=None)


def _put_wrong(after: Seen, put: Sequence[Pair]) -> Iterator[tuple[UUID, Problem]]:
    """Tasks with an unknown list or parent, in another list than their parent, too deep, or below themselves."""
    tasks = [pair.after for pair in put if isinstance(pair.after, Task)]
    lists = after.all_lists() if any(task.list_id is not None for task in tasks) else {}
    _see_ancestors(after, tasks)
    for task in tasks:
        if task.list_id is not None and task.list_id not in lists:
            yield task.id, Problem("list_id", LIST_RULE)
        elif task.parent_id is not None:
            yield from _of_ancestors(after, task)


def _see_ancestors(after: Seen, tasks: Sequence[Task]) -> None:
    """Ask for all parents of a level together: a `NotSeen` for each level, not for each task."""
    level = list(tasks)
    for _ in range(LEVELS_MAX):
        wanted = dict.fromkeys(task.parent_id for task in level if task.parent_id is not None)
        level = [task for task in after.find_all(wanted) if task is not None]


def _of_ancestors(after: Seen, task: Task) -> Iterator[tuple[UUID, Problem]]:
    above = ancestors(after, task)
    if None in above:
        yield task.id, Problem("parent_id", PARENT_RULE)
    elif task.id in [each and each.id for each in above]:
        yield task.id, Problem("parent_id", CYCLE_RULE)
    elif len(above) >= LEVELS_MAX:
        yield task.id, Problem("parent_id", LEVELS_RULE)
    elif above[0] is not None and above[0].list_id != task.list_id:
        yield task.id, Problem("list_id", APART_RULE.format("parent_id"))


def ancestors(seen: Seen, task: Task) -> list[Task | None]:
    """The tasks above it, nearest first, at most `LEVELS_MAX`; None stands for one that does not exist."""
    found: list[Task | None] = []
    above: Task | None = task
    while above is not None and above.parent_id is not None and len(found) < LEVELS_MAX:
        above = seen.find(above.parent_id)
        found.append(above)
    return found


def _families(after: Seen, put: Sequence[Pair]) -> Iterator[tuple[UUID, Problem]]:
    """Tasks whose move leaves subtasks in another list, or pushes them too deep."""
    now: dict[UUID | None, Task] = {
        pair.after.id: pair.after for pair in put if isinstance(pair.after, Task) and pair.before is not None
    }
    if not now:
        return
    ids = frozenset(task.id for task in now.values())
    apart = {child.parent_id for child in after.page(_children(ids)) if child.list_id != now[child.parent_id].list_id}
    for task_id in apart:
        yield task_id, Problem("list_id", LEFT_RULE)  # type: ignore[misc]  # a child has a parent
    for task in [now[pair.thing.id] for pair in put if pair.thing.id in now and _is_put_below_another(pair)]:
        level, depth = [task], 1 + len(ancestors(after, task))
        while level and depth <= LEVELS_MAX:
            level, depth = list(after.page(_children(frozenset(each.id for each in level)))), depth + 1
        if level:
            yield task.id, Problem("parent_id", LEVELS_RULE)


def deleted(seen: Seen, thing: Thing) -> list[Pair]:
    """The pairs that delete a thing with everything in or below it."""
    inside = seen.page(in_list(thing.id)) if isinstance(thing, TaskList) else seen.below([thing.id])
    along = [Pair(each, None, root=thing.id) for each in inside]
    return [Pair(thing, None, took=1 + len(along)), *along]
