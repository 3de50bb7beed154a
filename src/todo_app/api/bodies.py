"""Decodes a JSON body, and finds all of its faults, since decoding stops at the first one."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import msgspec
from msgspec import UnsetType
from msgspec.inspect import Type
from msgspec.structs import FieldInfo

from todo_app.api.excerpts import fields_of, first_items, has_very_many_members, members_in, members_named
from todo_app.api.members import Ignored
from todo_app.api.names import read_only, unknown
from todo_app.api.shapes import AN_OBJECT, choices_of, info_of, rule_at, selected, steps_to, struct_of, tagged_in
from todo_app.api.wire import READ_ONLY
from todo_app.http.errors import MalformedRequest
from todo_app.http.problems import MAX_FAULTS, NOT_ALL
from todo_app.http.reading import BODY_MAX, NOT_READ, require_shallow, shallow_parts
from todo_app.http.turns import give_way
from todo_core import InvalidInput, Problem
from todo_core.due import contradictions, needs_zone, settled
from todo_core.lists import RULES as LIST_RULES
from todo_core.task import RULES as TASK_RULES
from todo_core.task import Rule

RULES: Final = {**LIST_RULES, **TASK_RULES}
_NO_OBJECT: Final = Problem("", AN_OBJECT)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TURNS: Final = WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]()
_Body = TypeVar("_Body", bound=msgspec.Struct)


def decoded(decoder: "msgspec.json.Decoder[_Body]", body: bytes, *, writes: bool = True) -> _Body:
    """The decoded body. Raises `MalformedRequest` if it is not JSON, `InvalidInput` if it has another shape.

    `writes` is that of `faults_of`.
    """
    with _malformed():
        body.decode()  # members that the decoder skips must be UTF-8 too
        require_shallow(body)
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            raise _invalid(error, decoder.type, faults_of(body, decoder.type, writes=writes)) from None


async def decoded_in_turn(decoder: "msgspec.json.Decoder[_Body]", body: bytes) -> _Body:
    """As `decoded`. Large bodies are checked one at a time, with pauses in which other requests have their turn."""
    if len(body) <= BODY_MAX:
        return decoded(decoder, body)
    async with _TURNS.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        with _malformed():
            await give_way()
            body.decode()
            for _ in shallow_parts(body):
                await give_way()
            try:
                await _require_few(body, decoder.type)
                return decoder.decode(body)
            except msgspec.ValidationError as error:
                await give_way()
                raise _invalid(error, decoder.type, await faults_in_turn(body, decoder.type)) from None


@contextmanager
def _malformed() -> Iterator[None]:
    """Raise `MalformedRequest` for what is not JSON."""
    try:
        yield
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedRequest(NOT_READ) from None


def _invalid(error: msgspec.ValidationError, shape: type[msgspec.Struct], faults: list[Problem]) -> InvalidInput:
    if faults == [_NO_OBJECT]:
        return InvalidInput([Problem("", f"the body {AN_OBJECT}")])
    return InvalidInput(faults or [_first_fault(error, shape)])


def _first_fault(error: msgspec.ValidationError, shape: type[msgspec.Struct]) -> Problem:
    """The fault at which the decoder stopped: of a member that occurs twice, and is valid the last time."""
    steps = steps_to(str(error))
    return Problem("/".join(steps), rule_at(info_of(shape), steps))


async def _require_few(body: bytes, shape: type[msgspec.Struct]) -> None:
    """Raise `InvalidInput` for a list of too many tagged objects: the decoder would make all before it counts them."""
    members = members_in(body, shape)
    for field in fields_of(shape):
        tagged = tagged_in(field.type)
        if tagged and field.encode_name in members:
            _, most = tagged
            await give_way()
            if len(first_items(members[field.encode_name], most + 1)) > most:
                raise InvalidInput([_too_many(field.encode_name, most)])


def faults_of(body: bytes, shape: type[msgspec.Struct], *, writes: bool = True) -> list[Problem]:
    """The faults of `body` as JSON of that shape, including those that the core would refuse; about 50 at most.

    `writes`: its members are those of a thing, and follow their rules; those of a search are judged by the shape alone.
    Empty if each member is valid by itself, for example one that occurs twice. Raises `msgspec.DecodeError` if the body
    is not JSON.
    """
    return [each for each in _parts_of(body, shape, writes=writes) if each is not None]


async def faults_in_turn(body: bytes, shape: type[msgspec.Struct]) -> list[Problem]:
    """As `faults_of`. In a large body, other requests have their turn between its parts."""
    faults = list[Problem]()
    for each in _parts_of(body, shape):
        if each is not None:
            faults.append(each)
        elif len(body) > BODY_MAX:
            await give_way()
    return faults


def _parts_of(body: bytes, shape: type[msgspec.Struct], *, writes: bool = True) -> Iterator[Problem | None]:
    """What `faults_of` returns, and None between two parts, such as before each item of a list of tagged objects."""
    try:
        if has_very_many_members(body, shape):
            yield Problem("", "has thousands of unknown or repeated members: send each known member once")
            return
        yield None
        members = _MEMBERS.decode(body)
    except msgspec.ValidationError:
        yield _NO_OBJECT
        return
    yield None
    members.pop(str(shape.__struct_config__.tag_field), None)  # the caller has read it, to choose the shape
    known, rules = {field.encode_name: field for field in fields_of(shape)}, RULES if writes else {}
    found = 0
    for each in _faults(members, known, rules):
        found += each is not None
        yield NOT_ALL if found > MAX_FAULTS else each
        if found > MAX_FAULTS:
            return


def _faults(
    members: dict[str, msgspec.Raw], known: dict[str, FieldInfo], rules: Mapping[str, Rule]
) -> Iterator[Problem | None]:
    writable = {name: field for name, field in known.items() if field.type != Ignored | UnsetType}
    valid: dict[str, Any] = {}
    for name, raw in members.items():
        if name in writable:
            yield from _faults_of_value(name, raw, writable[name], valid, rules)
        elif name not in known:
            yield read_only(name, writable) if rules and name in READ_ONLY else unknown(name, writable)
    for name, field in known.items():
        if field.required and name not in members:
            yield Problem(name, "is required")
    yield from _contradictions(valid)


def _contradictions(valid: dict[str, Any]) -> Iterator[Problem]:
    """How valid dates contradict each other, unless a zone decides that which this body does not name."""
    start, due = valid.get("start_date"), valid.get("due_date")
    if start and due and ("time_zone" in valid or not needs_zone(start, due)):
        with suppress(ValueError):  # a year that the core refuses
            dates = settled(start, due, valid.get("time_zone"))
            yield from (Problem(*each) for each in contradictions(dates.start_date, dates.due_date).items())


def _faults_of_value(
    name: str, raw: msgspec.Raw, field: FieldInfo, valid: dict[str, Any], rules: Mapping[str, Rule]
) -> Iterator[Problem | None]:
    """The faults of a member's value; one that has none becomes `valid`."""
    if (shape := struct_of(field.type)) is not None:
        yield from _below(name, raw, shape)
        return
    if tagged := tagged_in(field.type):
        wrong = False
        for each in _faults_of_each(name, raw, info_of(field.type), *tagged):
            wrong = wrong or each is not None
            yield each
        if wrong:
            return
    try:
        value = msgspec.json.decode(raw, type=field.type)
    except msgspec.ValidationError as error:
        rule = _rule_broken_by(raw, rules.get(name))
        yield _misfit(name, info_of(field.type), steps_to(str(error)), rule)
        return
    if name in rules and not rules[name].accepts(value):
        yield Problem(name, rules[name].sentence)
    else:
        valid[name] = value


def _rule_broken_by(raw: msgspec.Raw, rule: Rule | None) -> Rule | None:
    """The rule, unless it allows the null that this body does not."""
    return None if rule is None or (bytes(raw).strip() == b"null" and rule.accepts(None)) else rule


def _misfit(name: str, kind: Type, steps: list[str], rule: Rule | None) -> Problem:
    """The member's rule, or which values there are where they can be counted; otherwise of which type it must be.

    `steps` lead to what is wrong within the value.
    """
    if choices := choices_of(kind):
        return Problem(name, RULES[name].sentence if name in RULES else f"must be one of {', '.join(choices)}")
    if rule is not None and not steps:
        return Problem(name, rule.sentence)
    return Problem("/".join([name, *steps]), rule_at(kind, steps))


def _below(name: str, raw: msgspec.Raw, shape: type[msgspec.Struct]) -> Iterator[Problem]:
    """The faults of a value that must be an object."""
    for problem in faults_of(bytes(raw), shape):
        yield Problem(f"{name}/{problem.field}" if problem.field else name, problem.detail)


def _too_many(name: str, most: int) -> Problem:
    return Problem(name, f"must have at most {most} items")


def _faults_of_each(
    name: str, raw: msgspec.Raw, kind: Type, tagged: dict[str, type[msgspec.Struct]], most: int
) -> Iterator[Problem | None]:
    """The faults of a list of objects, each of the shape that its tag selects; if there are too many, only that.

    None precedes each object.
    """
    try:
        items = first_items(raw, most + 1)
    except msgspec.ValidationError:
        yield Problem(name, rule_at(kind, []))
        return
    if len(items) > most:
        yield _too_many(name, most)
        return
    tag_field = str(next(iter(tagged.values())).__struct_config__.tag_field)
    for place, item in enumerate(items):
        yield None
        at = f"{name}/{place}"
        try:
            tag = members_named(item, tag_field).get(tag_field)
        except msgspec.ValidationError:
            yield Problem(at, AN_OBJECT)
            continue
        if (shape := selected(tag, tagged)) is None:
            yield Problem(f"{at}/{tag_field}", f"must be one of {', '.join(tagged)}")
        else:
            yield from _below(at, item, shape)
