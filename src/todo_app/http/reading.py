"""Reads the body of a request."""

import re
from collections.abc import Iterator
from typing import Any, Final, Protocol

from todo_adapters.deadlines import Deadlines
from todo_app.http.errors import BodyTooLarge, BodyTooSlow, MalformedRequest, UnsupportedMediaType
from todo_app.http.exchange import Exchange, Receive
from todo_app.http.turns import give_way

BODY_MAX: Final = 64 * 1024  # bytes
DEPTH_MAX: Final = 100  # nested brackets; Python's own limit differs between versions
BODY_SECONDS: Final = 20.0  # limits how long a slow sender occupies the server
JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"


class Incoming(Protocol):
    """As much of a framework's request as is read here."""

    scope: Any
    receive: Receive


_LIMITS = Deadlines(BODY_SECONDS)
_MEDIA_TYPE = re.compile(
    r'([\w.+-]{1,60}/[\w.+-]{1,60})[ \t]*+(?:;[ \t]*+(?:charset="?utf-?8"?[ \t]*+)?)?', re.IGNORECASE | re.ASCII
)
_TYPE_MAX: Final = 200  # bytes of a Content-Type or Content-Encoding that are read
_LONG: Final = 4096  # bytes: what is done with so many may take a millisecond
_OPENING: Final = b"[{"
_OTHERS: Final = bytes(set(range(256)) - set(b'[]{}"'))
_PART: Final = 32 * 1024  # brackets and quotes, counted in a millisecond
_LENGTH_DIGITS: Final = 19  # 64 bits; longer numbers take long to parse
NOT_READ: Final = "The body is not JSON in UTF-8 (RFC 8259), or is nested too deeply."


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"A body may have at most {max_bytes} bytes.")


async def read_bytes(exchange: Exchange, receive: Receive, max_bytes: int = BODY_MAX) -> bytes:
    """The body. Raises `BodyTooLarge` if it has more than that many bytes, `BodyTooSlow` and `MalformedRequest`.

    Of requests whose bodies are longer than usual, one continues in each round of the event loop.
    """
    announced = exchange.header(b"content-length") or b"0"
    if announced == b"0" and exchange.is_http1 and exchange.header(b"transfer-encoding") is None:
        return b""  # RFC 9112 §6.3: a request without either has no body
    if not announced.isdigit():
        raise MalformedRequest("Content-Length must be one number.")
    if len(announced) > _LENGTH_DIGITS or int(announced) > max_bytes:
        raise _too_large(max_bytes)
    try:
        with _LIMITS.one():
            body = await _gather(receive, max_bytes)
    except TimeoutError:
        raise BodyTooSlow(f"The body must arrive within {BODY_SECONDS:.0f} seconds.") from None
    if len(body) > _LONG:
        await give_way(0)
    return body


async def _gather(receive: Receive, max_bytes: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise MalformedRequest("The connection ended before the body did.")
        body += message["body"]
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body", False):
            return bytes(body)


def require_type(exchange: Exchange, types: tuple[str, ...]) -> None:
    """Raise `UnsupportedMediaType` unless the body has one of these media types, and no content coding."""
    sent = (exchange.header(b"content-type") or b"")[: _TYPE_MAX + 1].decode("latin-1")
    found = _MEDIA_TYPE.fullmatch(sent.strip()) if len(sent) <= _TYPE_MAX else None
    coding = exchange.header(b"content-encoding") or b"identity"
    if found is None or found[1].lower() not in types or coding[:_TYPE_MAX].lower() != b"identity":
        raise UnsupportedMediaType(f"Send the body as {' or '.join(types)} in UTF-8, without a content coding.")


def require_shallow(body: bytes) -> None:
    """Raise `MalformedRequest` for JSON with brackets nested more than 100 deep."""
    for _ in shallow_parts(body):
        pass


def shallow_parts(body: bytes) -> Iterator[None]:
    """As `require_shallow`, part by part: of a MiB each takes two or three milliseconds at most."""
    if body.count(b"[") + body.count(b"{") <= DEPTH_MAX:
        return  # almost always
    # Without escaped quotes every second piece is a string. A regular expression would take 0.1 s for a MiB.
    kept = body.replace(rb"\\", b"").replace(rb"\"", b"")
    yield
    kept = kept.translate(None, _OTHERS)
    yield
    depth, in_string = 0, 0
    for start in range(0, len(kept), _PART):
        pieces = kept[start : start + _PART].split(b'"')
        for bracket in b"".join(pieces[in_string::2]):
            depth += 1 if bracket in _OPENING else -1
            if depth > DEPTH_MAX:
                raise MalformedRequest(NOT_READ)
        in_string ^= (len(pieces) - 1) % 2
        yield
