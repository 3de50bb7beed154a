"""Reads some members or items of JSON that may have a hundred thousand, and skips the others quickly."""

from functools import cache
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import FieldInfo, astuple, fields

from todo_app.http.reading import BODY_MAX

MEMBERS_MAX: Final = 10_000  # of one object, read within some milliseconds


def has_very_many_members(body: bytes, shape: type[msgspec.Struct]) -> bool:
    """Whether a large object may have more than `MEMBERS_MAX` unknown or repeated members: it counts colons.

    Raises `msgspec.ValidationError` if it is no object.
    """
    if len(body) <= BODY_MAX or (colons := body.count(b":")) <= MEMBERS_MAX:
        return False
    return colons - sum(bytes(raw).count(b":") for raw in members_in(body, shape).values()) > MEMBERS_MAX


@cache
def fields_of(shape: type[msgspec.Struct]) -> tuple[FieldInfo, ...]:
    """The shape's fields. msgspec (0.22) would leave reference cycles each time."""
    return fields(shape)


def members_in(body: bytes, shape: type[msgspec.Struct]) -> dict[str, msgspec.Raw]:
    """The members of an object that the shape has. Raises `msgspec.ValidationError` if it is no object."""
    return members_named(body, *(field.encode_name for field in fields_of(shape)))


def members_named(body: bytes | msgspec.Raw, *names: str) -> dict[str, msgspec.Raw]:
    """The members of an object that have these names. Raises `msgspec.ValidationError` if it is no object."""
    given = astuple(_reading(names, as_list=False).decode(body))
    return {name: raw for name, raw in zip(names, given, strict=True) if raw is not UNSET}


def first_items(raw: msgspec.Raw, count: int) -> list[msgspec.Raw]:
    """The first items of an array. Raises `msgspec.ValidationError` if it is no array."""
    given = astuple(_reading(tuple(f"item_{place}" for place in range(count)), as_list=True).decode(raw))
    return [item for item in given if item is not UNSET]


@cache
def _reading(names: tuple[str, ...], *, as_list: bool) -> "msgspec.json.Decoder[Any]":
    struct = msgspec.defstruct("Read", [(name, msgspec.Raw | UnsetType, UNSET) for name in names], array_like=as_list)
    return msgspec.json.Decoder(struct)
