"""Names everything that is wrong with a body at once, where decoding stops at the first fault."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec
from msgspec.structs import FieldInfo, fields

from todo_app.api.wire import READ_ONLY
from todo_app.http.names import unknown
from todo_core import Problem
from todo_core.lists import RULES as LIST_RULES
from todo_core.task import RULES as TASK_RULES

RULES: Final = {**LIST_RULES, **TASK_RULES}
MAX_FAULTS: Final = 50  # a body has room for thousands
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STEP: Final = re.compile(r"[^.\[\]]+")


def faults_of(body: bytes, shape: type[msgspec.Struct]) -> list[Problem]:
    """What keeps `body` from being of that shape, and what the core would refuse of the rest; at most some 50.

    Empty where each member is right by itself, such as one that is there twice. Raises `msgspec.DecodeError` if the
    body is not JSON.
    """
    try:
        members = _MEMBERS.decode(body)
    except msgspec.ValidationError as error:
        return [Problem("", f"the body is wrong: {error}")]
    faults = list(islice(_faults(members, {field.encode_name: field for field in fields(shape)}), MAX_FAULTS + 1))
    if len(faults) > MAX_FAULTS:
        faults[-1] = Problem("", f"only the first {MAX_FAULTS} faults are named")
    return faults


def _faults(members: dict[str, msgspec.Raw], known: dict[str, FieldInfo]) -> Iterator[Problem]:
    writable = [name for name in known if name not in READ_ONLY]
    for name, raw in members.items():
        if name in known:
            yield from _faults_of_value(name, raw, known[name])
        elif name in READ_ONLY:
            yield Problem(name, "is read-only: leave it out")
        else:
            yield unknown(name, writable)
    for name, field in known.items():
        if field.required and name not in members:
            yield Problem(name, "is required")


def _faults_of_value(name: str, raw: msgspec.Raw, field: FieldInfo) -> Iterator[Problem]:
    try:
        value = msgspec.json.decode(raw, type=field.type)
    except msgspec.ValidationError as error:
        wrong, _, place = str(error).partition(" - at `$")
        yield Problem("/".join([name, *_STEP.findall(place.rstrip("`"))]), f"is wrong: {wrong[:200]}")
        return
    if name in RULES and not RULES[name].accepts(value):
        yield Problem(name, RULES[name].sentence)
