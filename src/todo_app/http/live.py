"""The event streams of this process, and what wakes them: own commits, and polling of the database."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Protocol

from todo_app.http.errors import TooManyAtOnce
from todo_core import OwnerId, StoreUnavailable, SyncPage, TaskStore

POLL_EVERY: Final = 0.25  # seconds: the maximum delay, plus one statement, for changes of other processes
POLL_AGAIN: Final = 1.0  # seconds after the database was unavailable
STREAMS_MAX: Final = 10  # of one user
_UNKNOWN: Final = -1


class Listener:
    """One stream, which waits to be woken or ended."""

    def __init__(self) -> None:
        self.ended: str | None = None
        self.bug: BaseException | None = None
        self._woken = asyncio.Event()
        self._limit: asyncio.Timeout | None = None

    def wake(self) -> None:
        """Wake it: there may be changes."""
        self._woken.set()

    def end(self, reason: str) -> None:
        """End the stream, cancelling what is under way. Only the first reason is kept."""
        if self.ended is None:
            self.ended = reason
            self._woken.set()
            if self._limit is not None:
                self._limit.reschedule(asyncio.get_running_loop().time())

    def reset(self) -> None:
        """Forget that it was woken, before reading: changes from now on wake it again."""
        if self.ended is None:
            self._woken.clear()

    async def wait(self, seconds: float) -> bool:
        """Whether it was woken or ended within that many seconds."""
        try:
            async with asyncio.timeout(seconds):
                return await self._woken.wait()
        except TimeoutError:
            return False

    @asynccontextmanager
    async def within(self, seconds: float | None) -> AsyncIterator[None]:
        """A timeout for a block, which also ends with the stream. Raises `TimeoutError`."""
        try:
            async with asyncio.timeout(seconds) as self._limit:
                yield
        finally:
            self._limit = None


class Watch(Protocol):
    """Metrics of streams."""

    def opened(self) -> None:
        """A stream was opened."""
        ...

    def closed(self) -> None:
        """A stream was closed."""
        ...

    def pushed(self, page: SyncPage) -> None:
        """A page was sent to a client that was up to date before."""
        ...

    def dropped(self) -> None:
        """A stream was ended because its client does not read."""
        ...


class _Followed:
    """An owner with open streams: the number of the last known change, and the streams."""

    __slots__ = ("listeners", "number")

    def __init__(self) -> None:
        self.number = _UNKNOWN
        self.listeners: set[Listener] = set()


class Live:
    """The streams of this process.

    While there are any, the numbers of all their owners' last changes are read four times a second, in one statement.
    Without streams nothing is polled, so that a serverless database can sleep.
    """

    def __init__(self, store: TaskStore, watch: Watch) -> None:
        self._store = store
        self.watch = watch
        self._followed: dict[OwnerId, _Followed] = {}
        self._polling: asyncio.Task[None] | None = None
        self._ended: str | None = None

    @contextmanager
    def listening(self, owner: OwnerId) -> Iterator[Listener]:
        """A listener for that owner's changes while the block runs. Raises `TooManyAtOnce`."""
        followed = self._followed.setdefault(owner, _Followed())
        if len(followed.listeners) >= STREAMS_MAX:
            raise TooManyAtOnce(f"You have {STREAMS_MAX} open streams, which is the limit: close one first.")
        followed.listeners.add(listener := Listener())
        if self._ended is not None:
            listener.end(self._ended)
        elif self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
            self._polling.add_done_callback(self._polled)
        self.watch.opened()
        try:
            yield listener
        finally:
            self.watch.closed()
            followed.listeners.discard(listener)
            if not followed.listeners:
                del self._followed[owner]

    def changed(self, owner: OwnerId, number: int) -> None:
        """Note the number of that owner's last change, and wake the streams."""
        if (followed := self._followed.get(owner)) is not None:
            followed.number = number
            for listener in followed.listeners:
                listener.wake()

    def end(self) -> None:
        """End all streams, including those that are still to come."""
        self._ended = "the server is stopping"
        for followed in self._followed.values():
            for listener in followed.listeners:
                listener.end(self._ended)

    async def aclose(self) -> None:
        """End all streams, and stop polling."""
        self.end()
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait({self._polling})

    async def _poll(self) -> None:
        was_unavailable = False
        while self._followed:
            try:
                seen = {owner: followed.number for owner, followed in self._followed.items()}
                for owner, number in (await self._store.changed(seen)).items():
                    self.changed(owner, number)
            except StoreUnavailable:
                was_unavailable = True
                await asyncio.sleep(POLL_AGAIN)
            else:
                if was_unavailable:
                    self._wake_all()
                was_unavailable = False
            await asyncio.sleep(POLL_EVERY)

    def _wake_all(self) -> None:
        """After an outage: a standby may have taken over, which lacks a change, or has another one with its number."""
        for followed in self._followed.values():
            for listener in followed.listeners:
                listener.wake()

    def _polled(self, polling: "asyncio.Task[None]") -> None:
        """After a bug in polling, end all streams, so that their clients reconnect."""
        if not polling.cancelled() and (bug := polling.exception()) is not None:
            for followed in self._followed.values():
                for listener in followed.listeners:
                    listener.bug = bug
                    listener.end("internal error")
