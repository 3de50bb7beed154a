"""How something is written: a plan says what it must see and decides on it; a storage carries it out as one step."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import cast
from uuid import UUID

from todo_core.changes import Pair, rooted
from todo_core.errors import InvalidInput, ListNotFound, TaskExists, TaskNotFound, TodoError
from todo_core.idempotency import Once
from todo_core.identity import is_client
from todo_core.lists import TaskList, Thing
from todo_core.places import misplaced
from todo_core.seen import NotSeen, Seen, Sees
from todo_core.task import Task
from todo_core.versioned import Version


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be stored, as one change, and the things that the answer is about. Without pairs there is no change.

    Of things that are `erased` the log forgets all that they held; that is no change, and cannot be undone.
    """

    pairs: tuple[Pair, ...] = ()
    answer: tuple[Thing, ...] = ()
    erased: frozenset[UUID] = frozenset()


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
    """What came of a plan: the things that its decision answered with, and the number of the change, if there was one.

    `replayed`: an earlier plan under the same key did it, and this is what came of that one.
    """

    things: tuple[Thing, ...]
    change: int | None
    replayed: bool = False

    @property
    def task(self) -> Task:
        """The one task that it is about. Raises `TaskNotFound` where there is none: it was deleted, or erased since."""
        if not self.things:
            raise TaskNotFound
        [task] = self.things
        return cast("Task", task)

    @property
    def task_list(self) -> TaskList:
        """As `task`, of a list. Raises `ListNotFound`."""
        if not self.things:
            raise ListNotFound
        [task_list] = self.things
        return cast("TaskList", task_list)


def decided(plan: Plan, seen: Seen) -> Decision:
    """What the plan decides on `seen`, as a storage may write it.

    Raises what `decide` raises; `TaskExists` where it creates what was seen; `InvalidInput` where a thing would not be
    in its place (`places.misplaced`); and `ValueError` where it writes another owner's thing, one twice, or one
    otherwise than it was seen.
    """
    decision = plan.decide(seen)
    written: set[UUID] = set()
    known = seen.known([pair.thing.id for pair in decision.pairs])
    for pair in decision.pairs:
        thing = pair.thing
        if thing.owner != seen.owner:
            raise ValueError("this thing belongs to another owner")
        if thing.id in written:
            raise ValueError("a plan must write each thing once")
        written.add(thing.id)
        if pair.before is None:
            if known.get(thing.id) is not None:
                raise TaskExists
        elif known.get(thing.id) != pair.before:
            raise ValueError("a plan must have seen what it changes, as it is")
    if problems := misplaced(seen, decision.pairs):
        raise InvalidInput(dict.fromkeys(problem for _, problem in problems))
    return decision


def composed(plans: Sequence[Plan], *, once: Once | None = None, client: str | None = None) -> Plan:
    """All of these plans as one, each deciding on what those before it left: one change, or none.

    A thing that several of them write is one version further in the end, as after any other change; every answer has it
    as it is then. A refusal says in `part` whose it is.
    """

    def decide(seen: Seen) -> Decision:
        merged = _Merged()
        answers: list[Thing] = []
        erased: frozenset[UUID] = frozenset()
        for part, plan in enumerate(plans):
            try:
                decision = decided(plan, seen.with_changed(merged.after))
                for pair in decision.pairs:
                    merged.add(pair)
            except NotSeen as more:
                later = _wanted(plans[part + 1 :], seen.with_changed(merged.after))
                raise NotSeen(reduce(or_, later, more.wanted)) from None
            except TodoError as error:
                error.part = part
                raise
            answers += decision.answer
            erased |= decision.erased
        answer = tuple(merged.after.get(thing.id) or thing for thing in answers)
        return Decision(tuple(_counted(list(merged.pairs()))), answer, erased)

    sees = reduce(or_, (plan.sees for plan in plans), Sees())
    return Plan(decide=decide, sees=sees, once=once, client=client)


def _wanted(plans: Sequence[Plan], seen: Seen) -> Iterator[Sees]:
    """What each of these would ask for next, as far as that can be told before those ahead of it are decided.

    Without it a storage would be asked once for each plan, and all that came before it decided each time.
    """
    for plan in plans:
        try:
            decided(plan, seen)
        except NotSeen as more:
            yield more.wanted
        except TodoError:
            pass  # it may be none after those ahead of it; otherwise it is raised then


class _Merged:
    """What several plans together make of each thing: one pair, or none."""

    def __init__(self) -> None:
        self.before: dict[UUID, Thing | None] = {}
        self.after: dict[UUID, Thing | None] = {}
        self._made: dict[UUID, Pair] = {}
        self._last: dict[UUID, Pair] = {}
        self._versions: dict[UUID, Version] = {}

    def add(self, pair: Pair) -> None:
        """What the next plan makes of a thing. Raises `TaskExists` for an id that is used again."""
        thing_id = pair.thing.id
        if pair.before is None and self.before.get(thing_id) is not None:
            raise TaskExists
        self.before.setdefault(thing_id, pair.before)
        self._made.setdefault(thing_id, pair)
        version = self._versions.setdefault(thing_id, pair.thing.version)
        self.after[thing_id] = pair.after and replace(pair.after, version=version)
        named = pair.named or (self._last[thing_id].named if thing_id in self._last else None)
        self._last[thing_id] = replace(pair, named=named)

    def pairs(self) -> Iterator[Pair]:
        """The pairs. What came and went has none."""
        for thing_id, last in self._last.items():
            before, after = self.before[thing_id], self.after[thing_id]
            if after is None and before is not None:
                yield Pair(before, None, root=last.root, took=last.took)
            elif after is not None and after is not before:
                of = last if before else self._made[thing_id]
                yield Pair(before, after, of.named, None if before else of.root)


def _counted(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, where what is deleted together with something that was there in between only has a root that was."""
    deleting = [pair for pair in pairs if pair.after is None]
    gone = {pair.thing.id for pair in deleting}
    lost = {pair.thing.id: pair for pair in rooted([pair for pair in deleting if pair.root not in {None, *gone}])}
    took = Counter(pair.root for pair in deleting)
    counted = [replace(pair, took=1 + took[pair.thing.id]) if pair.thing.id in gone else pair for pair in pairs]
    return [lost.get(pair.thing.id, pair) for pair in counted]
