"""The linearizability checker, on histories whose result is known."""

import itertools
import random
from collections.abc import Iterable
from dataclasses import replace

import pytest
from factories import ANN, LATER, NOON, make_id
from linearizability import NO_TASKS, Action, Call, Tasks, first_impossible, model

from todo_core import Task

ID = make_id(1)
ADD = Action(kind="add", id=ID)
ADDED = ADD.new()
TOGGLE = Action(kind="toggle", id=ID, at=LATER)
TOGGLED = ADDED.toggled(at=LATER)
GET = Action(kind="get", id=ID)
MISSING = ("task_not_found", None)


def call(action: Action, answer: object, began: float, ended: float) -> Call[Action]:
    return Call(action, answer, began, ended)


def judged(*calls: Call[Action], tasks: Tasks = NO_TASKS) -> bool:
    return first_impossible(calls, tasks, model) is None


THERE = frozenset({ADDED})
WRITE = call(TOGGLE, TOGGLED, 0, 10)


@pytest.mark.parametrize(
    "calls",
    [
        [],
        [WRITE],
        [WRITE, call(GET, ADDED, 1, 2), call(GET, TOGGLED, 3, 4)],
        [WRITE, call(GET, TOGGLED, 1, 2), call(GET, TOGGLED, 11, 12)],
        [WRITE, call(GET, ADDED, 1, 20)],
        [WRITE, call(Action(kind="remove", id=ID), None, 2, 20), call(GET, MISSING, 5, 6)],
        [WRITE, call(GET, ADDED, 10, 10)],  # one moment is no order
    ],
)
def test_histories_that_have_an_order_pass(calls: list[Call[Action]]) -> None:
    assert judged(*calls, tasks=THERE)


@pytest.mark.parametrize(
    "calls",
    [
        [WRITE, call(GET, ADDED, 11, 12)],  # stale: read after the write had ended
        [WRITE, call(GET, TOGGLED, 1, 2), call(GET, ADDED, 3, 4)],  # new, then old again
        [WRITE, call(GET, TOGGLED.toggled(at=LATER), 1, 20)],  # what nobody wrote
        [call(GET, MISSING, 0, 1)],
        [WRITE, call(TOGGLE, TOGGLED, 0, 10)],  # an update lost: both made version 2
        [call(TOGGLE, replace(TOGGLED, version=3), 0, 1)],  # a version skipped
        [call(Action(kind="remove", id=ID), None, 0, 5), call(Action(kind="remove", id=ID), None, 0, 5)],
        [call(Action(kind="add", id=ID), None, 0, 5)],
    ],
)
def test_histories_without_an_order_are_detected(calls: list[Call[Action]]) -> None:
    assert not judged(*calls, tasks=THERE)


def test_a_page_must_show_one_moment() -> None:
    one, two = ADDED, replace(ADDED, id=make_id(2))
    first, second = TOGGLE, replace(TOGGLE, id=two.id)
    writes = [call(first, one.toggled(at=LATER), 0, 1), call(second, two.toggled(at=LATER), 2, 3)]
    page = Action(kind="page")

    def shown(*tasks: Task) -> Call[Action]:
        return call(page, page.query.page_of(tasks), 0, 9)

    start = frozenset({one, two})
    assert judged(*writes, shown(one.toggled(at=LATER), two), tasks=start)
    assert not judged(*writes, shown(one, two.toggled(at=LATER)), tasks=start)  # torn: the later write, not the earlier


def test_the_call_that_cannot_be_explained_is_named() -> None:
    stale = call(GET, ADDED, 11, 12)
    assert first_impossible([stale, WRITE], THERE, model) is stale


def brute_force(calls: Iterable[Call[Action]]) -> bool:
    """Whether any of all orders explains the history."""
    return any(map(explains, itertools.permutations(calls)))


def explains(order: tuple[Call[Action], ...]) -> bool:
    if any(later.ended < earlier.began for earlier, later in itertools.combinations(order, 2)):
        return False
    tasks = NO_TASKS
    for each in order:
        tasks, answer = model(tasks, each.action)
        if answer != each.answer:
            return False
    return True


def random_history(seed: int) -> list[Call[Action]]:
    """Six calls at random times; their answers fit some order, which sometimes contradicts the times."""
    chance = random.Random(seed)
    tasks, calls = NO_TASKS, []
    for number in range(6):
        kind = chance.choice(["add", "get", "toggle", "rename", "remove", "page"])
        action = Action(kind=kind, id=ID, owner=ANN, title=f"{number}", at=NOON.replace(second=number))
        tasks, answer = model(tasks, action)
        began = number + chance.uniform(-2.5, 2.5)
        calls.append(call(action, answer, began, began + chance.uniform(0.1, 3)))
    return calls


def test_the_checker_agrees_with_trying_every_order() -> None:
    verdicts = [(judged(*history), brute_force(history)) for history in map(random_history, range(400))]
    assert [mine for mine, _ in verdicts] == [other for _, other in verdicts]
    assert 50 < sum(mine for mine, _ in verdicts) < 350
