"""The errors that only HTTP has, and the table of all errors' statuses."""

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
    """The path names another user than the token."""

    code = "not_your_path"


class NoSuchRoute(TodoError):
    """No route has that path."""

    code = "not_found"


class MethodNotAllowed(TodoError):
    """The path does not support that method."""

    code = "method_not_allowed"

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(allowed)
        super().__init__(f"This path supports {self.allowed}.")


class MalformedRequest(TodoError):
    """The request, or its body, cannot be parsed."""

    code = "malformed_request"


class BodyTooLarge(TodoError):
    """The body exceeds the limit."""

    code = "body_too_large"


class BodyTooSlow(TodoError):
    """The body takes too long to arrive."""

    code = "body_too_slow"


class UnsupportedMediaType(TodoError):
    """The body's media type is not supported by this path."""

    code = "unsupported_media_type"


class OriginNotAllowed(TodoError):
    """A browser sent the request for a page of an origin that is not configured."""

    code = "origin_not_allowed"


class TooManyRequests(TodoError):
    """The caller has exceeded a rate limit. `retry_after` is in seconds."""

    code = "too_many_requests"

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"You have sent too many requests: try again in {retry_after} seconds.")


class TooManyAtOnce(TooManyRequests):
    """The caller has too many concurrent requests. `retry_after` is in seconds."""

    code = "too_many_at_once"

    def __init__(self, detail: str) -> None:
        self.retry_after = 1
        TodoError.__init__(self, detail)


class InternalError(TodoError):
    """A bug. The log has it under the request's id."""

    code = "internal_error"


STATUSES: Final[Mapping[type[TodoError], tuple[HTTPStatus, str]]] = {
    InvalidInput: (HTTPStatus.UNPROCESSABLE_ENTITY, "The request breaks a rule"),
    NotAuthenticated: (HTTPStatus.UNAUTHORIZED, "A valid bearer token is required"),
    IdentityUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "Tokens cannot be verified at the moment"),
    NotYourPath: (HTTPStatus.FORBIDDEN, "This path belongs to another user"),
    InsufficientScope: (HTTPStatus.FORBIDDEN, "The token does not allow this"),
    OriginNotAllowed: (HTTPStatus.FORBIDDEN, "This origin is not allowed"),
    TaskNotFound: (HTTPStatus.NOT_FOUND, "The task does not exist"),
    ListNotFound: (HTTPStatus.NOT_FOUND, "The list does not exist"),
    TaskExists: (HTTPStatus.CONFLICT, "The id is in use already"),
    KeyReused: (HTTPStatus.UNPROCESSABLE_ENTITY, "The idempotency key belongs to another request"),
    ResyncRequired: (HTTPStatus.GONE, "The sync token is no longer valid"),
    ChangeNotFound: (HTTPStatus.NOT_FOUND, "The change does not exist"),
    NotInTrash: (HTTPStatus.NOT_FOUND, "Not in the trash"),
    UndoConflict: (HTTPStatus.CONFLICT, "Later changes conflict with this one"),
    MergeConflict: (HTTPStatus.CONFLICT, "The same members have been changed"),
    TooMany: (HTTPStatus.CONFLICT, "The limit is reached"),
    VersionConflict: (HTTPStatus.PRECONDITION_FAILED, "The version has changed"),
    StoreUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "The database is unavailable"),
    NoSuchRoute: (HTTPStatus.NOT_FOUND, "The path does not exist"),
    MethodNotAllowed: (HTTPStatus.METHOD_NOT_ALLOWED, "The path does not allow this method"),
    MalformedRequest: (HTTPStatus.BAD_REQUEST, "The request is malformed"),
    BodyTooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large"),
    BodyTooSlow: (HTTPStatus.REQUEST_TIMEOUT, "The body was sent too slowly"),
    UnsupportedMediaType: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body has an unsupported media type"),
    TooManyRequests: (HTTPStatus.TOO_MANY_REQUESTS, "Too many requests"),
    TooManyAtOnce: (HTTPStatus.TOO_MANY_REQUESTS, "Too many concurrent requests"),
    InternalError: (HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error"),
}

NO_ROUTE: Final = "This path does not exist"
INTERNAL: Final = "Internal error. Include the request id when you report it."

STATUS_RULES: Final = {"minimum": 400, "maximum": 599}
"""The JSON Schema of a refusal's status."""

_BUG: Final = HTTPStatus.INTERNAL_SERVER_ERROR


def status_of(kind: type[TodoError]) -> tuple[HTTPStatus, str]:
    """The status and title for that class of error: its own, or those of its nearest base class."""
    return next(STATUSES[parent] for parent in kind.__mro__ if parent in STATUSES)


def is_refusal(error: Exception) -> bool:
    """Whether it is a refusal or a known outage, rather than a bug."""
    return isinstance(error, TodoError) or (isinstance(error, HTTPException) and error.status_code < _BUG)


def cause_of(error: Exception) -> Exception:
    """The original exception: Litestar wraps those that are raised after an answer has begun."""
    is_wrapped = type(error) is LitestarException and isinstance(error.__cause__, Exception)
    return error.__cause__ if is_wrapped else error  # type: ignore[return-value]  # checked above


def as_refusal(error: Exception, exchange: Exchange) -> TodoError:
    """The `TodoError` for an exception of the framework; for any other, `InternalError`."""
    match error:
        case NotFoundException():
            return NoSuchRoute(f"{NO_ROUTE}.")
        case MethodNotAllowedException():
            return MethodNotAllowed(exchange.allowed())
        case HTTPException(status_code=HTTPStatus.BAD_REQUEST):
            return MalformedRequest(error.detail)
        case _:
            return InternalError(INTERNAL)
