"""The operations' replies: a thing, the outcome of a change, a page, or no content."""

from collections.abc import Sized
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from todo_app.api import wire
from todo_app.api.operation import Call
from todo_app.api.remembering import remembered_if_short
from todo_app.http.exchange import PIECE, Header, Reply
from todo_app.http.headers import is_unmodified
from todo_app.http.turns import give_way
from todo_core import Committed, Summary, Task, Thing
from todo_core.changes import kind_of

FRESH: Final[Header] = (b"cache-control", b"private, no-cache, no-transform")
CHANGED: Final = ("ETag", "Change", "Idempotency-Replayed")
"""The headers of an answer with a changed thing."""

_JSON_TYPE: Final[Header] = (b"content-type", b"application/json")
_REPLAYED: Final[Header] = (b"idempotency-replayed", b"true")
_AT_A_TIME: Final = 100  # things, encoded within a millisecond
_TAGS_AT_A_TIME: Final = 2000
_AT_ONCE: Final = 64  # items of a page
_encode: Final = msgspec.json.Encoder().encode


def path_of(call: Call[Any], below: str) -> str:
    """The path of something of the caller's, as clients see it."""
    return f"{call.root_path}/api/{quote(call.owner, safe='')}/{below}"


def reply_with(view: msgspec.Struct, *headers: Header, status: int = 200) -> Reply:
    """A reply with a view, not to be stored by shared caches."""
    return Reply(status, [_JSON_TYPE, FRESH, *headers], _encode(view))


def reply_with_thing(call: Call[Any], thing: Thing) -> Reply:
    """The thing, or 304 if the client has this version (RFC 9110 §13.1.2)."""
    if is_unmodified(call.exchange, thing.version):
        return Reply(304, [FRESH, _tag(thing)])
    return reply_with(_view(thing), _tag(thing))


def reply_with_changed(thing: Thing, committed: Committed, *headers: Header, status: int = 200) -> Reply:
    """The thing that was changed, and the change's number."""
    return reply_with(_view(thing), _tag(thing), *headers, *change_headers(committed), status=status)


def reply_with_created(call: Call[Any], thing: Thing, committed: Committed) -> Reply:
    """As `reply_with_changed`, with its path: 201, or 200 if it already existed."""
    location = path_of(call, f"{kind_of(thing)}s/{thing.id}").encode()
    return reply_with_changed(
        thing, committed, (b"location", location), status=200 if committed.change is None else 201
    )


async def reply_with_things(committed: Committed) -> Reply:
    """The things that were changed, and the change's number.

    There may be 10 000, of 90 MB: they are encoded, freed and sent in parts, and in between other requests have their
    turn.
    """
    things, headers, change = list(committed.things), change_headers(committed), committed.change
    del committed
    things.reverse()
    lists: list[wire.TaskList] = []
    items: list[bytes] = []
    while things:
        part = [things.pop() for _ in range(min(_AT_A_TIME, len(things)))]
        lists += [wire.TaskList.of(each) for each in part if not isinstance(each, Task)]
        if tasks := [wire.Task.of(each) for each in part if isinstance(each, Task)]:
            items.append(b"," * bool(items) + _encode(tasks)[1:-1])
        if things:
            await give_way()
    begin, nothing, end = _encode(wire.Things(change, [], lists)).partition(b"[]")
    return Reply(200, [_JSON_TYPE, FRESH, *headers], begin + nothing[:1], [*items, nothing[1:] + end])


async def reply_with_summary(summary: Summary) -> Reply:
    """The summary. There may be 200 000 tags, so they are encoded in parts, with pauses."""
    tags, encoded = iter(summary.by_tag.items()), bytearray()
    while part := dict(islice(tags, _TAGS_AT_A_TIME)):
        encoded += b"," + _encode(part)[1:-1]
        if len(part) == _TAGS_AT_A_TIME:
            await give_way()
    encoded[:1] = b"{"
    encoded += b"}"
    by_tag: Any = msgspec.Raw(encoded)
    view = msgspec.structs.replace(wire.Summary.of(summary), by_tag=by_tag)
    del summary  # freeing very many tags takes some milliseconds, and so does what follows
    if len(encoded) > PIECE:
        await give_way()
    return reply_with(view)


async def give_way_before(items: Sized) -> None:
    """Let other requests have a turn before a page of many items is encoded, which may have 800 KB."""
    if len(items) > _AT_ONCE:
        await give_way()


def reply_with_page(call: Call[None], below: str, view: msgspec.Struct, next_cursor: str | None) -> Reply:
    """The page, with a link to the next one (RFC 8288) that keeps the filters."""
    if next_cursor is None:
        return reply_with(view)
    target = f"{path_of(call, below)}?{_up_to_cursor(call.query_string)}{quote(next_cursor)}"
    return reply_with(view, (b"link", f'<{target}>; rel="next"'.encode()))


@remembered_if_short
def _up_to_cursor(query_string: bytes) -> str:
    """The query for another page, without the value of `cursor` at its end."""
    kept = [(name, value) for name, value in parse_qsl(query_string.decode()) if name != "cursor"]
    return urlencode([*kept, ("cursor", "")])


def reply_with_nothing(committed: Committed) -> Reply:
    """No content, and the change's number."""
    return Reply(204, [FRESH, *change_headers(committed)])


def change_headers(committed: Committed) -> list[Header]:
    """The headers `Change`, if there was one, and `Idempotency-Replayed`."""
    headers: list[Header] = [] if committed.change is None else [(b"change", b"%d" % committed.change)]
    return [*headers, _REPLAYED] if committed.replayed else headers


def _tag(thing: Thing) -> Header:
    return (b"etag", b'"%d"' % thing.version)


def _view(thing: Thing) -> msgspec.Struct:
    return wire.Task.of(thing) if isinstance(thing, Task) else wire.TaskList.of(thing)
