"""The declaration of a tool: its arguments, answer, scope and hints; and how it is called."""

from collections.abc import Awaitable, Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import Annotated, Any, Final, TypeAlias, TypeVar, get_args
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from todo_app.api.bodies import decoded
from todo_app.api.excerpts import fields_of
from todo_app.api.ids import read_id
from todo_app.http.errors import MalformedRequest
from todo_app.http.reading import NOT_READ
from todo_app.http.turns import give_way
from todo_app.mcp import answers, schema
from todo_app.mcp.schema import LIST, THINGS_MAX, Json
from todo_core import (
    Identity,
    InsufficientScope,
    InvalidInput,
    OwnerId,
    Problem,
    Scope,
    StoreUnavailable,
    TaskId,
    TaskNotFound,
    TaskService,
    TodoError,
    WriteOptions,
)

_FEW: Final = 10  # items of an answer that is not large


async def _at_once() -> None:
    """For a caller beside whom there are no others."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a tool. `zone`: the user's time zone, which decides which day is today.

    `alone` returns when no other large answer is being made: one of hundreds of tasks takes ten milliseconds, most of
    them in the SDK.
    """

    tasks: TaskService
    identity: Identity
    zone: str | None = None
    alone: Callable[[], Awaitable[None]] = _at_once

    async def alone_with(self, items: Sized) -> None:
        """Return when the answer with these items may be made: at once if it is not large."""
        if len(items) > _FEW:
            await self.alone()

    @property
    def owner(self) -> OwnerId:
        """The user."""
        return self.identity.owner

    @property
    def options(self) -> WriteOptions:
        """The options of this caller's writes."""
        return WriteOptions(client=self.identity.client, zone=self.zone)


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One tool. `arguments`: the struct of its arguments; `output_schema`: of its answer; hints as in MCP."""

    name: str
    description: str
    scope: Scope
    arguments: type[msgspec.Struct]
    output_schema: Json
    run: Callable[[Caller, Any], Awaitable[Json]]
    reads: bool = False
    destroys: bool = False
    repeatable: bool = False

    @cached_property
    def input_schema(self) -> Json:
        """The schema of its arguments."""
        return schema.taking(self.arguments)

    @cached_property
    def _decoder(self) -> "msgspec.json.Decoder[Any]":
        return msgspec.json.Decoder(self.arguments)

    async def answer(self, call: Caller, arguments: Mapping[str, Any]) -> Json:
        """Run the tool. Raises a `TodoError`."""
        if not call.identity.may(self.scope):
            raise InsufficientScope(self.scope)
        answer = await self.run(call, read(self._decoder, arguments, writes=not self.reads))
        for value in answer.values():
            if isinstance(value, list):
                await call.alone_with(value)
        return answer


A = TypeVar("A", bound=msgspec.Struct)
G = TypeVar("G")
Run: TypeAlias = Callable[[Caller, A], Awaitable[Json]]


def tool(arguments: type[A], scope: Scope, output_schema: Json, **hints: bool) -> Callable[[Run[A]], Tool]:
    """Declare the function below as a tool, described by its docstring."""

    def declare(run: Run[A]) -> Tool:
        return Tool(
            name=run.__name__,
            description=" ".join((run.__doc__ or "").split()),
            scope=scope,
            arguments=arguments,
            output_schema=output_schema,
            run=run,
            **hints,
        )

    return declare


def read(decoder: "msgspec.json.Decoder[A]", arguments: Mapping[str, Any], *, writes: bool = True) -> A:
    """The arguments. Models send "" or null for absent arguments: both are dropped, unless null clears the member.

    `writes` is that of `faults_of`.
    """
    known = fields_of(decoder.type)
    required = {field.encode_name for field in known if field.required}
    cleared = {field.encode_name for field in known if NoneType in get_args(field.type)}
    given = {
        name: value
        for name, value in arguments.items()
        if name in required or not (value == "" or (value is None and name not in cleared))
    }
    try:
        return decoded(decoder, msgspec.json.encode(given), writes=writes)
    except (UnicodeEncodeError, RecursionError):
        raise MalformedRequest(NOT_READ) from None


async def several(
    given: Sequence[G], name: str, act: Callable[[G], Awaitable[Json]], about: Callable[[int, G], Json]
) -> Json:
    """The outcome of `act` for each item, in order. A refusal has what `about` returns for its place and the item.

    Raises `InvalidInput` for none or too many.
    """
    if not 1 <= len(given) <= THINGS_MAX:
        raise InvalidInput([Problem(name, f"must have 1 to {THINGS_MAX} items")])
    results: list[Json] = []
    outage: StoreUnavailable | None = None
    for place, one in enumerate(given):
        try:
            if outage is not None:
                raise outage  # each of the others would wait for the database as long
            results.append(await act(one))
        except TodoError as error:
            outage = error if isinstance(error, StoreUnavailable) else outage
            results.append(about(place, one) | answers.refusal(error))
            await give_way()  # an item that is refused may not have waited for anything
    return {"results": results}


class Named(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One task, or several."""

    id: UUID | UnsetType = UNSET
    ids: Annotated[list[str], LIST] | UnsetType = UNSET


async def for_each(named: Any, act: Callable[[TaskId], Awaitable[Json]]) -> Json:
    """The outcome of `act` for the named task, or of each named task as by `several`."""
    match named.id, named.ids:
        case UUID() as one, msgspec.UNSET:
            return await act(TaskId(one))
        case msgspec.UNSET, list() as ids:

            async def of(text: str) -> Json:
                return await act(TaskId(read_id(text, TaskNotFound)))

            return await several(ids, "ids", of, lambda _, text: {"id": text})
        case _:
            raise InvalidInput([Problem("id", "must name one task, or ids several, but not both")])
