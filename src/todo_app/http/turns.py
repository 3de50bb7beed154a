"""Limits how many requests of one user, or address, are handled concurrently; further ones wait in order."""

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Final
from weakref import WeakKeyDictionary

from todo_adapters.threads import SHORT_TURNS
from todo_app.http.errors import MalformedRequest, TooManyAtOnce
from todo_app.http.exchange import Message, Receive

WAIT_SECONDS: Final = 20.0
# Seconds between two refusals. The server sends answers in order: hundreds together would delay those to other users.
REFUSE_EVERY: Final = 0.001
_PAUSE: Final = 0.001  # seconds
_GIVING_WAY: Final = WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]()
READ_AHEAD: Final = 64 * 1024  # bytes of a body that are read while the request waits, to notice a disconnect


class RequestTurns:
    """Places for the requests of each user, or other key, in this process: some are handled, some more wait in order.

    A place is held until the client has read the answer, as far as the server can know. A waiting request holds no
    other resource. While one waits or is refused, the process's threads take short turns: the one that receives other
    users' requests needs the interpreter's lock for each.
    """

    def __init__(self, *, max_concurrent: int, max_waiting: int, detail: str = "") -> None:
        """`detail`: what a refusal says, if not the numbers."""
        self._max_concurrent, self._max_waiting, self._detail = max_concurrent, max_waiting, detail
        self._lines: dict[Hashable, _Line] = {}
        self._refusing = asyncio.Lock()

    async def take(self, key: Hashable, receive: Receive) -> Receive:
        """Take a place, which `give_back` frees. Returns the `receive` to read the request's body with from now on.

        Raises `TooManyAtOnce` if too many wait already, or after 20 seconds, and `MalformedRequest` if the client
        disconnects.
        """
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
        if line.busy < self._max_concurrent:
            line.busy += 1
            return receive
        with SHORT_TURNS:
            return await self._take_later(line, key, receive)

    async def _take_later(self, line: "_Line", key: Hashable, receive: Receive) -> Receive:
        if len(line.waiting) >= self._max_waiting:
            async with self._refusing:
                await asyncio.sleep(REFUSE_EVERY)
            raise self._refusal()
        turn = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        client = _Client(receive)
        try:
            await self._wait(turn, client)
        except BaseException:
            if turn.done():
                self.give_back(key)
            else:
                line.waiting.remove(turn)
            raise
        return client.receive

    async def _wait(self, turn: "asyncio.Future[None]", client: "_Client") -> None:
        leaving = asyncio.create_task(client.left())
        try:
            await asyncio.wait({turn, leaving}, timeout=WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
        if leaving.done():
            raise MalformedRequest("The connection ended before it was the request's turn.")
        if not turn.done():
            raise self._refusal()

    def _refusal(self) -> TooManyAtOnce:
        if self._detail:
            return TooManyAtOnce(self._detail)
        return too_many_at_once(self._max_concurrent, self._max_waiting)

    def give_back(self, key: Hashable) -> None:
        """Free a place, for the request that has waited longest."""
        line = self._lines[key]
        if line.waiting:
            line.waiting.popleft().set_result(None)
            return
        line.busy -= 1
        if not line.busy:
            del self._lines[key]


async def give_way(seconds: float = _PAUSE) -> None:
    """Let other requests have a turn, before a part of long work.

    A request pauses for so many seconds, at the same time as others. Then at most one continues in each round of the
    event loop, so that the parts of several never add up to a long one. Without pauses, the threads that receive
    requests would wait for the interpreter's lock (docs/performance.md).
    """
    if seconds:
        await asyncio.sleep(seconds)  # not in turn, or each pause would delay all requests that give way
    async with _GIVING_WAY.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        await asyncio.sleep(0)


def too_many_at_once(max_concurrent: int, max_waiting: int) -> TooManyAtOnce:
    """The refusal of a request beyond these limits."""
    return TooManyAtOnce(
        f"You may have {max_concurrent} concurrent requests and {max_waiting} waiting ones: "
        "read the answers before you send more."
    )


class _Line:
    """One user's requests: how many are handled, and those that wait."""

    __slots__ = ("busy", "waiting")

    def __init__(self) -> None:
        self.busy = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class _Client:
    """The client of a waiting request. Notices a disconnect; keeps everything else for the reader of the body."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: deque[Message] = deque()
        self._next: asyncio.Task[Message] | None = None

    async def left(self) -> None:
        """Return when the client has disconnected. Not noticed after more than `READ_AHEAD` bytes."""
        read = 0
        while read <= READ_AHEAD:
            message = await self._read()
            self._kept.append(message)
            if message["type"] != "http.request":
                return
            read += len(message["body"])
        await asyncio.get_running_loop().create_future()

    async def receive(self) -> Message:
        """ASGI: what the client has sent, in order."""
        return self._kept.popleft() if self._kept else await self._read()

    async def _read(self) -> Message:
        # Cancelling the server's `receive` would lose a message, so the call goes on for the next reader.
        if self._next is None:
            self._next = asyncio.create_task(self._ask())
        message = await asyncio.shield(self._next)
        self._next = None
        return message

    async def _ask(self) -> Message:
        message: Message = await self._receive()
        return message
