"""Writes: a plan names what it must see and decides on it; a storage carries it out atomically."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Self, cast
from uuid import UUID

from todo_core.changes import Pair, kind_of, with_roots
from todo_core.errors import InvalidInput, ListNotFound, TaskExists, TaskNotFound, TodoError
from todo_core.families import misplaced
from todo_core.idempotency import Once
from todo_core.identity import is_client
from todo_core.lists import TaskList, Thing
from todo_core.seen import NotSeen, Seen, Sees
from todo_core.sync import SyncItem
from todo_core.task import Task
from todo_core.versioned import Version


@dataclass(frozen=True, slots=True)
class Decision:
    """What to store as one change, and the things to return to the caller. Without pairs there is no change.

    In the answer of a batch, a `SyncItem` without a value stands for a thing that the batch also deleted. The log drops
    the content of things in `erased`; that is not a change and cannot be undone.
    """

    pairs: tuple[Pair, ...] = ()
    answer: tuple[Thing | SyncItem, ...] = ()
    erased: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A write that a caller asks for.

    `decide` is pure and may be called several times; the last call counts. It may raise any `TodoError`. It must have
    seen what it changes or deletes, not what it creates. Raises `ValueError` for a client that `Identity` refuses.
    """

    decide: Callable[[Seen], Decision]
    sees: Sees = Sees()
    once: Once | None = None
    client: str | None = None
    parts: int = 1
    """How many plans it is composed of: a measure of what deciding costs."""

    def __post_init__(self) -> None:
        if not (self.client is None or is_client(self.client)):
            raise ValueError("a client is named by 1 to 255 printable characters")


@dataclass(frozen=True, slots=True)
class Committed:
    """The outcome of a plan: the things that its decision answers with, and the number of the change, if there was one.

    A `SyncItem` without a value stands for a thing that the same batch deleted, or that has been erased since.
    `replayed`: the key was used before, and this is the outcome of that earlier plan.
    """

    answer: tuple[Thing | SyncItem, ...]
    change: int | None
    replayed: bool = False

    @property
    def things(self) -> tuple[Thing, ...]:
        """The things of the answer, without those that are gone."""
        return tuple(each for each in self.answer if not isinstance(each, SyncItem))

    @property
    def task(self) -> Task:
        """The one task of the answer. Raises `TaskNotFound` if it has been deleted, or erased since."""
        if not self.things:
            raise TaskNotFound
        [task] = self.things
        return cast("Task", task)

    @property
    def task_list(self) -> TaskList:
        """The one list of the answer. Raises `ListNotFound` if it has been deleted, or erased since."""
        if not self.things:
            raise ListNotFound
        [task_list] = self.things
        return cast("TaskList", task_list)

    def without(self, erased: Collection[UUID]) -> Self:
        """This outcome after those things have been erased."""
        gone: dict[UUID, SyncItem] = {
            each.id: SyncItem(kind_of(each), each.id, None) for each in self.things if each.id in erased
        }
        return replace(self, answer=tuple(gone.get(each.id) or each for each in self.answer))


def decided(plan: Plan, seen: Seen) -> Decision:
    """The plan's decision on `seen`, checked: a storage may write it.

    Raises what `decide` raises; `TaskExists` if it creates a thing that exists; `InvalidInput` if a thing would be in
    an invalid place (`families.misplaced`); `ValueError` if it writes another owner's thing, one twice, or a thing
    that it has not seen in its present state.
    """
    decision = plan.decide(seen)
    ids = [pair.thing.id for pair in decision.pairs]
    if len(set(ids)) < len(ids):
        raise ValueError("a plan must write each thing once")
    known = seen.known(ids)
    for pair in decision.pairs:
        thing = pair.thing
        if thing.owner != seen.owner:
            raise ValueError("this thing belongs to another owner")
        if pair.before is None:
            if known.get(thing.id) is not None:
                raise TaskExists
        elif known.get(thing.id) != pair.before:
            raise ValueError("a plan must have seen the present state of what it changes")
    if problems := misplaced(seen, decision.pairs):
        raise InvalidInput(dict.fromkeys(problem for _, problem in problems))
    return decision


def composed(plans: Sequence[Plan], *, once: Once | None = None, client: str | None = None) -> Plan:
    """All of these plans as one plan, each deciding on the result of those before it: one change, or none.

    A thing that several of them write rises by one version, and every answer has its final state: a `SyncItem` without
    a value, if it is deleted in the end. A `TodoError` has the index of the plan that raised it in `part`.
    """

    def decide(seen: Seen) -> Decision:
        merged = _Merged()
        answers: list[Thing | SyncItem] = []
        erased: frozenset[UUID] = frozenset()
        for part, plan in enumerate(plans):
            seen.go_on()
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
        return Decision(tuple(_counted(list(merged.pairs()))), tuple(map(merged.final, answers)), erased)

    sees = reduce(or_, (plan.sees for plan in plans), Sees())
    return Plan(decide=decide, sees=sees, once=once, client=client, parts=sum(plan.parts for plan in plans))


def _wanted(plans: Sequence[Plan], seen: Seen) -> Iterator[Sees]:
    """What each of these plans asks for next, as far as it is known before the plans ahead of it are decided.

    Without this the storage would be asked once per plan, and all earlier plans decided again each time.
    """
    for plan in plans:
        seen.go_on()
        try:
            decided(plan, seen)
        except NotSeen as more:
            yield more.wanted
        except TodoError:
            pass  # an earlier plan may prevent it; if not, it is raised when this plan is decided


class _Merged:
    """The combined effect of several plans on each thing: one pair, or none."""

    def __init__(self) -> None:
        self.before: dict[UUID, Thing | None] = {}
        self.after: dict[UUID, Thing | None] = {}
        self._made: dict[UUID, Pair] = {}
        self._last: dict[UUID, Pair] = {}
        self._versions: dict[UUID, Version] = {}

    def add(self, pair: Pair) -> None:
        """Add the next plan's pair. Raises `TaskExists` for an id that is used again."""
        thing_id = pair.thing.id
        if pair.before is None and self.before.get(thing_id) is not None:
            raise TaskExists
        self.before.setdefault(thing_id, pair.before)
        self._made.setdefault(thing_id, pair)
        version = self._versions.setdefault(thing_id, pair.thing.version)
        after = pair.after
        self.after[thing_id] = after if after is None or after.version == version else replace(after, version=version)
        action = pair.explicit_action or (self._last[thing_id].explicit_action if thing_id in self._last else None)
        self._last[thing_id] = replace(pair, explicit_action=action)

    def final(self, answered: Thing | SyncItem) -> Thing | SyncItem:
        """What a plan answered with, as it is after all plans."""
        if isinstance(answered, SyncItem) or answered.id not in self.after:
            return answered
        return self._after(answered.id) or SyncItem(kind_of(answered), answered.id, None)

    def _after(self, thing_id: UUID) -> Thing | None:
        """The thing after all plans; as it was before them, if all its members have the same values again."""
        before, after = self.before[thing_id], self.after[thing_id]
        if before is None or after is None:
            return after
        same = replace(after, version=before.version, updated_at=before.updated_at) == before
        return before if same else after

    def pairs(self) -> Iterator[Pair]:
        """The pairs. A thing that was created and then deleted has none."""
        for thing_id, last in self._last.items():
            before, after = self.before[thing_id], self._after(thing_id)
            if after is None and before is not None:
                yield Pair(before, None, root=last.root, took=last.took)
            elif after is not None and after is not before:
                of = last if before else self._made[thing_id]
                yield Pair(before, after, of.explicit_action, None if before else of.root)


def _counted(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, with a new root for deletions whose root was created by the same change, and so is not in the log."""
    deleting = [pair for pair in pairs if pair.after is None]
    gone = {pair.thing.id for pair in deleting}
    lost = {pair.thing.id: pair for pair in with_roots([pair for pair in deleting if pair.root not in {None, *gone}])}
    took = Counter(pair.root for pair in deleting)
    counted = [replace(pair, took=1 + took[pair.thing.id]) if pair.thing.id in gone else pair for pair in pairs]
    return [lost.get(pair.thing.id, pair) for pair in counted]
