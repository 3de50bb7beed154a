"""Keys under which a creation may be repeated: what is one, and what the use case makes of it."""

import pytest
from factories import ANN, BOB, LATER, NOON, make_task

from todo_adapters import memory
from todo_adapters.memory import MemoryTaskStore
from todo_adapters.system import SystemClock, SystemIds
from todo_core import (
    KEY_LIFE,
    Creation,
    IdempotencyKey,
    InvalidInput,
    KeyReused,
    Task,
    TaskQuery,
    TaskService,
    asks_for_the_same,
    idempotency_key,
)

KEY = idempotency_key("8e03978e-40d5-43e8-bc93-6894a57f9324")


@pytest.fixture
def service() -> TaskService:
    return TaskService(MemoryTaskStore(), SystemClock(), SystemIds())


async def all_of(service: TaskService) -> tuple[Task, ...]:
    return (await service.page(ANN, TaskQuery())).items


@pytest.mark.parametrize("text", ["a", " ", "~" * 255, '"', "".join(map(chr, range(0x20, 0x7F)))])
def test_printable_ascii_is_a_key(text: str) -> None:
    assert idempotency_key(text) == text


@pytest.mark.parametrize("text", ["", "x" * 256, "a\n", "\x00", "\x1f", "\x7f", "é", "\x80", "\ud800", "１"])
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(InvalidInput, match="idempotency_key must be 1 to 255"):
        idempotency_key(text)


def test_tasks_are_the_same_wish_whatever_their_ids_and_moments() -> None:
    one = make_task(description="x", completed_at=NOON)
    assert asks_for_the_same(one, make_task(description="x", completed_at=LATER, created_at=LATER))
    for other in ({"title": "y"}, {"description": ""}, {"description": None}, {"completed_at": None}):
        assert not asks_for_the_same(one, make_task(**{"description": "x", "completed_at": NOON, **other}))


async def test_the_first_call_creates_and_a_repeat_tells_of_it(service: TaskService) -> None:
    first = await service.create_once(ANN, KEY, title="Milk", description="Two litres", completed=True)
    assert (first.task.title, first.task.description, first.task.completed) == ("Milk", "Two litres", True)
    assert not first.replayed
    again = await service.create_once(ANN, KEY, title="Milk", description="Two litres", completed=True)
    assert again == Creation(first.task, replayed=True)
    assert await all_of(service) == (first.task,)


async def test_a_repeat_is_a_repeat_whatever_became_of_the_task(service: TaskService) -> None:
    first = await service.create_once(ANN, KEY, title="Milk")
    await service.edit(ANN, first.task.id, title="Bread")
    assert await service.create_once(ANN, KEY, title="Milk") == Creation(first.task, replayed=True)
    await service.delete(ANN, first.task.id)
    assert await service.create_once(ANN, KEY, title="Milk") == Creation(first.task, replayed=True)
    assert await all_of(service) == ()


async def test_another_task_under_the_key_is_refused(service: TaskService) -> None:
    first = await service.create_once(ANN, KEY, title="Milk")
    for wish in ({"title": "milk"}, {"title": "Milk", "description": ""}, {"title": "Milk", "completed": True}):
        with pytest.raises(KeyReused):
            await service.create_once(ANN, KEY, **wish)  # type: ignore[arg-type]
    assert await all_of(service) == (first.task,)


async def test_a_refused_task_uses_no_key(service: TaskService) -> None:
    with pytest.raises(InvalidInput):
        await service.create_once(ANN, KEY, title=" ")
    assert not (await service.create_once(ANN, KEY, title="Milk")).replayed
    assert not (await service.create_once(BOB, KEY, title="Bread")).replayed


async def test_memory_forgets_a_key_after_its_life_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(memory, "monotonic", lambda: now)
    store = MemoryTaskStore()
    tasks = store.tasks_of(ANN)
    old, young = IdempotencyKey("old"), IdempotencyKey("young")
    await tasks.add_once(old, first := make_task())
    now += KEY_LIFE.total_seconds()
    await tasks.add_once(young, second := make_task(title="Young"))
    assert await tasks.add_once(old, make_task()) == first
    now += 1
    await tasks.add_once(old, third := make_task(title="New"))
    assert await tasks.add_once(young, make_task(title="Young")) == second
    assert set((await tasks.page(TaskQuery())).items) == {first, second, third}
    assert len(store._keys) == 2
