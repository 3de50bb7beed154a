"""Which calls `todo mcp` waits for when its client ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from todo_app.mcp import conversation
from todo_app.mcp.conversation import Conversation

ASKED = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'


async def sent(*lines: bytes) -> AsyncIterator[bytes]:
    for line in lines:
        yield line


async def heard(client: Conversation, *lines: bytes) -> list[str]:
    async with asyncio.timeout(5):
        return [message async for message in client.messages(sent(*lines))]


async def test_a_cancelled_call_is_not_waited_for() -> None:
    cancelled = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}'
    assert len(await heard(Conversation(), ASKED, cancelled)) == 2


@pytest.mark.parametrize("params", [b"[]", b"7", b'{"requestId":[]}', b'{"requestId":2}', b"{}"])
async def test_a_call_that_is_not_cancelled_is_waited_for_until_the_time_limit(
    monkeypatch: pytest.MonkeyPatch, params: bytes
) -> None:
    monkeypatch.setattr(conversation, "FINISH_SECONDS", 0.01)
    refused: list[Any] = []
    client = Conversation().answer_to(Out(refused))
    cancelled = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":' + params + b"}"
    assert len(await heard(client, ASKED, cancelled)) + len(refused) == 2


class Out:
    """A stream of the SDK."""

    def __init__(self, taken: list[Any]) -> None:
        self._taken = taken

    async def send(self, item: Any) -> None:
        self._taken.append(item)
