"""Lets calls that arrive while a statement is under way share the next one: a round trip is paid once for many."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Generic, NamedTuple, TypeVar, cast

from todo_core import StoreUnavailable

C = TypeVar("C")
A = TypeVar("A")


class _Waiting(NamedTuple, Generic[C, A]):
    call: C
    answer: "asyncio.Future[A]"
    since: float


class Coalescer(Generic[C, A]):
    """Gathers calls of one kind, in the order of their arrival, and hands them to `send` by the batch.

    A batch starts after each of its calls has arrived, so that every answer tells of a moment between a call and its
    return: gathering keeps linearizability. At most `at_once` batches are under way, of at most `most` calls each.
    Where a batch fails for a reason that lies in the data, its calls are sent one by one, so that the failure of one is
    no other's. A cancelled call is left out if it has not been sent, and never disturbs the rest.
    """

    def __init__(
        self, send: Callable[[Sequence[C]], Awaitable[Sequence[A]]], *, most: int, at_once: int, patience: float
    ) -> None:
        """`patience`: the seconds after which a call that could not be sent yet is answered with `StoreUnavailable`."""
        self._send = send
        self._most = most
        self._at_once = at_once
        self._patience = patience
        self._waiting: deque[_Waiting[C, A]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    def call(self, call: C) -> "asyncio.Future[A]":
        """The answer to come. Must be called in the event loop that everything here belongs to."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[A] = loop.create_future()
        self._waiting.append(_Waiting(call, answer, monotonic()))
        if len(self._under_way) < self._at_once:
            # It starts in the loop's next round: whatever else arrives in this one comes along.
            self._under_way.add(loop.create_task(self._send_while_any_wait()))
        return answer

    async def drain(self) -> None:
        """Return when every call so far has its answer."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _send_while_any_wait(self) -> None:
        try:
            while batch := self._next_batch():
                await self._answer(batch)
        finally:
            # Here, not in a callback of the task, which would run later: a call in between would wait for nobody.
            self._under_way.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _answer(self, batch: Sequence[_Waiting[C, A]]) -> None:
        try:
            answers = await self._send([waiting.call for waiting in batch])
        except BaseException as problem:
            await self._send_singly(batch, problem)
        else:
            for waiting, answer in zip(batch, answers, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(answer)

    def _next_batch(self) -> list[_Waiting[C, A]]:
        batch: list[_Waiting[C, A]] = []
        too_late = monotonic() - self._patience
        while self._waiting and len(batch) < self._most:
            waiting = self._waiting.popleft()
            if waiting.answer.done():
                continue
            if waiting.since < too_late:
                waiting.answer.set_exception(StoreUnavailable())
            else:
                batch.append(waiting)
        return batch

    async def _send_singly(self, batch: Sequence[_Waiting[C, A]], problem: BaseException) -> None:
        """Give each call of a failed batch what it deserves on its own."""
        if len(batch) == 1 or isinstance(problem, StoreUnavailable) or not isinstance(problem, Exception):
            for waiting in batch:
                _refuse(waiting, problem)
            if not isinstance(problem, Exception):
                raise problem
            return
        for waiting in batch:
            if waiting.answer.done():
                continue
            try:
                [answer] = await self._send([waiting.call])
            except Exception as own:  # each call's failure is its caller's to handle
                _refuse(waiting, own)
            else:
                waiting.answer.set_result(answer)


def _refuse(waiting: _Waiting[C, A], problem: BaseException) -> None:
    if waiting.answer.done():
        return
    if isinstance(problem, StoreUnavailable):  # one for each: an exception gathers the stack of whom it is raised in
        own = StoreUnavailable()
        own.__cause__ = problem.__cause__
        waiting.answer.set_exception(own)
    elif isinstance(problem, Exception):
        waiting.answer.set_exception(problem)
    else:
        waiting.answer.cancel()
