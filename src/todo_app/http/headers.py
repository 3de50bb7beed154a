"""Reads the headers of operations: `If-Match`, `If-None-Match`, `Merge-Base`, `Idempotency-Key` and `Time-Zone`."""

import re
from contextlib import suppress
from typing import Final

from todo_app.http.errors import MalformedRequest
from todo_app.http.exchange import Exchange
from todo_core import IdempotencyKey, InvalidInput, Version, idempotency_key
from todo_core.due import ZONE_RULE, is_time_zone

# One member of a list of entity tags, which may be empty, up to its comma (RFC 9110 §8.8.3, §5.6.1). Matches in linear
# time.
_MEMBER = re.compile(r'[ \t]*(?:(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*)?(?:,|$)')
TAGS_MAX: Final = 50
TAGS_HEADER_MAX: Final = 8192  # characters, including empty members
# Apache and Caddy append a suffix to the tag of an answer that they compress (RFC 9110 §8.8.3.3).
_NUMBER = re.compile(r"([1-9][0-9]{0,8})(?:-(?:gzip|br|zstd))?")
_BASE = re.compile(rf'[ \t]*"{_NUMBER.pattern}"[ \t]*')

KEY_HEADER_MAX: Final = 1024  # bytes: the longest key, with each character escaped, and white space
# A string of RFC 9651 §3.3.3. Many clients leave out the quotes, so a word is accepted too, but without commas: several
# headers of one name are joined with commas.
_STRING = re.compile(rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*+)"')
_WORD = re.compile(rb"[\x21\x23-\x2b\x2d-\x7e]+")
_ESCAPED = re.compile(rb'\\(["\\])')


def read_if_match(exchange: Exchange) -> frozenset[Version] | None:
    """The versions that `If-Match` allows (RFC 9110 §13.1.1), or None for any. Weak tags never match."""
    header = exchange.header(b"if-match")
    if header is None or header.strip() == b"*":
        return None
    return frozenset(_version(tag) for weak, tag in _tags(header, "If-Match") if not weak)


def has_weak_if_match(exchange: Exchange) -> bool:
    """Whether `If-Match` seems to list a weak tag. It may not have been read, and then be invalid."""
    return b'W/"' in (exchange.header(b"if-match") or b"")


def read_merge_base(exchange: Exchange) -> Version | None:
    """The version in `Merge-Base`, its strong entity tag. Raises `MalformedRequest`, also together with `If-Match`."""
    header = exchange.header(b"merge-base")
    if header is None:
        return None
    tag = _BASE.fullmatch(header.decode("latin-1"))
    if tag is None:
        raise MalformedRequest('Merge-Base must be one entity tag, of the version that your change is based on: "3".')
    if exchange.header(b"if-match") is not None:
        raise MalformedRequest("Send Merge-Base or If-Match, not both.")
    return Version(int(tag[1]))


def is_unmodified(exchange: Exchange, version: Version) -> bool:
    """Whether `If-None-Match` has that version (RFC 9110 §13.1.2). Weak tags match as well."""
    header = exchange.header(b"if-none-match")
    if header is None:
        return False
    return header.strip() == b"*" or any(_version(tag) == version for _, tag in _tags(header, "If-None-Match"))


def _tags(header: bytes, name: str) -> list[tuple[bool, str]]:
    """The tags in the header: whether each is weak, and its text."""
    if len(header) > TAGS_HEADER_MAX:
        raise MalformedRequest(f"{name} may have at most {TAGS_HEADER_MAX} characters.")
    text, position, tags = header.decode("latin-1"), 0, []
    while position < len(text):
        member = _MEMBER.match(text, position)
        if member is None:
            raise MalformedRequest(f'{name} must be * or a list of entity tags such as "3".')
        if member[2] is not None:
            tags.append((member[1] is not None, member[2]))
            if len(tags) > TAGS_MAX:
                raise MalformedRequest(f"{name} may list at most {TAGS_MAX} entity tags.")
        position = member.end()
    return tags


def _version(tag: str) -> Version:
    """The version of a tag; 0, which no thing has, for a foreign tag."""
    number = _NUMBER.fullmatch(tag)
    return Version(int(number[1]) if number else 0)


def read_idempotency_key(exchange: Exchange) -> IdempotencyKey | None:
    """The key in `Idempotency-Key`, if any. Raises `MalformedRequest` unless it is exactly one key."""
    header = exchange.header(b"idempotency-key")
    if header is None:
        return None
    sent = header.strip(b" \t") if len(header) <= KEY_HEADER_MAX else b""
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


def read_time_zone(exchange: Exchange) -> str | None:
    """The zone in `Time-Zone`, if any. Raises `MalformedRequest` for an unknown zone."""
    header = exchange.header(b"time-zone")
    if header is None:
        return None
    name = header.decode("latin-1").strip()
    if not is_time_zone(name):
        raise MalformedRequest(f"Time-Zone {ZONE_RULE}.")
    return name
