"""Whose turn it is: how many requests of one user are worked on at the same time, and who waits."""

import asyncio
from collections import deque
from typing import Final

from todo_app.http.errors import MalformedRequest, TooManyAtOnce
from todo_app.http.exchange import Message, Receive
from todo_core import OwnerId

WAIT_SECONDS: Final = 20.0
READ_AHEAD: Final = 64 * 1024  # bytes of a body that are read while its request waits, to notice a client that leaves


class Turns:
    """Places for the requests of each user in this process: so many are worked on, so many more wait in order.

    A place is held until the answer has been taken by the client, as far as the server can tell. Whoever waits holds
    nothing but the request itself.
    """

    def __init__(self, *, max_concurrent: int, max_waiting: int) -> None:
        self._max_concurrent, self._max_waiting = max_concurrent, max_waiting
        self._lines: dict[OwnerId, _Line] = {}

    async def take(self, owner: OwnerId, receive: Receive) -> Receive:
        """A place, which `give_back` frees; returns what to read the request's body with from now on.

        Raises `TooManyAtOnce` if too many wait already, or after 20 seconds, and `MalformedRequest` if the client has
        left meanwhile.
        """
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = _Line()
        if line.busy < self._max_concurrent:
            line.busy += 1
            return receive
        if len(line.waiting) >= self._max_waiting:
            raise self._refusal()
        turn = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        client = _Client(receive)
        try:
            await self._wait(turn, client)
        except BaseException:
            if turn.done():
                self.give_back(owner)
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
        return too_many_at_once(self._max_concurrent, self._max_waiting)

    def give_back(self, owner: OwnerId) -> None:
        """Free a place: it goes to whoever has waited longest."""
        line = self._lines[owner]
        if line.waiting:
            line.waiting.popleft().set_result(None)
            return
        line.busy -= 1
        if not line.busy:
            del self._lines[owner]


def too_many_at_once(max_concurrent: int, max_waiting: int) -> TooManyAtOnce:
    """The refusal of a request where so many are worked on, and so many wait."""
    return TooManyAtOnce(
        f"At most {max_concurrent} of your requests are worked on at the same time, and {max_waiting} more wait: "
        "read the answers before you send others."
    )


class _Line:
    """One user's requests: how many are worked on, and those whose turn will come."""

    __slots__ = ("busy", "waiting")

    def __init__(self) -> None:
        self.busy = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class _Client:
    """Who sent a request that waits. Notices that they leave; what else they send is kept for whoever reads it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: deque[Message] = deque()
        self._next: asyncio.Task[Message] | None = None

    async def left(self) -> None:
        """Return when they have left. Of those who send more than `READ_AHEAD` it is not noticed here."""
        read = 0
        while read <= READ_AHEAD:
            message = await self._read()
            self._kept.append(message)
            if message["type"] != "http.request":
                return
            read += len(message["body"])
        await asyncio.get_running_loop().create_future()

    async def receive(self) -> Message:
        """ASGI: what they have sent, in order."""
        return self._kept.popleft() if self._kept else await self._read()

    async def _read(self) -> Message:
        # A call of the server's that is cancelled would lose what it has read: it goes on, and the next one takes it.
        if self._next is None:
            self._next = asyncio.create_task(self._ask())
        message = await asyncio.shield(self._next)
        self._next = None
        return message

    async def _ask(self) -> Message:
        message: Message = await self._receive()
        return message
