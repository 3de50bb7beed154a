"""The contract of owners: no method reaches another owner's tasks."""

# ruff: noqa: S101 (these are tests)

from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeAlias
from uuid import uuid4

import pytest

from todo_core.errors import TaskNotFound
from todo_core.ports import OwnedTasks, TaskStore
from todo_core.queries import Page, Sort, TaskQuery
from todo_core.task import OwnerId, Task
from todo_core.testing.examples import LATER, make_owner, make_task
from todo_core.testing.writing import add, edit, remove
from todo_core.versioned import Version

_ALIKE = ["ann", "Ann", "ann ", " ann", "an_", "an%", "%", "a\\nn", "ann'", "änn", "a\u0308nn", "ＡＮＮ", "ann\u200b"]

Attempt: TypeAlias = Callable[[OwnedTasks, Task], Awaitable[object]]
_REACHES: dict[str, Attempt] = {
    "get": lambda tasks, task: tasks.get(task.id),
    "edit": lambda tasks, task: edit(tasks, task.id, _never_called),
    "remove": lambda tasks, task: remove(tasks, task.id),
    "remove expecting": lambda tasks, task: remove(tasks, task.id, expected=task.version),
    "remove expecting others": lambda tasks, task: remove(tasks, task.id, expected=[Version(7)]),
}


def _never_called(task: Task) -> NoReturn:
    raise AssertionError(f"somebody else's {task} was shown")


class IsolationContract:
    """Another owner's tasks look as if they did not exist."""

    @pytest.mark.parametrize("attempt", _REACHES.values(), ids=_REACHES)
    @pytest.mark.parametrize("other_has_tasks", [False, True])
    async def test_another_owner_reaches_nothing(
        self, store: TaskStore, attempt: Attempt, other_has_tasks: bool
    ) -> None:
        ann, bob = make_owner("ann"), make_owner("bob")
        await add(store.tasks_of(ann), task := make_task(owner=ann))
        if other_has_tasks:
            await add(store.tasks_of(bob), make_task(owner=bob))
        with pytest.raises(TaskNotFound):
            await attempt(store.tasks_of(bob), task)
        assert await store.tasks_of(ann).get(task.id) == task

    async def test_two_owners_may_have_the_same_id(self, store: TaskStore) -> None:
        ann, bob = make_owner("ann"), make_owner("bob")
        await add(store.tasks_of(ann), anns := make_task(owner=ann, title="Ann's"))
        await add(store.tasks_of(bob), bobs := make_task(id=anns.id, owner=bob, title="Bob's"))
        anns = await edit(store.tasks_of(ann), anns.id, lambda task: task.toggled(at=LATER))
        assert await store.tasks_of(ann).get(anns.id) == anns
        assert await store.tasks_of(bob).get(anns.id) == bobs
        await remove(store.tasks_of(ann), anns.id)
        assert await store.tasks_of(bob).get(anns.id) == bobs

    @pytest.mark.parametrize("sort", Sort)
    async def test_a_listing_shows_nobody_elses_tasks(self, store: TaskStore, sort: Sort) -> None:
        ann, bob = make_owner("ann"), make_owner("bob")
        both = [make_task(owner=owner, title=f"Milk {number}") for number in range(4) for owner in (ann, bob)]
        for task in both:
            await add(store.tasks_of(task.owner), task)
        for query in (TaskQuery(sort=sort), TaskQuery(sort=sort, search="milk"), TaskQuery(sort=sort, completed=False)):
            page = await store.tasks_of(ann).page(query)
            assert {task.id for task in page.items} == {task.id for task in both if task.owner == ann}
            assert page.next is None

    @pytest.mark.parametrize("sort", Sort)
    async def test_a_cursor_from_another_owner_shows_ones_own_tasks(self, store: TaskStore, sort: Sort) -> None:
        ann, bob = make_owner("ann"), make_owner("bob")
        tasks = [make_task(owner=owner, title=f"Milk {number}") for number in range(3) for owner in (ann, bob)]
        for task in tasks:
            await add(store.tasks_of(task.owner), task)
        cursor = (await store.tasks_of(ann).page(TaskQuery(sort=sort, limit=1))).next
        query = TaskQuery(sort=sort, after=cursor)
        assert await store.tasks_of(bob).page(query) == query.page_of(task for task in tasks if task.owner == bob)

    async def test_owners_are_compared_exactly(self, store: TaskStore) -> None:
        prefix = str(uuid4())
        alike = [OwnerId(prefix + name) for name in _ALIKE]
        for owner in alike:
            await add(store.tasks_of(owner), make_task(owner=owner, title=owner))
        for owner in alike:
            assert [task.title for task in (await store.tasks_of(owner).page(TaskQuery())).items] == [owner]

    async def test_an_owner_without_tasks_gets_an_empty_page(self, store: TaskStore) -> None:
        assert await store.tasks_of(make_owner()).page(TaskQuery()) == Page((), None)
