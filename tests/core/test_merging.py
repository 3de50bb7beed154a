"""Three-way merging: what an edit that is based on an older version conflicts with."""

from functools import partial
from typing import Any

import pytest
from factories import ANN, LATER, make_task

from todo_adapters.dateutil_recurrence import DateutilRecurrenceCalendar
from todo_adapters.memory import MemoryTaskStore
from todo_adapters.system import SystemClock, SystemIds
from todo_core import ChangeQuery, MergeConflict, Pair, Seen, Task, TaskService, Version, WriteOptions
from todo_core.changes import LIMIT_MAX, entry_of
from todo_core.merging import require_mergeable

ON_THE_FIRST = WriteOptions(base=Version(1))


@pytest.fixture
def service() -> TaskService:
    return TaskService(MemoryTaskStore(), SystemClock(), SystemIds(), calendar=DateutilRecurrenceCalendar())


async def conflicts(service: TaskService, task: Task, base: int, **members: Any) -> list[str]:
    """The members for which an edit based on that version is refused."""
    try:
        await service.edit(ANN, task.id, WriteOptions(base=Version(base)), **members)
    except MergeConflict as refusal:
        return [problem.field for problem in refusal.problems]
    return []


async def deleted(service: TaskService, task: Task) -> int:
    change = (await service.delete(ANN, task.id)).change
    assert change is not None
    return change


async def test_a_deletion_and_its_restoration_change_no_member(service: TaskService) -> None:
    task = (await service.create(ANN, title="a")).task
    await deleted(service, task)
    await service.restore(ANN, task.id)
    assert await conflicts(service, task, 1, title="c") == []


async def test_an_edit_in_the_same_batch_as_a_restoration_is_seen(service: TaskService) -> None:
    task = (await service.create(ANN, title="a")).task
    await deleted(service, task)
    restore = partial(TaskService.restore, owner=ANN, thing_id=task.id)
    edit = partial(TaskService.edit, owner=ANN, task_id=task.id, title="b", completed=True)
    await service.batch(ANN, [restore, edit], WriteOptions())
    assert await conflicts(service, task, 1, title="c", completed=False, description="d") == ["title", "completed"]
    assert await conflicts(service, task, 1, title="b", description="d") == []


async def test_a_restoration_to_another_place_is_seen(service: TaskService) -> None:
    there, elsewhere = [(await service.create_list(ANN, name=name)).task_list for name in ("Errands", "Work")]
    task = (await service.create(ANN, title="a", list_id=there.id)).task
    await deleted(service, task)
    await service.delete_list(ANN, there.id)
    await service.restore(ANN, task.id)
    assert await conflicts(service, task, 1, list_id=elsewhere.id) == ["list_id"]


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"tags": ["x"]}, {"tags": ["x"]}),
        ({"tags": None}, {"tags": None}),
        ({"description": "a\r\nb"}, {"description": "a\r\nb"}),
        ({"due_date": "2026-12-01T10:00"}, {"due_date": "2026-12-01T10:00"}),
        ({"due_date": "2026-12-01", "recurrence": "freq=daily"}, {"recurrence": "freq=daily"}),
    ],
)
async def test_a_member_that_has_the_wanted_value_does_not_conflict_however_it_is_spelled(
    service: TaskService, first: dict[str, Any], again: dict[str, Any]
) -> None:
    task = (await service.create(ANN, title="a", tags=["before"])).task
    assert (await service.edit(ANN, task.id, **first)).task.version == 2
    assert await conflicts(service, task, 1, **again) == []


async def test_the_color_of_a_list_does_not_conflict_with_itself_however_it_is_spelled(service: TaskService) -> None:
    made = (await service.create_list(ANN, name="Errands")).task_list
    await service.edit_list(ANN, made.id, color="#FF8800")
    again = await service.edit_list(ANN, made.id, ON_THE_FIRST, color="#FF8800")
    assert (again.task_list.color, again.task_list.version) == ("#ff8800", 2)
    with pytest.raises(MergeConflict):
        await service.edit_list(ANN, made.id, ON_THE_FIRST, color="#000000")


def test_a_thing_restored_from_a_deletion_older_than_the_log_counts_as_changed() -> None:
    task = make_task(version=5)
    back = entry_of(Pair(None, task, "restored"), number=9, at=task.updated_at, client=None)
    query = ChangeQuery(of=task.id, newest_first=True, limit=LIMIT_MAX)
    seen = Seen(ANN, {task.id: task}, log={query: (back,)})
    edited = task.edited(at=LATER, title="b")
    with pytest.raises(MergeConflict):
        require_mergeable(seen, task, edited, {"title": "b"}, Version(4))


async def test_counting_from_completion_keeps_the_remaining_count_and_a_rescheduled_date(
    service: TaskService,
) -> None:
    rule = "FREQ=DAILY;COUNT=5"
    task = (await service.create(ANN, title="a", due_date="2096-11-06T09:00", recurrence=rule)).task
    await service.skip(ANN, task.id)
    await service.reschedule(ANN, task.id, due_date="2096-11-08T15:00")
    changed = (await service.edit(ANN, task.id, recurrence_from="completion")).task
    assert (changed.recurrence, changed.anchor, changed.rescheduled_from) == (
        "FREQ=DAILY;COUNT=4",
        "2096-11-07T09:00:00",
        "2096-11-07T09:00:00",
    )
