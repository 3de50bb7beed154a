"""Everything that an owner has at one moment, and the invariants of it."""

# ruff: noqa: S101 (these are tests)

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias
from uuid import UUID

from todo_core.changes import LIMIT_MAX, ChangeQuery, Entry
from todo_core.families import LEVELS_MAX
from todo_core.lists import TaskList, Thing
from todo_core.ports import OwnedTasks
from todo_core.queries import TaskQuery
from todo_core.task import ListId, OwnerId, Task, TaskId, is_position
from todo_core.testing.log import replayed, whole_log

Content: TypeAlias = Mapping[UUID, Mapping[str, object]]
Orders: TypeAlias = Mapping[object, list[UUID]]
LISTS: Final = "lists"
COUNTED: Final = frozenset({"version", "updated_at"})
"""The members that an undo does not set back."""


@dataclass(frozen=True)
class Belongings:
    """Everything that one owner has at one moment."""

    owner: OwnerId
    tasks: Mapping[TaskId, Task]
    lists: Mapping[ListId, TaskList]
    log: tuple[Entry, ...]
    trash: tuple[Entry, ...]

    @classmethod
    async def read(cls, tasks: OwnedTasks, owner: OwnerId) -> "Belongings":
        """Read everything. Nothing may be written meanwhile."""
        found = (await tasks.page(TaskQuery(limit=None))).items
        lists = await tasks.lists()
        assert [each.position for each in lists] == sorted(each.position for each in lists)
        trash = await tasks.changes(ChangeQuery(trash=True, limit=LIMIT_MAX))
        return cls(
            owner,
            {task.id: task for task in found},
            {each.id: each for each in lists},
            tuple(await whole_log(tasks)),
            trash.items,
        )

    @cached_property
    def things(self) -> dict[UUID, Thing]:
        """All tasks and lists, by id."""
        found: dict[UUID, Thing] = dict(self.tasks)  # type: ignore[arg-type]  # ids of one kind are ids
        return found | {each.id: each for each in self.lists.values()}

    @cached_property
    def number(self) -> int:
        """The number of the last change."""
        return max((entry.number for entry in self.log), default=0)

    def taken_with(self, head: Entry) -> list[UUID]:
        """The ids of what that deletion took and is still in the trash."""
        last = {entry.id: entry for entry in self.log}
        deleted = [each for each in self.log if each.number == head.number and each.after is None]
        taken = [each for each in deleted if head.id in (each.id, each.root)]
        assert head.took == len(taken), f"{head} took {len(taken)}"
        return [each.id for each in taken if each is last[each.id]]

    @cached_property
    def content(self) -> Content:
        """All things' members, without those that an undo does not set back."""
        return {
            each.id: {name: getattr(each, name) for name in each.__slots__ if name not in COUNTED}
            for each in self.things.values()
        }

    @cached_property
    def orders(self) -> Orders:
        """The ids of siblings by position: of the lists, of each list's top level, and of each task's subtasks."""
        orders: dict[object, list[UUID]] = {}
        for thing in sorted(self.things.values(), key=lambda each: each.position):
            orders.setdefault(among(thing), []).append(thing.id)
        return orders

    def without(self, ids: set[UUID]) -> Orders:
        """The orders of the others."""
        left = {of: [each for each in order if each not in ids] for of, order in self.orders.items()}
        return {of: order for of, order in left.items() if order}


def among(thing: Thing) -> object:
    """The key in `orders` of that thing's siblings."""
    if isinstance(thing, TaskList):
        return LISTS
    return ("below", thing.parent_id) if thing.parent_id else ("in", thing.list_id)


def assert_in_place(state: Belongings) -> None:
    """Subtasks form trees of at most five levels, each in one existing list; siblings have different positions."""
    for task in state.tasks.values():
        assert task.list_id is None or task.list_id in state.lists, f"{task} is in no list"
        levels, above = 1, task
        while above.parent_id is not None:
            assert above.parent_id in state.tasks, f"{above} is an orphan"
            above, levels = state.tasks[above.parent_id], levels + 1
            assert levels <= LEVELS_MAX, f"{task} is too deep, or below itself"
            assert above.list_id == task.list_id, f"{task} is apart from {above}"
    places = [(among(thing), thing.position) for thing in state.things.values()]
    assert len(set(places)) == len(places), f"two have one position: {sorted(map(str, places))}"
    assert all(is_position(position) for _, position in places)
    assert all(thing.owner == state.owner for thing in state.things.values())


def assert_log(state: Belongings, erased: Collection[UUID] = ()) -> None:
    """The log replayed gives what is stored, and everything deleted is in the trash, unless it was erased."""
    if not erased:
        assert replayed(state.owner, state.log) == state.things
        assert sorted({entry.number for entry in state.log}) == list(range(1, state.number + 1))
    kept = [each for head in state.trash for each in state.taken_with(head)]
    gone = {entry.id for entry in state.log} - state.things.keys() - set(erased)
    assert sorted(kept) == sorted(gone), "what is not there must be in the trash, once"
