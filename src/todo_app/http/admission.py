"""Limits how many requests under one token start in a round of the event loop: others' requests come in between."""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import Context
from typing import Any, Final, TypeAlias

from todo_adapters.threads import SHORT_TURNS
from todo_app.http.exchange import Scope

PER_ROUND: Final = 4  # of one token
IN_ALL: Final = 64  # in a round
CROWD: Final = 64  # that wait
Start: TypeAlias = tuple[Callable[..., object], tuple[Any, ...], Context]
"""What the server wants called in the event loop to start a request, and in which context."""


class Admission:
    """Starts requests: in each round of the event loop at most `PER_ROUND` under one token, and `IN_ALL` together.

    Tokens take turns. Without it, hundreds of requests that arrive together would all start before the next request of
    another user; to start one takes as long as a quarter of a small request. While a crowd waits, the threads of the
    process take short turns, since the one that receives requests needs the interpreter's lock for each.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._usual = loop.call_soon_threadsafe
        self._arrived: deque[Start] = deque()  # filled by the server's thread
        self._lines: OrderedDict[bytes | None, deque[Start]] = OrderedDict()  # by token, in the order of turns
        self._chosen: deque[Start] = deque()  # for this round
        self._waiting = 0  # in all lines
        self._is_due = False
        self._due = threading.Lock()  # or two rounds could follow each other in turn, with twice as many starts
        self._while_crowded = ExitStack()

    def install(self) -> None:
        """Admit all requests that Granian (2.8) starts in this loop, for which it has no public way.

        Its own thread hands each request over by `call_soon_threadsafe`, with an argument that has the request's scope.
        """
        self._loop.call_soon_threadsafe = self.call_soon_threadsafe  # type: ignore[method-assign,assignment]

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *arguments: Any, context: Context | None = None
    ) -> asyncio.Handle | None:
        """As the loop's, except that the start of a request waits for its turn, and cannot be cancelled."""
        if context is None or not arguments or not hasattr(arguments[-1], "scope"):
            return self._usual(callback, *arguments, context=context)
        with self._due:
            self._arrived.append((callback, arguments, context))
            was_due, self._is_due = self._is_due, True
        if not was_due:
            self._usual(self._round)
        return None

    def _round(self) -> None:
        try:
            if not self._chosen:  # left by a start that failed
                self._choose()
            while self._chosen:
                _run(self._chosen.popleft())
        finally:
            if not self._lines:
                self._while_crowded.close()
            with self._due:
                is_due = self._is_due = bool(self._chosen or self._lines or self._arrived)
            if is_due:
                self._loop.call_soon(self._round)

    def _choose(self) -> None:
        chosen, lines, arrived = self._chosen, self._lines, self._arrived
        count_arrived = len(arrived)  # while more may arrive
        few = not lines and count_arrived <= PER_ROUND
        seen = self._choose_waiting()
        for _ in range(count_arrived):
            start = arrived.popleft()
            if few:
                chosen.append(start)
                continue
            token = _token(start)
            count = seen.get(token, 0)
            if count < PER_ROUND and len(chosen) < IN_ALL:
                seen[token] = count + 1
                chosen.append(start)
            else:
                self._line_up(token, start)

    def _choose_waiting(self) -> dict[bytes | None, int]:
        """How many were chosen of each token."""
        counts = dict[bytes | None, int]()
        for token in list(self._lines):
            if not (room := IN_ALL - len(self._chosen)):
                break
            line = self._lines.pop(token)
            counts[token] = min(PER_ROUND, len(line), room)
            self._waiting -= counts[token]
            for _ in range(counts[token]):
                self._chosen.append(line.popleft())
            if line:
                self._lines[token] = line
        return counts

    def _line_up(self, token: bytes | None, start: Start) -> None:
        self._lines.setdefault(token, deque()).append(start)
        self._waiting += 1
        if self._waiting == CROWD:
            self._while_crowded.close()
            self._while_crowded.enter_context(SHORT_TURNS)


def _run(start: Start) -> None:
    callback, arguments, context = start
    context.run(callback, *arguments)


def _token(start: Start) -> bytes | None:
    scope: Scope = start[1][-1].scope
    for name, value in scope.get("headers", ()):
        if name == b"authorization":
            token: bytes = value.rpartition(b" ")[2]  # however it is separated from the scheme
            return token
    return None
