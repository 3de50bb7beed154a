"""Long work runs in a thread that often gives way to the event loop."""

import asyncio
import gc
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
from clocks import until
from factories import ANN, make_task

from todo_adapters.postgres import PostgresTaskStore, reading, rows, transaction
from todo_adapters.threads import consumed, in_thread_if_many, let_go
from todo_core import (
    LISTS_MAX,
    Decision,
    OwnerId,
    Pair,
    Plan,
    Seen,
    Sees,
    Summary,
    TaskList,
    TaskNotFound,
    composed,
)
from todo_core.testing.examples import make_list


async def test_a_thread_beside_the_event_loop_gives_way_often() -> None:
    usual = sys.getswitchinterval()
    together = threading.Barrier(2)

    def work() -> float:
        together.wait(10)
        interval = sys.getswitchinterval()
        together.wait(10)
        return interval

    assert (
        await asyncio.gather(in_thread_if_many(500, work), in_thread_if_many(500, work)) == [pytest.approx(0.0002)] * 2
    )
    assert sys.getswitchinterval() == pytest.approx(usual)
    assert await in_thread_if_many(499, sys.getswitchinterval) == pytest.approx(usual)


def test_rows_are_freed_one_by_one() -> None:
    rows = [[1], [2], [3]]
    left = [(row, len(rows)) for row in consumed(rows)]
    assert left == [([1], 2), ([2], 1), ([3], 0)]


def test_what_is_made_from_many_rows_is_examined_for_garbage_part_by_part() -> None:
    """As many rows are freed as things are made, and so Python would examine all of them at some time together."""
    examined = list[int]()

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            examined.append(info["generation"])

    def parts(count: int) -> list[int]:
        examined.clear()
        seen = list[int]()
        made = [seen.append(len(examined)) or [row] for row in consumed([[each] for each in range(count)])]
        assert len(made) == count
        return [seen.count(part) for part in range(max(seen) + 1)]

    gc.disable()
    gc.callbacks.append(note)
    try:
        assert parts(500) == [500]
        assert parts(1700) == [500, 500, 500, 200]
        assert set(examined) == {0}  # none of what has been examined before
    finally:
        gc.callbacks.remove(note)
        gc.enable()


class Noting:
    """Notes in which thread it is freed."""

    def __init__(self, threads: list[threading.Thread]) -> None:
        self.threads = threads

    def __del__(self) -> None:
        self.threads.append(threading.current_thread())


async def test_much_is_let_go_in_a_thread_thing_by_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todo_adapters.threads.examine_young", None)  # nothing is made
    threads = list[threading.Thread]()
    for count in (499, 1001):
        threads.clear()
        let_go([Noting(threads) for _ in range(count)])
        await until(lambda: len(threads) == count)  # noqa: B023
        assert {each is threading.main_thread() for each in threads} == {count < 500}


@pytest.mark.parametrize("refused", [False, True])
async def test_what_a_large_change_has_read_and_stored_is_let_go(
    postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    held, sizes, tasks = list[list[Any]](), list[int](), postgres_store.tasks_of(ANN)
    made = [make_task() for _ in range(500)]
    ids = frozenset(task.id for task in made)
    await tasks.commit(Plan(decide=lambda _: Decision(tuple(Pair(None, each) for each in made))))

    def decide(seen: Seen) -> Decision:
        pairs = tuple(Pair(seen.task(each), None) for each in ids)
        if refused:
            raise TaskNotFound
        return Decision(pairs)

    monkeypatch.setattr(transaction, "let_go", held.append)
    with pytest.raises(TaskNotFound) if refused else nullcontext() as _:  # its traceback is there while it is answered
        await tasks.commit(Plan(decide=decide, sees=Sees(ids)))
    for things in reversed(held):  # the pairs have the tasks too
        await until(lambda: {sys.getrefcount(each) for each in things} <= {ALONE})  # noqa: B023
        sizes.append(len(things))
        things.clear()
    assert sizes == ([500] if refused else [500, 500])


ALONE = next(sys.getrefcount(each) for each in [object()])
"""How often something is referred to that only the list holds which is gone through."""


async def test_a_batch_is_decided_in_a_thread_once_it_is_long(postgres_store: PostgresTaskStore) -> None:
    tasks, threads = postgres_store.tasks_of(ANN), list[threading.Thread]()

    def decide(_: Seen) -> Decision:
        threads.append(threading.current_thread())
        return Decision((Pair(None, make_task()),))

    for parts in (7, 8):
        threads.clear()
        await tasks.commit(composed([Plan(decide=decide)] * parts))
        assert {thread is threading.main_thread() for thread in threads} == {parts < 8}


async def test_a_summary_of_many_tags_is_made_in_a_thread(
    postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    summed, threads = reading._summed, list[threading.Thread]()

    def work(rows: Iterable[tuple[Any, ...]]) -> Summary:
        threads.append(threading.current_thread())
        return summed(rows)

    monkeypatch.setattr(reading, "_summed", work)
    tasks = postgres_store.tasks_of(ANN)
    made = [make_task(tags=tuple(f"{task} {tag}" for tag in range(20))) for task in range(26)]
    for few in (made[:1], made[1:]):
        await tasks.commit(Plan(decide=lambda _, new=few: Decision(tuple(Pair(None, each) for each in new))))
        threads.clear()
        await tasks.summary()
        assert [thread is threading.main_thread() for thread in threads] == [len(few) == 1]
    assert await tasks.summary() == Summary.of(made)


async def test_many_lists_are_made_in_a_thread(
    postgres_store: PostgresTaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set[threading.Thread]()

    def noting(owner: OwnerId, row: Sequence[Any]) -> TaskList:
        threads.add(threading.current_thread())
        return rows.list_of(owner, row)

    monkeypatch.setattr(reading, "list_of", noting)
    tasks = postgres_store.tasks_of(ANN)
    made = [make_list(name=f"{number}") for number in range(LISTS_MAX)]
    for few in (made[:1], made[1:]):
        await tasks.commit(Plan(decide=lambda _, new=few: Decision(tuple(Pair(None, each) for each in new))))
        threads.clear()
        assert {each.name for each in await tasks.lists()} >= {each.name for each in few}
        assert [thread is threading.main_thread() for thread in threads] == [len(few) == 1]


async def test_abandoned_work_gives_way_until_it_ends() -> None:
    usual, begun, ends = sys.getswitchinterval(), threading.Event(), threading.Event()
    ended: list[float] = []

    def work() -> None:
        begun.set()
        ends.wait(10)
        ended.append(sys.getswitchinterval())

    waiting = asyncio.create_task(in_thread_if_many(500, work))
    assert await asyncio.to_thread(begun.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    ends.set()
    await until(lambda: bool(ended) and sys.getswitchinterval() == pytest.approx(usual))
    assert ended == [pytest.approx(0.0002)]


@pytest.mark.parametrize("of_parts", ["decided", "asked what they want"])
async def test_a_batch_that_nobody_waits_for_is_decided_no_further(
    postgres_store: PostgresTaskStore, of_parts: str
) -> None:
    usual, begun, goes_on = sys.getswitchinterval(), threading.Event(), threading.Event()
    made, reached = make_task(), list[int]()

    def decide(seen: Seen) -> Decision:
        if of_parts != "decided" and not reached:
            reached.append(0)
            seen.task(made.id)  # has not been read: what the others want is asked
        reached.append(0)
        begun.set()
        goes_on.wait(10)
        return Decision()

    waiting = asyncio.create_task(postgres_store.tasks_of(ANN).commit(composed([Plan(decide=decide)] * 100)))
    assert await asyncio.to_thread(begun.wait, 10)
    so_far = len(reached)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    goes_on.set()
    await until(lambda: sys.getswitchinterval() == pytest.approx(usual))
    assert len(reached) == so_far
