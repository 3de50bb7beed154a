"""What an owner can do, on the memory store with a test clock."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from factories import ANN, BOB, NOON, make_id, make_task

from todo_adapters.dateutil_recurrence import DateutilRecurrenceCalendar
from todo_adapters.memory import MemoryTaskStore
from todo_adapters.system import SystemIds
from todo_core import (
    ChangeQuery,
    Committed,
    InvalidInput,
    ListId,
    Once,
    Problem,
    Seen,
    Task,
    TaskExists,
    TaskId,
    TaskNotFound,
    TaskQuery,
    TaskService,
    Version,
    VersionConflict,
    WriteOptions,
    idempotency_key,
)
from todo_core.due import ZONE_OR_NONE_RULE, ZONE_RULE
from todo_core.own_ids import ID_RULE
from todo_core.task import MEMBERS
from todo_core.testing.writing import add
from todo_core.use_cases.batch import Operation


@dataclass
class Clock:
    """A clock that ticks a second with each look."""

    moment: datetime = NOON

    def now(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment


@dataclass
class Ids:
    """Ids in a row."""

    last: int = 0
    asked: list[datetime] = field(default_factory=list)

    def new(self, at: datetime) -> TaskId:
        self.last += 1
        self.asked.append(at)
        return make_id(self.last)


@pytest.fixture
def service() -> TaskService:
    return TaskService(MemoryTaskStore(), Clock(), Ids())


@pytest.fixture
def recurring() -> TaskService:
    return TaskService(MemoryTaskStore(), Clock(), Ids(), calendar=DateutilRecurrenceCalendar())


@pytest.fixture
async def task(service: TaskService) -> Task:
    return (await service.create(ANN, title="Milk", description="Two litres")).task


async def test_a_created_task_is_stored_with_its_id_and_moment(service: TaskService, task: Task) -> None:
    at = NOON + timedelta(seconds=1)
    expected = Task.new(id=make_id(1), owner=ANN, title="Milk", description="Two litres", at=at)
    assert task == expected
    assert await service.get(ANN, task.id) == expected
    assert isinstance(service.ids, Ids)
    assert service.ids.asked == [at]


async def test_a_task_may_be_created_done(service: TaskService) -> None:
    task = (await service.create(ANN, title="Milk", completed=True)).task
    assert task.completed_at == task.created_at


async def test_an_invalid_task_is_not_stored(service: TaskService) -> None:
    with pytest.raises(InvalidInput):
        await service.create(ANN, title=" ")
    assert (await service.page(ANN, TaskQuery())).items == ()


async def test_an_id_that_comes_twice_is_refused(service: TaskService, task: Task) -> None:
    with pytest.raises(TaskExists):
        await TaskService(service.store, Clock(), Ids()).create(ANN, title="Other")
    assert await service.get(ANN, task.id) == task


async def test_a_page_shows_the_owners_tasks(service: TaskService, task: Task) -> None:
    await service.create(BOB, title="Bob's")
    assert (await service.page(ANN, TaskQuery())).items == (task,)


async def test_editing_changes_only_what_is_given(service: TaskService, task: Task) -> None:
    edited = (await service.edit(ANN, task.id, title="Bread")).task
    moment = NOON + timedelta(seconds=2)
    assert edited == replace(task, title="Bread", version=Version(2), updated_at=moment)
    assert (await service.edit(ANN, task.id, description=None)).task.description is None
    assert (await service.edit(ANN, task.id, completed=True)).task.completed
    with pytest.raises(InvalidInput):
        await service.edit(ANN, task.id, title="")
    assert (await service.get(ANN, task.id)).version == 4


async def test_toggling_completing_and_reopening(service: TaskService, task: Task) -> None:
    assert (await service.toggle(ANN, task.id)).task.completed
    assert not (await service.toggle(ANN, task.id)).task.completed
    done = await service.complete(ANN, task.id)
    assert await service.complete(ANN, task.id) == Committed(done.things, None)
    opened = await service.reopen(ANN, task.id)
    assert await service.reopen(ANN, task.id) == Committed(opened.things, None)
    assert (done.task.version, opened.task.version) == (4, 5)
    assert (done.change, opened.change) == (4, 5)


async def test_a_deleted_task_is_gone(service: TaskService, task: Task) -> None:
    assert await service.delete(ANN, task.id) == Committed((), 2)
    with pytest.raises(TaskNotFound):
        await service.get(ANN, task.id)


ACTIONS = {
    "edit": lambda service, owner, terms: service.edit(owner, make_id(1), terms, title="Other"),
    "toggle": lambda service, owner, terms: service.toggle(owner, make_id(1), terms),
    "complete": lambda service, owner, terms: service.complete(owner, make_id(1), terms),
    "delete": lambda service, owner, terms: service.delete(owner, make_id(1), terms),
}
every_action = pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)


@every_action
async def test_an_action_at_the_expected_version_happens(service: TaskService, task: Task, action) -> None:  # type: ignore[no-untyped-def]
    await action(service, ANN, WriteOptions(expected=[Version(1), Version(7)]))
    with pytest.raises((VersionConflict, TaskNotFound)):
        await action(service, ANN, WriteOptions(expected=Version(1)))


@every_action
async def test_an_action_at_a_stale_version_changes_nothing(service: TaskService, task: Task, action) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(VersionConflict):
        await action(service, ANN, WriteOptions(expected=Version(2)))
    assert await service.get(ANN, task.id) == task


@every_action
async def test_another_owner_finds_no_task_to_act_on(service: TaskService, task: Task, action) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TaskNotFound):
        await action(service, BOB, WriteOptions())
    assert await service.get(ANN, task.id) == task


async def test_reopening_at_a_stale_version_is_a_conflict_even_if_there_is_nothing_to_do(
    service: TaskService, task: Task
) -> None:
    with pytest.raises(VersionConflict):
        await service.reopen(ANN, task.id, WriteOptions(expected=Version(9)))


async def test_history_has_every_change_and_its_client_even_after_deletion(service: TaskService, task: Task) -> None:
    await service.edit(ANN, task.id, WriteOptions(client="cli"), title="Bread")
    await service.delete(ANN, task.id)
    query = ChangeQuery(of=task.id, newest_first=True)
    entries = (await service.history(ANN, query)).items
    assert [(entry.number, entry.action, entry.client) for entry in entries] == [
        (3, "deleted", None),
        (2, "edited", "cli"),
        (1, "created", None),
    ]
    for owner, task_id in ((BOB, task.id), (ANN, make_id(9))):
        with pytest.raises(TaskNotFound):
            await service.history(owner, replace(query, of=task_id))


async def test_any_write_under_a_key_happens_once(service: TaskService, task: Task) -> None:
    options = WriteOptions(once=Once(idempotency_key("k"), "toggle"))
    first = await service.toggle(ANN, task.id, options)
    assert await service.toggle(ANN, task.id, options) == Committed(first.things, first.change, replayed=True)
    assert await service.get(ANN, task.id) == first.task


async def test_a_summary_counts_what_is_open_by_tag_and_priority(service: TaskService, task: Task) -> None:
    await service.create(ANN, title="a", tags=["Home", "x"], priority="high")
    await service.create(ANN, title="b", tags=["home"])
    await service.create(ANN, title="c", tags=["home"], completed=True)
    summary = await service.summary(ANN)
    assert (summary.open, summary.completed) == (3, 1)
    assert summary.by_tag == {"Home": 2, "x": 1}
    assert summary.by_priority == {"high": 1, "medium": 0, "low": 0, "none": 2}


@pytest.mark.parametrize(
    "operation",
    [
        lambda tasks, task, own_id: tasks.create(ANN, title="below", parent_id=task.id),
        lambda tasks, task, own_id: tasks.create(ANN, title="below", parent_id=task.id, own_id=own_id),
        lambda tasks, task, own_id: tasks.create_list(ANN, name="List", own_id=own_id),
        lambda tasks, task, own_id: tasks.edit(ANN, task.id, title="other"),
        lambda tasks, task, own_id: tasks.move(ANN, task.id),
        lambda tasks, task, own_id: tasks.delete(ANN, task.id),
    ],
    ids=["create", "create-own", "create-list", "edit", "move", "delete"],
)
async def test_a_batch_reads_a_few_times_however_many_operations_it_has(
    service: TaskService, monkeypatch: pytest.MonkeyPatch, operation: Callable[..., Awaitable[Committed]]
) -> None:
    tasks = [(await service.create(ANN, title=f"{number}")).task for number in range(100)]
    for task in tasks:
        await service.create(ANN, title="below", parent_id=task.id)
    looks, look, new = 0, Seen.with_read, SystemIds().new

    def counted(seen: Seen, **found: Any) -> Seen:
        nonlocal looks
        looks += 1
        return look(seen, **found)

    monkeypatch.setattr(Seen, "with_read", counted)
    await service.batch(ANN, [partial(operation, task=task, own_id=new(NOON)) for task in tasks], WriteOptions())
    assert looks <= 8


async def test_a_batch_over_many_lists_reads_a_few_times(service: TaskService, monkeypatch: pytest.MonkeyPatch) -> None:
    operations: list[Operation] = []
    for number in range(50):
        task_list = (await service.create_list(ANN, name=f"{number}")).task_list
        last = [(await service.create(ANN, title="last", list_id=task_list.id)).task for _ in range(3)][-1]
        operations += [partial(_delete, task_id=last.id), partial(_create, list_id=task_list.id)]
    looks, look = list[Seen](), Seen.with_read

    def counted(seen: Seen, **found: Any) -> Seen:
        looks.append(seen)
        return look(seen, **found)

    monkeypatch.setattr(Seen, "with_read", counted)
    await service.batch(ANN, operations, WriteOptions())
    assert len(looks) <= 8


async def _delete(service: TaskService, task_id: TaskId) -> Committed:
    return await service.delete(ANN, task_id)


async def _create(service: TaskService, list_id: ListId) -> Committed:
    return await service.create(ANN, title="new", list_id=list_id)


async def _nothing(_: TaskService) -> None:
    pass


async def _twice(service: TaskService) -> Committed:
    await service.create(ANN, title="Milk")
    return await service.create(ANN, title="Bread")


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (lambda service: service.empty_trash(ANN), "empty_trash"),
        (lambda service: service.get(ANN, make_id(1)), "cannot read"),
        (lambda service: service.create(ANN, WriteOptions(once=Once(idempotency_key("k"), "")), title="a"), "once"),
        (lambda service: service.delete(BOB, make_id(1)), "the batch's owner"),
        (_nothing, "operation 1 must write once: it wrote 0 times"),
        (_twice, "operation 1 must write once: it wrote 2 times"),
    ],
    ids=["empties the trash", "reads", "has a key", "is another owner's", "writes nothing", "writes twice"],
)
async def test_an_operation_that_a_batch_cannot_carry_out_is_refused(
    service: TaskService, operation: Callable[[TaskService], Awaitable[Any]], says: str
) -> None:
    def create(tasks: Any) -> Awaitable[Committed]:
        return tasks.create(ANN, title="Milk")  # type: ignore[no-any-return]  # a service does

    with pytest.raises(ValueError, match=says):
        await service.batch(ANN, [create, operation, create], WriteOptions())
    assert (await service.page(ANN, TaskQuery())).items == ()


async def test_a_batch_that_deletes_a_list_as_a_task_is_refused(service: TaskService) -> None:
    list_id = (await service.create_list(ANN, name="List")).task_list.id
    operations = [lambda tasks: tasks.delete_list(ANN, list_id), lambda tasks: tasks.delete(ANN, list_id)]
    with pytest.raises(TaskNotFound) as refusal:
        await service.batch(ANN, operations, WriteOptions())
    assert refusal.value.part == 1


@pytest.mark.parametrize(
    "members",
    [
        {"foo": 1},
        {"version": 9},
        {"position": "0"},
        {"anchor": None},
        {"rescheduled_from": None},
        {"completed_at": NOON},
    ],
    ids=lambda members: next(iter(members)),
)
async def test_only_members_that_users_set_can_be_set(service: TaskService, members: Any) -> None:
    [name] = members
    task = (await service.create(ANN, title="Milk")).task
    task_list = (await service.create_list(ANN, name="Home")).task_list
    for call in (
        lambda: service.create(ANN, title="Bread", **members),
        lambda: service.edit(ANN, task.id, **members),
        lambda: service.create_list(ANN, name="Shop", **members),
        lambda: service.edit_list(ANN, task_list.id, **members),
    ):
        with pytest.raises(TypeError, match=f"got an unexpected member '{name}'"):
            await call()
    assert await service.get(ANN, task.id) == task


@pytest.mark.parametrize(
    "call",
    [
        lambda service, task: service.complete(ANN, task.id, WriteOptions(zone="Nowhere/X")),
        lambda service, task: service.occurrences(ANN, task.id, zone="Nowhere/X"),
        lambda service, task: service.preview(due_date="2026-12-01", zone="Nowhere/X"),
    ],
    ids=["a write", "occurrences", "a preview"],
)
async def test_an_unknown_zone_of_the_user_is_refused(
    recurring: TaskService, call: Callable[[TaskService, Task], Awaitable[object]]
) -> None:
    task = (await recurring.create(ANN, title="Milk", due_date="2026-12-01", recurrence="FREQ=DAILY")).task
    with pytest.raises(InvalidInput) as refusal:
        await call(recurring, task)
    assert refusal.value.problems == (Problem("zone", ZONE_RULE),)


@pytest.mark.parametrize(
    "call",
    [
        lambda service, task: service.complete(ANN, task.id),
        lambda service, task: service.complete(ANN, task.id, occurrence="2026-12-01T17:00:00Z"),
        lambda service, task: service.skip(ANN, task.id),
        lambda service, task: service.reschedule(ANN, task.id, due_date="2026-12-03T17:00:00Z"),
        lambda service, task: service.edit(ANN, task.id, due_date="2026-12-03T17:00:00Z"),
        lambda service, task: service.occurrences(ANN, task.id),
    ],
    ids=["complete", "complete an occurrence", "skip", "reschedule", "edit", "occurrences"],
)
async def test_what_needs_a_zone_that_this_edition_of_the_database_lacks_is_refused(
    recurring: TaskService, call: Callable[[TaskService, Task], Awaitable[object]]
) -> None:
    due = "2026-12-01T17:00:00"
    task = make_task(due_date=due, time_zone="Europe/Madrid", recurrence="FREQ=DAILY", anchor=due)
    task = Task.restored(*("Europe/Atlantis" if name == "time_zone" else getattr(task, name) for name in MEMBERS))
    await add(recurring.store.tasks_of(ANN), task)
    with pytest.raises(InvalidInput) as refusal:
        await call(recurring, task)
    assert refusal.value.problems == (Problem("time_zone", ZONE_OR_NONE_RULE),)


async def test_an_invalid_id_of_the_client_is_refused(service: TaskService) -> None:
    own_id: Any = "abc"
    for call in (
        service.create(ANN, own_id=own_id, title="Milk"),
        service.create_list(ANN, own_id=own_id, name="Home"),
        service.create(ANN, own_id=own_id, title="Milk", list_id=own_id),
    ):
        with pytest.raises(InvalidInput) as refusal:
            await call
        assert refusal.value.problems[0] == Problem("id", ID_RULE)
        assert [each.field for each in refusal.value.problems].count("id") == 1


async def test_the_occurrences_of_a_task_are_those_of_the_task_as_it_was_read(recurring: TaskService) -> None:
    made = await recurring.create(ANN, title="Rent", due_date="2031-01-31", recurrence="FREQ=MONTHLY")
    found = await recurring.occurrences(ANN, made.task.id, limit=3)
    assert found == recurring.occurrences_of(made.task, limit=3) == ["2031-01-31", "2031-02-28", "2031-03-31"]
    with pytest.raises(InvalidInput):
        recurring.occurrences_of(made.task, limit=101)
