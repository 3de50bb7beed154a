"""Batching: calls that arrive while a statement is under way share the next one, and so one round trip."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from todo_core import StoreUnavailable

C = TypeVar("C")
A = TypeVar("A")


class _Waiting(NamedTuple, Generic[C, A]):
    call: C
    answer: "asyncio.Future[A]"
    weight: int
    since: float


class Coalescer(Generic[C, A]):
    """Gathers calls of one kind and passes them to `send` in batches, in which owners take turns, call by call.

    A batch starts after each of its calls has arrived, so every answer is that of a moment between call and return:
    batching keeps linearizability. At most `max_concurrent` batches are under way. A batch has at most `max_size` calls
    and, unless it is a single call, at most the weight `max_weight`.

    If a batch fails with another error than `StoreUnavailable`, its calls are sent again one by one, so that a call's
    bad data fail no other call. A cancelled call is left out if it has not been sent, and does not affect the others.
    The calls of a cancelled batch are answered with `StoreUnavailable`.
    Every call is answered within twice `timeout`, provided that `send` takes no longer than `timeout`.
    """

    def __init__(
        self,
        send: Callable[[Sequence[C]], Awaitable[Sequence[A]]],
        *,
        max_size: int,
        max_weight: int,
        max_concurrent: int,
        timeout: float,
    ) -> None:
        """`timeout`: seconds after which a call that has not been sent is answered with `StoreUnavailable`."""
        self._send = send
        self._max_size = max_size
        self._max_weight = max_weight
        self._max_concurrent = max_concurrent
        self._timeout = timeout
        self._waiting: OrderedDict[str, deque[_Waiting[C, A]]] = OrderedDict()  # by owner, in the order of turns
        self._under_way: set[asyncio.Task[None]] = set()

    def call(self, call: C, *, owner: str, weight: int = 1) -> "asyncio.Future[A]":
        """A future of the answer. Must always be called in the same event loop."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(call, loop.create_future(), weight, loop.time())
        self._waiting.setdefault(owner, deque()).append(waiting)
        self._start()
        return waiting.answer

    async def drain(self) -> None:
        """Return when all calls so far have been answered."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _start(self) -> None:
        if self._waiting and len(self._under_way) < self._max_concurrent:
            # It starts in the loop's next iteration: calls that arrive in this one join the batch.
            task = asyncio.get_running_loop().create_task(self._send_while_any_wait())
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        # A callback, since a task that is cancelled before its first step runs none of its code.
        self._under_way.discard(task)
        self._remove_answered_and_late()
        self._start()

    async def _send_while_any_wait(self) -> None:
        while batch := self._next_batch():
            try:
                await self._answer(batch)
            except BaseException as problem:
                for waiting in batch:
                    _refuse(waiting, problem)
                if not isinstance(problem, Exception):
                    raise

    def _next_batch(self) -> list[_Waiting[C, A]]:
        now = self._remove_answered_and_late()
        batch: list[_Waiting[C, A]] = []
        weight = 0
        while self._waiting and len(batch) < self._max_size:
            owner, queue = next(iter(self._waiting.items()))
            weight += queue[0].weight
            if batch and weight > self._max_weight:
                break
            batch.append(queue.popleft())
            self._waiting.move_to_end(owner)
            self._remove_answered_and_late_of(owner, queue, now)
        return batch

    def _remove_answered_and_late(self) -> float:
        """Returns the present moment, in the loop's time."""
        now = asyncio.get_running_loop().time()
        for owner, queue in list(self._waiting.items()):
            self._remove_answered_and_late_of(owner, queue, now)
        return now

    def _remove_answered_and_late_of(self, owner: str, queue: deque[_Waiting[C, A]], now: float) -> None:
        while queue and (queue[0].answer.done() or self._is_late(queue[0], now)):
            _refuse(queue.popleft(), StoreUnavailable())
        if not queue:
            del self._waiting[owner]

    def _is_late(self, waiting: _Waiting[C, A], now: float) -> bool:
        return waiting.since + self._timeout < now

    async def _answer(self, batch: Sequence[_Waiting[C, A]]) -> None:
        """Answer these calls, or raise the error for those that have not been answered."""
        try:
            answers = await self._send([waiting.call for waiting in batch])
        except StoreUnavailable:
            raise
        except Exception:
            if len(batch) == 1:
                raise
        else:
            for waiting, answer in zip(batch, answers, strict=True):
                _give(waiting, answer)
            return
        await self._answer_singly(batch)

    async def _answer_singly(self, batch: Sequence[_Waiting[C, A]]) -> None:
        for waiting in batch:
            now = self._remove_answered_and_late()  # the calls of the next batch wait meanwhile
            if waiting.answer.done():
                continue
            if self._is_late(waiting, now):
                _refuse(waiting, StoreUnavailable())
                continue
            try:
                [answer] = await self._send([waiting.call])
            except StoreUnavailable:
                raise
            except Exception as own:  # for the caller of this call alone
                _refuse(waiting, own)
            else:
                _give(waiting, answer)


def _give(waiting: _Waiting[C, A], answer: A) -> None:
    if not waiting.answer.done():
        waiting.answer.set_result(answer)


def _refuse(waiting: _Waiting[C, A], problem: BaseException) -> None:
    if waiting.answer.done():
        return
    if isinstance(problem, Exception) and not isinstance(problem, StoreUnavailable):
        waiting.answer.set_exception(problem)
        return
    # The batch may have been cancelled, but its callers were not.
    own = StoreUnavailable()  # one per caller: raising an exception adds to its traceback
    own.__cause__ = problem.__cause__
    waiting.answer.set_exception(own)
