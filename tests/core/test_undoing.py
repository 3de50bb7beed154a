"""Undo, the trash, and what prevents them."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from clocks import FrozenClock
from factories import ANN, BOB, LATER, make_list, make_task

from todo_adapters.memory import MemoryTaskStore
from todo_adapters.system import SystemClock, SystemIds
from todo_core import (
    ChangeNotFound,
    ChangeQuery,
    Entry,
    NotInTrash,
    Once,
    Pair,
    Plan,
    Seen,
    Sort,
    StoreUnavailable,
    TaskNotFound,
    TaskQuery,
    TaskService,
    UndoConflict,
    WriteOptions,
    composed,
    idempotency_key,
)
from todo_core.changes import entry_of, with_roots
from todo_core.positions import spread
from todo_core.queries import NONE
from todo_core.testing.writing import creating, creating_list, deleting, undoing
from todo_core.undoing import emptied
from todo_core.use_cases import changes


@pytest.fixture
def service() -> TaskService:
    return TaskService(MemoryTaskStore(), SystemClock(), SystemIds())


async def test_undoing_a_reopening_restores_the_completion_time(service: TaskService) -> None:
    made = await service.create(ANN, title="Milk", completed=True)
    reopened = await service.toggle(ANN, made.task.id)
    assert reopened.change == 2
    undone = await service.undo(ANN, 2, WriteOptions(client="cli"))
    assert (undone.task.completed_at, undone.task.version, undone.change) == (made.task.completed_at, 3, 3)
    [entry, *_] = (await service.history(ANN, ChangeQuery(of=made.task.id, newest_first=True))).items
    assert (entry.action, entry.client) == ("undone", "cli")


async def test_undoing_a_creation_deletes_and_undoing_that_restores(service: TaskService) -> None:
    made = await service.create(ANN, title="Milk")
    assert (await service.undo(ANN, 1)).things == ()
    with pytest.raises(TaskNotFound):
        await service.get(ANN, made.task.id)
    assert (await service.undo(ANN, 2)).task.title == "Milk"


async def test_a_later_edit_of_other_members_does_not_prevent_undo(service: TaskService) -> None:
    made = await service.create(ANN, title="Milk")
    await service.edit(ANN, made.task.id, title="Bread")
    await service.edit(ANN, made.task.id, priority="high")
    undone = await service.undo(ANN, 2)
    assert (undone.task.title, undone.task.priority) == ("Milk", "high")
    with pytest.raises(UndoConflict) as conflict:
        await service.undo(ANN, 1)
    assert [problem.field for problem in conflict.value.problems] == ["priority"]


@pytest.mark.parametrize("number", [-1, 0, 2**63, 10**1000])
async def test_a_number_that_no_change_can_have_is_not_looked_for(
    service: TaskService, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(MemoryTaskStore, "tasks_of", lambda *what: asked.append(what))
    with pytest.raises(ChangeNotFound):
        await service.undo(ANN, number)
    assert not asked


async def test_changes_older_than_the_kept_history_are_neither_undone_nor_restored() -> None:
    clock = FrozenClock()
    service = TaskService(MemoryTaskStore(), clock, SystemIds(), timedelta(days=30))
    made = await service.create(ANN, title="Milk")
    deleted = await service.delete(ANN, made.task.id)
    assert deleted.change is not None
    [entry] = (await service.trash(ANN, ChangeQuery())).items
    clock.time = entry.at + timedelta(days=30, microseconds=1)
    with pytest.raises(NotInTrash):
        await service.restore(ANN, made.task.id)
    with pytest.raises(ChangeNotFound):
        await service.undo(ANN, deleted.change)
    clock.time = entry.at + timedelta(days=30)
    assert (await service.restore(ANN, made.task.id)).task.title == "Milk"


async def test_a_change_that_does_not_exist_or_belongs_to_another_owner_is_unknown(service: TaskService) -> None:
    await service.create(ANN, title="Milk")
    for owner, number in ((ANN, 2), (ANN, 0), (BOB, 1)):
        with pytest.raises(ChangeNotFound):
            await service.undo(owner, number)


async def test_a_deleted_task_is_in_the_trash_until_it_is_restored_or_erased(service: TaskService) -> None:
    one, two = [(await service.create(ANN, title=title)).task for title in ("Milk", "Bread")]
    for task in (one, two):
        await service.delete(ANN, task.id)
    assert [entry.id for entry in (await service.trash(ANN, ChangeQuery(newest_first=True))).items] == [two.id, one.id]
    assert (await service.restore(ANN, one.id)).task.title == "Milk"
    await service.erase(ANN, two.id)
    assert (await service.trash(ANN, ChangeQuery())).items == ()
    for gone in (one, two):
        with pytest.raises(NotInTrash):
            await service.restore(ANN, gone.id)
        with pytest.raises(NotInTrash):
            await service.erase(BOB, gone.id)
    assert [task.id for task in (await service.page(ANN, TaskQuery())).items] == [one.id]


async def test_what_a_batch_edits_and_then_deletes_comes_back_as_it_was_before_the_batch(service: TaskService) -> None:
    for brings_back in ("restore", "undo"):
        milk = (await service.create(ANN, title="Milk")).task
        edit = partial(TaskService.edit, owner=ANN, task_id=milk.id, title="Bread")
        delete = partial(TaskService.delete, owner=ANN, task_id=milk.id)
        change = (await service.batch(ANN, [edit, delete], WriteOptions())).change
        assert change is not None
        back = service.restore(ANN, milk.id) if brings_back == "restore" else service.undo(ANN, change)
        assert (await back).task.title == "Milk"


async def test_emptying_the_trash_erases_all_of_it(service: TaskService) -> None:
    for number in range(3):
        await service.delete(ANN, (await service.create(ANN, title=f"Secret {number}")).task.id)
    await service.empty_trash(ANN)
    assert (await service.trash(ANN, ChangeQuery())).items == ()
    assert "Secret" not in str((await service.store.tasks_of(ANN).changes(ChangeQuery())).items)


def break_off_after_a_commit(patch: pytest.MonkeyPatch, service: TaskService) -> None:
    """Make the store answer one write, and none after it."""
    tasks: Any = type(service.store.tasks_of(ANN))
    commit, done = tasks.commit, []

    async def breaks_off(self: Any, plan: Plan) -> Any:
        if done:
            raise StoreUnavailable
        done.append(committed := await commit(self, plan))
        return committed

    patch.setattr(tasks, "commit", breaks_off)


async def test_emptying_the_trash_continues_when_repeated_under_its_key(
    service: TaskService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "LIMIT_MAX", 2)
    once = WriteOptions(once=Once(idempotency_key("k"), "empty"))
    for number in range(5):
        await service.delete(ANN, (await service.create(ANN, title=f"Secret {number}")).task.id)
    with monkeypatch.context() as patch:
        break_off_after_a_commit(patch, service)
        with pytest.raises(StoreUnavailable):
            await service.empty_trash(ANN, once)
    assert len((await service.trash(ANN, ChangeQuery())).items) == 3
    assert not (await service.empty_trash(ANN, once)).replayed
    assert (await service.trash(ANN, ChangeQuery())).items == ()
    later = (await service.create(ANN, title="Later")).task
    await service.delete(ANN, later.id)
    assert (await service.empty_trash(ANN, once)).replayed
    assert [entry.id for entry in (await service.trash(ANN, ChangeQuery())).items] == [later.id]


async def test_the_undo_of_an_older_deletion_discards_no_later_edit(service: TaskService) -> None:
    task = (await service.create(ANN, title="a")).task
    older = (await service.delete(ANN, task.id)).change or 0
    await service.restore(ANN, task.id)
    await service.edit(ANN, task.id, title="b", priority="high")
    newer = (await service.delete(ANN, task.id)).change or 0
    with pytest.raises(UndoConflict) as conflict:
        await service.undo(ANN, older)
    assert sorted(problem.field for problem in conflict.value.problems) == ["priority", "title"]
    assert [entry.number for entry in (await service.trash(ANN, ChangeQuery())).items] == [newer]
    assert (await service.undo(ANN, newer)).task.title == "b"


async def test_undo_restores_the_order_in_two_lists_without_room() -> None:
    stays, front = spread(4)[0], [f"00{digit}" for digit in range(1, 10)]
    tasks = MemoryTaskStore().tasks_of(ANN)
    there = make_list()
    inbox, listed = make_task(position="1"), make_task(position="1", list_id=there.id)
    others = [
        make_task(position=position, list_id=list_id)
        for list_id, positions in ((None, [stays]), (there.id, front))
        for position in (*positions, "1", "1" + "0" * 30 + "1")  # nothing fits between the last two
    ]
    await tasks.commit(creating_list(there))
    await tasks.commit(composed([creating(inbox), creating(listed)]))
    deletion = await tasks.commit(composed([deleting(inbox.id), deleting(listed.id)]))
    await tasks.commit(composed([creating(each) for each in others]))
    assert deletion.change is not None
    await tasks.commit(undoing(deletion.change, LATER))
    for list_id, back in ((NONE, inbox), (there.id, listed)):
        page = await tasks.page(TaskQuery(list_id=list_id, sort=Sort.POSITION))
        *before, last = [each.id for each in others if each.list_id == back.list_id]
        assert [each.id for each in page.items] == [*before, back.id, last]


def test_emptying_the_trash_goes_through_a_change_as_often_for_many_deletions_as_for_one() -> None:
    looked = list[int]()

    class Entries(tuple[Entry, ...]):
        __slots__ = ()

        def __iter__(self) -> Iterator[Entry]:
            looked.append(len(self))
            return super().__iter__()

    def looks(count: int) -> int:
        pairs = with_roots([Pair(make_task(), None) for _ in range(count)])
        entries = Entries(entry_of(pair, number=1, at=LATER, client=None) for pair in pairs)
        last = {entry.id: entry for entry in entries}
        looked.clear()
        decision = emptied(Seen(ANN, {}, {1: entries}, dict[UUID, Entry | None](last)), [*last.values()])
        assert decision.erased == last.keys()
        return len(looked)

    assert looks(100) == looks(1)
