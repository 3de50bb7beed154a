"""A state machine: every call of a coalescer is answered in time, whatever is raised or cancelled."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from clocks import FakeLoop
from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from todo_adapters.postgres.coalescer import Coalescer
from todo_core import StoreUnavailable

TIMEOUT = 4.0


class Poison(Exception):
    """What the database says of a bad value."""


class Promise(RuleBasedStateMachine):
    """Calls arrive, fail, and are cancelled; the database answers, fails, or says nothing before the deadline."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = FakeLoop()
        self.loop.set_exception_handler(lambda *_: None)  # the cancelled and the killed task are meant
        self.calls: dict[int, tuple[asyncio.Future[int], float]] = {}
        self.answered: dict[int, float] = {}
        self.poisoned: set[int] = set()
        self.sent: list[Sequence[int]] = []
        self.gates: list[asyncio.Future[Exception | None]] = []

    @initialize(size=st.integers(1, 5), weight=st.integers(1, 8), concurrent=st.integers(1, 2))
    def begin(self, size: int, weight: int, concurrent: int) -> None:
        self.size, self.weight, self.concurrent = size, weight, concurrent
        self.coalescer: Coalescer[int, int] = Coalescer(
            self.send, max_size=size, max_weight=weight, max_concurrent=concurrent, timeout=TIMEOUT
        )

    async def send(self, calls: Sequence[int]) -> Sequence[int]:
        """As the sender: it ends within the timeout, with `StoreUnavailable` if need be."""
        assert 1 <= len(calls) <= self.size
        self.sent.append(list(calls))
        gate: asyncio.Future[Exception | None] = self.loop.create_future()
        self.gates.append(gate)
        try:
            async with asyncio.timeout(TIMEOUT):
                problem = await gate
        except TimeoutError as late:
            raise StoreUnavailable from late
        finally:
            self.gates.remove(gate)
        if problem is not None:
            raise problem
        if self.poisoned.intersection(calls):
            raise Poison
        return [call * 2 for call in calls]

    def in_loop(self, act: Callable[[], Any]) -> Any:
        """What this returns, called in the loop: nothing else runs before it."""
        done: list[Any] = []
        self.loop.call_soon(lambda: done.append(act()))
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        return done[0]

    @rule(owner=st.sampled_from("abc"), weight=st.integers(1, 10), poisoned=st.booleans(), count=st.integers(1, 4))
    def arrive(self, owner: str, weight: int, poisoned: bool, count: int) -> None:
        for _ in range(count):
            number = len(self.calls)
            if poisoned:
                self.poisoned.add(number)
            answer = self.in_loop(lambda number=number: self.coalescer.call(number, owner=owner, weight=weight))  # type: ignore[misc]
            self.calls[number] = answer, self.loop.now
            answer.add_done_callback(lambda _, number=number: self.answered.setdefault(number, self.loop.now))

    @rule(owner=st.sampled_from("abc"), cancelled=st.booleans())
    def arrive_and_cancel_the_task_before_its_first_step(self, owner: str, cancelled: bool) -> None:
        number = len(self.calls)

        def act() -> "asyncio.Future[int]":
            before = set(self.coalescer._under_way)
            answer = self.coalescer.call(number, owner=owner)
            for task in self.coalescer._under_way - before:
                task.cancel()
            if cancelled:
                answer.cancel()
            return answer

        answer = self.in_loop(act)
        self.calls[number] = answer, self.loop.now
        answer.add_done_callback(lambda _: self.answered.setdefault(number, self.loop.now))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def cancel_a_call(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.calls)))
        self.in_loop(self.calls[number][0].cancel)

    @rule()
    def cancel_the_tasks(self) -> None:
        self.in_loop(lambda: [task.cancel() for task in self.coalescer._under_way])

    @precondition(lambda self: self.gates)
    @rule(data=st.data(), problem=st.sampled_from([None, None, Poison, StoreUnavailable]))
    def the_database_answers(self, data: st.DataObject, problem: type[Exception] | None) -> None:
        gate = data.draw(st.sampled_from(self.gates))
        self.in_loop(lambda: gate.done() or gate.set_result(problem and problem()))
        self.loop.settle()

    @rule(seconds=st.sampled_from([1.0, TIMEOUT - 0.5]), times=st.integers(1, 4))
    def the_database_is_slow(self, seconds: float, times: int) -> None:
        for _ in range(times):
            self.loop.advance(seconds)
            for gate in list(self.gates):
                self.in_loop(lambda gate=gate: gate.done() or gate.set_result(None))  # type: ignore[misc]
        self.time_passes(0.0)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, TIMEOUT, TIMEOUT + 0.5]))
    def time_passes(self, seconds: float) -> None:
        """Nobody waits for longer than is promised."""
        self.loop.advance(seconds)
        assert len(self.gates) <= self.concurrent
        for number, (answer, since) in self.calls.items():
            assert answer.done() or self.loop.now <= since + 2 * TIMEOUT, number

    def teardown(self) -> None:
        """In the end everybody has an answer, in time, and the right one."""
        self.loop.advance(2 * TIMEOUT + 1)
        for number, (answer, since) in self.calls.items():
            assert answer.done(), f"{number} was never answered"
            assert self.answered[number] <= since + 2 * TIMEOUT
            if not answer.cancelled() and answer.exception() is None:
                assert answer.result() == 2 * number
                assert number not in self.poisoned
            elif not answer.cancelled():
                assert isinstance(answer.exception(), StoreUnavailable | Poison)
        assert not self.coalescer._under_way
        assert not self.coalescer._waiting
        self.loop.close()


test_every_call_is_answered_in_time = Promise.TestCase
test_every_call_is_answered_in_time.settings = settings(
    max_examples=examples(150), stateful_step_count=30, deadline=None
)


A = TypeVar("A")


async def singly(calls: Sequence[A]) -> Sequence[A]:
    """Answer, slowly, only a call that is sent by itself."""
    if len(calls) > 1:
        raise Poison
    await asyncio.sleep(TIMEOUT - 0.1)
    return calls


def test_a_call_that_waits_behind_calls_sent_singly_is_answered_in_time() -> None:
    loop = FakeLoop()
    coalescer: Coalescer[str, str] = Coalescer(singly, max_size=2, max_weight=9, max_concurrent=1, timeout=TIMEOUT)
    answers: list[asyncio.Future[str]] = []

    def ask(owner: str, *calls: str) -> None:
        answers.extend(coalescer.call(call, owner=owner) for call in calls)

    loop.call_at(0.0, ask, "ann", "first")
    loop.call_at(0.1, ask, "ann", "second", "waits")
    loop.call_at(3.8, ask, "bob", "young")
    loop.advance(0.1 + 2 * TIMEOUT)
    assert isinstance(answers[2].exception(), StoreUnavailable)
    loop.advance(TIMEOUT)
    assert [answer.result() for answer in (*answers[:2], answers[3])] == ["first", "second", "young"]
    loop.close()


def test_a_call_whose_turn_to_be_sent_singly_comes_too_late_is_refused_unsent() -> None:
    sent: list[Sequence[int]] = []

    async def send(calls: Sequence[int]) -> Sequence[int]:
        sent.append(calls)
        return await singly(calls)

    loop = FakeLoop()
    coalescer: Coalescer[int, int] = Coalescer(send, max_size=3, max_weight=9, max_concurrent=1, timeout=TIMEOUT)
    answers: list[asyncio.Future[int]] = []
    loop.call_at(0.0, lambda: answers.extend(coalescer.call(number, owner="ann") for number in range(3)))
    loop.advance(2 * TIMEOUT)
    assert [answer.result() for answer in answers[:2]] == [0, 1]
    assert isinstance(answers[2].exception(), StoreUnavailable)
    assert sent == [[0, 1, 2], [0], [1]]
    loop.close()
