"""Checks histories of concurrent calls: is there an order of single calls in which a task list gives these answers?

Linearizability as Herlihy & Wing (1990) define it: each call takes effect at one moment between its beginning and its
end. The search is just-in-time linearization (Lowe, "Testing for linearizability", 2017): the orders that are still
possible are kept while the history is read once, and a call is placed no earlier than another's end demands.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

from todo_core import Expected, OwnedTasks, OwnerId, Task, TaskExists, TaskId, TaskNotFound, TaskQuery, TodoError
from todo_core.testing.writing import add, edit, remove

S = TypeVar("S", bound=Hashable)
A = TypeVar("A")
Step = Callable[[S, A], tuple[S, object]]
"""What an action makes of a state, and what it answers."""


@dataclass(frozen=True, eq=False, slots=True)
class Call(Generic[A]):
    """An action that was carried out, what it answered, and when it began and ended (on one clock)."""

    action: A
    answer: object
    began: float
    ended: float


class _Order(NamedTuple, Generic[S]):
    """One of the orders that are possible: where it led, and which calls under way it has placed already."""

    state: S
    placed: frozenset[Call[Any]]


def first_impossible(history: Iterable[Call[A]], start: S, step: Step[S, A]) -> Call[A] | None:
    """The call at whose end no order is left that explains all answers so far; None for a linearizable history."""

    @cache
    def placed(state: S, call: Call[A]) -> S | None:
        """Where the call leads from that state; None if it cannot have its answer there."""
        after, answer = step(state, call.action)
        return after if answer == call.answer else None

    orders: set[_Order[S]] = {_Order(start, frozenset())}
    under_way: set[Call[A]] = set()
    for call, ends in _events(history):
        if not ends:
            under_way.add(call)
            continue
        orders = {_Order(order.state, order.placed - {call}) for order in _placing(call, orders, under_way, placed)}
        under_way.remove(call)
        if not orders:
            return call
    return None


def _events(history: Iterable[Call[A]]) -> Iterator[tuple[Call[A], bool]]:
    """Every call twice, at its beginning and at its end; of two at one moment the beginning is first."""
    calls = list(history)
    events = [(call.began, False, call) for call in calls] + [(call.ended, True, call) for call in calls]
    return ((call, ends) for _, ends, call in sorted(events, key=lambda event: event[:2]))


Placed = Callable[[S, Call[Any]], S | None]


def _placing(
    call: Call[Any], orders: Iterable[_Order[S]], under_way: Iterable[Call[Any]], placed: Placed[S]
) -> Iterator[_Order[S]]:
    """The orders in which `call` has its place, where need be behind others that are under way."""
    known = set(unfinished := [_with_readers(order, under_way, placed) for order in orders])
    while unfinished:
        order = unfinished.pop()
        if call in order.placed:
            yield order
            continue
        for other in under_way:
            if other not in order.placed and (after := placed(order.state, other)) is not None:
                further = _with_readers(_Order(after, order.placed | {other}), under_way, placed)
                if further not in known:
                    known.add(further)
                    unfinished.append(further)


def _with_readers(order: _Order[S], under_way: Iterable[Call[Any]], placed: Placed[S]) -> _Order[S]:
    """That order with every call placed that fits here and changes nothing: waiting longer can gain it nothing."""
    readers = {other for other in under_way if placed(order.state, other) == order.state}
    return _Order(order.state, order.placed | readers)


Tasks = frozenset[Task]
NO_TASKS: Tasks = frozenset()
EPOCH = datetime(2026, 11, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that one owner does to the tasks: add, get, rename, toggle, remove or page."""

    kind: str
    id: TaskId = field(default=None)  # type: ignore[arg-type]
    owner: OwnerId = OwnerId("ann")  # noqa: RUF009  (text)
    title: str = "Task"
    at: datetime = EPOCH
    expected: Expected = None
    query: TaskQuery = TaskQuery()  # noqa: RUF009  (a frozen one)

    def new(self) -> Task:
        """The task to add."""
        return Task.new(id=self.id, owner=self.owner, title=self.title, at=self.at)

    def change(self, task: Task) -> Task:
        """What it makes of a task, by the core's own rules."""
        task = task.expecting(self.expected)
        return task.toggled(at=self.at) if self.kind == "toggle" else task.edited(title=self.title, at=self.at)

    async def carried_out(self, tasks: OwnedTasks) -> object:
        """What a storage answers."""
        try:
            match self.kind:
                case "add":
                    await add(tasks, self.new())
                    return None
                case "get":
                    return await tasks.get(self.id)
                case "remove":
                    await remove(tasks, self.id, expected=self.expected)
                    return None
                case "page":
                    return await tasks.page(self.query)
                case _:
                    return await edit(tasks, self.id, self.change)
        except TodoError as refusal:
            return refusal_of(refusal)


def refusal_of(refusal: TodoError) -> object:
    """A refusal as it is compared."""
    return refusal.code, getattr(refusal, "current", None)


def model(tasks: Tasks, action: Action) -> tuple[Tasks, object]:
    """What an owner's tasks must become by an action, and what it must answer: the promise of `OwnedTasks`, in one."""
    found = next((task for task in tasks if task.id == action.id), None)
    try:
        if action.kind == "page":
            return tasks, action.query.page_of(tasks)
        if action.kind == "add":
            if found is not None:
                raise TaskExists
            return tasks | {action.new()}, None
        if found is None:
            raise TaskNotFound
        if action.kind == "get":
            return tasks, found
        if action.kind == "remove":
            found.expecting(action.expected)
            return tasks - {found}, None
        changed = action.change(found)
        return (tasks - {found}) | {changed}, changed
    except TodoError as refusal:
        return tasks, refusal_of(refusal)
