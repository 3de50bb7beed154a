"""Who follows whose changes in this process, and what wakes them: own commits, and a look at the database."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Protocol

from todo_app.http.errors import TooManyAtOnce
from todo_core import OwnerId, StoreUnavailable, SyncPage, TaskStore

LOOK_EVERY: Final = 0.25  # seconds: what another process stored is known within this and the time of one statement
LOOK_AGAIN: Final = 1.0  # seconds, where the database could not answer
STREAMS_MOST: Final = 10  # of one user
_UNKNOWN: Final = -1


class Listener:
    """One stream: waits to be woken, or ended."""

    def __init__(self) -> None:
        self.ended: str | None = None
        self.bug: BaseException | None = None
        self._woken = asyncio.Event()
        self._limit: asyncio.Timeout | None = None

    def wake(self) -> None:
        """There may be something new."""
        self._woken.set()

    def end(self, reason: str) -> None:
        """It is over, whatever is under way: only the first reason counts."""
        if self.ended is None:
            self.ended = reason
            self._woken.set()
            if self._limit is not None:
                self._limit.reschedule(asyncio.get_running_loop().time())

    def look(self) -> None:
        """Forget having been woken: whatever happens from now on wakes again."""
        if self.ended is None:
            self._woken.clear()

    async def wait(self, seconds: float) -> bool:
        """Whether it was woken or ended within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                return await self._woken.wait()
        except TimeoutError:
            return False

    @asynccontextmanager
    async def within(self, seconds: float | None) -> AsyncIterator[None]:
        """For what must not last longer, nor beyond the end of the stream: raises `TimeoutError` then."""
        try:
            async with asyncio.timeout(seconds) as self._limit:
                yield
        finally:
            self._limit = None


class Watch(Protocol):
    """Counts what happens to streams."""

    def opened(self) -> None:
        """One more is open."""
        ...

    def closed(self) -> None:
        """One is over."""
        ...

    def pushed(self, page: SyncPage) -> None:
        """The server has taken a page for a client that had everything before."""
        ...

    def dropped(self) -> None:
        """A client was left because it does not read."""
        ...


class _Followed:
    """An owner whose changes are followed: the last number that is known, and by whom."""

    __slots__ = ("listeners", "number")

    def __init__(self) -> None:
        self.number = _UNKNOWN
        self.listeners: set[Listener] = set()


class Live:
    """The streams of this process.

    Where there are any, the numbers of all their owners' last changes are looked up four times a second, by one
    statement; where there is none, nothing is asked, so that a database may sleep.
    """

    def __init__(self, store: TaskStore, watch: Watch) -> None:
        self._store = store
        self.watch = watch
        self._followed: dict[OwnerId, _Followed] = {}
        self._looking: asyncio.Task[None] | None = None
        self._ended: str | None = None

    @contextmanager
    def listening(self, owner: OwnerId) -> Iterator[Listener]:
        """A listener to that owner's changes, for as long as the block lasts. Raises `TooManyAtOnce`."""
        followed = self._followed.setdefault(owner, _Followed())
        if len(followed.listeners) >= STREAMS_MOST:
            raise TooManyAtOnce(f"At most {STREAMS_MOST} streams of yours are open at the same time: close one first.")
        followed.listeners.add(listener := Listener())
        if self._ended is not None:
            listener.end(self._ended)
        elif self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._looked)
        self.watch.opened()
        try:
            yield listener
        finally:
            self.watch.closed()
            followed.listeners.discard(listener)
            if not followed.listeners:
                del self._followed[owner]

    def changed(self, owner: OwnerId, number: int) -> None:
        """That owner's last change has this number, as far as anybody here knows."""
        if (followed := self._followed.get(owner)) is not None:
            followed.number = number
            for listener in followed.listeners:
                listener.wake()

    def end(self, reason: str = "the server stops") -> None:
        """End all streams, and every one that is still to come."""
        self._ended = reason
        for followed in self._followed.values():
            for listener in followed.listeners:
                listener.end(reason)

    async def aclose(self) -> None:
        """End all streams, and look no more."""
        self.end()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def _look(self) -> None:
        while self._followed:
            try:
                seen = {owner: followed.number for owner, followed in self._followed.items()}
                for owner, number in (await self._store.changed(seen)).items():
                    self.changed(owner, number)
            except StoreUnavailable:
                await asyncio.sleep(LOOK_AGAIN)
            await asyncio.sleep(LOOK_EVERY)

    def _looked(self, looking: "asyncio.Task[None]") -> None:
        """A bug must not leave streams behind that nobody wakes: their clients come back."""
        if not looking.cancelled() and (bug := looking.exception()) is not None:
            for followed in self._followed.values():
                for listener in followed.listeners:
                    listener.bug = bug
                    listener.end("a bug")
