"""Concurrent completions of one recurring task: each completes its own occurrence, on every storage."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest
from factories import make_owner

from todo_adapters.dateutil_recurrence import DateutilRecurrenceCalendar
from todo_adapters.memory import MemoryTaskStore
from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_adapters.system import SystemIds
from todo_core import ChangeQuery, Task, TaskQuery, TaskService, TaskStore

MANY = 50
FIRST = date(2026, 12, 1)


@dataclass
class Clock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[TaskStore]:
    if request.param == "memory":
        yield MemoryTaskStore()
        return
    engine = create_engine(request.getfixturevalue("shared_database_url"))
    postgres = PostgresTaskStore(engine)
    yield postgres
    await postgres.aclose()
    await engine.dispose()


@pytest.fixture
def service(store: TaskStore) -> TaskService:
    return TaskService(store, Clock(), SystemIds(), calendar=DateutilRecurrenceCalendar())


async def daily(service: TaskService) -> Task:
    task = await service.create(make_owner(), title="Water", due_date=f"{FIRST}", recurrence="FREQ=DAILY")
    return task.task


async def test_fifty_concurrent_completions_complete_fifty_occurrences_in_order(service: TaskService) -> None:
    task = await daily(service)
    outcomes = await asyncio.gather(*(service.complete(task.owner, task.id) for _ in range(MANY)))
    days = [f"{FIRST + timedelta(days=number)}" for number in range(MANY + 1)]
    assert sorted(each.task.due_date or "" for each in outcomes) == days[1:]
    log = (await service.history(task.owner, ChangeQuery(of=task.id, limit=200))).items
    completions = [entry for entry in log if entry.action == "completed"]
    assert [(entry.before or {})["due_date"] for entry in completions] == days[:-1]
    assert [(entry.after or {})["due_date"] for entry in completions] == days[1:]
    assert (await service.get(task.owner, task.id)).version == MANY + 1


async def test_simultaneous_completions_and_skips_of_one_occurrence_happen_once(service: TaskService) -> None:
    task = await daily(service)
    outcomes = await asyncio.gather(
        *(service.complete(task.owner, task.id, occurrence=f"{FIRST}") for _ in range(MANY // 2)),
        *(service.skip(task.owner, task.id, occurrence=f"{FIRST}") for _ in range(MANY // 2)),
    )
    assert [each.change is not None for each in outcomes].count(True) == 1
    assert {each.task.due_date for each in outcomes} == {f"{FIRST + timedelta(days=1)}"}
    assert len((await service.history(task.owner, ChangeQuery(of=task.id))).items) == 2


async def test_undoing_a_completion_brings_back_the_exact_state_before(service: TaskService) -> None:
    owner, rule = make_owner(), "FREQ=MONTHLY;COUNT=3"
    created = await service.create(
        owner, title="Rent", due_date="2026-12-31", recurrence=rule, recurrence_from="completion"
    )
    task = created.task
    moved = await service.complete(owner, task.id)
    assert (moved.task.due_date, moved.task.recurrence) == ("2027-01-01", "FREQ=MONTHLY;COUNT=2")
    back = (await service.undo(owner, moved.change or 0)).task
    assert [getattr(back, name) for name in Task.__slots__ if name not in ("version", "updated_at")] == [
        getattr(task, name) for name in Task.__slots__ if name not in ("version", "updated_at")
    ]
    skipped = await service.skip(owner, task.id)
    history = (await service.history(owner, ChangeQuery(of=task.id))).items
    assert [entry.action for entry in history] == ["created", "completed", "undone", "skipped"]
    assert (await service.undo(owner, skipped.change or 0)).task.due_date == "2026-12-31"


async def test_listings_and_the_summary_know_where_a_task_has_moved(service: TaskService) -> None:
    task = await daily(service)
    await service.complete(task.owner, task.id)
    found = await service.page(task.owner, TaskQuery(due_from="2026-12-02", due_before="2026-12-03", completed=False))
    assert [each.due_date for each in found.items] == ["2026-12-02"]
    summary = await service.summary(task.owner)
    assert (summary.open, summary.completed) == (1, 0)
