"""Connects to a host with several addresses: all are tried within the timeout, those that failed before at the end."""

import asyncio
from collections import deque
from traceback import clear_frames
from typing import Any, Final, TypeAlias

from psycopg.conninfo import conninfo_attempts_async

from todo_adapters.postgres.driver import Connection

_PAUSE: Final = 1.0  # seconds until the next address is tried as well, less if there are many
_Attempt: TypeAlias = dict[str, Any]
_Address: TypeAlias = tuple[object, ...]


class Addresses:
    """All addresses that psycopg's arguments resolve to.

    The next address is tried when one has failed, or has not connected after a pause; the first connection wins (as in
    RFC 8305). An address that drops packets costs the pause, once, and a slow one is not given up.
    """

    def __init__(self, arguments: _Attempt, *, timeout: float) -> None:
        """The last address is tried after half of `timeout` at the latest."""
        self._arguments = arguments
        self._timeout = timeout
        self._failed: set[_Address] = set()

    async def connect(self) -> Connection:
        """A connection to one of the addresses. If all fail, raises the `psycopg.Error` of the last one."""
        attempts: list[_Attempt] = [dict(attempt) for attempt in await conninfo_attempts_async(self._arguments)]
        self._failed.intersection_update(map(_address, attempts))  # a name's addresses change over time
        preferred = attempts[0].get("target_session_attrs")  # psycopg lists the preferred kind first
        attempts.sort(key=lambda each: (each.get("target_session_attrs") != preferred, _address(each) in self._failed))
        running: dict[asyncio.Task[Connection], _Address] = {}
        try:
            connection = await self._first(deque(attempts), running)
        except BaseException:
            await _close(running)
            raise
        try:
            await _close(running)
        except BaseException:  # nobody waits for the connection any more
            await connection.close()
            raise
        return connection

    async def _first(self, attempts: deque[_Attempt], running: dict[asyncio.Task[Connection], _Address]) -> Connection:
        """The first connection. Its task, and those that failed, are removed from `running`."""
        pause = min(_PAUSE, self._timeout / 2 / len(attempts))
        while True:
            if attempts:
                attempt = attempts.popleft()
                running[asyncio.create_task(_connect(attempt))] = _address(attempt)
            done, _ = await asyncio.wait(running, timeout=pause if attempts else None, return_when="FIRST_COMPLETED")
            for task in done:
                address = running.pop(task)
                if task.exception() is None:
                    self._failed.discard(address)
                    self._failed.update(running.values())  # these began earlier, and are slower
                    return task.result()
                self._failed.add(address)
                if not (running or attempts):
                    return task.result()  # raises


def _address(attempt: _Attempt) -> _Address:
    return tuple(attempt.get(name) for name in ("host", "hostaddr", "port", "target_session_attrs"))


async def _connect(attempt: _Attempt) -> Connection:
    try:
        return await Connection.connect(**attempt)
    except BaseException as error:
        clear_frames(error.__traceback__)  # they hold the socket, which would stay open as long as the error exists
        raise


async def _close(running: dict[asyncio.Task[Connection], _Address]) -> None:
    for task in running:
        task.cancel()
    for connected in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(connected, Connection):
            await connected.close()
