"""Reads the header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07)."""

import re
from contextlib import suppress
from typing import Final

from todo_app.http.errors import MalformedRequest
from todo_app.http.exchange import Exchange, Header
from todo_core import IdempotencyKey, InvalidInput, idempotency_key

HEADER_MAX: Final = 1024  # bytes: the longest key, with each character escaped, and white space
REPLAYED: Final[Header] = (b"idempotency-replayed", b"true")

# A string of RFC 9651 §3.3.3. Many clients leave out the quotes, so a word is accepted too, but without commas: several
# headers of one name are joined with commas.
_STRING = re.compile(rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*+)"')
_WORD = re.compile(rb"[\x21\x23-\x2b\x2d-\x7e]+")
_ESCAPED = re.compile(rb'\\(["\\])')


def read_idempotency_key(exchange: Exchange) -> IdempotencyKey | None:
    """The key in `Idempotency-Key`, if any. Raises `MalformedRequest` unless it is exactly one key."""
    header = exchange.header(b"idempotency-key")
    if header is None:
        return None
    sent = header.strip(b" \t") if len(header) <= HEADER_MAX else b""
    if (string := _STRING.fullmatch(sent)) is not None:
        sent = _ESCAPED.sub(rb"\1", string[1])
    elif not _WORD.fullmatch(sent):
        sent = b""
    with suppress(InvalidInput):
        return idempotency_key(sent.decode("ascii"))
    raise MalformedRequest(
        "Idempotency-Key must be one key of 1 to 255 printable ASCII characters in double quotes; "
        "a key without spaces, commas and quotes needs no quotes."
    )
