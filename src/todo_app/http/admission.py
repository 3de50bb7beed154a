"""Limits how many requests under one token start in a round of the event loop: others' requests come in between."""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from contextvars import Context
from typing import Any, Final, TypeAlias

from todo_adapters.threads import SHORT_TURNS
from todo_app.http.exchange import Scope

PER_ROUND: Final = 4  # of one token
IN_ALL: Final = 64  # in a round
CROWD: Final = 64  # requests
PAUSE: Final = 0.001  # seconds from round to round of a crowd: its answers are sent in order, and others' behind them
Start: TypeAlias = tuple[Callable[..., object], tuple[Any, ...], Context]
"""What the server wants called in the event loop to start a request, and in which context."""


class Admission:
    """Starts requests: in each round of the event loop at most `PER_ROUND` under one token, and `IN_ALL` together.

    Tokens take turns. Once `CROWD` requests wait or arrive together, and until none waits, users with verified tokens
    take turns, and the addresses of all others, whose tokens may all be different; and the rounds pause. Without it,
    hundreds of requests that arrive together would all start before the next request of another user; to start one
    takes as long as a quarter of a small request. Once `CROWD` wait, the threads of the process take short turns too,
    since the one that receives requests needs the interpreter's lock for each.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, whose: Callable[[Scope], Hashable]) -> None:
        """`whose` returns whose a request is, as far as is known before it starts."""
        self._loop = loop
        self._whose = whose
        self._usual = loop.call_soon_threadsafe
        self._arrived: deque[Start] = deque()  # filled by the server's thread
        self._lines: OrderedDict[Hashable, deque[Start]] = OrderedDict()  # in the order of turns
        self._chosen: deque[Start] = deque()  # for this round
        self._waiting = 0  # in all lines
        self._are_many = False  # until no line is left
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
                self._are_many = False
            with self._due:
                is_due = self._is_due = bool(self._chosen or self._lines or self._arrived)
            if is_due and self._are_many:
                self._loop.call_later(PAUSE, self._round)
            elif is_due:
                self._loop.call_soon(self._round)

    def _choose(self) -> None:
        chosen, lines, arrived = self._chosen, self._lines, self._arrived
        count_arrived = len(arrived)  # while more may arrive
        few = not lines and count_arrived <= PER_ROUND
        if not self._are_many and self._waiting + count_arrived >= CROWD:
            self._line_up_anew()
        seen = self._choose_waiting()
        for _ in range(count_arrived):
            start = arrived.popleft()
            if few:
                chosen.append(start)
                continue
            key = self._key(start)
            count = seen.get(key, 0)
            if count < PER_ROUND and len(chosen) < IN_ALL:
                seen[key] = count + 1
                chosen.append(start)
            else:
                self._line_up(key, start)

    def _choose_waiting(self) -> dict[Hashable, int]:
        """How many were chosen of each line."""
        counts = dict[Hashable, int]()
        for key in list(self._lines):
            if not (room := IN_ALL - len(self._chosen)):
                break
            line = self._lines.pop(key)
            counts[key] = min(PER_ROUND, len(line), room)
            self._waiting -= counts[key]
            for _ in range(counts[key]):
                self._chosen.append(line.popleft())
            if line:
                self._lines[key] = line
        return counts

    def _line_up_anew(self) -> None:
        """Line all that wait up by whose they are."""
        self._are_many = True
        lines = OrderedDict[Hashable, deque[Start]]()
        for line in self._lines.values():
            for start in line:
                lines.setdefault(self._key(start), deque()).append(start)
        self._lines = lines

    def _key(self, start: Start) -> Hashable:
        scope: Scope = start[1][-1].scope
        return self._whose(scope) if self._are_many else _token(scope)

    def _line_up(self, key: Hashable, start: Start) -> None:
        self._lines.setdefault(key, deque()).append(start)
        self._waiting += 1
        if self._waiting == CROWD:
            self._while_crowded.close()
            self._while_crowded.enter_context(SHORT_TURNS)


def _run(start: Start) -> None:
    callback, arguments, context = start
    context.run(callback, *arguments)


def _token(scope: Scope) -> bytes | None:
    for name, value in scope.get("headers", ()):
        if name == b"authorization":
            token: bytes = value.rpartition(b" ")[2]  # however it is separated from the scheme
            return token
    return None
