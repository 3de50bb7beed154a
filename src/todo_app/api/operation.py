"""One operation of the API: declared once, and read by the router, the OpenAPI document and the tests."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final, Generic, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from todo_app.api.bodies import decoded_in_turn
from todo_app.api.ids import read_id
from todo_app.api.listing import refuse_parameters
from todo_app.http.errors import (
    BodyTooLarge,
    BodyTooSlow,
    InternalError,
    MalformedRequest,
    NotYourPath,
    TooManyAtOnce,
    TooManyRequests,
    UnsupportedMediaType,
)
from todo_app.http.event_stream import EventStream
from todo_app.http.exchange import Exchange, Receive, Reply
from todo_app.http.exchange import Scope as AsgiScope
from todo_app.http.headers import read_idempotency_key, read_if_match, read_merge_base, read_time_zone
from todo_app.http.live import Live
from todo_app.http.reading import BODY_MAX, JSON, read_bytes, require_type
from todo_core import (
    Identity,
    IdentityUnavailable,
    InsufficientScope,
    InvalidInput,
    KeyReused,
    Kind,
    ListId,
    ListNotFound,
    MergeConflict,
    NotAuthenticated,
    Once,
    OwnerId,
    Scope,
    StoreUnavailable,
    TaskId,
    TaskNotFound,
    TaskService,
    TodoError,
    VersionConflict,
    WriteOptions,
)

B = TypeVar("B", bound=msgspec.Struct | None)
Json: TypeAlias = dict[str, Any]

READ: Final[Scope] = "tasks:read"
WRITE: Final[Scope] = "tasks:write"
DELETE: Final[Scope] = "tasks:delete"

_OUTAGES: Final = (StoreUnavailable, IdentityUnavailable)
_EVERYWHERE: Final = (
    NotAuthenticated,
    NotYourPath,
    InsufficientScope,
    TooManyRequests,
    TooManyAtOnce,
    InternalError,
    InvalidInput,
    MalformedRequest,
    *_OUTAGES,
)
_OF_A_BODY: Final = (BodyTooSlow, BodyTooLarge, UnsupportedMediaType)


@dataclass(frozen=True, slots=True)
class Body:
    """An operation's request body: its struct, media types, and examples by name."""

    struct: type[msgspec.Struct]
    examples: Mapping[str, Any]
    types: tuple[str, ...] = (JSON,)
    required: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """An operation's answer: its description, struct if any, example, and the names of its headers."""

    description: str
    struct: type[msgspec.Struct] | None = None
    example: Any = None
    headers: tuple[str, ...] = ()
    type: str = JSON
    """The media type; unless it is JSON, the example is text."""


class Call(msgspec.Struct, Generic[B], frozen=True, gc=False):
    """A request to an operation that the gate has admitted: caller, thing, body and options."""

    tasks: TaskService
    owner: OwnerId
    exchange: Exchange
    root_path: str
    query_string: bytes
    thing_id: UUID
    body: B
    options: WriteOptions
    identity: Identity
    live: Live

    @property
    def task_id(self) -> TaskId:
        """The task that the path names."""
        return TaskId(self.thing_id)

    @property
    def list_id(self) -> ListId:
        """The list that the path names."""
        return ListId(self.thing_id)


Handler: TypeAlias = Callable[[Call[Any]], Awaitable[Reply | EventStream]]
H = TypeVar("H", bound=Handler)


@dataclass(frozen=True, kw_only=True)
class Described:
    """A path and its handler, whose name and docstring describe it."""

    path: str
    handler: Callable[..., Awaitable[Reply | EventStream]]
    refuses: tuple[type[TodoError], ...] = ()

    @cached_property
    def id(self) -> str:
        """The handler's name as an operation id, such as `createTask`."""
        head, *rest = self.handler.__name__.split("_")
        return head + "".join(word.capitalize() for word in rest)

    @cached_property
    def documentation(self) -> tuple[str, str]:
        """The handler's docstring: its first line, and the rest."""
        summary, _, description = inspect.getdoc(self.handler).partition("\n\n")  # type: ignore[union-attr]
        return summary.rstrip("."), " ".join(description.split())


@dataclass(frozen=True, kw_only=True)
class Operation(Described):
    """One operation below `/api/{user_id}`. `refuses`: errors that its handler raises, beside those of all operations.

    `zoned`: it depends on the user's current day, and reads `Time-Zone`. `merges`: it reads `Merge-Base`. `body_max`:
    the maximum size of its body in bytes.
    """

    method: str
    tag: str
    scope: Scope
    answers: Mapping[int, Answer]
    body: Body | None = None
    query: tuple[Json, ...] = ()
    zoned: bool = False
    headers: tuple[Json, ...] = ()
    """Further headers that its handler reads, for the OpenAPI document."""
    merges: bool = False
    large: bool = False
    """Its answer may have 90 MB: a user has one such request at a time, until the client has read the answer."""
    body_max: int = BODY_MAX

    @property
    def writes(self) -> bool:
        """Whether it changes something; then it accepts an `Idempotency-Key`."""
        return self.method != "GET"

    @cached_property
    def thing_kind(self) -> Kind | None:
        """The kind of the thing that its path names, if it names one."""
        return "task" if "{task_id}" in self.path else "list" if "{list_id}" in self.path else None

    @property
    def missing(self) -> type[TodoError]:
        """The error for an unknown id in the path."""
        return ListNotFound if self.thing_kind == "list" else TaskNotFound

    @property
    def conditional(self) -> bool:
        """Whether it answers 304 to `If-None-Match`."""
        return HTTPStatus.NOT_MODIFIED in self.answers

    @cached_property
    def refusals(self) -> frozenset[type[TodoError]]:
        """Every refusal that it may answer with."""
        kinds: set[type[TodoError]] = {*_EVERYWHERE, *self.refuses}
        kinds |= {*_OF_A_BODY} if self.body else set()
        kinds |= {KeyReused} if self.writes else set()
        kinds |= {self.missing} if self.thing_kind else set()
        kinds |= {VersionConflict} if self.thing_kind and self.writes else set()
        kinds |= {MergeConflict} if self.merges else set()
        return frozenset(kinds)

    @cached_property
    def _decoder(self) -> "msgspec.json.Decoder[Any] | None":
        return msgspec.json.Decoder(self.body.struct) if self.body else None

    async def answer(self, tasks: TaskService, live: Live, request: AsgiScope, receive: Receive) -> Reply | EventStream:
        """The answer to a request. Raises a `TodoError`; that for an unknown id precedes those for body and headers."""
        exchange, identity = Exchange.of(request), request["user"]
        if not identity.may(self.scope):
            raise InsufficientScope(self.scope)
        thing_id = read_id(exchange.path_parameter, self.missing) if self.thing_kind else _NO_ID
        owner, body, options = identity.owner, None, _PLAIN
        root, query = request["root_path"], request["query_string"]
        try:
            if self.writes:
                body, options = await self._read(exchange, request, receive)
            if query and not self.query:
                refuse_parameters(query)
        except TodoError:
            if self.thing_kind:
                await self._require(tasks, owner, thing_id)
            if self.thing_kind and self.writes:
                self._require_headers(exchange)
            raise
        return await self.handler(Call(tasks, owner, exchange, root, query, thing_id, body, options, identity, live))

    async def _require(self, tasks: TaskService, owner: OwnerId, thing_id: UUID) -> None:
        if self.thing_kind == "list":
            await tasks.get_list(owner, ListId(thing_id))
        else:
            await tasks.get(owner, TaskId(thing_id))

    def _require_headers(self, exchange: Exchange) -> None:
        """Refuse malformed headers, which take precedence over an invalid body."""
        if self.zoned:
            read_time_zone(exchange)
        if self.merges:
            read_merge_base(exchange)
        read_if_match(exchange)

    async def _read(self, exchange: Exchange, request: AsgiScope, receive: Receive) -> tuple[Any, WriteOptions]:
        key = read_idempotency_key(exchange)
        sent = b""
        if self.body is not None and self.body.required:
            require_type(exchange, self.body.types)
        if self.body is not None or key is not None:
            sent = await read_bytes(exchange, receive, self.body_max)
        body = None
        if self.body is not None and (sent or self.body.required):
            if not self.body.required:
                require_type(exchange, self.body.types)
            body = await decoded_in_turn(self._decoder, sent)  # type: ignore[arg-type]  # set if `body` is
        expected = read_if_match(exchange) if self.thing_kind else None
        zone = read_time_zone(exchange) if self.zoned else None
        base = read_merge_base(exchange) if self.merges else None
        identity: Identity = request["user"]
        if key is None and expected is None and zone is None and base is None:
            return body, _PLAIN if identity.client is None else WriteOptions(client=identity.client)
        said = sent if body is None else msgspec.json.encode(body)  # spelling and order of members do not count
        once = None if key is None else Once(key, _fingerprint(self.method, request["raw_path"], said))
        return body, WriteOptions(expected=expected, base=base, once=once, client=identity.client, zone=zone)


_NO_ID: Final = UUID(int=0)
_PLAIN: Final = WriteOptions()


def _fingerprint(method: str, path: bytes, body: bytes) -> str:
    """A digest that identifies an owner's request: its method, path and body."""
    return sha256(b"%b %b\n%b" % (method.encode(), path, body)).hexdigest()


@dataclass(frozen=True, slots=True)
class Subject:
    """A group of operations, filled as they are declared."""

    tag: str
    description: str
    operations: list[Operation] = field(default_factory=list)

    def operation(self, method: str, path: str, **declared: Any) -> Callable[[H], H]:
        """Declare the function below as the handler of an operation; the arguments are those of `Operation`."""

        def declare(handler: H) -> H:
            self.operations.append(Operation(method=method, path=path, tag=self.tag, handler=handler, **declared))
            return handler

        return declare
