"""The errors that only HTTP has, and the one table from all errors to statuses."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

from litestar.exceptions import HTTPException, LitestarException, MethodNotAllowedException, NotFoundException

from todo_app.http.exchange import Exchange
from todo_core import (
    ChangeNotFound,
    IdentityUnavailable,
    InsufficientScope,
    InvalidInput,
    KeyReused,
    ListNotFound,
    MergeConflict,
    NotAuthenticated,
    NotInTrash,
    ResyncRequired,
    StoreUnavailable,
    TaskExists,
    TaskNotFound,
    TodoError,
    TooMany,
    UndoConflict,
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


class TooManyAtOnce(TooManyRequests):
    """The caller has too many requests under way at the same time. `retry_after` is in seconds."""

    code = "too_many_at_once"

    def __init__(self, detail: str) -> None:
        self.retry_after = 1
        TodoError.__init__(self, detail)


class InternalError(TodoError):
    """A bug of ours. The log has it under the request's id."""

    code = "internal_error"


STATUSES: Final[Mapping[type[TodoError], tuple[HTTPStatus, str]]] = {
    InvalidInput: (HTTPStatus.UNPROCESSABLE_ENTITY, "The request breaks a rule"),
    NotAuthenticated: (HTTPStatus.UNAUTHORIZED, "A valid bearer token is needed"),
    IdentityUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "Tokens cannot be verified at the moment"),
    NotYourPath: (HTTPStatus.FORBIDDEN, "This path belongs to another user"),
    InsufficientScope: (HTTPStatus.FORBIDDEN, "The token does not allow this"),
    OriginNotAllowed: (HTTPStatus.FORBIDDEN, "Pages of this origin may not call"),
    TaskNotFound: (HTTPStatus.NOT_FOUND, "There is no such task"),
    ListNotFound: (HTTPStatus.NOT_FOUND, "There is no such list"),
    TaskExists: (HTTPStatus.CONFLICT, "The task exists already"),
    KeyReused: (HTTPStatus.UNPROCESSABLE_ENTITY, "The idempotency key belongs to another request"),
    ResyncRequired: (HTTPStatus.GONE, "The token is too old"),
    ChangeNotFound: (HTTPStatus.NOT_FOUND, "There is no such change"),
    NotInTrash: (HTTPStatus.NOT_FOUND, "It is not in the trash"),
    UndoConflict: (HTTPStatus.CONFLICT, "Later changes conflict with this one"),
    MergeConflict: (HTTPStatus.CONFLICT, "Others have changed the same"),
    TooMany: (HTTPStatus.CONFLICT, "The limit is reached"),
    VersionConflict: (HTTPStatus.PRECONDITION_FAILED, "It has changed meanwhile"),
    StoreUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "The database is unavailable"),
    NoSuchRoute: (HTTPStatus.NOT_FOUND, "There is no such path"),
    MethodNotAllowed: (HTTPStatus.METHOD_NOT_ALLOWED, "The path does not allow this method"),
    MalformedRequest: (HTTPStatus.BAD_REQUEST, "The request is malformed"),
    BodyTooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large"),
    BodyTooSlow: (HTTPStatus.REQUEST_TIMEOUT, "The body was sent too slowly"),
    UnsupportedMediaType: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body has an unsupported media type"),
    TooManyRequests: (HTTPStatus.TOO_MANY_REQUESTS, "Too many requests"),
    TooManyAtOnce: (HTTPStatus.TOO_MANY_REQUESTS, "Too many requests at the same time"),
    InternalError: (HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error"),
}

STATUS_RULES: Final = {"minimum": 400, "maximum": 599}
"""What the OpenAPI document says of a refusal's status."""

_BUG: Final = HTTPStatus.INTERNAL_SERVER_ERROR


def status_of(kind: type[TodoError]) -> tuple[HTTPStatus, str]:
    """The status and title for that class of error: its own, or those of the nearest class that it refines."""
    return next(STATUSES[parent] for parent in kind.__mro__ if parent in STATUSES)


def is_refusal(error: Exception) -> bool:
    """Whether the caller is at fault, or an outage that is known, rather than a bug."""
    return isinstance(error, TodoError) or (isinstance(error, HTTPException) and error.status_code < _BUG)


def cause_of(error: Exception) -> Exception:
    """The exception itself: once an answer has begun Litestar wraps what is raised."""
    is_wrapped = type(error) is LitestarException and isinstance(error.__cause__, Exception)
    return error.__cause__ if is_wrapped else error  # type: ignore[return-value]  # as it has been judged


def as_refusal(error: Exception, exchange: Exchange) -> TodoError:
    """What the framework itself refuses, in our terms."""
    match error:
        case NotFoundException():
            return NoSuchRoute("Nothing is served at this path.")
        case MethodNotAllowedException():
            return MethodNotAllowed(exchange.allowed())
        case HTTPException(status_code=HTTPStatus.BAD_REQUEST):
            return MalformedRequest(error.detail)
        case _:
            return InternalError("Internal error. Quote the request id when you report it.")
