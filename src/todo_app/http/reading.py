"""Reads the body of a request. Whatever cannot be read gets its own clear refusal."""

import asyncio
import re
from typing import Any, Final, Protocol, TypeVar

import msgspec

from todo_app.http.errors import BodyTooLarge, BodyTooSlow, MalformedRequest, UnsupportedMediaType
from todo_app.http.exchange import Exchange, Receive
from todo_app.http.faults import faults_of
from todo_core import InvalidInput, Problem

BODY_MOST: Final = 64 * 1024  # bytes
DEPTH_MOST: Final = 100  # brackets in brackets: what Python itself bears differs from version to version
BODY_SECONDS: Final = 20.0  # nobody may hold a place in the server for longer by sending slowly
JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"


class Incoming(Protocol):
    """As much of a framework's request as is read here."""

    scope: Any
    receive: Receive


_Body = TypeVar("_Body", bound=msgspec.Struct)
_MEDIA_TYPE = re.compile(
    r'([\w.+-]{1,60}/[\w.+-]{1,60})[ \t]*+(?:;[ \t]*+(?:charset="?utf-8"?[ \t]*+)?)?', re.IGNORECASE | re.ASCII
)
_TYPE_MOST: Final = 200  # bytes of a Content-Type or a Content-Encoding that is worth reading
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # never looks back: any bytes may come
_BRACKET = re.compile(rb"[][{}]")
_LENGTH_DIGITS: Final = 19  # 64 bits; Python would take its time over more
NOT_READ: Final = "The body is not JSON in UTF-8 (RFC 8259), or nested too deeply."


def _too_large(most: int) -> BodyTooLarge:
    return BodyTooLarge(f"A body may have at most {most} bytes.")


async def read_bytes(exchange: Exchange, receive: Receive, most: int = BODY_MOST) -> bytes:
    """The body. Raises `BodyTooLarge` over so many bytes, whether announced or not, and `BodyTooSlow`."""
    announced = exchange.header(b"content-length") or b"0"
    if announced == b"0" and exchange.is_http1 and exchange.header(b"transfer-encoding") is None:
        return b""  # RFC 9112 §6.3: a request without either has no body
    if not announced.isdigit():
        raise MalformedRequest("Content-Length must be one number.")
    if len(announced) > _LENGTH_DIGITS or int(announced) > most:
        raise _too_large(most)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _gather(receive, most)
    except TimeoutError:
        raise BodyTooSlow(f"The body must arrive within {BODY_SECONDS:.0f} seconds.") from None


async def _gather(receive: Receive, most: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise MalformedRequest("The connection ended before the body did.")
        body += message["body"]
        if len(body) > most:
            raise _too_large(most)
        if not message.get("more_body", False):
            return bytes(body)


def require_type(exchange: Exchange, types: tuple[str, ...]) -> None:
    """Raise `UnsupportedMediaType` unless the body is of one of these types, and not compressed."""
    sent = (exchange.header(b"content-type") or b"")[: _TYPE_MOST + 1].decode("latin-1")
    found = _MEDIA_TYPE.fullmatch(sent.strip()) if len(sent) <= _TYPE_MOST else None
    coding = exchange.header(b"content-encoding") or b"identity"
    if found is None or found[1].lower() not in types or coding[:_TYPE_MOST].lower() != b"identity":
        raise UnsupportedMediaType(f"Send the body as {' or '.join(types)} in UTF-8, without a content coding.")


def decoded(decoder: "msgspec.json.Decoder[_Body]", body: bytes) -> _Body:
    """What the JSON says. Raises `MalformedRequest` if it is not JSON, `InvalidInput` if it says something else."""
    try:
        body.decode()  # also the members that are skipped must be text
        require_shallow(body)
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            faults = faults_of(body, decoder.type)
            raise InvalidInput(faults or [Problem("", f"the body is wrong: {error}")]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedRequest(NOT_READ) from None


def require_shallow(body: bytes) -> None:
    """Raise `MalformedRequest` for JSON with more than 100 brackets in brackets."""
    if body.count(b"[") + body.count(b"{") <= DEPTH_MOST:
        return  # nearly always: only more of them are worth a closer look
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEPTH_MOST:
            raise MalformedRequest(NOT_READ)
