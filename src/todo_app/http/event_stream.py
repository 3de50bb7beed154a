"""An answer without an end: what changes, as server-sent events (https://html.spec.whatwg.org/#server-sent-events)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from todo_app.http.exchange import PIECE, Exchange, Header, Receive, Scope, Send
from todo_app.http.live import Listener, Live
from todo_core import OwnerId, ResyncRequired, StoreUnavailable, SyncPage, SyncToken

EVENT_STREAM: Final = "text/event-stream"
COMMENT_EVERY: Final = 15.0  # seconds: proxies end what is silent for a minute
TAKEN_WITHIN: Final = 15.0  # seconds that a client has for each piece of a page, before it is dropped
READ_AGAIN: Final = 1.0  # seconds, where the database could not answer
LAST_WORDS_WITHIN: Final = 0.25  # seconds
RECONNECT_AFTER: Final = 1000  # milliseconds
BODY_MOST: Final = 64 * 1024  # bytes that a client may send meanwhile; nobody reads them

_HEADERS: Final[list[Header]] = [
    (b"content-type", EVENT_STREAM.encode()),
    (b"cache-control", b"private, no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),  # otherwise nginx keeps events back until it has gathered enough of them
]
_LEFT: Final = "the client left"


class EventStream:
    """Sends the pages behind a token, as an ASGI application, until the client, the token or the server ends it.

    Raises a `TodoError` where it cannot begin. Of each stream no more is held than the page that is being sent.
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
        """`here`: where the log ends now; there it begins without `since`. `seconds_left`: of the caller's token."""
        self._live = live
        self._owner = owner
        self._exchange = exchange
        self._read = read
        self._here = here
        self._as_json = as_json
        self._since = since
        self._seconds_left = seconds_left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin, go on, and end."""
        with self._live.listening(self._owner) as listener:
            token = self._since or await self._here()
            page = await self._read(token)
            self._exchange.give_back_turn()
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            if self._exchange.method == "HEAD":
                listener.end("only its head was asked for")
            leaving = asyncio.create_task(_leave(receive))
            leaving.add_done_callback(lambda _: listener.end(_LEFT))
            try:
                await self._push(send, listener, token, page)
                await _say_goodbye(send, listener)
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
        """Send page after page. Raises `TimeoutError` where the client does not take one."""
        behind = True  # until it has once been told everything: how old that is says nothing of the stream
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
        """Return when there may be more to send; until then say that the connection lives."""
        while listener.ended is None and (left := self._seconds_left()) > 0:
            if await listener.wait(min(COMMENT_EVERY, left)):
                return
            await _write(send, listener, b":\n\n")

    async def _next(self, listener: Listener, token: SyncToken) -> SyncPage | None:
        """The page behind that token; None if there is none at the moment."""
        listener.look()  # before it is read: what is stored from now on wakes again
        if listener.ended is not None:
            return None
        try:
            async with listener.within(None):
                return await self._read(token)
        except ResyncRequired as refusal:
            listener.end(refusal.code)  # the client comes back with its token, and is told so
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
        async with listener.within(TAKEN_WITHIN):
            await send({"type": "http.response.body", "body": body[place : place + PIECE], "more_body": True})


async def _say_goodbye(send: Send, listener: Listener) -> None:
    """End the answer properly: a client that is cut off would take it for a failure."""
    if listener.ended != _LEFT:
        async with asyncio.timeout(LAST_WORDS_WITHIN):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _leave(receive: Receive) -> None:
    """Return when the client has left, or sends what nobody asked for."""
    read = 0
    while read <= BODY_MOST:
        message = await receive()
        if message["type"] != "http.request":
            return
        read += len(message["body"])
