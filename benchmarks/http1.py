"""A minimal HTTP/1.1 client for load generators: one keep-alive connection, one request at a time."""

import asyncio
import re
from functools import cache
from typing import NamedTuple, cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BODILESS = (204, 304)


@cache
def _field(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"\r\n%b: ([^\r]*)\r" % name.encode(), re.IGNORECASE)


class Answer(NamedTuple):
    """A whole answer: its status, its head as it came, and its body."""

    status: int
    head: bytes
    body: bytes

    def field(self, name: str) -> str | None:
        """The (first) header of that name."""
        found = _field(name).search(self.head)
        return found[1].decode("latin-1") if found else None


def read(received: bytes, *, to_head: bool = False) -> tuple[Answer, bytes] | None:
    """The first answer in these bytes and what is behind it; None while it is not whole."""
    end = received.find(b"\r\n\r\n") + 4
    if end < 4:
        return None
    head, status = received[:end], int(received[9:12])
    length = _LENGTH.search(head)
    if length is None and status not in _BODILESS:
        raise ValueError(f"an answer without Content-Length: {head!r}")
    whole = end if to_head or length is None else end + int(length[1])
    if len(received) < whole:
        return None
    return Answer(status, head, received[end:whole]), received[whole:]


class Client(asyncio.Protocol):
    """Connects when it is first asked, and anew after `leave`."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._received = b""
        self._to_head = False

    async def ask(self, request: bytes, *, to_head: bool = False) -> Answer:
        """The answer. Raises `ConnectionError` if the server hangs up first, `ValueError` for what is no answer."""
        loop = asyncio.get_running_loop()
        if self._transport is None:
            await loop.create_connection(lambda: self, self._host, self._port)
        self._to_head, self._waiting = to_head, loop.create_future()
        cast("asyncio.Transport", self._transport).write(request)
        return await self._waiting

    def leave(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As `asyncio.Protocol` says."""
        self._transport, self._received = cast("asyncio.Transport", transport), b""

    def data_received(self, data: bytes) -> None:
        """As `asyncio.Protocol` says."""
        self._received += data
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting.cancelled():  # who asked has given up
            return
        try:
            found = read(self._received, to_head=self._to_head)
            if waiting is None or (found and found[1]):
                raise ValueError(f"more came than was asked for: {self._received!r}")
        except ValueError as error:
            if waiting is None:
                raise
            waiting.set_exception(error)
            return
        if found is None:
            self._waiting = waiting
            return
        self._received = b""
        waiting.set_result(found[0])

    def connection_lost(self, problem: Exception | None) -> None:
        """As `asyncio.Protocol` says."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(ConnectionError(f"the server hung up: {problem}"))
