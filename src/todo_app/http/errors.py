"""Every refusal as problem+json (RFC 9457): the one table from errors to statuses, and those that only HTTP has."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from msgspec import Meta

from todo_app.http.exchange import Exchange, Reply
from todo_core import (
    InvalidInput,
    KeyReused,
    NotAuthenticated,
    Problem,
    StoreUnavailable,
    TaskExists,
    TaskNotFound,
    TodoError,
    VersionConflict,
)


class NotYourPath(TodoError):
    """The path names another user than the token does."""

    code = "not_your_path"


class NoSuchRoute(TodoError):
    """Nothing is served at that path."""

    code = "not_found"


class MethodNotAllowed(TodoError):
    """The path is served, but not for that method."""

    code = "method_not_allowed"

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(allowed)
        super().__init__(f"This path answers {self.allowed}.")


class MalformedRequest(TodoError):
    """The request, or its body, cannot be read at all."""

    code = "malformed_request"


class BodyTooLarge(TodoError):
    """The body is over the limit."""

    code = "body_too_large"


class BodyTooSlow(TodoError):
    """The body takes too long to arrive."""

    code = "body_too_slow"


class UnsupportedMediaType(TodoError):
    """The body is of a type that this path does not read."""

    code = "unsupported_media_type"


class OriginNotAllowed(TodoError):
    """A browser asks on behalf of a page that is not among the configured origins."""

    code = "origin_not_allowed"


class TooManyRequests(TodoError):
    """The caller has used up what it may ask for in a while. `retry_after` is in seconds."""

    code = "too_many_requests"

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"You have sent too many requests: try again in {retry_after} seconds.")


class InternalError(TodoError):
    """A bug of ours. The log has it under the request's id."""

    code = "internal_error"


STATUSES: Final[Mapping[type[TodoError], tuple[HTTPStatus, str]]] = {
    InvalidInput: (HTTPStatus.UNPROCESSABLE_ENTITY, "The request breaks a rule"),
    NotAuthenticated: (HTTPStatus.UNAUTHORIZED, "A valid bearer token is needed"),
    NotYourPath: (HTTPStatus.FORBIDDEN, "This path belongs to another user"),
    OriginNotAllowed: (HTTPStatus.FORBIDDEN, "Pages of this origin may not call"),
    TaskNotFound: (HTTPStatus.NOT_FOUND, "There is no such task"),
    TaskExists: (HTTPStatus.CONFLICT, "The task exists already"),
    KeyReused: (HTTPStatus.UNPROCESSABLE_ENTITY, "The idempotency key belongs to another task"),
    VersionConflict: (HTTPStatus.PRECONDITION_FAILED, "The task has changed meanwhile"),
    StoreUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "The database is away"),
    NoSuchRoute: (HTTPStatus.NOT_FOUND, "Nothing is served here"),
    MethodNotAllowed: (HTTPStatus.METHOD_NOT_ALLOWED, "The path does not answer this method"),
    MalformedRequest: (HTTPStatus.BAD_REQUEST, "The request cannot be read"),
    BodyTooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large"),
    BodyTooSlow: (HTTPStatus.REQUEST_TIMEOUT, "The body takes too long"),
    UnsupportedMediaType: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is of the wrong type"),
    TooManyRequests: (HTTPStatus.TOO_MANY_REQUESTS, "Too many requests"),
    InternalError: (HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong on our side"),
}

_BUG: Final = HTTPStatus.INTERNAL_SERVER_ERROR
RETRY_AFTER_OUTAGE: Final = 2  # seconds: a failover or a serverless wake-up takes about this long


_STATUS: Final = {"minimum": 400, "maximum": 599}
_CODE: Final = {"enum": sorted(kind.code for kind in STATUSES)}


class ProblemItem(msgspec.Struct, frozen=True):
    """One thing wrong with the request, and where (RFC 6901)."""

    pointer: Annotated[str, Meta(description="A JSON Pointer into the body, or the parameter's name after a slash.")]
    detail: str


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every refusal (RFC 9457 §3.1)."""

    type: Annotated[str, Meta(description="Stable: `urn:todo:problem:` and the code.")]
    title: Annotated[str, Meta(description="The same for all problems of this code.")]
    status: Annotated[int, Meta(description="The status of the answer.", extra_json_schema=_STATUS)]
    detail: Annotated[str, Meta(description="What to do, for people to read.")]
    code: Annotated[str, Meta(description="Stable: what to tell problems apart by.", extra_json_schema=_CODE)]
    request_id: Annotated[str, Meta(description="Names the request in the service's log: `X-Request-Id`.")]
    errors: Annotated[list[ProblemItem], Meta(description="Of `invalid_input` only: everything at fault.")] = []


def reply_to(error: Exception, exchange: Exchange) -> Reply:
    """The answer that tells a caller of this error. Of a bug it tells nothing but that it happened."""
    refusal = error if isinstance(error, TodoError) else _as_refusal(error, exchange)
    problem = problem_of(refusal, exchange.request_id)
    headers = [(b"content-type", b"application/problem+json"), *_headers(refusal)]
    return Reply(problem.status, headers, msgspec.json.encode(problem))


def problem_of(refusal: TodoError, request_id: str) -> ProblemDetails:
    """The refusal in the words that a caller gets."""
    status, title = status_of(type(refusal))
    return ProblemDetails(
        type=f"urn:todo:problem:{refusal.code}",
        title=title,
        status=status,
        detail=_clean(
            "A valid bearer token is needed." if isinstance(refusal, NotAuthenticated) else str(refusal).strip()
        ),
        code=refusal.code,
        request_id=request_id,
        errors=_items(refusal.problems) if isinstance(refusal, InvalidInput) else [],
    )


def status_of(kind: type[TodoError]) -> tuple[HTTPStatus, str]:
    """The status and title for that class of error: its own, or those of the nearest class that it refines."""
    return next(STATUSES[parent] for parent in kind.__mro__ if parent in STATUSES)


def is_refusal(error: Exception) -> bool:
    """Whether the caller is at fault, or an outage that is known, rather than a bug."""
    return isinstance(error, TodoError) or (isinstance(error, HTTPException) and error.status_code < _BUG)


def _as_refusal(error: Exception, exchange: Exchange) -> TodoError:
    """What the framework itself refuses, in our terms."""
    match error:
        case NotFoundException():
            return NoSuchRoute("Nothing is served at this path.")
        case MethodNotAllowedException():
            return MethodNotAllowed(exchange.allowed())
        case HTTPException(status_code=HTTPStatus.BAD_REQUEST):
            return MalformedRequest(error.detail)
        case _:
            return InternalError("The request failed for no fault of yours; its id names it in our log.")


def _headers(refusal: TodoError) -> list[tuple[bytes, bytes]]:
    match refusal:
        case NotAuthenticated():
            # RFC 6750 §3.1: who sent no credentials is told no error code.
            error = getattr(refusal, "error", "invalid_token")
            challenge = f'Bearer realm="todo", error="{error}"' if error else 'Bearer realm="todo"'
            return [(b"www-authenticate", challenge.encode())]
        case MethodNotAllowed():
            return [(b"allow", refusal.allowed.encode())]
        case VersionConflict():
            return [(b"etag", b'"%d"' % refusal.current)]
        case TooManyRequests():
            return [(b"retry-after", b"%d" % refusal.retry_after)]
        case BodyTooLarge() | BodyTooSlow():
            # Nobody will read what is left of the body, so the connection ends: the client must not use it again.
            return [(b"connection", b"close")]
        case StoreUnavailable():
            return [(b"retry-after", b"%d" % RETRY_AFTER_OUTAGE)]
        case _:
            return []


def _items(problems: Iterable[Problem]) -> list[ProblemItem]:
    return [
        ProblemItem(pointer=_clean(f"/{problem.field}" if problem.field else ""), detail=_clean(problem.detail))
        for problem in problems
    ]


def _clean(text: str) -> str:
    """Text that JSON in UTF-8 can hold: a caller's lone surrogates must not break the refusal of them."""
    return text.encode("utf-8", "replace").decode()
