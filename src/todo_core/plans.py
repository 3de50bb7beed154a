"""How something is written: a plan says what it must see and decides on it; a storage carries it out as one step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_

from todo_core.changes import Action, Entry, Pair
from todo_core.errors import TaskExists, TaskNotFound
from todo_core.idempotency import Once
from todo_core.identity import is_client
from todo_core.task import OwnerId, Task, TaskId, Version


@dataclass(frozen=True, slots=True)
class Sees:
    """What a plan must see before it decides."""

    tasks: frozenset[TaskId] = frozenset()
    entries: frozenset[int] = frozenset()
    """The numbers of changes whose entries in the log it must see."""
    history: frozenset[TaskId] = frozenset()
    """The tasks whose last entry in the log it must see."""

    def __or__(self, other: "Sees") -> "Sees":
        return Sees(self.tasks | other.tasks, self.entries | other.entries, self.history | other.history)


class NotSeen(Exception):
    """Raised inside `decide` by a look at something that was not asked for: the storage adds it and decides again."""

    def __init__(self, wanted: Sees) -> None:
        self.wanted = wanted
        super().__init__("the plan looks at more than it has asked for")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a plan decides on: one owner's things, as of one moment."""

    owner: OwnerId
    tasks: Mapping[TaskId, Task | None]
    entries: Mapping[int, tuple[Entry, ...]] = field(default_factory=dict)
    last: Mapping[TaskId, Entry | None] = field(default_factory=dict)

    def task(self, task_id: TaskId) -> Task:
        """That task. Raises `TaskNotFound`."""
        if (task := self.find(task_id)) is None:
            raise TaskNotFound
        return task

    def find(self, task_id: TaskId) -> Task | None:
        """That task, or None."""
        try:
            return self.tasks[task_id]
        except KeyError:
            raise NotSeen(Sees(frozenset({task_id}))) from None

    def change(self, number: int) -> tuple[Entry, ...]:
        """The entries of that change; none where there is no such change, or it has been forgotten."""
        try:
            return self.entries[number]
        except KeyError:
            raise NotSeen(Sees(entries=frozenset({number}))) from None

    def last_of(self, task_id: TaskId) -> Entry | None:
        """The last entry about that task, or None."""
        try:
            return self.last[task_id]
        except KeyError:
            raise NotSeen(Sees(history=frozenset({task_id}))) from None

    def missing(self, sees: Sees) -> Sees:
        """What of that has not been seen yet."""
        return Sees(sees.tasks - self.tasks.keys(), sees.entries - self.entries.keys(), sees.history - self.last.keys())

    def with_tasks(self, tasks: Mapping[TaskId, Task | None]) -> "Seen":
        """The same with these tasks as they are here; None for one that is not there."""
        return replace(self, tasks={**self.tasks, **tasks})

    def with_log(self, entries: Mapping[int, tuple[Entry, ...]], last: Mapping[TaskId, Entry | None]) -> "Seen":
        """The same with these changes, and with the last entries of these tasks."""
        return replace(self, entries={**self.entries, **entries}, last={**self.last, **last})


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be stored, as one change, and the tasks that the answer is about. Without pairs there is no change.

    Of tasks that are `erased` the log forgets all that they held; that is no change, and cannot be undone.
    """

    pairs: tuple[Pair, ...] = ()
    answer: tuple[Task, ...] = ()
    erased: frozenset[TaskId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a caller wants done.

    `decide` is pure, and may be called several times: the last call counts. It may raise any `TodoError`. A thing that
    it creates need not have been seen; what it changes or deletes must have been. Raises `ValueError` for a client that
    the log cannot name: see `Identity`.
    """

    decide: Callable[[Seen], Decision]
    sees: Sees = Sees()
    once: Once | None = None
    client: str | None = None

    def __post_init__(self) -> None:
        if not (self.client is None or is_client(self.client)):
            raise ValueError("the log cannot name such a client: 1 to 255 printable characters")


@dataclass(frozen=True, slots=True)
class Committed:
    """What came of a plan: the tasks that its decision answered with, and the number of the change, if there was one.

    `replayed`: an earlier plan under the same key did it, and this is what came of that one.
    """

    things: tuple[Task, ...]
    change: int | None
    replayed: bool = False

    @property
    def task(self) -> Task:
        """The one task that it is about. Raises `TaskNotFound` where there is none: it was deleted, or erased since."""
        if not self.things:
            raise TaskNotFound
        [task] = self.things
        return task


def decided(plan: Plan, seen: Seen) -> Decision:
    """What the plan decides on `seen`, as a storage may write it.

    Raises what `decide` raises, `TaskExists` where it creates what was seen, and `ValueError` where it writes
    another owner's thing, one twice, or one otherwise than it was seen.
    """
    decision = plan.decide(seen)
    written: set[TaskId] = set()
    for pair in decision.pairs:
        thing = pair.thing
        if thing.owner != seen.owner:
            raise ValueError("this task belongs to another owner")
        if thing.id in written:
            raise ValueError("a plan must write each thing once")
        written.add(thing.id)
        if pair.before is None:
            if seen.tasks.get(thing.id) is not None:
                raise TaskExists
        elif seen.tasks.get(thing.id) != pair.before:
            raise ValueError("a plan must have seen what it changes, as it is")
    return decision


def composed(plans: Sequence[Plan], *, once: Once | None = None, client: str | None = None) -> Plan:
    """All of these plans as one, each deciding on what those before it left: one change, or none.

    A thing that several of them write is one version further in the end, as after any other change.
    """

    def decide(seen: Seen) -> Decision:
        before: dict[TaskId, Task | None] = {}
        after: dict[TaskId, Task | None] = {}
        versions: dict[TaskId, Version] = {}
        named: dict[TaskId, Action | None] = {}
        answers: list[Task] = []
        erased: frozenset[TaskId] = frozenset()
        for plan in plans:
            decision = decided(plan, seen.with_tasks(after))
            for pair in decision.pairs:
                first = before.setdefault(pair.thing.id, pair.before)
                if pair.before is None and first is not None:
                    raise TaskExists  # an id is not used again
                version = versions.setdefault(pair.thing.id, pair.thing.version)
                after[pair.thing.id] = pair.after and replace(pair.after, version=version)
                named[pair.thing.id] = pair.named or named.get(pair.thing.id)
            answers += [after.get(task.id) or task for task in decision.answer]
            erased |= decision.erased
        changed = {task_id: (first, after[task_id]) for task_id, first in before.items() if first is not after[task_id]}
        pairs = [Pair(*both, named[task_id] if all(both) else None) for task_id, both in changed.items()]
        return Decision(tuple(pairs), tuple(answers), erased)

    sees = reduce(or_, (plan.sees for plan in plans), Sees())
    return Plan(decide=decide, sees=sees, once=once, client=client)
