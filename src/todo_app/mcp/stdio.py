"""`todo mcp`: the tools over standard input and output, until the client closes them."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from functools import partial
from typing import Any, Final

from dependency_injector.providers import Object
from mcp.server.stdio import stdio_server

from todo_app.container import Container
from todo_app.local import LocalDatabase, bring_up_to_date
from todo_app.log import Log
from todo_app.mcp.conversation import LINE_MAX, Conversation
from todo_app.mcp.server import Request, server_for
from todo_app.mcp.tool import Caller
from todo_app.settings import Settings
from todo_app.signals import Signals
from todo_core import Identity, InsufficientScope, Scope, owner_id

CLIENT: Final = "todo mcp"
"""The client in the log of changes."""

_STDERR: Final = 2
_CHUNK: Final = 64 * 1024


def serve(settings: Settings, user: str, *, scopes: Collection[Scope] | None, zone: str | None) -> None:
    """Serve that user's tools until standard input ends, or a signal ends the process. Raises as `todo serve` does."""
    identity = Identity(owner_id(user), CLIENT, None if scopes is None else frozenset(scopes))
    signals = Signals()
    log = Log(settings.log_level, _STDERR)  # standard output belongs to the protocol
    with LocalDatabase(settings, log) as database_url:
        bring_up_to_date(settings, database_url)
        container = Container(settings=replace(settings, database_url=database_url))
        container.log.override(Object(log))
        try:
            asyncio.run(_serve(container, identity, zone, signals))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            signals.interrupt()
            log.flush()


async def _serve(container: Container, identity: Identity, zone: str | None, signals: Signals) -> None:
    if (task := asyncio.current_task()) is not None:
        signals.cancel(task)
    log = container.log()
    log.adopt()
    caller = Caller(container.tasks(), identity, zone)
    server = server_for(lambda _: caller, partial(_report, log))
    client = Conversation()
    messages: Any = client.messages(_lines())  # all that the SDK asks of its file
    try:
        async with stdio_server(stdin=messages) as (incoming, outgoing):
            await server.run(incoming, client.answer_to(outgoing), server.create_initialization_options())
    finally:
        await container.store().aclose()
        await container.engine().dispose()


def _report(log: Log, request: Request, error: Exception) -> None:
    if not isinstance(error, InsufficientScope):  # the agent is told; only HTTP has a status for it
        log.tool_bug(request.method, error)


async def _lines() -> AsyncIterator[bytes]:
    """The lines of standard input; only the beginning of one that is too long, so that memory is bounded.

    Read in a daemon thread, so that a signal ends the process while it waits for input.
    """
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[bytes](1)

    def read() -> None:
        while chunk := os.read(0, _CHUNK):
            asyncio.run_coroutine_threadsafe(queue.put(chunk), loop).result()
        asyncio.run_coroutine_threadsafe(queue.put(b""), loop)

    threading.Thread(target=read, daemon=True).start()
    rest = b""
    while chunk := await queue.get():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
        rest = rest[: LINE_MAX + 1]
    yield rest
