"""Random histories of operations, run on two stores: both must answer the same, including errors and order."""

# ruff: noqa: S101 (these are tests)

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal, TypeAlias, cast
from unicodedata import normalize
from unittest.mock import ANY
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from todo_core.changes import LIMIT_MAX, ChangeQuery, Entry, Place
from todo_core.errors import TodoError
from todo_core.idempotency import IdempotencyKey, Once
from todo_core.places import Where
from todo_core.plans import Committed, Plan, composed
from todo_core.ports import OwnedTasks, TaskStore
from todo_core.queries import Page, Sort, TaskQuery, is_search
from todo_core.task import OwnerId, Task, TaskId
from todo_core.testing.examples import (
    NASTY_KEYS,
    NOON,
    alike,
    list_names,
    lists_of,
    make_id,
    moments,
    of_any_kind,
    queries,
    settings_of,
    tasks_of,
)
from todo_core.testing.log import replayed, whole_log
from todo_core.testing.running import Run, run_histories
from todo_core.testing.writing import (
    add,
    add_once,
    changing,
    changing_list,
    creating,
    creating_list,
    deleting,
    deleting_list,
    edit,
    erasing,
    moving,
    moving_list,
    placing,
    remove,
    restoring,
    undoing,
)
from todo_core.versioned import Version

Form: TypeAlias = Literal["NFC", "NFD", "NFKC", "NFKD"]
Call: TypeAlias = Callable[[OwnedTasks], Awaitable[object]]

# Few of each, so that operations meet. The owners differ only in case and wildcards, which a storage might confuse.
_ID_COUNT: Final = 5
_IDS: Final = of_any_kind(st.sampled_from([make_id(number) for number in range(_ID_COUNT)]))
_KEYS: Final = of_any_kind(st.sampled_from(NASTY_KEYS[:4]))
_WHO: Final = st.sampled_from(["ann", "Ann", "ann ", "a_n"])
_NUMBERS: Final = (-1, 0, 1, 2, 3, 2**31, 2**63, 10**30)
_VERSIONS: Final = of_any_kind(st.sampled_from([Version(number) for number in _NUMBERS]))
_FEW_STEPS: Final = 5
_EXPECTED: Final = st.none() | _VERSIONS | st.frozensets(_VERSIONS)


def assert_stores_agree(left: TaskStore, right: TaskStore, *, run: Run, examples: int = 100, steps: int = 30) -> None:
    """Fail with a history on which the two stores differ.

    Tries `examples` histories with a few steps, and then as many with up to `steps`. `run` runs a coroutine to its end,
    always on the same event loop, such as `asyncio.Runner().run`. Errors of the core are compared by code and problems,
    a `ValueError` by its type only.
    """

    class Histories(_Histories):
        def __init__(self) -> None:
            super().__init__((left, right), run)

    for step_count in (min(_FEW_STEPS, steps), steps):
        run_histories(Histories, examples=examples, steps=step_count)


class _Histories(RuleBasedStateMachine):
    def __init__(self, stores: tuple[TaskStore, TaskStore], run: Run) -> None:
        super().__init__()
        self.stores = stores
        self.run = run
        self.prefix = uuid4().hex  # owners of this history alone, so that the stores need not be emptied
        self.seen: dict[str, dict[TaskId, Task]] = {}
        self.erases = False  # the log forgets what was erased

    def owner(self, who: str) -> OwnerId:
        owner = OwnerId(f"{self.prefix} {who}")
        return owner if who == "ann" else OwnerId(alike(owner))

    def both(self, who: str, call: Call) -> object:
        owner = self.owner(who)
        left, right = (self.run(_outcome(call, store.tasks_of(owner))) for store in self.stores)
        assert left == right
        return left

    @rule(who=_WHO, data=st.data())
    def add(self, who: str, data: st.DataObject) -> None:
        task = data.draw(tasks_of(self.owner(who), _IDS))
        self.both(who, lambda tasks: add(tasks, task))

    @rule(who=_WHO, whose=_WHO, data=st.data())
    def add_somebodys(self, who: str, whose: str, data: st.DataObject) -> None:
        task = data.draw(tasks_of(self.owner(whose), _IDS))
        self.both(who, lambda tasks: add(tasks, task))

    @rule(who=_WHO, whose=_WHO, key=_KEYS, data=st.data())
    def add_once(self, who: str, whose: str, key: IdempotencyKey, data: st.DataObject) -> None:
        task = data.draw(tasks_of(self.owner(whose), _IDS))
        self.both(who, lambda tasks: add_once(tasks, key, task))

    @rule(who=_WHO, key=_KEYS, task_id=_IDS, done=st.none() | moments, at=moments)
    def add_once_what_others_add_too(self, who: str, key: IdempotencyKey, task_id: TaskId, done: Any, at: Any) -> None:
        owner = self.owner(who)
        task = Task(id=task_id, owner=owner, title="Milk", completed_at=done, created_at=at, updated_at=at)
        self.both(who, lambda tasks: add_once(tasks, key, task))

    @rule(who=_WHO, task_id=_IDS)
    def get(self, who: str, task_id: TaskId) -> None:
        found = self.both(who, lambda tasks: tasks.get(task_id))
        if isinstance(found, Task):
            self.seen.setdefault(who, {})[task_id] = found

    @rule(who=_WHO, task_id=_IDS, members=settings_of(), at=moments)
    def edit(self, who: str, task_id: TaskId, members: dict[str, Any], at: Any) -> None:
        self.both(who, lambda tasks: edit(tasks, task_id, lambda task: task.edited(at=at, **members)))

    @rule(who=_WHO, data=st.data(), key=st.none() | _KEYS)
    def write_several(self, who: str, data: st.DataObject, key: IdempotencyKey | None) -> None:
        plans = data.draw(st.lists(_plans(self.owner(who)), max_size=4))
        once = None if key is None else Once(key, data.draw(st.sampled_from(["a", "b"])))
        self.both(who, lambda tasks: tasks.commit(composed(plans, once=once, client="several")))

    @rule(who=_WHO, number=st.integers(0, 12), at=moments)
    def undo(self, who: str, number: int, at: Any) -> None:
        plan = undoing(number, at)
        self.both(who, lambda tasks: tasks.commit(plan))

    @rule(who=_WHO, task_id=_IDS, at=moments, erase=st.booleans())
    def empty(self, who: str, task_id: TaskId, at: Any, erase: bool) -> None:
        self.erases |= erase
        plan = erasing(task_id) if erase else restoring(task_id, at)
        self.both(who, lambda tasks: tasks.commit(plan))

    @rule(who=_WHO, data=st.data())
    def add_in_place(self, who: str, data: st.DataObject) -> None:
        where: Any = data.draw(_places(["list_id", "parent_id"]))
        plan = placing(replace(data.draw(tasks_of(self.owner(who), _IDS)), **where))
        self.both(who, lambda tasks: tasks.commit(plan))

    @rule(who=_WHO, task_id=_IDS, at=moments, where=st.deferred(lambda: _places(list(Where.__annotations__))))
    def move(self, who: str, task_id: TaskId, at: Any, where: Any) -> None:
        plan = moving(task_id, where, at)
        self.both(who, lambda tasks: tasks.commit(plan))

    @rule(who=_WHO, whose=_WHO, data=st.data())
    def add_a_list(self, who: str, whose: str, data: st.DataObject) -> None:
        plan = creating_list(data.draw(lists_of(self.owner(whose), _IDS)))
        self.both(who, lambda tasks: tasks.commit(plan))

    @rule(who=_WHO, list_id=_IDS, name=list_names, at=moments)
    def edit_a_list(self, who: str, list_id: Any, name: str, at: Any) -> None:
        plan = changing_list(list_id, lambda each: each.edited(name=name, at=at))
        self.both(who, lambda tasks: tasks.commit(plan))

    @rule(who=_WHO, list_id=_IDS, at=moments, side=st.sampled_from(["before", "after"]), other=st.none() | _IDS)
    def move_a_list(self, who: str, list_id: Any, at: Any, side: str, other: Any) -> None:
        plan = moving_list(list_id, {side: other} if other else {}, at)
        self.both(who, lambda tasks: tasks.commit(plan))

    @rule(who=_WHO, list_id=_IDS)
    def remove_a_list(self, who: str, list_id: Any) -> None:
        self.both(who, lambda tasks: tasks.commit(deleting_list(list_id)))

    @rule(who=_WHO)
    def read_the_lists(self, who: str) -> None:
        self.both(who, lambda tasks: tasks.lists())

    @rule(who=_WHO)
    def summarize(self, who: str) -> None:
        self.both(who, lambda tasks: tasks.summary())

    @rule(who=_WHO, of=st.none() | _IDS, newest_first=st.booleans(), trash=st.booleans(), limit=st.integers(1, 3))
    def read_the_log(self, who: str, limit: int, **asked: Any) -> None:
        self.both(who, lambda tasks: _log(tasks, ChangeQuery(limit=limit, **asked)))

    @rule(who=_WHO, task_id=_IDS, at=moments, expected=_EXPECTED)
    def toggle(self, who: str, task_id: TaskId, at: Any, expected: Any) -> None:
        self.both(who, lambda tasks: edit(tasks, task_id, lambda task: task.expecting(expected).toggled(at=at)))

    @rule(who=_WHO, task_id=_IDS, other=_WHO, data=st.data())
    def edit_into_another(self, who: str, task_id: TaskId, other: str, data: st.DataObject) -> None:
        changed = data.draw(tasks_of(self.owner(other), _IDS))
        self.both(who, lambda tasks: edit(tasks, task_id, lambda _: changed))

    @rule(who=_WHO, task_id=_IDS, expected=_EXPECTED)
    def remove(self, who: str, task_id: TaskId, expected: Any) -> None:
        self.both(who, lambda tasks: remove(tasks, task_id, expected=expected))

    @rule(who=_WHO, query=queries(_IDS))
    def page(self, who: str, query: TaskQuery) -> None:
        self.both(who, lambda tasks: tasks.page(query))

    @precondition(lambda self: self.seen)
    @rule(
        data=st.data(),
        form=st.sampled_from([None, "NFC", "NFD", "NFKC", "NFKD"]),
        cased=st.sampled_from([str, str.upper, str.lower, str.swapcase, str.casefold]),
    )
    def search_for_a_part(self, data: st.DataObject, form: Form | None, cased: Callable[[str], str]) -> None:
        who = data.draw(st.sampled_from(sorted(self.seen)))
        task = data.draw(st.sampled_from(list(self.seen[who].values())))
        text = data.draw(st.sampled_from([task.title, task.description or task.title]))
        start = data.draw(st.integers(0, len(text)))
        part = cased(text[start : data.draw(st.integers(start, len(text)))])
        part = part if form is None else normalize(form, part)
        while not is_search(part):
            part = part[:-1]
        self.both(who, lambda tasks: tasks.page(TaskQuery(search=part)))

    @rule(who=_WHO, sort=st.sampled_from(Sort), limit=st.integers(1, 3))
    def walk(self, who: str, sort: Sort, limit: int) -> None:
        self.both(who, lambda tasks: _walk(tasks, sort, limit))

    def teardown(self) -> None:
        for who in ("ann", "Ann", "ann ", "a_n"):
            page = cast("Page", self.both(who, lambda tasks: tasks.page(TaskQuery(sort=Sort.CREATED_AT, limit=200))))
            lists: Any = self.both(who, lambda tasks: tasks.lists())
            self.both(who, lambda tasks: _log(tasks, ChangeQuery(limit=LIMIT_MAX)))
            log: list[Entry] = []
            for store in self.stores:
                log = self.run(whole_log(store.tasks_of(self.owner(who))))
                assert replayed(self.owner(who), log) == {each.id: each for each in (*page.items, *lists)}
                numbers = sorted({entry.number for entry in log})
                assert self.erases or numbers == list(range(1, len(numbers) + 1))
            self.undo_all(who, log)

    def undo_all(self, who: str, log: list[Entry]) -> None:
        """Undoing every change, last first, restores the beginning."""
        created = [entry.id for entry in log if entry.action == "created"]
        refusals = ["invalid_input"]  # the highest version is reached
        if len(created) > len(set(created)):  # an id of the trash was used again: the deletion of the first is older
            refusals.append("undo_conflict")
        newest = 0 if self.erases or not log else log[-1].number
        for number in range(newest, 0, -1):
            undone = self.both(who, partial(_commit, plan=undoing(number, NOON)))
            if not isinstance(undone, Committed):
                assert undone in [(code, None, ANY) for code in refusals]
                return
        assert self.erases or self.both(who, lambda tasks: tasks.page(TaskQuery())) == Page((), None)
        assert self.erases or self.both(who, lambda tasks: tasks.lists()) == ()


async def _outcome(call: Call, tasks: OwnedTasks) -> object:
    try:
        return await call(tasks)
    except TodoError as problem:
        return problem.code, getattr(problem, "current", None), getattr(problem, "problems", None)
    except ValueError:
        return ValueError  # a storage may choose the message


@st.composite
def _plans(draw: st.DrawFn, owner: OwnerId) -> Plan:
    """One of several plans of that owner."""
    task_id, at, expected = draw(_IDS), draw(moments), draw(_EXPECTED)
    members = draw(settings_of())
    return draw(
        st.sampled_from(
            [
                creating(draw(tasks_of(owner, st.just(task_id)))),
                changing(task_id, lambda task: task.edited(at=at, **members)),
                changing(task_id, lambda task: task.expecting(expected).toggled(at=at)),
                deleting(task_id, expected),
            ]
        )
    )


def _places(names: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Places, most of which do not exist."""
    return st.dictionaries(st.sampled_from(names), _IDS | st.none(), max_size=2).map(
        lambda where: {name: each for name, each in where.items() if each or name in ("list_id", "parent_id")}
    )


async def _commit(tasks: OwnedTasks, plan: Plan) -> Committed:
    return await tasks.commit(plan)


async def _log(tasks: OwnedTasks, query: ChangeQuery) -> tuple[list[Entry], Place | None]:
    """A page of the log, without the times, which the storage sets."""
    page = await tasks.changes(query)
    return [replace(entry, at=NOON) for entry in page.items], page.next


async def _walk(tasks: OwnedTasks, sort: Sort, limit: int) -> list[Task]:
    page = await tasks.page(TaskQuery(sort=sort, limit=limit))
    walked = list(page.items)
    # There are at most as many tasks as ids: a storage that repeats tasks must fail, not loop forever.
    while page.next is not None and len(walked) <= _ID_COUNT:
        page = await tasks.page(TaskQuery(sort=sort, limit=limit, after=page.next))
        walked.extend(page.items)
    return walked
