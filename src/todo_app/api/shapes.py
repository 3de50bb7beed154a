"""What the type of a member says about its values."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final

import msgspec
from msgspec.inspect import (
    AnyType,
    BoolType,
    DateTimeType,
    DictType,
    FloatType,
    IntType,
    ListType,
    LiteralType,
    Metadata,
    NoneType,
    StrType,
    StructType,
    Type,
    UnionType,
    UUIDType,
    type_info,
)

_STEP: Final = re.compile(r"[^.\[\]]+")
AN_OBJECT: Final = "must be an object"
_WORDS: Final[Mapping[type[Type], str]] = {
    BoolType: "true or false",
    DateTimeType: "a point in time (RFC 3339)",
    DictType: "an object",
    FloatType: "a number",
    NoneType: "null",
    StrType: "a string",
    StructType: "an object",
    UUIDType: "a UUID",
}
_UNKNOWN: Final = "of the documented type"


def choices_of(kind: Type) -> list[str]:
    """The values that a type of literals allows, as text; empty for any other type."""
    kinds = kind.types if isinstance(kind, UnionType) else (kind,)
    return [str(value) for each in map(_plain, kinds) if isinstance(each, LiteralType) for value in each.values]


def struct_of(kind: Any) -> type[msgspec.Struct] | None:
    """The type, if it is a struct."""
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


@cache
def tagged_in(kind: Any) -> tuple[dict[str, type[msgspec.Struct]], int] | None:
    """The structs that a limited list of tagged objects may hold, by tag, and how many; None for any other type."""
    items = _plain(info_of(kind))
    if not isinstance(items, ListType) or items.max_length is None:
        return None
    item = _plain(items.item_type)
    kinds = item.types if isinstance(item, UnionType) else ()
    tagged = {each.tag: each.cls for each in kinds if isinstance(each, StructType) and isinstance(each.tag, str)}
    return (tagged, items.max_length) if tagged else None


def selected(tag: msgspec.Raw | None, tagged: Mapping[str, type[msgspec.Struct]]) -> type[msgspec.Struct] | None:
    """The struct that this tag, in JSON, selects. What is no string is not decoded: it may be long."""
    with suppress(msgspec.ValidationError):
        return None if tag is None else tagged.get(msgspec.json.decode(tag, type=str))
    return None


def _plain(kind: Type) -> Type:
    return _plain(kind.type) if isinstance(kind, Metadata) else kind


@cache
def info_of(kind: Any) -> Type:
    """What msgspec knows of the type. msgspec (0.22) would leave reference cycles each time."""
    return type_info(kind)


def steps_to(said: str) -> list[str]:
    """The names of members and indexes of items that lead to the place at fault, from what the decoder said."""
    _, _, place = said.partition(" - at `$")
    return _STEP.findall(place.rstrip("`"))


def rule_at(kind: Type, steps: Sequence[str]) -> str:
    """What a value of the type must be, at the end of these names of members and indexes of items, in JSON's words."""
    for step in steps:
        kind = _inside(kind, step)
    return f"must be {_said(kind)}"


def _inside(kind: Type, step: str) -> Type:
    match _plain(kind):
        case UnionType(types=types):
            inside = [_inside(each, step) for each in types]
            return next((each for each in inside if not isinstance(each, AnyType)), AnyType())
        case ListType(item_type=item):
            return item
        case DictType(value_type=value):
            return value
        case StructType(fields=fields):
            return next((each.type for each in fields if each.encode_name == step), AnyType())
        case _:
            return AnyType()


def _said(kind: Type, schema: Mapping[str, Any] | None = None) -> str:
    """The type in words. `schema`: what the OpenAPI document or a tool's schema says beside it."""
    match kind:
        case Metadata():
            return _said(kind.type, kind.extra_json_schema)
        case UnionType():
            return " or ".join(dict.fromkeys(_said(each) for each in kind.types))
        case LiteralType():
            return f"one of {', '.join(map(str, kind.values))}"
        case IntType():
            return f"a whole number{_between(schema or {}, 'minimum', 'maximum', 'from {} to {}')}"
        case ListType():
            lengths = {"minItems": kind.min_length, "maxItems": kind.max_length}
            given = {name: length for name, length in lengths.items() if length is not None} | dict(schema or {})
            return f"an array{_between(given, 'minItems', 'maxItems', 'with {} to {} items')}"
        case _:
            return _WORDS.get(type(kind), _UNKNOWN)


def _between(schema: Mapping[str, Any], low: str, high: str, words: str) -> str:
    return f" {words.format(schema[low], schema[high])}" if low in schema and high in schema else ""
