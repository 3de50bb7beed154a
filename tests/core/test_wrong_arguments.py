"""What callers of the service may get wrong about its arguments, on the memory store."""

from datetime import datetime
from typing import Any

import pytest
from factories import ANN, make_id

from todo_adapters.memory import MemoryTaskStore
from todo_adapters.system import SystemClock
from todo_core import ChangeNotFound, InvalidInput, Problem, TaskId, TaskService


class Ids:
    """Ids in a row."""

    last = 0

    def new(self, at: datetime) -> TaskId:
        self.last += 1
        return make_id(self.last)


class Number(int):
    """A number whose type is not exactly `int`, as of an `IntEnum`."""


@pytest.fixture
def service() -> TaskService:
    return TaskService(MemoryTaskStore(), SystemClock(), Ids())


@pytest.mark.timeout(10)
@pytest.mark.parametrize("number", ["1", 1.5, 1.0, None, b"1", (1,)], ids=repr)
async def test_undo_refuses_at_once_what_is_no_number(service: TaskService, number: Any) -> None:
    await service.create(ANN, title="Milk")
    with pytest.raises(InvalidInput) as refusal:
        await service.undo(ANN, number)
    assert refusal.value.problems == (Problem("number", "must be a whole number"),)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("number", [0, -1, 2, 2**63, Number(2), Number(2**63)])
async def test_undo_finds_no_change_with_another_number(service: TaskService, number: int) -> None:
    await service.create(ANN, title="Milk")
    with pytest.raises(ChangeNotFound):
        await service.undo(ANN, number)


async def test_undo_takes_a_number_of_a_type_of_its_own(service: TaskService) -> None:
    await service.create(ANN, title="Milk")
    assert (await service.undo(ANN, Number(1))).change == 2


@pytest.mark.parametrize("name", ["befor", "list", "position", "title"])
async def test_a_move_takes_no_other_member(service: TaskService, name: str) -> None:
    first, second = [(await service.create(ANN, title="Milk")).task for _ in range(2)]
    wrong: Any = {"before": second.id, name: second.id}
    with pytest.raises(TypeError, match=f"got an unexpected member '{name}'"):
        await service.move(ANN, first.id, **wrong)
    assert await service.get(ANN, first.id) == first


@pytest.mark.parametrize("name", ["befor", "parent_id", "position", "name"])
async def test_a_move_of_a_list_takes_no_other_member(service: TaskService, name: str) -> None:
    first, second = [(await service.create_list(ANN, name="Home")).task_list for _ in range(2)]
    with pytest.raises(TypeError, match=f"got an unexpected member '{name}'"):
        await service.move_list(ANN, first.id, **{name: second.id})
    assert await service.lists(ANN) == (first, second)
