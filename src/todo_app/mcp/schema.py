"""The tools' JSON Schemas, made from the wire structs and kept short, since a model reads all of them."""

from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Meta

Json: TypeAlias = dict[str, Any]

THINGS_MAX: Final = 50
"""The maximum number of things in one call."""

_KEPT: Final = ("type", "format", "enum", "minimum", "maximum", "minItems", "maxItems", "maxLength")
LIST: Final = Meta(extra_json_schema={"minItems": 1, "maxItems": THINGS_MAX})
_NOTES: Final = {
    "tasks": "Several new tasks instead, each with these members; each has its own outcome",
    "ids": "Several instead of id; each has its own outcome",
    "due_date": "2026-12-01 (whole day) or 2026-12-01T17:00:00",
    "start_date": "As due_date, and not after it",
    "time_zone": "IANA name",
    "recurrence": "RFC 5545 RRULE such as FREQ=WEEKLY;BYDAY=MO; needs due_date",
    "occurrence": "The due_date seen of a recurring task: completes no later one",
    "q": "Text in title or description",
    "priority": "Any of high, medium, low, none: high,none",
    "tag": "All of these",
    "due_from": "Due then or later, as due_date",
    "due_before": "Due before, as due_date",
    "list_id": "As list_lists has it; the inbox is null, in list_tasks none",
    "parent_id": "Of which it is a subtask; none is null, in list_tasks none",
    "color": "#rrggbb",
    "cursor": "next_cursor of the page before",
    "since": "2026-12-01 or 2026-12-01T17:00:00Z",
    "before": "As since; not included",
    "change": "Its number, as answers bring it",
    "changes": "Several instead of change",
}


def taking(struct: type[msgspec.Struct]) -> Json:
    """The schema of a tool's arguments."""
    return _object(struct) | {"additionalProperties": False}


def _object(struct: type[msgspec.Struct]) -> Json:
    definition = msgspec.json.schema(struct)["$defs"][struct.__name__]
    members = {name: _described(name, _short(schema)) for name, schema in definition["properties"].items()}
    required = definition.get("required")
    return {"type": "object", "properties": members} | ({"required": required} if required else {})


def _described(name: str, schema: Json) -> Json:
    return schema | ({"description": _NOTES[name]} if name in _NOTES and not _says_all(schema) else {})


def _says_all(schema: Json) -> bool:
    """Whether the schema lists its values, or is an id, and so needs no description."""
    return not {"enum", "format"}.isdisjoint(schema) or any("enum" in each for each in schema.get("anyOf", ()))


def _short(schema: Json) -> Json:
    """The schema without rules: the core checks them, and its refusals state them."""
    if {"type": "null"} in schema.get("anyOf", ()):
        return _or_null(*(_short(each) for each in schema["anyOf"] if each != {"type": "null"}))
    short: Json = {"type": "string"} if "enum" in schema else {}
    short.update((name, schema[name]) for name in _KEPT if name in schema)
    if "items" in schema:
        short["items"] = _short(schema["items"]) if schema["items"] else {"type": "object"}
    return short


def _or_null(schema: Json) -> Json:
    """A schema or null. Not a list of types: some models' dialects of JSON Schema do not support it."""
    return {"anyOf": [schema, {"type": "null"}]}


def _giving(**members: Json) -> Json:
    return {"type": "object", "properties": members}


_NUMBER: Final[Json] = _or_null({"type": "integer"}) | {"description": "For undo; null: nothing changed"}
_TEXT: Final[Json] = {"type": "string"}
_OBJECT: Final[Json] = {"type": "object"}
_MORE: Final[Json] = _or_null(_TEXT)
_SEVERAL: Final[Json] = {"type": "array", "items": _OBJECT}
TASK: Final[Json] = _giving(id=_TEXT, title=_TEXT, completed={"type": "boolean"}, due_date=_TEXT, due_weekday=_TEXT) | {
    "required": ["id", "title", "completed"]
}
TASKS: Final[Json] = _giving(items={"type": "array", "items": TASK}, next_cursor=_MORE)
ONE: Final[Json] = _giving(task=_OBJECT, results=_SEVERAL)
CHANGED: Final[Json] = _giving(change=_NUMBER, task=_OBJECT, results=_SEVERAL)
CHANGES: Final[Json] = _giving(items=_SEVERAL, next_cursor=_MORE)
TAKEN_BACK: Final[Json] = _giving(
    change=_NUMBER, tasks=_SEVERAL, lists=_SEVERAL, not_shown={"type": "integer"}, results=_SEVERAL
)
LISTS: Final[Json] = _giving(items=_SEVERAL)
LIST_CHANGED: Final[Json] = _giving(change=_NUMBER, list=_OBJECT)
