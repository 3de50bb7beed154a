"""`todo mcp`: the tools over standard input and output, until the client closes them."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

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
from todo_app.streams import StreamError, read_some, write_all
from todo_core import Identity, InsufficientScope, Scope, owner_id

CLIENT: Final = "todo mcp"
"""The client in the log of changes."""

_STDERR: Final = 2
T = TypeVar("T")


def serve(settings: Settings, user: str, *, scopes: Collection[Scope] | None, zone: str | None) -> None:
    """Serve that user's tools until standard input ends, or a signal ends the process.

    Raises as `todo serve` does, and `StreamError` if standard input or output cannot be used.
    """
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
        except BaseExceptionGroup as errors:  # from the SDK's tasks
            if signals.came:
                raise KeyboardInterrupt from None
            raise _stream_error_of(errors) or errors from None
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
    # All that the SDK asks of its files.
    messages: Any = client.messages(_lines())
    output: Any = _Output()
    try:
        async with stdio_server(stdin=messages, stdout=output) as (incoming, outgoing):
            await server.run(incoming, client.answer_to(outgoing), server.create_initialization_options())
    finally:
        await container.store().aclose()
        await container.engine().dispose()


def _stream_error_of(errors: BaseExceptionGroup[BaseException]) -> BaseException | None:
    found: BaseException | None = errors.subgroup(StreamError)
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def _report(log: Log, request: Request, error: Exception) -> None:
    if not isinstance(error, InsufficientScope):  # the tool's answer says so: no bug
        log.tool_bug(request.method, error)


class _Output:
    """Standard output, for the protocol alone: what anything else prints goes to standard error."""

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        os.dup2(_STDERR, 1)

    async def write(self, text: str) -> None:
        await _in_thread(lambda: write_all(self._descriptor, text.encode()))

    async def flush(self) -> None:
        """Do nothing: nothing is kept back."""


async def _lines() -> AsyncIterator[bytes]:
    """The lines of standard input; only the beginning of one that is too long, so that memory is bounded."""
    rest = b""
    while chunk := await _in_thread(read_some):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
        rest = rest[: LINE_MAX + 1]
    yield rest


async def _in_thread(work: Callable[[], T]) -> T:
    """What `work` returns or raises, in a daemon thread: a signal ends the process while it waits for the client."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(outcome)
