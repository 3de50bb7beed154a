"""A client of `todo mcp`: what it sends, line by line, and what it has not been answered yet."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from mcp.shared.message import SessionMessage
from mcp.types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError

from todo_app.http.errors import MalformedRequest
from todo_app.mcp.message import Message, read_message

LINE_MAX: Final = 1024 * 1024  # bytes of one message
TOO_LONG: Final = f"A message may have at most {LINE_MAX} bytes."
FINISH_SECONDS: Final = 10.0  # for what is under way when the client ends


class Conversation:
    """Stands between the client and the SDK, which drops what it cannot read and, at the end, what is under way.

    After `answer_to`, the SDK writes its answers to it.
    """

    def __init__(self) -> None:
        self._out: Any = None
        self._asked: set[int | str] = set()
        self._answered = asyncio.Event()

    def answer_to(self, out: Any) -> Self:
        """Answers go to that stream of the SDK."""
        self._out = out
        return self

    async def messages(self, lines: AsyncIterator[bytes]) -> AsyncIterator[str]:
        """The lines that are messages; the others are refused. Ends when each request has been answered."""
        async for line in lines:
            if not line.strip():
                continue
            try:
                self._note(_read(line))
            except MalformedRequest as error:
                await self._refuse(line, str(error))
                continue
            yield line.decode()
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await self._finish()

    def _note(self, message: Message) -> None:
        if message.asked is not None:
            self._asked.add(message.asked)
        elif message.cancelled is not None:
            self._asked.discard(message.cancelled)  # the SDK does not answer it

    async def _refuse(self, line: bytes, reason: str) -> None:
        code, asked = (INVALID_REQUEST, None) if len(line) > LINE_MAX else _code_and_id(line)
        refusal = JSONRPCError(jsonrpc="2.0", id=asked, error=ErrorData(code=code, message=reason))
        await self._out.send(SessionMessage(refusal))

    async def _finish(self) -> None:
        while self._asked:
            self._answered.clear()
            await self._answered.wait()

    async def send(self, item: SessionMessage, /) -> None:
        """Send an answer on."""
        await self._out.send(item)
        self._asked.discard(getattr(item.message, "id", None))  # a notification has none
        self._answered.set()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._out.aclose()

    async def __aenter__(self) -> Self:
        await self._out.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        closed: bool | None = await self._out.__aexit__(kind, error, trace)
        return closed


def _read(line: bytes) -> Message:
    """The message. Raises `MalformedRequest` where there is none, or one that is too long."""
    if len(line) > LINE_MAX:
        raise MalformedRequest(TOO_LONG)
    return read_message(line)


def _code_and_id(line: bytes) -> tuple[int, int | str | None]:
    """The error code for a refused message (JSON-RPC 2.0, §5.1), and the id that it names, if it can be read."""
    try:
        found = json.loads(line)
    except RecursionError:
        return INVALID_REQUEST, None
    except ValueError:
        return PARSE_ERROR, None
    given = found.get("id") if isinstance(found, dict) else None
    return INVALID_REQUEST, given if type(given) is int or (isinstance(given, str) and given.isprintable()) else None
