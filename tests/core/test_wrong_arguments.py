"""What callers of the service may get wrong about its arguments, on the memory store."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest
from factories import ANN, make_id

from todo_adapters.memory import MemoryTaskStore
from todo_adapters.system import SystemClock
from todo_core import (
    ChangeNotFound,
    ChangeQuery,
    InvalidInput,
    Once,
    Problem,
    Sort,
    TaskId,
    TaskQuery,
    TaskService,
    WriteOptions,
    idempotency_key,
)
from todo_core.places import NEIGHBOUR_RULE
from todo_core.recurring import OCCURRENCES_RULE
from todo_core.sync import SINCE_RULE
from todo_core.task import LIST_RULE, PARENT_RULE


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


def _refused_with(field: str, call: Callable[[TaskService, Any], Awaitable[object]]) -> Any:
    return pytest.param(field, call, id=call.__code__.co_names[0])


@pytest.mark.parametrize("wrong", [str, lambda task_id: task_id.int, lambda task_id: task_id.bytes, lambda _: None])
@pytest.mark.parametrize(
    ("argument", "call"),
    [
        _refused_with("task_id", lambda service, task_id: service.get(ANN, task_id)),
        _refused_with("task_id", lambda service, task_id: service.edit(ANN, task_id, title="Bread")),
        _refused_with("task_id", lambda service, task_id: service.move(ANN, task_id)),
        _refused_with("task_id", lambda service, task_id: service.toggle(ANN, task_id)),
        _refused_with("task_id", lambda service, task_id: service.complete(ANN, task_id)),
        _refused_with("task_id", lambda service, task_id: service.skip(ANN, task_id)),
        _refused_with("task_id", lambda service, task_id: service.reschedule(ANN, task_id, due_date="2026-12-01")),
        _refused_with("task_id", lambda service, task_id: service.occurrences(ANN, task_id)),
        _refused_with("task_id", lambda service, task_id: service.reopen(ANN, task_id)),
        _refused_with("task_id", lambda service, task_id: service.delete(ANN, task_id)),
        _refused_with("list_id", lambda service, list_id: service.get_list(ANN, list_id)),
        _refused_with("list_id", lambda service, list_id: service.edit_list(ANN, list_id, name="Work")),
        _refused_with("list_id", lambda service, list_id: service.move_list(ANN, list_id)),
        _refused_with("list_id", lambda service, list_id: service.delete_list(ANN, list_id)),
        _refused_with("thing_id", lambda service, thing_id: service.restore(ANN, thing_id)),
        _refused_with("thing_id", lambda service, thing_id: service.erase(ANN, thing_id)),
    ],
)
async def test_an_id_of_another_type_is_refused(
    service: TaskService, argument: str, call: Callable[..., Awaitable[object]], wrong: Callable[[TaskId], object]
) -> None:
    task = (await service.create(ANN, title="Milk")).task
    with pytest.raises(InvalidInput) as refusal:
        await call(service, wrong(task.id))
    assert refusal.value.problems == (Problem(argument, "must be a UUID"),)


@pytest.mark.parametrize(
    ("where", "rule"),
    [
        ("before", NEIGHBOUR_RULE.format("tasks")),
        ("after", NEIGHBOUR_RULE.format("tasks")),
        ("list_id", LIST_RULE),
        ("parent_id", PARENT_RULE),
    ],
)
async def test_a_place_of_another_type_is_refused(service: TaskService, where: str, rule: str) -> None:
    task, other = [(await service.create(ANN, title="Milk")).task for _ in range(2)]
    with pytest.raises(InvalidInput) as refusal:
        await service.move(ANN, task.id, **{where: str(other.id)})  # type: ignore[misc]
    assert refusal.value.problems == (Problem(where, rule),)


@pytest.mark.parametrize(("where", "rule"), [("list_id", LIST_RULE), ("parent_id", PARENT_RULE)])
async def test_an_edit_to_a_place_of_another_type_is_refused(service: TaskService, where: str, rule: str) -> None:
    task, other = [(await service.create(ANN, title="Milk")).task for _ in range(2)]
    with pytest.raises(InvalidInput) as refusal:
        await service.edit(ANN, task.id, **{where: str(other.id)})  # type: ignore[misc]
    assert refusal.value.problems == (Problem(where, rule),)


@pytest.mark.parametrize("where", ["before", "after"])
async def test_a_neighbour_of_a_list_of_another_type_is_refused(service: TaskService, where: str) -> None:
    first, second = [(await service.create_list(ANN, name="Home")).task_list for _ in range(2)]
    neighbour: Any = str(second.id)
    with pytest.raises(InvalidInput) as refusal:
        await service.move_list(ANN, first.id, **{where: neighbour})
    assert refusal.value.problems == (Problem(where, NEIGHBOUR_RULE.format("lists")),)


async def test_a_history_of_a_thing_that_is_no_id_is_refused(service: TaskService) -> None:
    of: Any = "abc"
    with pytest.raises(InvalidInput) as refusal:
        await service.history(ANN, ChangeQuery(of=of))
    assert refusal.value.problems == (Problem("of", "must be a UUID"),)


async def test_the_text_of_a_sync_token_is_refused(service: TaskService) -> None:
    since: Any = "abc"
    with pytest.raises(InvalidInput) as refusal:
        await service.sync(ANN, since)
    assert refusal.value.problems == (Problem("since", SINCE_RULE),)


@pytest.mark.parametrize("limit", ["5", 1.5, None])
async def test_a_limit_that_is_no_number_is_refused(service: TaskService, limit: Any) -> None:
    for call in (lambda: service.history(ANN, ChangeQuery(limit=limit)), lambda: service.sync(ANN, limit=limit)):
        with pytest.raises(InvalidInput) as refusal:
            await call()
        assert refusal.value.problems == (Problem("limit", "must be a whole number from 1 to 200"),)


@pytest.mark.parametrize("limit", ["5", 1.5, None])
async def test_a_limit_of_occurrences_that_is_no_number_is_refused(service: TaskService, limit: Any) -> None:
    with pytest.raises(InvalidInput) as refusal:
        await service.preview(due_date="2026-12-01", limit=limit)
    assert refusal.value.problems == (Problem("limit", OCCURRENCES_RULE),)


@pytest.mark.parametrize(
    "call",
    [
        lambda service, task_id, wrong: service.create(ANN, wrong, title="Bread"),
        lambda service, task_id, wrong: service.complete(ANN, task_id, wrong),
        lambda service, task_id, wrong: service.delete(ANN, task_id, wrong),
        lambda service, task_id, wrong: service.create_list(ANN, wrong, name="Home"),
        lambda service, task_id, wrong: service.undo(ANN, 1, wrong),
        lambda service, task_id, wrong: service.batch(ANN, [lambda tasks: tasks.delete(ANN, task_id)], wrong),
    ],
    ids=["create", "complete", "delete", "create_list", "undo", "batch"],
)
@pytest.mark.parametrize("wrong", ["2097-01-01", None, make_id(1)], ids=repr)
async def test_options_of_another_type_are_refused(
    service: TaskService, call: Callable[..., Awaitable[object]], wrong: object
) -> None:
    task = (await service.create(ANN, title="Milk")).task
    with pytest.raises(TypeError, match=f"options must be WriteOptions, not {type(wrong).__name__}"):
        await call(service, task.id, wrong)
    assert (await service.history(ANN, ChangeQuery())).items[-1].number == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"expected": "1"},
        {"expected": ["1"]},
        {"expected": 1.0},
        {"base": "1"},
        {"once": "key"},
        {"client": 1},
        {"zone": 1},
    ],
    ids=repr,
)
def test_a_wrong_option_is_refused_when_it_is_given(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"{next(iter(wrong))} must be "):
        WriteOptions(**wrong)


@pytest.mark.parametrize("expected", [None, 1, [1, 2], frozenset({1}), ()], ids=repr)
def test_right_options_are_taken(expected: Any) -> None:
    once = Once(idempotency_key("key"), "digest")
    assert WriteOptions(expected=expected, base=None, once=once, client="app", zone="UTC").expected == expected


@pytest.mark.parametrize("sort", Sort)
def test_the_text_of_an_order_is_refused_with_the_name_that_is_meant(sort: Sort) -> None:
    text: Any = sort.value
    with pytest.raises(InvalidInput, match=rf"^sort must be a Sort: .*\bSort\.{sort.name}\b"):
        TaskQuery(sort=text)
