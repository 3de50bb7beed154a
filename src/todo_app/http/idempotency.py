"""Reads the key under which a creation may be repeated (draft-ietf-httpapi-idempotency-key-header-07)."""

import re
from contextlib import suppress
from typing import Final

from todo_app.http.errors import MalformedRequest
from todo_app.http.exchange import Exchange, Header
from todo_core import IdempotencyKey, InvalidInput, idempotency_key

HEADER_MOST: Final = 1024  # bytes: a key of the longest, each character escaped, and blanks around it
REPLAYED: Final[Header] = (b"idempotency-replayed", b"true")

# A string as RFC 9651 §3.3.3 has it. Many clients leave the quotes out: a word is taken too, but nothing that may be
# two keys, for headers of one name arrive joined with commas.
_STRING = re.compile(rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*+)"')
_WORD = re.compile(rb"[\x21\x23-\x2b\x2d-\x7e]+")
_ESCAPED = re.compile(rb'\\(["\\])')


def read_idempotency_key(exchange: Exchange) -> IdempotencyKey | None:
    """The key in `Idempotency-Key`, if there is one. Raises `MalformedRequest` for what is not one key."""
    header = exchange.header(b"idempotency-key")
    if header is None:
        return None
    sent = header.strip(b" \t") if len(header) <= HEADER_MOST else b""
    if (string := _STRING.fullmatch(sent)) is not None:
        sent = _ESCAPED.sub(rb"\1", string[1])
    elif not _WORD.fullmatch(sent):
        sent = b""
    with suppress(InvalidInput):
        return idempotency_key(sent.decode("ascii"))
    raise MalformedRequest(
        "Idempotency-Key must be one key of 1 to 255 printable ASCII characters, in double quotes; "
        "they may be left out around a key without spaces, commas and quotes."
    )
