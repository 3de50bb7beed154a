"""Refusals as problem+json (RFC 9457)."""

from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from todo_app.http.errors import (
    STATUS_RULES,
    STATUSES,
    BodyTooLarge,
    BodyTooSlow,
    MethodNotAllowed,
    TooManyRequests,
    as_refusal,
    status_of,
)
from todo_app.http.exchange import Exchange, Reply
from todo_app.http.headers import has_weak_if_match
from todo_core import (
    IdentityUnavailable,
    InsufficientScope,
    InvalidInput,
    MergeConflict,
    NotAuthenticated,
    Problem,
    StoreUnavailable,
    TodoError,
    UndoConflict,
    VersionConflict,
)

RETRY_AFTER_OUTAGE: Final = 2  # seconds: a failover or a serverless wake-up takes about this long
MAX_FAULTS: Final = 50  # a body can have thousands
NOT_ALL: Final = Problem("", f"only the first {MAX_FAULTS} faults are listed")

_WEAK: Final = "A weak tag never matches (RFC 9110 §13.1.1): send it without W/."
_CODE: Final = {"enum": sorted(kind.code for kind in STATUSES)}


class ProblemItem(msgspec.Struct, frozen=True):
    """One fault of the request, and where it is (RFC 6901)."""

    pointer: Annotated[str, Meta(description="A JSON Pointer into the body, or a slash and the parameter's name.")]
    detail: str
    id: Annotated[UUID | UnsetType, Meta(description="With `undo_conflict`: the task or list at fault.")] = UNSET


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every refusal (RFC 9457 §3.1)."""

    type: Annotated[str, Meta(description="Stable: `urn:todo:problem:` and the code.")]
    title: Annotated[str, Meta(description="Describes the code, for people.")]
    status: Annotated[int, Meta(description="The status of the answer.", extra_json_schema=STATUS_RULES)]
    detail: Annotated[str, Meta(description="What is wrong and what to do, for people.")]
    code: Annotated[str, Meta(description="Stable: identifies the kind of problem.", extra_json_schema=_CODE)]
    request_id: Annotated[str, Meta(description="The request's id in the service's log: `X-Request-Id`.")]
    errors: Annotated[
        list[ProblemItem],
        Meta(description="With 422, `undo_conflict`, `merge_conflict` and in a batch: everything at fault."),
    ] = []


def reply_to(error: Exception, exchange: Exchange) -> Reply:
    """The reply for this error. It reveals nothing about a bug."""
    refusal = error if isinstance(error, TodoError) else as_refusal(error, exchange)
    problem = problem_of(refusal, exchange.request_id)
    of_header = isinstance(refusal, VersionConflict) and refusal.part is None  # in a batch it is of an operation
    if of_header and has_weak_if_match(exchange):  # else the client might repeat it for ever
        problem = msgspec.structs.replace(problem, detail=f"{problem.detail} {_WEAK}")
    headers = [(b"content-type", b"application/problem+json"), *_headers(refusal, exchange.metadata_url)]
    return Reply(problem.status, headers, msgspec.json.encode(problem))


def problem_of(refusal: TodoError, request_id: str) -> ProblemDetails:
    """The refusal as the caller receives it."""
    status, title = status_of(type(refusal))
    return ProblemDetails(
        type=f"urn:todo:problem:{refusal.code}",
        title=title,
        status=status,
        detail=_clean(
            "A valid bearer token is required." if isinstance(refusal, NotAuthenticated) else str(refusal).strip()
        ),
        code=refusal.code,
        request_id=request_id,
        errors=_items(refusal),
    )


def _headers(refusal: TodoError, metadata_url: str | None) -> list[tuple[bytes, bytes]]:
    metadata = f', resource_metadata="{metadata_url}"' if metadata_url else ""  # RFC 9728 §5.1
    match refusal:
        case NotAuthenticated():
            # RFC 6750 §3.1: a request without credentials gets no error code.
            error = getattr(refusal, "error", "invalid_token")
            challenge = f'Bearer realm="todo", error="{error}"' if error else 'Bearer realm="todo"'
            return [(b"www-authenticate", f"{challenge}{metadata}".encode())]
        case InsufficientScope():
            challenge = f'Bearer error="{refusal.code}", scope="{refusal.scope}"'
            return [(b"www-authenticate", f"{challenge}{metadata}".encode())]
        case MethodNotAllowed():
            return [(b"allow", refusal.allowed.encode())]
        case VersionConflict():
            return [(b"etag", b'"%d"' % refusal.current)]
        case TooManyRequests():
            return [(b"retry-after", b"%d" % refusal.retry_after)]
        case BodyTooLarge() | BodyTooSlow():
            # The rest of the body is not read, so the client must not use the connection again.
            return [(b"connection", b"close")]
        case StoreUnavailable() | IdentityUnavailable():
            return [(b"retry-after", b"%d" % RETRY_AFTER_OUTAGE)]
        case _:
            return []


def _items(refusal: TodoError) -> list[ProblemItem]:
    match refusal:
        case InvalidInput() | MergeConflict():
            return [_item(problem, UNSET) for problem in refusal.problems]
        case UndoConflict():
            items = [_item(problem, thing) for problem, thing in zip(refusal.problems, refusal.ids, strict=True)]
            return items if len(items) <= MAX_FAULTS else [*items[:MAX_FAULTS], _item(NOT_ALL, UNSET)]
        case _ if refusal.part is not None:
            return [_item(Problem(f"operations/{refusal.part}", str(refusal)), UNSET)]
    return []


def _item(problem: Problem, thing: UUID | UnsetType) -> ProblemItem:
    pointer = _clean(f"/{problem.field}" if problem.field else "")
    return ProblemItem(pointer=pointer, detail=_clean(problem.detail), id=thing)


def _clean(text: str) -> str:
    """The text without lone surrogates, which JSON in UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()
