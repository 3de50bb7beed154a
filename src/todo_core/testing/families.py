"""Random histories of two owners with lists and subtasks, and the invariants after every step."""

# ruff: noqa: S101 (these are tests)

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, Final, cast
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from todo_core.errors import (
    ChangeNotFound,
    InvalidInput,
    ListNotFound,
    NotInTrash,
    TaskExists,
    TaskNotFound,
    TodoError,
    UndoConflict,
)
from todo_core.lists import TaskList
from todo_core.plans import Committed, composed
from todo_core.ports import TaskStore
from todo_core.recurrence import Recurrence
from todo_core.task import ListId, OwnerId, Task, TaskId
from todo_core.testing.belongings import LISTS, Belongings, Content, among, assert_in_place, assert_log
from todo_core.testing.examples import NOON, make_fresh, make_id
from todo_core.testing.running import Run, run_histories
from todo_core.testing.writing import creating_list, deleting, deleting_list, moving, placing
from todo_core.use_cases import TaskService

_WHO: Final = st.sampled_from(["ann", "ann", "bob"])
_FAMILIES: Final = st.lists(st.integers(0, 4), max_size=8)


def assert_families_hold(store: TaskStore, *, run: Run, examples: int = 100, steps: int = 30) -> None:
    """Fail with a history after which an invariant does not hold: `examples` histories of up to `steps` steps.

    Two owners create, edit, move, complete, delete, restore, erase and undo, with ids of their own and of the other.
    After every step subtasks form trees of at most five levels, each in one existing list; siblings have different
    positions; the log replayed gives what is stored; its numbers have no gaps; everything deleted is in the trash,
    unless it was erased; and the other owner's things, log and trash are unchanged. Undoing everything in reverse order
    restores every earlier state. `run` is that of `assert_stores_agree`.
    """

    class Families(_Families):
        def __init__(self) -> None:
            super().__init__(store, run)

    run_histories(Families, examples=examples, steps=steps)


@dataclass
class _Clock:
    """A clock that advances by a second with every call."""

    seconds: Iterator[int] = field(default_factory=count)

    def now(self) -> datetime:
        return NOON + timedelta(seconds=next(self.seconds))


class _Ids:
    """Consecutive ids, without room for a position in between."""

    def new(self, at: datetime) -> TaskId:
        return TaskId(UUID(hex=make_fresh()))


class _EveryDay:
    """A calendar for daily rules only."""

    def after(self, rule: Recurrence, anchor: datetime, moment: datetime, *, skip: int = 0) -> Iterator[datetime]:
        assert rule.frequency == "DAILY"
        passed = max((moment - anchor) // timedelta(days=1) + 1, 0)
        return (anchor + timedelta(days=day) for day in count(passed + skip))

    def passed(self, rule: Recurrence, anchor: datetime, moment: datetime) -> int:
        assert rule.frequency == "DAILY"
        return max((moment - anchor) // timedelta(days=1), 0)


class _Families(RuleBasedStateMachine):
    def __init__(self, store: TaskStore, run: Run) -> None:
        super().__init__()
        self.run = run
        self.service = TaskService(store, _Clock(), _Ids(), calendar=_EveryDay())
        prefix = uuid4().hex
        self.owners = {who: OwnerId(f"{prefix} {who}") for who in ("ann", "bob")}
        self.states = {who: self.read(who) for who in self.owners}
        self.contents: dict[str, list[Content]] = {who: [{}] for who in self.owners}
        self.erased: dict[str, set[UUID]] = {who: set() for who in self.owners}
        self.versions: dict[tuple[OwnerId, UUID, int], Mapping[str, object]] = {}
        self.ids: dict[UUID, None] = {make_id(0): None}

    def read(self, who: str) -> Belongings:
        owner = self.owners[who]
        return cast("Belongings", self.run(Belongings.read(self.service.store.tasks_of(owner), owner)))

    def act(self, who: str, call: Callable[[OwnerId], Awaitable[Committed]]) -> Committed | TodoError:
        """The outcome of the call, after checking everything of both owners."""
        before = self.states[who]
        outcome: Committed | TodoError = self.run(_outcome(call, self.owners[who]))
        for each in self.owners:
            state = self.read(each)
            if each != who or isinstance(outcome, TodoError) or outcome.change is None:
                assert state.things == self.states[each].things, f"{each}'s things have changed"
                assert state.number == self.states[each].number
            if each != who or isinstance(outcome, TodoError):
                assert (state.log, state.trash) == (self.states[each].log, self.states[each].trash)
            self.states[each] = state
        after = self.states[who]
        assert_in_place(after)
        assert_log(after, self.erased[who])
        self.ids |= dict.fromkeys(after.things)
        for thing in after.things.values():
            content = self.versions.setdefault((thing.owner, thing.id, thing.version), after.content[thing.id])
            assert after.content[thing.id] == content, f"{thing} is another than it was at that version"
        if isinstance(outcome, Committed) and outcome.change is not None:
            assert outcome.change == before.number + 1 == after.number
            assert after.things != before.things
            assert all(after.things.get(each.id, each) == each for each in outcome.things)
            self.contents[who].append(after.content)
        return outcome

    def some(self, who: str, data: st.DataObject, kind: str = "tasks") -> Any:
        """An id, mostly of that owner's things."""
        mine = list(getattr(self.states[who], kind))
        return data.draw(_mostly(mine, list(self.ids)))

    def somewhere(self, who: str, data: st.DataObject, *names: str) -> Any:
        """A place, perhaps a contradictory one."""
        where: dict[str, object] = {}
        for name in names:
            if not data.draw(st.integers(0, 1)):
                nowhere = name in ("list_id", "parent_id") and not data.draw(st.integers(0, 3))
                where[name] = None if nowhere else self.some(who, data, LISTS if name == "list_id" else "tasks")
        return where

    def assert_others_keep_their_order(self, who: str, before: Belongings, *moved: UUID) -> None:
        after = self.states[who]
        others = {*moved, *(before.things.keys() ^ after.things.keys())}
        assert after.without(others) == before.without(others)

    @initialize(anns=_FAMILIES, bobs=_FAMILIES)
    def begin(self, anns: list[int], bobs: list[int]) -> None:
        """Two lists for each owner, and some tasks, each below an earlier one or at the top level."""
        for who, parents in (("ann", anns), ("bob", bobs)):
            for _ in range(2):
                self.create_list(who)
            made: list[Any] = list(self.states[who].lists)
            for back in parents:
                parent = made[-min(back + 1, len(made))]
                where: Any = {"list_id" if parent in self.states[who].lists else "parent_id": parent}
                outcome = self.act(who, partial(self.service.create, title="Task", **where))
                made += [outcome.task.id] if isinstance(outcome, Committed) else []

    @rule(who=_WHO, data=st.data(), recurs=st.integers(0, 3), brings_id=st.integers(0, 3))
    def create(self, who: str, data: st.DataObject, recurs: int, brings_id: int) -> None:
        before, where = self.states[who], self.somewhere(who, data, "list_id", "parent_id")
        members: Any = {"title": "Task", "due_date": "2026-11-05", "recurrence": None if recurs else "FREQ=DAILY"}
        own_id: Any = None if brings_id else data.draw(st.sampled_from([*self.ids, UUID(hex=make_fresh())]))
        outcome = self.act(who, lambda owner: self.service.create(owner, own_id=own_id, **members, **where))
        if isinstance(outcome, TaskExists) or (isinstance(outcome, Committed) and outcome.change is None):
            assert own_id in {entry.id for entry in before.log}
        elif isinstance(outcome, Committed):
            assert outcome.task.id not in {entry.id for entry in before.log}
            assert self.states[who].orders[among(outcome.task)][-1] == outcome.task.id
            # A new subtask without a list is in its parent's list.
            _assert_is(outcome.task, {name: where[name] for name in where if where[name] or "parent_id" not in where})
            self.assert_others_keep_their_order(who, before)
        else:
            _assert_place_is_wrong(outcome, where)

    @rule(who=_WHO, data=st.data())
    def move(self, who: str, data: st.DataObject) -> None:
        before, task_id = self.states[who], self.some(who, data)
        where = self.somewhere(who, data, "list_id", "parent_id", data.draw(st.sampled_from(["before", "after"])))
        outcome = self.act(who, lambda owner: self.service.move(owner, task_id, **where))
        if isinstance(outcome, Committed):
            self.assert_is_there(who, outcome.task, where)
            self.assert_others_keep_their_order(who, before, task_id)
        elif task_id in before.tasks:
            _assert_place_is_wrong(outcome, where)
        else:
            assert isinstance(outcome, TaskNotFound)

    def assert_is_there(self, who: str, task: Task, where: Mapping[str, Any]) -> None:
        _assert_is(task, where)
        order = self.states[who].orders[among(task)]
        place = order.index(task.id)
        if "before" in where:
            assert order[place + 1] == where["before"]
        elif "after" in where:
            assert order[place - 1 if place else len(order)] == where["after"]
        else:
            assert place == len(order) - 1

    @rule(
        who=_WHO,
        data=st.data(),
        title=st.sampled_from(["Task", "Other"]),
        completed=st.sampled_from([None, True, False]),
    )
    def edit(self, who: str, data: st.DataObject, title: str, completed: bool | None) -> None:
        before, task_id = self.states[who], self.some(who, data)
        where = self.somewhere(who, data, "list_id", "parent_id")
        members: Any = {"title": title, **where} | ({} if completed is None else {"completed": completed})
        outcome = self.act(who, lambda owner: self.service.edit(owner, task_id, **members))
        if isinstance(outcome, Committed):
            _assert_is(outcome.task, where)
            assert outcome.task.title == title
            stays = all(before.things[task_id].__getattribute__(name) == value for name, value in where.items())
            self.assert_others_keep_their_order(who, before, *([] if stays else [task_id]))

    @rule(who=_WHO, data=st.data())
    def complete(self, who: str, data: st.DataObject) -> None:
        before, task_id = self.states[who], self.some(who, data)
        outcome = self.act(who, lambda owner: self.service.complete(owner, task_id))
        self.assert_others_keep_their_order(who, before)
        assert isinstance(outcome, Committed if task_id in before.tasks else TaskNotFound)

    @rule(who=_WHO, data=st.data())
    def delete(self, who: str, data: st.DataObject) -> None:
        before, task_id = self.states[who], self.some(who, data)
        outcome = self.act(who, lambda owner: self.service.delete(owner, task_id))
        self.assert_others_keep_their_order(who, before)
        assert isinstance(outcome, Committed if task_id in before.tasks else TaskNotFound)

    @rule(who=_WHO, data=st.data(), lists=st.booleans())
    def delete_and_restore(self, who: str, data: st.DataObject, lists: bool) -> None:
        before, thing_id = self.states[who], self.some(who, data, LISTS if lists else "tasks")
        if thing_id not in (before.lists if lists else before.tasks):
            return
        delete: Any = self.service.delete_list if lists else self.service.delete
        assert isinstance(self.act(who, lambda owner: delete(owner, thing_id)), Committed)
        assert isinstance(self.act(who, lambda owner: self.service.restore(owner, thing_id)), Committed)
        assert self.states[who].content == before.content

    @rule(who=_WHO, data=st.data())
    def restore(self, who: str, data: st.DataObject) -> None:
        before, thing_id = self.states[who], self.some_in_trash(who, data)
        outcome = self.act(who, lambda owner: self.service.restore(owner, thing_id))
        self.assert_others_keep_their_order(who, before)
        assert isinstance(outcome, Committed if thing_id in {entry.id for entry in before.trash} else NotInTrash)

    @rule(who=_WHO, data=st.data(), rarely=st.integers(0, 4))
    def erase(self, who: str, data: st.DataObject, rarely: int) -> None:
        before, thing_id = self.states[who], self.some_in_trash(who, data)
        if rarely:
            return
        head = next((entry for entry in before.trash if entry.id == thing_id), None)
        if head:
            self.erased[who] |= set(before.taken_with(head))
        outcome = self.act(who, lambda owner: self.service.erase(owner, thing_id))
        assert isinstance(outcome, Committed if head else NotInTrash)

    def some_in_trash(self, who: str, data: st.DataObject) -> UUID:
        trash = [entry.id for entry in self.states[who].trash]
        return data.draw(_mostly(trash, list(self.ids)))

    @rule(who=_WHO, data=st.data())
    def undo(self, who: str, data: st.DataObject) -> None:
        self.undo_one(who, data.draw(st.integers(0, self.states[who].number + 1)))

    @rule(who=_WHO, data=st.data())
    def undo_a_deletion(self, who: str, data: st.DataObject) -> None:
        numbers = [entry.number for entry in self.states[who].log if entry.after is None]
        self.undo_one(who, data.draw(st.sampled_from(numbers or [1])))

    def undo_one(self, who: str, number: int) -> None:
        known = {entry.number for entry in self.states[who].log}
        outcome = self.act(who, lambda owner: self.service.undo(owner, number))
        assert isinstance(outcome, ChangeNotFound) is (number not in known)

    @rule(who=_WHO)
    def undo_the_last_change_and_that(self, who: str) -> None:
        before = self.states[who]
        if not before.number or self.erased[who]:
            return
        for content in (self.contents[who][-2], before.content):
            undo = partial(self.service.undo, number=self.states[who].number)
            assert isinstance(self.act(who, undo), Committed)
            assert self.states[who].content == content

    @rule(who=_WHO)
    def create_list(self, who: str) -> None:
        before = self.states[who]
        outcome = self.act(who, lambda owner: self.service.create_list(owner, name="List"))
        assert isinstance(outcome, Committed)
        assert self.states[who].orders[LISTS] == [*before.orders.get(LISTS, []), outcome.task_list.id]

    @rule(who=_WHO, data=st.data(), name=st.sampled_from(["List", "Other"]))
    def edit_list(self, who: str, data: st.DataObject, name: str) -> None:
        before, list_id = self.states[who], self.some(who, data, LISTS)
        outcome = self.act(who, lambda owner: self.service.edit_list(owner, list_id, name=name))
        assert isinstance(outcome, Committed if list_id in before.lists else ListNotFound)

    @rule(who=_WHO, data=st.data(), side=st.sampled_from(["before", "after", None]))
    def move_list(self, who: str, data: st.DataObject, side: str | None) -> None:
        before, list_id = self.states[who], self.some(who, data, LISTS)
        where = {side: self.some(who, data, LISTS)} if side else {}
        outcome = self.act(who, lambda owner: self.service.move_list(owner, list_id, **where))
        if isinstance(outcome, Committed):
            order = self.states[who].orders[LISTS]
            place = order.index(list_id)
            neighbour = {"before": order[place + 1 :][:1], "after": order[:place][-1:], None: order[place + 1 :][:1]}
            assert neighbour[side] == list(where.values())
            self.assert_others_keep_their_order(who, before, list_id)
        else:
            assert isinstance(outcome, InvalidInput if list_id in before.lists else ListNotFound)

    @rule(who=_WHO, data=st.data())
    def delete_list(self, who: str, data: st.DataObject) -> None:
        before, list_id = self.states[who], self.some(who, data, LISTS)
        outcome = self.act(who, lambda owner: self.service.delete_list(owner, list_id))
        self.assert_others_keep_their_order(who, before)
        assert isinstance(outcome, Committed if list_id in before.lists else ListNotFound)

    @rule(who=_WHO, data=st.data())
    def write_several(self, who: str, data: st.DataObject) -> None:
        """Several plans as one change, each deciding on the result of those before it."""
        owner, new = self.owners[who], TaskId(UUID(hex=make_fresh()))
        task_list = TaskList.new(id=ListId(UUID(hex=make_fresh())), owner=owner, at=NOON, name="New")
        where: Any = self.somewhere(who, data, "list_id", "parent_id")
        task = Task.new(id=new, owner=owner, at=NOON, title="New", **where)
        names = ("list_id", "parent_id", "before")
        plans = [
            creating_list(task_list),
            placing(task),
            moving(new, self.somewhere(who, data, *names), NOON),
            moving(self.some(who, data), {"list_id": task_list.id}, NOON),
            moving(self.some(who, data), {"parent_id": new}, NOON),
            moving(self.some(who, data), self.somewhere(who, data, *names), NOON),
            deleting(self.some(who, data)),
            deleting_list(self.some(who, data, LISTS)),
        ]
        chosen = data.draw(st.sets(st.sampled_from(range(len(plans))), min_size=1, max_size=4).map(sorted))
        plan = composed([plans[each] for each in chosen])
        self.act(who, lambda owner: self.service.store.tasks_of(owner).commit(plan))

    def teardown(self) -> None:
        """Undoing everything in reverse order restores every earlier state."""
        for who, contents in self.contents.items():
            for number in [] if self.erased[who] else reversed(range(1, len(contents))):
                self.act(who, partial(self.service.undo, number=number))
                assert self.states[who].content == contents[number - 1]


def _mostly(these: Sequence[UUID], others: Sequence[UUID]) -> st.SearchStrategy[UUID]:
    """One of these, rarely one of the others."""
    return st.integers(0, 7).flatmap(lambda seldom: st.sampled_from(these if these and seldom else others))


def _assert_is(task: Task, where: Mapping[str, object]) -> None:
    assert all(getattr(task, name) == where[name] for name in ("list_id", "parent_id") if name in where)


def _assert_place_is_wrong(outcome: TodoError, where: Mapping[str, object]) -> None:
    """A refused place names its members."""
    assert isinstance(outcome, InvalidInput), outcome
    assert {problem.field for problem in outcome.problems} <= where.keys()


async def _outcome(call: Callable[[OwnerId], Awaitable[Committed]], owner: OwnerId) -> Committed | TodoError:
    try:
        return await call(owner)
    except (ChangeNotFound, InvalidInput, ListNotFound, NotInTrash, TaskExists, TaskNotFound, UndoConflict) as refusal:
        return refusal
