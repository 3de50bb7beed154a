"""What the type of a member says about its values."""

from functools import cache
from typing import Any

import msgspec
from msgspec.inspect import ListType, LiteralType, Metadata, StructType, Type, UnionType, type_info


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
    items = _plain(type_info(kind))
    if not isinstance(items, ListType) or items.max_length is None:
        return None
    item = _plain(items.item_type)
    kinds = item.types if isinstance(item, UnionType) else ()
    tagged = {each.tag: each.cls for each in kinds if isinstance(each, StructType) and isinstance(each.tag, str)}
    return (tagged, items.max_length) if tagged else None


def _plain(kind: Type) -> Type:
    return _plain(kind.type) if isinstance(kind, Metadata) else kind
