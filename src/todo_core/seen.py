"""What a plan reads before it decides: one owner's things, as of one moment."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self
from uuid import UUID

from todo_core.changes import ChangeQuery, Entry
from todo_core.errors import ListNotFound, TaskNotFound
from todo_core.lists import TaskList, Thing
from todo_core.queries import PAGE_MAX, Sort, TaskQuery
from todo_core.task import ListId, OwnerId, Task, TaskId

_SIZES: Final = (8, 32, 128, PAGE_MAX)  # few, since each new page size means another read and another decision


@dataclass(frozen=True, slots=True)
class Sees:
    """What a plan must see before it decides."""

    tasks: frozenset[TaskId] = frozenset()
    entries: frozenset[int] = frozenset()
    """The numbers of changes whose entries in the log it must see."""
    last_entries: frozenset[UUID] = frozenset()
    """The things whose last entry in the log it must see."""
    pages: frozenset[TaskQuery] = frozenset()
    """The listings that it must see."""
    lists: bool = False
    """Whether it must see the owner's lists."""
    log: frozenset[ChangeQuery] = frozenset()
    """The pages of the log that it must see."""

    def __or__(self, other: "Sees") -> "Sees":
        return Sees(
            self.tasks | other.tasks,
            self.entries | other.entries,
            self.last_entries | other.last_entries,
            self.pages | other.pages,
            self.lists or other.lists,
            self.log | other.log,
        )


def subtasks_of(tasks: frozenset[TaskId]) -> TaskQuery:
    """All direct subtasks of these tasks."""
    return TaskQuery(parents=tasks, sort=Sort.CREATED_AT, limit=None)


class NotSeen(Exception):
    """Raised inside `decide` for something that has not been read: the storage reads it and decides again."""

    wanted: Sees
    """What must be read."""

    def __init__(self, wanted: Sees) -> None:
        self.wanted = wanted
        super().__init__("the plan needs more than has been read")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a plan decides on. Its methods raise `NotSeen` for what has not been read."""

    owner: OwnerId
    tasks: Mapping[TaskId, Task | None]
    entries: Mapping[int, tuple[Entry, ...]] = field(default_factory=dict)
    last_entries: Mapping[UUID, Entry | None] = field(default_factory=dict)
    pages: Mapping[TaskQuery, tuple[Task, ...]] = field(default_factory=dict)
    lists: Mapping[ListId, TaskList] | None = None
    log: Mapping[ChangeQuery, tuple[Entry, ...]] = field(default_factory=dict)
    changed: Mapping[UUID, Thing | None] = field(default_factory=dict)
    """Things written by earlier plans of the same batch; None for one that they deleted."""

    @property
    def size(self) -> int:
        """About how many things and entries have been read: a measure of what deciding costs."""
        several = (*self.pages.values(), *self.entries.values())
        return len(self.tasks) + len(self.last_entries) + sum(map(len, several))

    def go_on(self) -> None:
        """Called before each plan of a batch is decided. A storage may raise here when nobody waits any longer."""

    def known(self, ids: Collection[UUID]) -> dict[UUID, Thing | None]:
        """Those of these things that have been read, in their present state; None for one that does not exist."""
        found: dict[UUID, Thing | None] = {}
        parts: tuple[Mapping[Any, Any] | None, ...] = (self.tasks, self.lists, self.changed)
        for there in filter(None, parts):  # an id without a task may be a list's
            found |= {each: there[each] for each in ids if each in there}
        if self.pages and (rest := set(ids) - found.keys()):
            found |= {task.id: task for page in self.pages.values() for task in page if task.id in rest}
        return found

    def task(self, task_id: TaskId) -> Task:
        """The task with that id. Raises `TaskNotFound`."""
        if (task := self.find(task_id)) is None:
            raise TaskNotFound
        return task

    def find(self, task_id: TaskId) -> Task | None:
        """The task with that id, or None."""
        if self.changed and task_id in self.changed:
            thing = self.changed[task_id]
            return thing if isinstance(thing, Task) else None
        try:
            return self.tasks[task_id]
        except KeyError:
            raise NotSeen(Sees(frozenset({task_id}))) from None

    def find_all(self, ids: Collection[TaskId]) -> list[Task | None]:
        """The task for each of these ids, or None."""
        if unseen := [each for each in ids if each not in self.changed and each not in self.tasks]:
            raise NotSeen(Sees(frozenset(unseen)))
        return list(map(self.find, ids))

    def thing(self, wanted: Thing) -> Thing | None:
        """The thing of the same kind and id as `wanted`, or None."""
        return self.find(wanted.id) if isinstance(wanted, Task) else self.find_list(wanted.id)

    def task_list(self, list_id: ListId) -> TaskList:
        """The list with that id. Raises `ListNotFound`."""
        if (found := self.find_list(list_id)) is None:
            raise ListNotFound
        return found

    def find_list(self, list_id: ListId) -> TaskList | None:
        """The list with that id, or None."""
        if list_id in self.changed:
            thing = self.changed[list_id]
            return thing if isinstance(thing, TaskList) else None
        return self._stored_lists().get(list_id)

    def all_lists(self) -> dict[ListId, TaskList]:
        """All of the owner's lists, by id."""
        now: dict[Any, TaskList] = dict(self._stored_lists())
        for thing_id, thing in self.changed.items():
            now.pop(thing_id, None)
            if isinstance(thing, TaskList):
                now[thing_id] = thing
        return now

    def _stored_lists(self) -> Mapping[ListId, TaskList]:
        if self.lists is None:
            raise NotSeen(Sees(lists=True))
        return self.lists

    def page(self, query: TaskQuery) -> tuple[Task, ...]:
        """The tasks of that page."""
        written = sum(each is None or each.version > 1 for each in self.changed.values())  # others are not stored yet
        asked = query
        if query.limit is not None and written:  # as many of the stored tasks may no longer match
            enough = query.limit + written
            asked = replace(query, limit=next((size for size in _SIZES if size >= enough), None))
        if asked not in self.pages:
            raise NotSeen(Sees(pages=frozenset({asked})))
        if not self.changed:
            return self.pages[asked]
        stored = [task for task in self.pages[asked] if task.id not in self.changed]
        new = query.matching(each for each in self.changed.values() if isinstance(each, Task))
        return query.page(query.ordered([*stored, *new])).items

    def below(self, tasks: Iterable[TaskId]) -> list[Task]:
        """All subtasks of those tasks on every level, higher levels first."""
        level = frozenset(tasks)
        known, found = set(level), list[Task]()
        while level:
            children = self.page(subtasks_of(level))
            found += (new := [task for task in children if task.id not in known])  # ends even if a cycle is stored
            level = frozenset(task.id for task in new)
            known |= level
        return found

    def change(self, number: int) -> tuple[Entry, ...]:
        """The entries of that change; none if there is no such change, or it has been pruned."""
        try:
            return self.entries[number]
        except KeyError:
            raise NotSeen(Sees(entries=frozenset({number}))) from None

    def logged(self, query: ChangeQuery) -> tuple[Entry, ...]:
        """The entries of that page of the log, without those of earlier plans of the same batch."""
        if query not in self.log:
            raise NotSeen(Sees(log=frozenset({query})))
        return self.log[query]

    def last_of(self, things: Collection[UUID]) -> list[Entry | None]:
        """The last log entry about each of those things, or None."""
        if unseen := frozenset(things) - self.last_entries.keys():
            raise NotSeen(Sees(last_entries=unseen))
        return [self.last_entries[each] for each in things]

    def missing(self, sees: Sees) -> Sees:
        """The part of `sees` that has not been read yet."""
        return Sees(
            sees.tasks - self.tasks.keys(),
            sees.entries - self.entries.keys(),
            sees.last_entries - self.last_entries.keys(),
            sees.pages - self.pages.keys(),
            sees.lists and self.lists is None,
            sees.log - self.log.keys(),
        )

    def with_read(
        self,
        *,
        tasks: Mapping[TaskId, Task | None],
        entries: Mapping[int, tuple[Entry, ...]],
        last_entries: Mapping[UUID, Entry | None],
        pages: Mapping[TaskQuery, tuple[Task, ...]],
        lists: Iterable[TaskList] | None,
        log: Mapping[ChangeQuery, tuple[Entry, ...]],
    ) -> Self:
        """A copy to which what has been read is added."""
        return replace(
            self,
            tasks={**self.tasks, **tasks},
            entries={**self.entries, **entries},
            last_entries={**self.last_entries, **last_entries},
            pages={**self.pages, **pages},
            lists=self.lists if lists is None else {each.id: each for each in lists},
            log={**self.log, **log},
        )

    def with_changed(self, changed: Mapping[UUID, Thing | None]) -> "Seen":
        """A copy in which these things have been written; None for one that is deleted."""
        return replace(self, changed={**self.changed, **changed})
