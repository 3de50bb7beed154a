"""The contract of idempotency keys: a plan under a key happens once, whenever and by whomever it is repeated."""

# ruff: noqa: S101 (these are tests)

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import pytest

from todo_core.errors import KeyReused, TaskExists, TaskNotFound, VersionConflict
from todo_core.idempotency import IdempotencyKey, Once
from todo_core.plans import Plan, composed
from todo_core.ports import OwnedTasks, TaskStore
from todo_core.queries import TaskQuery
from todo_core.task import DESCRIPTION_LENGTH, TITLE_LENGTH, OwnerId, Task
from todo_core.testing.examples import (
    FIRST_MOMENT,
    LAST_MOMENT,
    LATER,
    NASTY,
    NASTY_KEYS,
    NOON,
    make_owner,
    make_task,
)
from todo_core.testing.writing import add, add_once, changing, creating, deleting, edit, remove
from todo_core.versioned import Version

_KEY = IdempotencyKey("8e03978e-40d5-43e8-bc93-6894a57f9324")
_OTHER = IdempotencyKey("another")
_CONCURRENT = 25
_MANY = 120
_WISHES = {
    "plain": {},
    "done": {"completed_at": NOON},
    "empty description": {"description": ""},
    "nasty": {"title": "".join(NASTY)[:TITLE_LENGTH], "description": "".join(NASTY)},
    "longest": {"title": "😀" * TITLE_LENGTH, "description": "\U0010ffff" * DESCRIPTION_LENGTH},
    "at the ends of time": {"completed_at": FIRST_MOMENT, "created_at": LAST_MOMENT, "updated_at": LATER},
    "often changed": {"version": Version(2**62)},
}
Kind: TypeAlias = Callable[[list[Task], Once], Plan]
_KINDS: dict[str, Kind] = {
    "create": lambda there, once: creating(make_task(owner=there[0].owner), once),
    "edit": lambda there, once: changing(there[0].id, lambda task: task.edited(title="Edited", at=LATER), once),
    "toggle": lambda there, once: changing(there[0].id, lambda task: task.toggled(at=LATER), once),
    "delete": lambda there, once: deleting(there[0].id, None, once),
    "several": lambda there, once: composed(
        [deleting(there[0].id), changing(there[1].id, lambda task: task.toggled(at=LATER))], once=once
    ),
    "nothing": lambda there, once: changing(there[0].id, lambda task: task, once),
}
_DIFFERING = {
    "title": {"title": "Buy Milk"},
    "description": {"description": "Two"},
    "empty description": {"description": ""},
    "completed": {"completed_at": NOON},
}


async def _all(tasks: OwnedTasks) -> set[Task]:
    return set((await tasks.page(TaskQuery(limit=200))).items)


def _again(task: Task) -> Task:
    """The task of the same request when it is repeated later: with another id and another time."""
    done = LAST_MOMENT if task.completed else None
    return make_task(
        owner=task.owner, title=task.title, description=task.description, completed_at=done, created_at=LAST_MOMENT
    )


class OnceContract:
    """A plan under a key is carried out once, and a repetition has the first outcome."""

    @pytest.mark.parametrize("values", _WISHES.values(), ids=_WISHES)
    async def test_a_repeat_gives_the_first_task_and_stores_none(
        self, store: TaskStore, values: dict[str, object]
    ) -> None:
        tasks = store.tasks_of(owner := make_owner())
        task = make_task(owner=owner, **values)
        assert await add_once(tasks, _KEY, task) == task
        assert await tasks.get(task.id) == task
        for _ in range(2):
            again = await add_once(tasks, _KEY, _again(task))
            assert again == task
            assert again.created_at.utcoffset() == task.created_at.utcoffset()
        assert await add_once(tasks, _KEY, task) == task
        assert await _all(tasks) == {task}

    async def test_a_repeat_after_edits_gives_the_task_as_it_was_first(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add_once(tasks, _KEY, task := make_task(owner=owner, description="Two litres"))
        edited = await edit(tasks, task.id, lambda task: task.edited(title="Bread", description=None, at=LATER))
        edited = await edit(tasks, task.id, lambda task: task.toggled(at=LATER))
        assert await add_once(tasks, _KEY, _again(task)) == task
        assert await _all(tasks) == {edited}
        with pytest.raises(KeyReused):
            await add_once(tasks, _KEY, _again(edited))

    async def test_a_repeat_after_the_removal_creates_nothing(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add_once(tasks, _KEY, task := make_task(owner=owner))
        await remove(tasks, task.id)
        for again in (_again(task), task):
            assert await add_once(tasks, _KEY, again) == task
        assert await _all(tasks) == set()
        with pytest.raises(TaskNotFound):
            await tasks.get(task.id)
        with pytest.raises(KeyReused):
            await add_once(tasks, _KEY, make_task(owner=owner, title="Other"))

    @pytest.mark.parametrize("values", _DIFFERING.values(), ids=_DIFFERING)
    async def test_another_task_under_the_same_key_is_refused(
        self, store: TaskStore, values: dict[str, object]
    ) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add_once(tasks, _KEY, task := make_task(owner=owner))
        with pytest.raises(KeyReused):
            await add_once(tasks, _KEY, make_task(owner=owner, **values))
        assert await add_once(tasks, _KEY, _again(task)) == task
        assert await _all(tasks) == {task}

    async def test_the_same_task_under_other_keys_or_none_is_another_one(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        added = [make_task(owner=owner) for _ in range(3)]
        await add(tasks, added[0])
        assert await add_once(tasks, _KEY, added[1]) == added[1]
        assert await add_once(tasks, _OTHER, added[2]) == added[2]
        assert await _all(tasks) == set(added)

    async def test_keys_are_each_owners_own(self, store: TaskStore) -> None:
        ann, bob = make_owner("ann"), make_owner("bob")
        anns, bobs = make_task(owner=ann, title="Ann's"), make_task(owner=bob, title="Bob's")
        assert await add_once(store.tasks_of(ann), _KEY, anns) == anns
        assert await add_once(store.tasks_of(bob), _KEY, bobs) == bobs
        await remove(store.tasks_of(ann), anns.id)
        for task in (anns, bobs):
            assert await add_once(store.tasks_of(task.owner), _KEY, _again(task)) == task
        assert await _all(store.tasks_of(ann)) == set()
        assert await _all(store.tasks_of(bob)) == {bobs}

    async def test_keys_are_compared_exactly(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        added = {key: make_task(owner=owner, title=f"({key[:100]})") for key in NASTY_KEYS}
        for _ in range(2):
            for key, task in added.items():
                assert await add_once(tasks, key, task) == task
        assert await _all(tasks) == set(added.values())

    async def test_a_key_is_kept_however_many_are_used_after_it(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        keys = [IdempotencyKey(f"{number}") for number in range(_MANY)]
        first = [await _wish(store, owner, key) for key in keys]
        assert [await _wish(store, owner, key) for key in keys] == first
        assert await _all(tasks) == set(first)

    async def test_many_simultaneous_uses_of_one_key_create_one_task_for_all(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        wishes = [make_task(owner=owner) for _ in range(_CONCURRENT)]
        outcomes = await asyncio.gather(*(add_once(tasks, _KEY, wish) for wish in wishes))
        assert set(outcomes) == await _all(tasks)
        assert len(set(outcomes)) == 1
        assert outcomes[0] in wishes

    async def test_of_different_tasks_under_one_key_only_one_is_stored(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        wishes = [make_task(owner=owner, title=f"Wish {number % 5}") for number in range(_CONCURRENT)]
        outcomes = await asyncio.gather(*(add_once(tasks, _KEY, wish) for wish in wishes), return_exceptions=True)
        (stored,) = await _all(tasks)
        for wish, outcome in zip(wishes, outcomes, strict=True):
            if wish.title == stored.title:
                assert outcome == stored
            else:
                assert isinstance(outcome, KeyReused)

    async def test_concurrent_uses_of_many_keys_by_many_owners_do_not_mix(self, store: TaskStore) -> None:
        owners = [make_owner() for _ in range(3)]
        keys = [IdempotencyKey(f"{number}") for number in range(7)]
        wishes = [(owner, key) for owner in owners for key in keys] * 3
        outcomes = await asyncio.gather(*(_wish(store, owner, key) for owner, key in wishes))
        assert len(set(outcomes)) == len(owners) * len(keys)
        for (owner, key), task in zip(wishes, outcomes, strict=True):
            assert (task.owner, task.title) == (owner, f"Wish {key}")
        for owner in owners:
            assert await _all(store.tasks_of(owner)) == {task for task in outcomes if task.owner == owner}

    async def test_what_cannot_be_stored_uses_no_key(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, there := make_task(owner=owner))
        task = make_task(owner=owner, title="Third")
        with pytest.raises(TaskExists):
            await add_once(tasks, _KEY, make_task(id=there.id, owner=owner, title="Other"))
        with pytest.raises(ValueError):  # noqa: PT011 (how it is worded is the storage's own)
            await add_once(tasks, _KEY, make_task(owner=make_owner()))
        assert await add_once(tasks, _KEY, task) == task
        assert await _all(tasks) == {there, task}

    @pytest.mark.parametrize("kind", _KINDS.values(), ids=_KINDS)
    async def test_every_kind_of_write_happens_once_however_often_it_is_asked_for(
        self, store: TaskStore, kind: Kind
    ) -> None:
        tasks = store.tasks_of(owner := make_owner())
        there = [make_task(owner=owner) for _ in range(3)]
        for task in there:
            await add(tasks, task)
        once = Once(_KEY, "first")
        outcomes = await asyncio.gather(*(tasks.commit(kind(there, once)) for _ in range(_CONCURRENT)))
        outcomes.append(await tasks.commit(kind(there, once)))
        assert [outcome.replayed for outcome in outcomes].count(False) == 1
        assert len({(outcome.things, outcome.change) for outcome in outcomes}) == 1
        assert outcomes[0].change in {None, 4}
        assert (await add(tasks, make_task(owner=owner))).change == 4 + (outcomes[0].change is not None)
        for other in (Once(_KEY, "second"), Once(_KEY, "")):
            with pytest.raises(KeyReused):
                await tasks.commit(kind(there, other))
        with pytest.raises(KeyReused):
            await tasks.commit(creating(make_task(owner=owner), Once(_KEY, "second")))

    @pytest.mark.parametrize("kind", _KINDS.values(), ids=_KINDS)
    async def test_a_repetition_is_answered_as_the_first_time_whatever_has_happened_since(
        self, store: TaskStore, kind: Kind
    ) -> None:
        tasks = store.tasks_of(owner := make_owner())
        there = [make_task(owner=owner) for _ in range(3)]
        for task in there:
            await add(tasks, task)
        first = await tasks.commit(kind(there, Once(_KEY, "it")))
        for task in (await tasks.page(TaskQuery())).items:
            await remove(tasks, task.id)
        again = await tasks.commit(kind(there, Once(_KEY, "it")))
        assert (again.things, again.change, again.replayed) == (first.things, first.change, True)

    async def test_a_refused_plan_leaves_its_key_unused(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))
        once = Once(_KEY, "it")
        with pytest.raises(VersionConflict):
            await tasks.commit(deleting(task.id, Version(7), once))
        assert (await tasks.commit(deleting(task.id, Version(1), once))).replayed is False

    async def test_an_id_that_is_taken_fails_only_the_one_who_brings_it(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, there := make_task(owner=owner))
        wishes = [make_task(owner=owner) for _ in range(6)]
        wishes[3] = replace(wishes[3], id=there.id)
        keys = [IdempotencyKey(f"{number}") for number in range(6)]
        calls = [add_once(tasks, key, wish) for key, wish in zip(keys, wishes, strict=True)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(outcomes.pop(3), TaskExists)
        assert outcomes == wishes[:3] + wishes[4:]

    async def test_a_cancelled_creation_happens_with_its_key_or_not_at_all(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        for pause in range(25):
            key = IdempotencyKey(f"{pause}")
            doing = asyncio.create_task(_wish(store, owner, key))
            await asyncio.sleep(pause / 5000)
            doing.cancel()
            await asyncio.wait([doing])
            task = await _wish(store, owner, key)
            stored = await _all(tasks)
            assert task in stored
            assert len(stored) == pause + 1


async def _wish(store: TaskStore, owner: OwnerId, key: IdempotencyKey) -> Task:
    return await add_once(store.tasks_of(owner), key, make_task(owner=owner, title=f"Wish {key}"))
