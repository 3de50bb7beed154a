"""The contract of undoing, restoring and erasing."""

# ruff: noqa: S101 (these are tests)

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

import pytest

from todo_core.changes import ChangeQuery, Pair
from todo_core.errors import ChangeNotFound, NotInTrash, UndoConflict
from todo_core.idempotency import IdempotencyKey, Once
from todo_core.plans import Decision, Plan, composed
from todo_core.ports import OwnedTasks, TaskStore
from todo_core.queries import Sort, TaskQuery
from todo_core.sync import SyncItem
from todo_core.task import Task, TaskId
from todo_core.testing.examples import LATER, alike, make_id, make_list, make_owner, make_task
from todo_core.testing.log import whole_log
from todo_core.testing.writing import (
    add,
    changing_list,
    creating,
    creating_list,
    deleting,
    deleting_list,
    edit,
    erasing,
    move,
    remove,
    restoring,
    undoing,
)
from todo_core.versioned import Version

Content: TypeAlias = dict[str, Any]
_TRASH = ChangeQuery(trash=True, newest_first=True)
_KEY = IdempotencyKey("k")
_MANY = 250  # more than a page


def _content(task: Task) -> Content:
    """The task's members, without those that an undo does not set back."""
    members = {name: getattr(task, name) for name in Task.__slots__}
    return {name: value for name, value in members.items() if name not in {"version", "updated_at"}}


async def _all(tasks: OwnedTasks) -> list[Content]:
    return [_content(task) for task in (await tasks.page(TaskQuery(sort=Sort.CREATED_AT, limit=200))).items]


class UndoingContract:
    """A change can be undone, a deletion restored, and erased content is gone."""

    async def test_undoing_every_change_in_reverse_order_leads_back_to_the_beginning(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        made = [make_task(owner=owner, description="x", tags=("a",), due_date="2026-10-01") for _ in range(3)]
        states = [await _all(tasks)]
        await tasks.commit(composed([creating(task) for task in made]))
        states.append(await _all(tasks))
        await edit(tasks, made[0].id, lambda task: task.edited(title="Other", tags=[], due_date=None, at=LATER))
        states.append(await _all(tasks))
        await edit(tasks, made[0].id, lambda task: task.toggled(at=LATER))
        states.append(await _all(tasks))
        await tasks.commit(composed([deleting(made[0].id), deleting(made[1].id)]))
        for number in (4, 3, 2, 1):
            committed = await tasks.commit(undoing(number, LATER))
            assert committed.change == 9 - number
            assert await _all(tasks) == states[number - 1]
        assert [entry.action for entry in await whole_log(tasks) if entry.number > 4] == ["undone"] * 7

    async def test_undoing_an_undo_does_it_again(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))
        edited = await edit(tasks, task.id, lambda task: task.edited(title="Other", at=LATER))
        await tasks.commit(undoing(2, LATER))
        await tasks.commit(undoing(3, LATER))
        found = await tasks.get(task.id)
        assert _content(found) == _content(edited)
        assert found.version == 4

    async def test_members_changed_since_are_not_undone_and_are_named(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))
        await edit(tasks, task.id, lambda task: task.edited(title="One", description="x", at=LATER))
        await edit(tasks, task.id, lambda task: task.edited(title="Two", at=LATER))
        for number in (2, 1):
            with pytest.raises(UndoConflict) as conflict:
                await tasks.commit(undoing(number, LATER))
            named = [problem.field for problem in conflict.value.problems]
            assert named == (["title"] if number == 2 else ["title", "description"])
            assert set(conflict.value.ids) == {task.id}
        await remove(tasks, task.id)
        with pytest.raises(UndoConflict):
            await tasks.commit(undoing(3, LATER))
        await tasks.commit(undoing(4, LATER))
        assert (await tasks.commit(undoing(3, LATER))).task.title == "One"

    async def test_changes_of_a_list_whose_id_a_task_has_taken_are_not_undone(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        task_list = make_list(owner=owner)
        task = make_task(owner=owner, id=TaskId(task_list.id))
        await tasks.commit(creating_list(task_list))
        await tasks.commit(changing_list(task_list.id, lambda each: each.edited(name="Other", at=LATER)))
        await tasks.commit(deleting_list(task_list.id))
        await add(tasks, task)
        for _ in range(2):  # while the task is there, and after its deletion
            for number in (3, 2, 1):
                with pytest.raises(UndoConflict) as conflict:
                    await tasks.commit(undoing(number, LATER))
                assert [problem.field for problem in conflict.value.problems] == ["id"]
                assert conflict.value.ids == (task.id,)
            await tasks.commit(composed([deleting(task.id)] if await _all(tasks) else []))
        assert (await tasks.commit(undoing(5, LATER))).task.title == task.title

    async def test_only_ones_own_changes_can_be_undone(self, store: TaskStore) -> None:
        ann, bob = make_owner("ann"), make_owner("bob")
        await add(store.tasks_of(ann), make_task(owner=ann))
        for number in (1, 2, 0, -1, 2**62):
            with pytest.raises(ChangeNotFound):
                await store.tasks_of(bob).commit(undoing(number, LATER))
        with pytest.raises(NotInTrash):
            await store.tasks_of(bob).commit(restoring(make_id(0), LATER))

    async def test_deleting_and_restoring_changes_nothing_but_the_version(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        both = [make_task(owner=owner, version=Version(7), tags=("a",)) for _ in range(2)]
        for task in both:
            await add(tasks, task)
        before = await _all(tasks)
        await tasks.commit(composed([deleting(task.id) for task in both]))
        assert [entry.id for entry in (await tasks.changes(_TRASH)).items] == [task.id for task in reversed(both)]
        for task in both:
            restored = await tasks.commit(restoring(task.id, LATER))
            assert [(each.id, each.version) for each in restored.things] == [(task.id, Version(8))]
        assert await _all(tasks) == before
        assert (await tasks.changes(_TRASH)).items == ()
        with pytest.raises(NotInTrash):
            await tasks.commit(restoring(both[1].id, LATER))

    async def test_a_restored_thing_has_the_same_time_whatever_kind_of_moment_was_given(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        task, task_list = make_task(owner=owner), make_list(owner=owner)
        await tasks.commit(composed([creating(task), creating_list(task_list)]))
        await tasks.commit(composed([deleting(task.id), deleting_list(task_list.id)]))
        for thing_id in (task.id, task_list.id):
            [thing] = (await tasks.commit(restoring(thing_id, alike(LATER)))).things
            assert (thing.updated_at, type(thing.updated_at)) == (LATER, datetime)

    async def test_exactly_one_of_many_simultaneous_restores_succeeds(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))
        await remove(tasks, task.id)
        outcomes = await asyncio.gather(
            *(tasks.commit(restoring(task.id, LATER)) for _ in range(10)), return_exceptions=True
        )
        assert sum(isinstance(outcome, NotInTrash) for outcome in outcomes) == 9
        assert (await tasks.get(task.id)).version == 2

    async def test_the_trash_has_what_is_deleted_now_newest_first_page_by_page(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        made = [make_task(owner=owner) for _ in range(5)]
        for task in made:
            await add(tasks, task)
        for task in made[:4]:
            await remove(tasks, task.id)
        await tasks.commit(restoring(made[1].id, LATER))
        query, found = replace(_TRASH, limit=2), []
        while True:
            page = await tasks.changes(query)
            found += [entry.id for entry in page.items]
            if page.next is None:
                break
            query = replace(query, after=page.next)
        assert found == [made[3].id, made[2].id, made[0].id]

    async def test_what_is_erased_is_gone_from_the_log_and_the_keys_and_cannot_be_taken_back(
        self, store: TaskStore
    ) -> None:
        tasks = store.tasks_of(owner := make_owner())
        secret, other = make_task(owner=owner, title="Secret"), make_task(owner=owner)
        once = Once(_KEY, "")
        await tasks.commit(creating(secret, once))
        await add(tasks, other)
        await edit(tasks, secret.id, lambda task: task.edited(description="Secret too", at=LATER))
        with pytest.raises(NotInTrash):
            await tasks.commit(erasing(secret.id))
        await remove(tasks, secret.id)
        assert (await tasks.commit(erasing(secret.id))).change is None
        assert [entry.number for entry in await whole_log(tasks) if "Secret" in str(entry)] == []
        assert (await tasks.commit(creating(secret, once))).things == ()
        assert (await tasks.changes(_TRASH)).items == ()
        for plan, refusal in ((restoring(secret.id, LATER), NotInTrash), (undoing(4, LATER), UndoConflict)):
            with pytest.raises(refusal):
                await tasks.commit(plan)
        assert await _all(tasks) == [_content(other)]
        assert (await add(tasks, make_task(owner=owner))).change == 5

    async def test_a_repeated_answer_keeps_its_order_and_the_ids_of_what_is_erased(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        first, secret, last = (make_task(owner=owner, title=title) for title in ("First", "Secret", "Last"))
        task_list = make_list(owner=owner)
        plans = [creating(first), creating(secret), creating_list(task_list), creating(last)]
        both = composed(plans, once=Once(IdempotencyKey("k"), ""))
        assert (await tasks.commit(both)).answer == (first, secret, task_list, last)
        for plan in (deleting(secret.id), deleting_list(task_list.id), erasing(secret.id), erasing(task_list.id)):
            await tasks.commit(plan)
        again = await tasks.commit(both)
        gone = SyncItem("task", secret.id, None), SyncItem("list", task_list.id, None)
        assert (again.answer, again.things) == ((first, *gone, last), (first, last))

    async def test_what_a_batch_deletes_in_the_end_is_gone_from_its_answer_also_when_it_is_repeated(
        self, store: TaskStore
    ) -> None:
        tasks = store.tasks_of(owner := make_owner())
        kept, gone = make_task(owner=owner), make_task(owner=owner)
        batch = composed([creating(gone), creating(kept), deleting(gone.id)], once=Once(IdempotencyKey("k"), ""))
        for _ in range(2):
            assert (await tasks.commit(batch)).answer == (SyncItem("task", gone.id, None), kept)
        assert [entry.id for entry in await whole_log(tasks)] == [kept.id]

    async def test_an_answer_that_only_mentions_what_is_erased_is_kept_under_its_key(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, parent := make_task(owner=owner))
        child, once = make_task(owner=owner, parent_id=parent.id, description=str(parent.id)), Once(_KEY, "")
        await tasks.commit(creating(child, once))
        await move(tasks, child.id, parent_id=None)
        await remove(tasks, parent.id)
        await tasks.commit(erasing(parent.id))
        assert (await tasks.commit(creating(child, once))).things == (child,)

    async def test_everything_that_a_deletion_took_is_erased_however_much_it_is(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        task_list = make_list(owner=owner)
        below = [make_task(owner=owner, list_id=task_list.id, title="Secret") for _ in range(_MANY)]
        decision = Decision((Pair(None, task_list), *(Pair(None, task) for task in below)))
        await tasks.commit(Plan(decide=lambda _: decision))
        await tasks.commit(deleting_list(task_list.id))
        await tasks.commit(erasing(task_list.id))
        log = await whole_log(tasks)
        assert [entry.number for entry in log if "Secret" in str(entry)] == []
        assert {entry.id for entry in log} == {task_list.id, *(task.id for task in below)}
