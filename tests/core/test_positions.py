"""Positions: there is room between any two, and they stay short."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from factories import ANN
from hypothesis import given
from hypothesis import strategies as st

from todo_adapters.memory import MemoryTaskStore
from todo_adapters.system import SystemClock, SystemIds
from todo_core import Sort, TaskQuery, TaskService
from todo_core.positions import between, just_behind, spread
from todo_core.task import POSITION_LENGTH, TaskId, is_position

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
FIRST_ID = SystemIds().new(datetime(2020, 1, 1, tzinfo=UTC)).hex
keys = st.text(DIGITS, min_size=1, max_size=POSITION_LENGTH)


@given(st.tuples(keys, keys) | st.builds(lambda key, end: (key, key[:30] + end), keys, st.text("012", max_size=2)))
def test_between_gives_a_position_between_two_others(two: tuple[str, str]) -> None:
    low, high = sorted(two)
    made = between(low, high)
    if made is not None:
        assert low < made < high
        assert is_position(made)
        assert not made.endswith("0"), "only its own prefixes could come before it"


@given(keys)
def test_there_is_room_before_keys_without_a_final_zero_and_after_every_key(key: str) -> None:
    if not key.endswith("0") and len(key) < POSITION_LENGTH:
        assert between("", key) is not None
    if len(key) < POSITION_LENGTH:
        assert (between(key, None) or "") > key


@given(keys)
def test_just_behind_gives_a_position_soon_after_the_last_one_with_room_between(last: str) -> None:
    made = just_behind(last)
    assert made is not None or last.startswith("z" * 20)
    if made is not None:
        assert last < made
        assert is_position(made)
        assert not made.endswith("0"), "only its own prefixes could come before it"
        assert between(last, made) is not None or last[20:] == "z" * 12


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)))
def test_a_thousand_positions_behind_an_id_come_before_the_id_of_the_next_microsecond(moment: datetime) -> None:
    ids = SystemIds()
    made = [ids.new(moment).hex]
    for _ in range(1000):
        made.append(just_behind(made[-1]) or "")
    assert made == sorted(set(made))
    assert made[-1] < ids.new(moment + timedelta(microseconds=1)).hex


async def test_what_is_made_after_a_later_sibling_comes_last_and_moves_no_other() -> None:
    store, ids = MemoryTaskStore(), SystemIds()
    earlier = [ids.new(datetime(2026, 1, 1, tzinfo=UTC)) for _ in range(5)]
    usual, slower = (TaskService(store, SystemClock(), each) for each in (ids, IdsMadeBefore(earlier)))
    task_list = (await usual.create_list(ANN, name="Errands")).task_list
    made = [(await usual.create(ANN, title="Buy oat milk", list_id=task_list.id)).task]
    made += [(await slower.create(ANN, title="Buy oat milk", list_id=task_list.id)).task for _ in range(5)]
    made.append((await usual.create(ANN, title="Buy oat milk", list_id=task_list.id)).task)
    assert (await usual.page(ANN, TaskQuery(list_id=task_list.id, sort=Sort.POSITION))).items == tuple(made)


@dataclass
class IdsMadeBefore:
    """Gives these ids, the last one first."""

    ids: list[TaskId]

    def new(self, _: datetime) -> TaskId:
        return self.ids.pop()


@pytest.mark.parametrize("count", [1, 2, 35, 36, 499, 1295, 1296, 10_000])
def test_spread_positions_are_in_order_with_room_around_each(count: int) -> None:
    positions = spread(count)
    assert len(set(positions)) == count
    assert positions == sorted(positions)
    assert all(map(is_position, positions))
    assert positions[-1] < FIRST_ID
    for low, high in zip(["", *positions], [*positions, FIRST_ID], strict=True):
        assert between(low, high) is not None


PLACES: dict[str, Callable[[random.Random], int]] = {
    "first": lambda _: 0,
    "behind the first": lambda _: 1,
    "before the last": lambda _: 7,
    "anywhere": lambda any_: any_.randrange(8),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("kind", ["tasks", "lists"])
async def test_a_thousand_moves_into_one_gap_keep_the_order(place: Callable[[random.Random], int], kind: str) -> None:
    service, chance = TaskService(MemoryTaskStore(), SystemClock(), SystemIds()), random.Random(1)
    order: list[Any] = []
    for number in range(9):
        made: Any = await (
            service.create(ANN, title=f"{number}") if kind == "tasks" else service.create_list(ANN, name=f"{number}")
        )
        order.append(made.things[0].id)
    move: Any = service.move if kind == "tasks" else service.move_list
    for step in range(1000):
        moved = order.pop(chance.randrange(9))
        at = place(chance)
        beside = {"before": order[at]} if step % 2 or not at else {"after": order[at - 1]}
        order.insert(at, moved)
        await move(ANN, moved, **beside)
        found: Any = (await service.page(ANN, TaskQuery(sort=Sort.POSITION))).items if kind == "tasks" else None
        assert [each.id for each in found or await service.lists(ANN)] == order
    things: list[Any] = [*(await service.page(ANN, TaskQuery())).items, *await service.lists(ANN)]
    assert max(len(each.position) for each in things) <= POSITION_LENGTH
