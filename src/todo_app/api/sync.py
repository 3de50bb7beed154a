"""Operations for clients that keep a copy: pages of changes, and a stream of them."""

import re
from functools import partial
from typing import Final

import msgspec

from todo_app.api import examples, wire
from todo_app.api.components import LAST_EVENT_ID
from todo_app.api.listing import CHANGED, EVENTS, read_since, read_sync
from todo_app.api.operation import READ, Answer, Call, Subject
from todo_app.api.replies import give_way_before, reply_with
from todo_app.http.errors import MalformedRequest
from todo_app.http.event_stream import EVENT_STREAM, EventStream
from todo_app.http.exchange import Exchange, Reply
from todo_core import InvalidInput, OwnerId, Problem, ResyncRequired, SyncPage, SyncToken
from todo_core.sync import TOKEN_PATTERN, TOKEN_RULE

SYNC: Final = Subject("sync", "For clients that keep a copy: what has changed.")

_encode: Final = msgspec.json.Encoder().encode
_TOKEN = re.compile(TOKEN_PATTERN.encode())


@SYNC.operation(
    "GET",
    "/changes",
    scope=READ,
    query=CHANGED,
    answers={200: Answer("One page.", wire.ChangedThings, examples.CHANGED_THINGS)},
    refuses=(ResyncRequired,),
)
async def get_changes(call: Call[None]) -> Reply:
    """Get what has changed.

    Without a token this is everything, with one it is what has changed since: each task or list once per page, in its
    present state. A client that follows `next` until `more` is false has an exact copy. Items may be repeated on later
    pages. A token is valid for as long as changes are kept; if it is too old, or a backup was restored, the answer is
    410, and everything must be fetched again. A client that is far behind is sent everything as `full` pages, too.
    """
    page = await call.tasks.sync(call.owner, **read_sync(call.query_string, call.owner))
    await give_way_before(page.items)
    return reply_with(wire.ChangedThings.of(page, call.owner))


@SYNC.operation(
    "GET",
    "/events",
    scope=READ,
    query=EVENTS,
    headers=(LAST_EVENT_ID,),
    answers={200: Answer("The stream.", example=examples.EVENT, type=EVENT_STREAM)},
    refuses=(ResyncRequired,),
)
async def follow_changes(call: Call[None]) -> EventStream:
    """Stream what changes.

    Server-sent events: each event `changes` has a page as in `/changes`, and its `next` as `id`. The stream ends when
    the token expires, or when the client does not read: continue with the last `id`. At most 10 are open per user and
    process. A browser's EventSource cannot send a token: read the stream with `fetch`.
    """
    tasks, owner, until = call.tasks, call.owner, call.identity.until

    async def here() -> SyncToken:
        return (await tasks.sync(owner, limit=1)).here

    return EventStream(
        call.live,
        owner,
        call.exchange,
        read=partial(tasks.sync, owner),
        here=here,
        as_json=partial(_as_json, owner),
        since=_last_event_id(call.exchange, owner) or read_since(call.query_string, owner),
        seconds_left=lambda: until - tasks.clock.now().timestamp(),
    )


def _as_json(owner: OwnerId, page: SyncPage) -> bytes:
    return _encode(wire.ChangedThings.of(page, owner))


def _last_event_id(exchange: Exchange, owner: OwnerId) -> SyncToken | None:
    """The token in `Last-Event-ID`, if any. Raises `MalformedRequest`, or `InvalidInput` for another user's token."""
    sent = exchange.header(b"last-event-id")
    if not sent:
        return None
    if not _TOKEN.fullmatch(sent):
        raise MalformedRequest(f"Last-Event-ID {TOKEN_RULE}.")
    try:
        return SyncToken.decode(sent.decode(), owner)
    except InvalidInput:
        raise InvalidInput([Problem("Last-Event-ID", TOKEN_RULE)]) from None
