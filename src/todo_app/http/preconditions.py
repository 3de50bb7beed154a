"""Reads `If-Match` and `If-None-Match` (RFC 9110 §13.1), and `Merge-Base`."""

import re
from typing import Final

from todo_app.http.errors import MalformedRequest
from todo_app.http.exchange import Exchange
from todo_core import Version

# One member of a list of entity tags, which may be empty, up to its comma (RFC 9110 §8.8.3, §5.6.1). Matches in linear
# time.
_MEMBER = re.compile(r'[ \t]*(?:(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*)?(?:,|$)')
TAGS_MAX: Final = 50
HEADER_MAX: Final = 8192  # characters, including empty members
# Apache and Caddy append a suffix to the tag of an answer that they compress (RFC 9110 §8.8.3.3).
_NUMBER = re.compile(r"([1-9][0-9]{0,8})(?:-(?:gzip|br|zstd))?")
_BASE = re.compile(rf'[ \t]*"{_NUMBER.pattern}"[ \t]*')


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
    if len(header) > HEADER_MAX:
        raise MalformedRequest(f"{name} may have at most {HEADER_MAX} characters.")
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
