"""Where tasks may be: their lists and parents exist, and subtasks form trees of five levels, each in one list."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from todo_core.changes import Pair
from todo_core.errors import Problem
from todo_core.lists import TaskList, Thing
from todo_core.queries import NONE, Cursor, Sort, TaskQuery
from todo_core.seen import Seen, subtasks_of
from todo_core.task import LIST_RULE, PARENT_RULE, ListId, Task, TaskId

LEVELS_MAX: Final = 5
LEVELS_RULE: Final = f"would nest tasks more than {LEVELS_MAX} levels deep"
CYCLE_RULE: Final = "must not be the task itself or one of its subtasks"
APART_RULE: Final = "contradicts {}, which is in another place"
LEFT_RULE: Final = "has tasks that would be left behind"


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
    was = (None, None) if pair.before is None else (pair.before.list_id, pair.before.parent_id)  # type: ignore[union-attr]  # of one kind
    return (pair.after.list_id, pair.after.parent_id) != was


def _is_put_below_another(pair: Pair) -> bool:
    return getattr(pair.before, "parent_id", None) != getattr(pair.after, "parent_id", None)


def _left_behind(after: Seen, gone: Sequence[Thing]) -> Iterator[tuple[UUID, Problem]]:
    tasks = frozenset(thing.id for thing in gone if isinstance(thing, Task))
    for child in after.page(subtasks_of(tasks)) if tasks else ():
        yield child.parent_id, Problem("id", LEFT_RULE)  # type: ignore[misc]  # it has one
    for thing in gone:
        if isinstance(thing, TaskList) and after.page(in_list(thing.id)):
            yield thing.id, Problem("id", LEFT_RULE)


def in_list(list_id: ListId) -> TaskQuery:
    """The query for all tasks in a list, on every level."""
    return TaskQuery(list_id=list_id, sort=Sort.CREATED_AT, limit=None)


def _put_wrong(after: Seen, put: Sequence[Pair]) -> Iterator[tuple[UUID, Problem]]:
    """Tasks with an unknown list or parent, in another list than their parent, too deep, or below themselves."""
    tasks = [pair.after for pair in put if isinstance(pair.after, Task)]
    _see_ancestors(after, tasks)
    for task in tasks:
        if task.list_id is not None and after.find_list(task.list_id) is None:
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
    apart = {child.parent_id for child in after.page(subtasks_of(ids)) if child.list_id != now[child.parent_id].list_id}
    for task_id in apart:
        yield task_id, Problem("list_id", LEFT_RULE)  # type: ignore[misc]  # a child has a parent
    for task in [now[pair.thing.id] for pair in put if pair.thing.id in now and _is_put_below_another(pair)]:
        level, depth = [task], 1 + len(ancestors(after, task))
        while level and depth <= LEVELS_MAX:
            level, depth = list(after.page(subtasks_of(frozenset(each.id for each in level)))), depth + 1
        if level:
            yield task.id, Problem("parent_id", LEVELS_RULE)


def deleted(seen: Seen, thing: Thing) -> list[Pair]:
    """The pairs that delete a thing with everything in or below it."""
    inside = seen.page(in_list(thing.id)) if isinstance(thing, TaskList) else seen.below([thing.id])
    along = [Pair(each, None, root=thing.id) for each in inside]
    return [Pair(thing, None, took=1 + len(along)), *along]
