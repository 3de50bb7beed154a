"""A stream of changes as server-sent events (https://html.spec.whatwg.org/#server-sent-events)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from todo_app.http.exchange import PIECE, Exchange, Header, Receive, Scope, Send
from todo_app.http.live import Listener, Live
from todo_core import OwnerId, ResyncRequired, StoreUnavailable, SyncPage, SyncToken

EVENT_STREAM: Final = "text/event-stream"
COMMENT_EVERY: Final = 15.0  # seconds: proxies close connections that are silent for a minute
WRITE_TIMEOUT: Final = 15.0  # seconds for a client to accept each piece of a page
READ_AGAIN: Final = 1.0  # seconds after the database was unavailable
FINISH_TIMEOUT: Final = 0.25  # seconds
RECONNECT_AFTER: Final = 1000  # milliseconds
BODY_MAX: Final = 64 * 1024  # bytes that a client may send meanwhile; they are ignored

_HEADERS: Final[list[Header]] = [
    (b"content-type", EVENT_STREAM.encode()),
    (b"cache-control", b"private, no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),  # otherwise nginx buffers events
]
_LEFT: Final = "the client disconnected"


class EventStream:
    """An ASGI application that sends the pages after a token, until the client, the token or the server ends it.

    Raises a `TodoError` if it cannot begin. It holds no more in memory than the page that is being sent.
    """

    def __init__(
        self,
        live: Live,
        owner: OwnerId,
        exchange: Exchange,
        *,
        read: Callable[[SyncToken], Awaitable[SyncPage]],
        here: Callable[[], Awaitable[SyncToken]],
        as_json: Callable[[SyncPage], bytes],
        since: SyncToken | None,
        seconds_left: Callable[[], float],
    ) -> None:
        """`here` returns the end of the log, where the stream begins without `since`. `seconds_left`: of the token."""
        self._live = live
        self._owner = owner
        self._exchange = exchange
        self._read = read
        self._here = here
        self._as_json = as_json
        self._since = since
        self._seconds_left = seconds_left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        with self._live.listening(self._owner) as listener:
            token = self._since or await self._here()
            page = await self._read(token)
            self._exchange.give_back_turn()
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            if self._exchange.method == "HEAD":
                listener.end("the request was HEAD")
            leaving = asyncio.create_task(_leave(receive))
            leaving.add_done_callback(lambda _: listener.end(_LEFT))
            try:
                await self._push(send, listener, token, page)
                await _finish(send, listener)
            except TimeoutError:
                if listener.ended is None:
                    listener.end("the client does not read")
                    self._live.watch.dropped()
            finally:
                leaving.cancel()
                self._exchange.reason = listener.ended
            if listener.bug is not None:
                raise listener.bug

    async def _push(self, send: Send, listener: Listener, token: SyncToken, page: SyncPage | None) -> None:
        """Send page after page. Raises `TimeoutError` if the client does not accept one in time."""
        behind = True  # until the client has caught up; before that, the age of changes is not the stream's lag
        await _write(send, listener, f"retry: {RECONNECT_AFTER}\nid: {token.encode(self._owner)}\n\n".encode())
        while listener.ended is None:
            if page is not None and page.next != token:
                token = page.next
                await _write(send, listener, self._event(page))
                if not behind:
                    self._live.watch.pushed(page)
            if page is None:
                await listener.wait(READ_AGAIN)
            elif not page.more:
                behind = False
                await self._rest(send, listener)
            if self._seconds_left() <= 0:
                listener.end("the token has expired")
            page = await self._next(listener, token)

    async def _rest(self, send: Send, listener: Listener) -> None:
        """Return when there may be more to send; until then, send comments to keep the connection open."""
        while listener.ended is None and (left := self._seconds_left()) > 0:
            if await listener.wait(min(COMMENT_EVERY, left)):
                return
            await _write(send, listener, b":\n\n")

    async def _next(self, listener: Listener, token: SyncToken) -> SyncPage | None:
        """The page after that token, or None if it cannot be read at the moment."""
        listener.reset()  # before reading, so that changes from now on wake it again
        if listener.ended is not None:
            return None
        try:
            async with listener.within(None):
                return await self._read(token)
        except ResyncRequired as refusal:
            listener.end(refusal.code)  # the client reconnects with its token, and is answered 410
        except StoreUnavailable:
            pass
        except TimeoutError:
            if listener.ended is None:
                raise
        return None

    def _event(self, page: SyncPage) -> bytes:
        token = page.next.encode(self._owner).encode()
        return b"event: changes\nid: %b\ndata: %b\n\n" % (token, self._as_json(page))


async def _write(send: Send, listener: Listener, body: bytes) -> None:
    for place in range(0, len(body), PIECE):
        async with listener.within(WRITE_TIMEOUT):
            await send({"type": "http.response.body", "body": body[place : place + PIECE], "more_body": True})


async def _finish(send: Send, listener: Listener) -> None:
    """End the answer properly, so that the client does not take it for a failure."""
    if listener.ended != _LEFT:
        async with asyncio.timeout(FINISH_TIMEOUT):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _leave(receive: Receive) -> None:
    """Return when the client has disconnected, or has sent too large a body."""
    read = 0
    while read <= BODY_MAX:
        message = await receive()
        if message["type"] != "http.request":
            return
        read += len(message["body"])
