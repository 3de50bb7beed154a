"""The contract of adding, reading and removing."""

# ruff: noqa: S101 (these are tests)

import asyncio
from collections import Counter
from collections.abc import Coroutine

import pytest

from todo_core.errors import InvalidInput, TaskExists, TaskNotFound, VersionConflict
from todo_core.idempotency import IdempotencyKey
from todo_core.plans import Committed
from todo_core.ports import TaskStore
from todo_core.queries import Cursor, Sort, TaskQuery
from todo_core.task import (
    DESCRIPTION_LENGTH,
    TITLE_LENGTH,
    VERSION_MAX,
    OwnerId,
    Task,
    TaskId,
)
from todo_core.testing.examples import FIRST_MOMENT, LAST_MOMENT, LATER, NASTY, alike, make_id, make_owner, make_task
from todo_core.testing.writing import add, add_once, edit, remove
from todo_core.versioned import Expected, Version

_AWKWARD = {
    "plain": {},
    "no description": {"description": None},
    "empty description": {"description": ""},
    "lines": {"description": "one\n\ttwo\n"},
    "longest": {"title": "😀" * TITLE_LENGTH, "description": "\U0010ffff" * DESCRIPTION_LENGTH},
    "spaces kept": {"title": "  milk \xa0", "description": " "},
    "nasty": {"title": "".join(NASTY)[:TITLE_LENGTH], "description": "".join(NASTY)},
    "done long ago": {"completed_at": FIRST_MOMENT, "created_at": LAST_MOMENT, "updated_at": LATER},
    "changed as often as can be": {"version": Version(VERSION_MAX)},
}


class KeepingContract:
    """A task is stored unchanged until it is removed."""

    async def test_the_store_is_ready(self, store: TaskStore) -> None:
        await store.ready()

    @pytest.mark.parametrize("values", _AWKWARD.values(), ids=_AWKWARD)
    async def test_a_task_is_read_as_it_was_added(self, store: TaskStore, values: dict[str, object]) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner, **values))
        found = await tasks.get(task.id)
        assert found == task
        assert (await tasks.page(TaskQuery())).items == (task,)
        assert found.created_at.utcoffset() == task.created_at.utcoffset()

    async def test_values_of_subclasses_are_kept_and_found_as_those_of_the_type_itself(self, store: TaskStore) -> None:
        plain = make_task(owner=make_owner(), title="a \\ b", description="c", completed_at=LATER)
        tasks = store.tasks_of(OwnerId(alike(plain.owner)))
        await add(tasks, Task(**{name: alike(getattr(plain, name)) for name in plain.__slots__}))
        assert await tasks.get(TaskId(alike(plain.id))) == plain
        for sort in Sort:
            place = Cursor(sort, TaskId(alike(make_id(0))), alike(Cursor.behind(plain, sort).value))
            found = await tasks.page(TaskQuery(sort=sort, after=place, search=alike("B")))
            assert found.items == (() if sort.descending else (plain,))
        key = IdempotencyKey(alike("key"))
        again = make_task(owner=plain.owner)
        assert await add_once(tasks, key, again) == await add_once(tasks, IdempotencyKey("key"), again) == again
        edited = await edit(tasks, TaskId(alike(plain.id)), lambda task: task.edited(title=alike("d"), at=alike(LATER)))
        assert await tasks.get(plain.id) == edited == plain.edited(title="d", at=LATER)
        await remove(tasks, TaskId(alike(plain.id)), expected=Version(alike(2)))
        with pytest.raises(TaskNotFound):
            await tasks.get(plain.id)

    async def test_a_stored_task_is_visible_to_the_next_reader(self, store: TaskStore) -> None:
        owner = make_owner()
        await add(store.tasks_of(owner), task := make_task(owner=owner))
        assert await store.tasks_of(owner).get(task.id) == task

    async def test_an_unknown_id_is_not_found(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, make_task(owner=owner))
        with pytest.raises(TaskNotFound):
            await tasks.get(make_id(0))
        with pytest.raises(TaskNotFound):
            await remove(tasks, make_id(0))
        with pytest.raises(TaskNotFound):
            await remove(tasks, make_id(0), expected=Version(1))

    async def test_an_id_is_added_only_once_and_the_first_task_stays(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))
        for again in (task, make_task(id=task.id, owner=owner, title="Other", version=Version(2))):
            with pytest.raises(TaskExists):
                await add(tasks, again)
        assert await tasks.get(task.id) == task

    async def test_exactly_one_of_many_concurrent_additions_of_one_id_succeeds(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        rivals = [make_task(id=make_id(1), owner=owner, title=f"Rival {number}") for number in range(10)]
        outcomes = await asyncio.gather(*(add(tasks, rival) for rival in rivals), return_exceptions=True)
        assert Counter(type(outcome) for outcome in outcomes) == {Committed: 1, TaskExists: 9}
        assert await tasks.get(make_id(1)) == next(one.task for one in outcomes if isinstance(one, Committed))

    async def test_somebody_elses_task_cannot_be_added(self, store: TaskStore) -> None:
        mine, other = make_owner(), make_owner()
        foreign = make_task(owner=other)
        with pytest.raises(ValueError):  # noqa: PT011 (how it is worded is the storage's own)
            await add(store.tasks_of(mine), foreign)
        for owner in (mine, other):
            with pytest.raises(TaskNotFound):
                await store.tasks_of(owner).get(foreign.id)

    async def test_a_removed_task_is_gone_and_its_id_free(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))
        await add(tasks, stays := make_task(owner=owner))
        await remove(tasks, task.id)
        for gone in (tasks.get(task.id), remove(tasks, task.id)):
            with pytest.raises(TaskNotFound):
                await gone
        assert (await tasks.page(TaskQuery())).items == (stays,)
        await add(tasks, again := make_task(id=task.id, owner=owner, title="Again"))
        assert await tasks.get(task.id) == again

    @pytest.mark.parametrize("expected", [None, 3, {3}, [1, 3, 10**30]])
    async def test_a_task_at_an_expected_version_is_removed(self, store: TaskStore, expected: Expected) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner, version=Version(3)))
        await remove(tasks, task.id, expected=expected)
        with pytest.raises(TaskNotFound):
            await tasks.get(task.id)

    @pytest.mark.parametrize("expected", [2, 4, 0, -1, 10**30, (), {1, 2}, [4, 5]])
    async def test_a_task_at_another_version_is_not_removed(self, store: TaskStore, expected: Expected) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner, version=Version(3)))
        with pytest.raises(VersionConflict) as conflict:
            await remove(tasks, task.id, expected=expected)
        assert conflict.value.current == 3
        assert await tasks.get(task.id) == task

    async def test_an_edit_and_a_removal_of_the_same_version_never_both_happen(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        for _ in range(10):
            await add(tasks, task := make_task(owner=owner))
            edited, removed = await asyncio.gather(
                edit(tasks, task.id, lambda task: task.expecting(Version(1)).toggled(at=LATER)),
                remove(tasks, task.id, expected=Version(1)),
                return_exceptions=True,
            )
            if isinstance(removed, Committed):
                assert isinstance(edited, TaskNotFound)
            else:
                assert isinstance(removed, VersionConflict)
                assert removed.current == 2
                assert await tasks.get(task.id) == edited

    @pytest.mark.parametrize("text", ["", "a\x00b", "\ud800", "x" * 256, "a\nb"])
    async def test_an_invalid_owner_is_refused(self, store: TaskStore, text: str) -> None:
        with pytest.raises(InvalidInput):
            store.tasks_of(OwnerId(text))

    async def test_a_cancelled_write_is_stored_wholly_or_not_at_all(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        for pause in range(25):
            task = make_task(owner=owner)
            await _cancelled_after(pause / 5000, add(tasks, task))
            assert await _found(store, task) in {None, task}
            await _cancelled_after(pause / 5000, edit(tasks, task.id, lambda task: task.toggled(at=LATER)))
            assert await _found(store, task) in {None, task, task.toggled(at=LATER)}


async def _cancelled_after(seconds: float, work: Coroutine[object, object, object]) -> None:
    doing = asyncio.create_task(work)
    await asyncio.sleep(seconds)
    doing.cancel()
    await asyncio.wait([doing])
    if not doing.cancelled() and (problem := doing.exception()) is not None and not isinstance(problem, TaskNotFound):
        raise problem


async def _found(store: TaskStore, task: Task) -> Task | None:
    try:
        return await store.tasks_of(task.owner).get(task.id)
    except TaskNotFound:
        return None
