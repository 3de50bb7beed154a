"""Time limits that share a timer act like `asyncio.timeout`: at the same moment, with the same exception."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple

from clocks import FakeLoop
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from todo_adapters.deadlines import Deadline, Deadlines

LENGTHS = (2.0, 3.0, 5.0)


class Block(NamedTuple):
    """A block within several limits, and what it does when it is cancelled.

    Moments end in different fractions, so that no two things happen at the same moment.
    """

    begins: int
    limits: tuple[float, ...]
    lasts: int
    cancelled_after: int | None
    answers: Literal["ends", "goes on", "raises another"]


BLOCKS = st.builds(
    Block,
    begins=st.integers(0, 9),
    limits=st.lists(st.sampled_from(LENGTHS), max_size=3).map(tuple),
    lasts=st.integers(0, 7),
    cancelled_after=st.none() | st.integers(0, 7),
    answers=st.sampled_from(["ends", "goes on", "raises another"]),
)
Limit = Callable[[float], object]


async def run_within(limits: tuple[float, ...], block: Block, limit: Limit) -> None:
    """Run the block within these limits."""
    if limits:
        async with limit(limits[0]):  # type: ignore[attr-defined]
            await run_within(limits[1:], block, limit)
        return
    try:
        await asyncio.sleep(block.lasts + 0.25)
    except asyncio.CancelledError:
        if block.answers == "ends":
            raise
        if block.answers == "raises another":
            raise KeyError from None
        await asyncio.sleep(1.0625)


def outcomes(blocks: list[Block], limit: Limit) -> list[tuple[str, float, int]]:
    """How each block ends, when, and how often its task is then still asked to end."""
    loop = FakeLoop()
    ends: dict[int, tuple[str, float, int]] = {}

    async def run(number: int, block: Block) -> None:
        how = "done"
        await asyncio.sleep(block.begins + number / 1024)
        try:
            await run_within(block.limits, block, limit)
        except (TimeoutError, asyncio.CancelledError, KeyError) as error:
            how = type(error).__name__
        task = asyncio.current_task()
        assert task is not None
        ends[number] = (how, loop.time(), task.cancelling())

    for number, block in enumerate(blocks):
        task = loop.create_task(run(number, block))
        if block.cancelled_after is not None:
            loop.call_at(block.begins + number / 1024 + block.cancelled_after + 0.5, task.cancel)
    loop.advance(60)
    assert not asyncio.all_tasks(loop)
    loop.close()
    return [ends[number] for number in range(len(blocks))]


@settings(max_examples=examples(2000), deadline=None)
@given(blocks=st.lists(BLOCKS, min_size=1, max_size=8))
def test_deadlines_end_the_same_blocks_as_asyncio_timeout(blocks: list[Block]) -> None:
    shared = {seconds: Deadlines(seconds) for seconds in LENGTHS}

    @asynccontextmanager
    async def ours(seconds: float) -> object:
        with shared[seconds].one():
            yield

    assert outcomes(blocks, ours) == outcomes(blocks, asyncio.timeout)


def test_a_thousand_limits_have_one_timer_and_are_not_kept() -> None:
    loop = FakeLoop()
    deadlines = Deadlines(5.0)
    timers: list[float] = []
    call_at = loop.call_at

    def counting(when: float, *arguments: Any, **named: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *arguments, **named)

    loop.call_at = counting  # type: ignore[assignment,method-assign]

    async def run() -> int:
        for _ in range(1000):
            with deadlines.one():
                pass
        gc.collect()
        return sum(isinstance(each, Deadline) for each in gc.get_objects())

    kept = loop.run_until_complete(run())
    loop.close()
    assert (timers, kept) == ([5.0], 0)


def test_a_block_that_ends_as_its_limit_expires_is_not_cancelled_later() -> None:
    deadlines = Deadlines(2.0)
    loop = FakeLoop()
    answer = loop.create_future()
    loop.call_at(2.0, answer.set_result, None)

    async def run() -> bool:
        with deadlines.one() as limit:
            await answer
        await asyncio.sleep(3)
        return limit.expired

    task = loop.create_task(run())
    loop.advance(6)
    loop.close()
    assert task.result() is False


def test_a_task_whose_block_has_ended_is_not_kept() -> None:
    deadlines = Deadlines(600.0)

    async def block() -> None:
        with deadlines.one():
            pass

    async def run() -> weakref.ref[asyncio.Task[None]]:
        task = asyncio.create_task(block())
        await task
        return weakref.ref(task)

    async def is_kept() -> bool:
        ended = await run()
        await asyncio.sleep(0.01)  # until the loop itself has let go of it
        gc.collect()
        return ended() is not None

    assert not asyncio.run(is_kept())


def test_each_event_loop_has_limits_of_its_own() -> None:
    deadlines = Deadlines(0.05)

    async def block() -> str:
        try:
            with deadlines.one():
                await asyncio.sleep(20)
        except TimeoutError:
            return "ended"
        return "forgotten"

    def run(outcomes: list[str]) -> None:
        outcomes += [asyncio.run(block()) for _ in range(2)]

    found: list[str] = []
    threads = [threading.Thread(target=run, args=(found,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["ended"] * 6


def test_outside_a_task_a_limit_is_refused() -> None:
    loop = FakeLoop()
    refused: list[BaseException] = []

    def enter() -> None:
        try:
            with Deadlines(1.0).one():
                pass
        except RuntimeError as error:
            refused.append(error)

    loop.call_soon(enter)
    loop.settle()
    loop.close()
    assert [str(error) for error in refused] == ["a time limit needs a task that it can cancel"]


def test_a_cancellation_that_was_ignored_before_does_not_hide_that_a_limit_expired() -> None:
    deadlines = Deadlines(2.0)

    async def stubborn() -> None:
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            with deadlines.one():
                await asyncio.sleep(9)

    loop = FakeLoop()
    task = loop.create_task(stubborn())
    loop.call_at(1.0, task.cancel)
    loop.advance(5)
    loop.close()
    assert isinstance(task.exception(), TimeoutError)


def test_a_block_that_cannot_be_cancelled_does_not_affect_other_limits() -> None:
    deadlines = Deadlines(2.0)

    class Stuck(asyncio.Future[None]):
        def cancel(self, msg: object = None) -> bool:
            raise ValueError

    async def block(waiting: "asyncio.Future[None]") -> None:
        with deadlines.one():
            await waiting

    loop = FakeLoop()
    reported: list[object] = []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    stuck = Stuck(loop=loop)
    tasks = [loop.create_task(block(waiting)) for waiting in (stuck, loop.create_future())]
    loop.advance(1)
    later = loop.create_task(block(loop.create_future()))
    loop.advance(5)
    stuck.set_result(None)
    loop.settle()
    loop.close()
    assert [type(each) for each in reported] == [ValueError]
    assert [type(each.exception()) for each in (tasks[1], later)] == [TimeoutError, TimeoutError]


def test_a_timer_keeps_no_context_of_the_task_that_set_it() -> None:
    deadlines = Deadlines(2.0)
    variable: ContextVar[object] = ContextVar("variable")

    class Held:
        pass

    async def block() -> None:
        variable.set(Held())
        with deadlines.one():
            pass

    async def run() -> int:
        await asyncio.create_task(block())
        await asyncio.sleep(0.01)
        gc.collect()
        return sum(isinstance(each, Held) for each in gc.get_objects())

    assert asyncio.run(run()) == 0
