"""The contract of edits: atomic, refused as a whole, and none lost."""

# ruff: noqa: S101 (these are tests)

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import pytest

from todo_core.errors import TaskNotFound, VersionConflict
from todo_core.ports import TaskStore
from todo_core.queries import Sort, TaskQuery
from todo_core.task import Task
from todo_core.testing.examples import LATER, NASTY, NOON, make_id, make_owner, make_task
from todo_core.testing.writing import add, edit
from todo_core.versioned import Version

Change: TypeAlias = Callable[[Task], Task]
_FORBIDDEN: dict[str, Change] = {
    "another id": lambda task: replace(task, id=make_id(0), version=Version(task.version + 1)),
    "another owner": lambda task: replace(task, owner=make_owner(), version=Version(task.version + 1)),
    "another beginning": lambda task: replace(task, created_at=LATER, version=Version(task.version + 1)),
    "the same version": lambda task: replace(task, title="Other"),
    "a version skipped": lambda task: replace(task, title="Other", version=Version(task.version + 2)),
}
_CONCURRENT = 25


class _Refusal(Exception):
    """Raised by the change itself only."""


class EditingContract:
    """`edit` reads, changes and writes atomically."""

    async def test_an_edit_gives_back_what_is_stored_then(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner, description="Two litres"))
        changes: list[Change] = [
            lambda task: task.edited(title="Bread", at=LATER),
            lambda task: task.edited(description=None, at=LATER),
            lambda task: task.edited(description="".join(NASTY), at=LATER),
            lambda task: task.toggled(at=LATER),
            lambda task: task.edited(completed=False, at=LATER),
        ]
        for change in changes:
            task = change(task)
            assert await edit(tasks, task.id, change) == task
            assert await tasks.get(task.id) == task
        assert (task.version, task.updated_at) == (6, LATER)

    async def test_an_edit_is_found_by_its_new_words_and_place_only(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner, title="Milk", description="white"))
        await add(tasks, other := make_task(owner=owner, title="Nuts"))
        task = await edit(tasks, task.id, lambda task: task.edited(title="Wine", description="red", at=LATER))
        for needle, found in {"wine": (task,), "RED": (task,), "milk": (), "white": ()}.items():
            assert (await tasks.page(TaskQuery(search=needle))).items == found
        for sort in (Sort.TITLE, Sort.UPDATED_AT):
            assert (await tasks.page(TaskQuery(sort=sort))).items == (other, task)

    async def test_an_edit_leaves_other_tasks_alone(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        added = [make_task(owner=owner) for _ in range(3)]
        for task in added:
            await add(tasks, task)
        edited = await edit(tasks, added[1].id, lambda task: task.toggled(at=LATER))
        assert (await tasks.page(TaskQuery(sort=Sort.CREATED_AT))).items == (added[0], edited, added[2])

    async def test_a_missing_task_is_not_edited(self, store: TaskStore) -> None:
        def never_called(_: Task) -> Task:
            raise _Refusal

        with pytest.raises(TaskNotFound):
            await edit(store.tasks_of(make_owner()), make_id(0), never_called)

    async def test_an_equal_task_is_not_written(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))
        assert await edit(tasks, task.id, replace) == task
        assert await edit(tasks, task.id, lambda task: task.edited(title=task.title, at=LATER)) == task
        assert await tasks.get(task.id) == task

    async def test_a_change_that_raises_leaves_the_task_as_it_was(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))
        for problem in (_Refusal(), TimeoutError("from the change"), KeyError("from the change")):

            def refuse(_: Task, problem: Exception = problem) -> Task:
                raise problem

            with pytest.raises(type(problem)) as caught:
                await edit(tasks, task.id, refuse)
            # Equal, not identical: an exception from another thread may be a copy.
            assert (type(caught.value), caught.value.args) == (type(problem), problem.args)
        with pytest.raises(VersionConflict):
            await edit(tasks, task.id, lambda task: task.expecting(Version(2)).toggled(at=LATER))
        assert await tasks.get(task.id) == task

    @pytest.mark.parametrize("change", _FORBIDDEN.values(), ids=_FORBIDDEN)
    async def test_a_change_into_another_task_is_refused(self, store: TaskStore, change: Change) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner, version=Version(4)))
        with pytest.raises(ValueError, match="a change must"):
            await edit(tasks, task.id, change)
        assert (await tasks.page(TaskQuery())).items == (task,)

    async def test_an_odd_number_of_concurrent_toggles_flips_the_task(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))
        toggled = await asyncio.gather(
            *(edit(tasks, task.id, lambda task: task.toggled(at=LATER)) for _ in range(_CONCURRENT))
        )
        final = await tasks.get(task.id)
        assert final.completed
        assert final.version == 1 + _CONCURRENT
        assert sorted(each.version for each in toggled) == list(range(2, 2 + _CONCURRENT))

    async def test_no_concurrent_edit_is_lost(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner, title="|"))

        def appending(word: str) -> Change:
            return lambda task: task.edited(title=f"{task.title}{word}|", at=NOON)

        words = [f"{number}" for number in range(_CONCURRENT)]
        await asyncio.gather(*(edit(tasks, task.id, appending(word)) for word in words))
        final = await tasks.get(task.id)
        assert sorted(final.title.strip("|").split("|")) == sorted(words)
        assert final.version == 1 + _CONCURRENT

    async def test_of_many_who_expect_one_version_exactly_one_succeeds(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))
        outcomes = await asyncio.gather(
            *(
                edit(tasks, task.id, lambda task: task.expecting(Version(1)).toggled(at=LATER))
                for _ in range(_CONCURRENT)
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, Task) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, VersionConflict) for outcome in outcomes) == _CONCURRENT - 1
        assert (await tasks.get(task.id)).version == 2

    async def test_a_refusal_among_many_edits_leaves_the_others_alone(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))

        def refuse(_: Task) -> Task:
            raise _Refusal

        changes: list[Change] = [refuse if number % 3 == 0 else _toggle for number in range(_CONCURRENT)]
        outcomes = await asyncio.gather(*(edit(tasks, task.id, each) for each in changes), return_exceptions=True)
        assert [isinstance(outcome, _Refusal) for outcome in outcomes] == [change is refuse for change in changes]
        assert (await tasks.get(task.id)).version == 1 + changes.count(_toggle)


def _toggle(task: Task) -> Task:
    return task.toggled(at=LATER)
