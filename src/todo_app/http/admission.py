"""Limits how many requests under one token start in a round of the event loop: others' requests come in between."""

import asyncio
from collections import deque
from typing import Final

PER_ROUND: Final = 4


class Admission:
    """Admits requests in order, at most `PER_ROUND` under one token in each round of the event loop.

    Without it, hundreds of requests that arrive together would all start before the next request of another user.
    """

    def __init__(self) -> None:
        self._started: dict[bytes | None, int] = {}  # in this round
        self._waiting: dict[bytes | None, deque[asyncio.Future[None]]] = {}

    def turn(self, header: bytes | None) -> "asyncio.Future[None] | None":
        """When a request with that header `Authorization` may start; None for immediately."""
        token = header and header.rpartition(b" ")[2]  # however it is separated from the scheme
        loop = asyncio.get_running_loop()
        if not self._started:
            loop.call_soon(self._next_round)
        started = self._started.get(token, 0)
        if started < PER_ROUND:
            self._started[token] = started + 1
            return None
        turn = loop.create_future()
        self._waiting.setdefault(token, deque()).append(turn)
        return turn

    def _next_round(self) -> None:
        self._started.clear()
        for token, waiting in list(self._waiting.items()):
            admitted = 0
            while waiting and admitted < PER_ROUND:
                if not (turn := waiting.popleft()).done():  # its request has been cancelled
                    turn.set_result(None)
                    admitted += 1
            self._started[token] = PER_ROUND  # whoever comes now is behind those that wait
            if not waiting:
                del self._waiting[token]
        if self._started:
            asyncio.get_running_loop().call_soon(self._next_round)
