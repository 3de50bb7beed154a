"""Shared statements: how calls are gathered, and that no call affects another."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from clocks import until

from todo_adapters.postgres.coalescer import Coalescer
from todo_core import StoreUnavailable


class Database:
    """Answers each call with its double once it is let to, and keeps what it was sent."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.under_way = self.most_under_way = 0
        self.gate = asyncio.Event()
        self.fails: Callable[[Sequence[int]], Exception | None] = lambda _: None

    async def send(self, calls: Sequence[int]) -> list[int]:
        self.batches.append(list(calls))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
            if (problem := self.fails(calls)) is not None:
                raise problem
            return [call * 2 for call in calls]
        finally:
            self.under_way -= 1


@pytest.fixture
async def database() -> Database:
    return Database()


class Gathering(Coalescer[int, int]):
    """A coalescer whose calls are one owner's, where a test does not say otherwise."""

    def call(self, call: int, *, owner: str = "ann", weight: int = 1) -> "asyncio.Future[int]":
        return super().call(call, owner=owner, weight=weight)


def coalescer_of(
    database: Database, *, max_size: int = 64, max_weight: int = 1000, max_concurrent: int = 1, timeout: float = 5.0
) -> Gathering:
    return Gathering(
        database.send, max_size=max_size, max_weight=max_weight, max_concurrent=max_concurrent, timeout=timeout
    )


def contains(poison: int) -> Callable[[Sequence[int]], Exception | None]:
    return lambda calls: ValueError(f"{poison} is bad") if poison in calls else None


async def test_calls_of_one_round_of_the_loop_share_a_batch_in_the_order_of_their_arrival(database: Database) -> None:
    database.gate.set()
    coalescer = coalescer_of(database)
    assert await asyncio.gather(*(coalescer.call(number) for number in range(5))) == [0, 2, 4, 6, 8]
    assert database.batches == [[0, 1, 2, 3, 4]]


async def test_calls_that_come_while_a_batch_is_under_way_wait_for_the_next_one(database: Database) -> None:
    coalescer = coalescer_of(database)
    first = coalescer.call(1)
    await until(lambda: database.under_way == 1)
    later = [coalescer.call(number) for number in (2, 3)]
    database.gate.set()
    assert await asyncio.gather(first, *later) == [2, 4, 6]
    assert database.batches == [[1], [2, 3]]


async def test_no_batch_is_larger_than_the_bound_and_none_is_lost(database: Database) -> None:
    database.gate.set()
    coalescer = coalescer_of(database, max_size=10)
    assert await asyncio.gather(*(coalescer.call(number) for number in range(95))) == [2 * n for n in range(95)]
    assert [len(batch) for batch in database.batches] == [10] * 9 + [5]


async def test_no_more_than_max_concurrent_batches_run(database: Database) -> None:
    coalescer = coalescer_of(database, max_size=1, max_concurrent=3)
    calls = [coalescer.call(number) for number in range(10)]
    await until(lambda: database.under_way == 3)
    await asyncio.sleep(0.01)
    database.gate.set()
    await asyncio.gather(*calls)
    assert database.most_under_way == 3


async def test_a_call_right_after_the_last_answer_is_sent_as_well(database: Database) -> None:
    database.gate.set()
    coalescer = coalescer_of(database)
    async with asyncio.timeout(5):
        for number in range(1000):
            assert await coalescer.call(number) == number * 2


async def test_a_call_that_fails_for_its_data_leaves_its_neighbours_alone(database: Database) -> None:
    database.gate.set()
    database.fails = contains(3)
    coalescer = coalescer_of(database)
    answers = await asyncio.gather(*(coalescer.call(number) for number in range(5)), return_exceptions=True)
    assert [answer for answer in answers if isinstance(answer, int)] == [0, 2, 4, 8]
    assert isinstance(answers[3], ValueError)
    assert database.batches == [[0, 1, 2, 3, 4], [0], [1], [2], [3], [4]]


async def test_an_outage_is_reported_to_every_call_of_the_batch_and_nothing_is_sent_again(database: Database) -> None:
    database.gate.set()
    database.fails = lambda _: StoreUnavailable()
    coalescer = coalescer_of(database)
    answers = await asyncio.gather(*(coalescer.call(number) for number in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    assert len({id(answer) for answer in answers}) == 3
    assert database.batches == [[0, 1, 2]]


async def test_a_call_cancelled_before_it_is_sent_is_left_out(database: Database) -> None:
    coalescer = coalescer_of(database)
    first = coalescer.call(1)
    await until(lambda: database.under_way == 1)
    cancelled, kept = coalescer.call(2), coalescer.call(3)
    cancelled.cancel()
    database.gate.set()
    assert await asyncio.gather(first, kept) == [2, 6]
    assert database.batches == [[1], [3]]


async def test_a_call_cancelled_while_it_is_sent_does_not_affect_others(database: Database) -> None:
    coalescer = coalescer_of(database)
    cancelled, kept = coalescer.call(1), coalescer.call(2)
    await until(lambda: database.under_way == 1)
    cancelled.cancel()
    database.gate.set()
    assert await kept == 4
    assert database.batches == [[1, 2]]


async def test_a_cancelled_caller_does_not_affect_the_others(database: Database) -> None:
    async def ask(coalescer: Coalescer[int, int], number: int) -> int:
        return await coalescer.call(number)

    coalescer = coalescer_of(database)
    tasks = [asyncio.create_task(ask(coalescer, number)) for number in range(3)]
    await until(lambda: database.under_way == 1)
    tasks[0].cancel()
    database.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == [2, 4]


async def test_a_call_that_waits_longer_than_the_timeout_is_refused_unsent(database: Database) -> None:
    coalescer = coalescer_of(database, timeout=0.05)
    first = coalescer.call(1)
    await until(lambda: database.under_way == 1)
    late = coalescer.call(2)
    await asyncio.sleep(0.1)
    database.gate.set()
    assert await first == 2
    with pytest.raises(StoreUnavailable):
        await late
    assert database.batches == [[1]]


async def test_owners_take_turns_in_a_batch(database: Database) -> None:
    database.gate.set()
    coalescer = coalescer_of(database, max_size=4)
    calls = [coalescer.call(number, owner="ann") for number in range(8)]
    calls += [coalescer.call(100 + number, owner="bob") for number in range(2)]
    calls += [coalescer.call(200, owner="carol")]
    await asyncio.gather(*calls)
    assert database.batches == [[0, 100, 200, 1], [101, 2, 3, 4], [5, 6, 7]]


async def test_a_batch_ends_by_weight_and_a_call_that_is_heavier_goes_alone(database: Database) -> None:
    database.gate.set()
    coalescer = coalescer_of(database, max_weight=10)
    weights = [4, 5, 2, 1, 30, 1, 9, 1]
    await asyncio.gather(*(coalescer.call(number, weight=weight) for number, weight in enumerate(weights)))
    assert database.batches == [[0, 1], [2, 3], [4], [5, 6], [7]]


async def test_a_crowd_of_heavy_calls_makes_another_owner_wait_for_one_batch(database: Database) -> None:
    coalescer = coalescer_of(database, max_weight=1000)
    heavy = [coalescer.call(number, owner="ann", weight=201) for number in range(900)]
    await until(lambda: database.under_way == 1)
    light = coalescer.call(-1, owner="bob")
    database.gate.set()
    await light
    assert -1 in database.batches[1]
    assert await asyncio.gather(*heavy) == [2 * number for number in range(900)]


async def test_calls_sent_singly_end_with_the_first_outage(database: Database) -> None:
    def fails(calls: Sequence[int]) -> Exception | None:
        return ValueError("together") if len(calls) > 1 else StoreUnavailable() if calls == [1] else None

    database.gate.set()
    database.fails = fails
    coalescer = coalescer_of(database)
    answers = await asyncio.gather(*(coalescer.call(number) for number in range(5)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, *[StoreUnavailable] * 4]
    assert database.batches == [[0, 1, 2, 3, 4], [0], [1]]


async def test_a_call_cancelled_while_it_is_sent_singly_does_not_affect_others(database: Database) -> None:
    def fails(calls: Sequence[int]) -> Exception | None:
        if calls == [0]:
            answers[0].cancel()
        return ValueError("together") if len(calls) > 1 else None

    database.gate.set()
    database.fails = fails
    coalescer = coalescer_of(database)
    answers = [coalescer.call(number) for number in range(3)]
    async with asyncio.timeout(5):
        assert await asyncio.gather(*answers[1:]) == [2, 4]
        assert await coalescer.call(9) == 18
    assert answers[0].cancelled()


async def test_a_task_that_is_cancelled_before_its_first_step_leaves_its_calls_to_the_next(database: Database) -> None:
    database.gate.set()
    coalescer = coalescer_of(database)
    call = coalescer.call(1)
    [task] = coalescer._under_way
    task.cancel()
    async with asyncio.timeout(5):
        assert await asyncio.gather(call, coalescer.call(2)) == [2, 4]


async def test_calls_without_an_answer_fail_and_nothing_is_sent_again() -> None:
    batches: list[Sequence[int]] = []

    async def send(calls: Sequence[int]) -> Sequence[int]:
        batches.append(calls)
        return calls[:-1]

    coalescer = Gathering(send, max_size=64, max_weight=1000, max_concurrent=1, timeout=5)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*(coalescer.call(number) for number in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, int, ValueError]
    assert len(batches) == 1


async def test_draining_waits_for_every_answer(database: Database) -> None:
    coalescer = coalescer_of(database, max_size=1)
    calls = [coalescer.call(number) for number in range(3)]
    draining = asyncio.create_task(coalescer.drain())
    await until(lambda: database.under_way == 1)
    assert not draining.done()
    database.gate.set()
    await draining
    assert all(call.done() for call in calls)


async def test_calls_whose_batch_is_cancelled_are_answered_as_in_an_outage(database: Database) -> None:
    coalescer = coalescer_of(database)
    call, waiting = coalescer.call(1), coalescer.call(2)
    await until(lambda: database.under_way == 1)
    [task] = coalescer._under_way
    task.cancel()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
    assert [type(answer.exception()) for answer in (call, waiting)] == [StoreUnavailable] * 2  # not 500s


async def test_many_callers_each_get_their_own_answer(database: Database) -> None:
    database.gate.set()
    coalescer = coalescer_of(database, max_size=7, max_concurrent=2)

    async def client(first: int) -> None:
        for number in range(first, first + 50):
            assert await coalescer.call(number) == number * 2
            await asyncio.sleep(0)

    clients: list[Coroutine[Any, Any, None]] = [client(first * 1000) for first in range(40)]
    async with asyncio.timeout(10):
        await asyncio.gather(*clients)
    assert sum(map(len, database.batches)) == 2000
