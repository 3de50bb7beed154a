"""The OpenAPI document's shared parts: headers and parameters."""

from typing import Any, Final, TypeAlias

from todo_app.api.examples import CURSOR, GROCERIES, KEY, SYNC_TOKEN
from todo_app.api.examples import TASK as MILK
from todo_app.http.errors import TooManyAtOnce, TooManyRequests
from todo_app.http.headers import TAGS_HEADER_MAX, TAGS_MAX
from todo_core import (
    IdentityUnavailable,
    InsufficientScope,
    NotAuthenticated,
    StoreUnavailable,
    TodoError,
    VersionConflict,
)
from todo_core.due import ZONE_LENGTH
from todo_core.sync import TOKEN_PATTERN
from todo_core.task import OWNER_LENGTH

Json: TypeAlias = dict[str, Any]


# Components for headers whose description differs between operations.
_SHOWN: Final = {"Document-Tag": "ETag", "Scope-Missing": "WWW-Authenticate"}


def headers(*names: str) -> Json:
    """References to these headers."""
    return {_SHOWN.get(name, name): {"$ref": f"#/components/headers/{name}"} for name in names}


def _parameter(name: str, place: str, description: str, schema: Json, **more: object) -> Json:
    return {"name": name, "in": place, "description": description, "schema": schema, **more}


REFUSAL_HEADERS: Final[dict[type[TodoError], tuple[str, ...]]] = {
    NotAuthenticated: ("WWW-Authenticate",),
    InsufficientScope: ("Scope-Missing",),
    VersionConflict: ("ETag",),
    TooManyRequests: ("Retry-After",),
    TooManyAtOnce: ("Retry-After",),
    StoreUnavailable: ("Retry-After",),
    IdentityUnavailable: ("Retry-After",),
}
SECURITY: Final[Json] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A JWT of your issuer, such as Better Auth, or of `todo token`.",
    }
}
# `*`, or a list of entity tags, members of which may be empty (RFC 9110 §13.1, §8.8.3 and §5.6.1).
_TAG: Final = r'[ \t]*(?:(?:W/)?"[!#-~\u0080-\u00ff]*"[ \t]*)?'
_TAGS: Final = {
    "type": "string",
    "maxLength": TAGS_HEADER_MAX,
    "pattern": rf"^(?:[ \t]*\*[ \t]*|{_TAG}(?:,{_TAG})*)$",
    "examples": ['"1"'],
}
_REQUEST_ID: Final = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$", "examples": ["5f1d1f2cbd0c4be1a2f0c3d4"]}
HEADERS: Final = {
    "X-Request-Id": {
        "description": "The request's id in the service's log: yours, if you sent a valid one.",
        "required": True,
        "schema": _REQUEST_ID,
    },
    "ETag": {
        "description": 'The version, such as `"3"`.',
        "required": True,
        "schema": {"type": "string", "pattern": r'^"[1-9]\d*"$', "examples": ['"3"']},
    },
    "Change": {
        "description": "The number of the change that this request made; absent if it changed nothing.",
        "schema": {"type": "integer", "minimum": 1, "examples": [7]},
    },
    "Document-Tag": {
        "description": "Changes with the document.",
        "required": True,
        "schema": {"type": "string", "examples": ['"7d219b365e6fc506"']},
    },
    "Location": {
        "description": "The path of the new task or list.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference", "examples": [f"/api/ann/tasks/{MILK.id}"]},
    },
    "Idempotency-Replayed": {
        "description": "Present only if this answer was given before, under the same `Idempotency-Key`.",
        "schema": {"type": "string", "const": "true"},
    },
    "Link": {
        "description": 'The next page, as `rel="next"` (RFC 8288); absent on the last page.',
        "schema": {"type": "string", "examples": [f'</api/ann/tasks?cursor={CURSOR}>; rel="next"']},
    },
    "Retry-After": {
        "description": "Seconds to wait.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0, "examples": [2]},
    },
    # draft-ietf-httpapi-ratelimit-headers-11
    "RateLimit": {
        "description": "How many requests are left, and in how many seconds the window ends.",
        "required": True,
        "schema": {"type": "string", "pattern": r'^"[a-z-]+";r=\d+;t=\d+$', "examples": ['"default";r=998;t=3540']},
    },
    "RateLimit-Policy": {
        "description": "How many requests are allowed in a window, and the window's length in seconds.",
        "required": True,
        "schema": {"type": "string", "pattern": r'^"[a-z-]+";q=\d+;w=\d+$', "examples": ['"default";q=1000;w=3600']},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate (RFC 6750).",
        "required": True,
        "schema": {"type": "string", "examples": ['Bearer realm="todo"']},
    },
    "Scope-Missing": {
        "description": "With `insufficient_scope` only: the scope that the token lacks (RFC 6750 §3).",
        "schema": {"type": "string", "examples": ['Bearer error="insufficient_scope", scope="tasks:write"']},
    },
}
REQUEST_ID: Final = headers("X-Request-Id")
LIMITS: Final = headers("RateLimit", "RateLimit-Policy")
USER: Final = _parameter(
    "user_id",
    "path",
    "The token's `sub`, exactly.",
    {"type": "string", "minLength": 1, "maxLength": OWNER_LENGTH, "examples": [MILK.owner]},
    required=True,
)
# Examples inside the schemas: beside them, Swagger UI would fill them into its form, where no such task exists.
_ID: Final = {"type": "string", "format": "uuid", "examples": [str(MILK.id)]}
_LIST_ID: Final = {"type": "string", "format": "uuid", "examples": [str(GROCERIES.id)]}
PLACES: Final = {
    "list_id": _parameter("list_id", "path", "The list's id.", _LIST_ID, required=True),
    "task_id": _parameter("task_id", "path", "The task's id.", _ID, required=True),
    "trashed_id": _parameter("trashed_id", "path", "The id of the task or list that was deleted.", _ID, required=True),
    "number": _parameter(
        "number",
        "path",
        "A change's number, as in the header `Change`.",
        {"type": "integer", "minimum": 1, "examples": [2]},
        required=True,
    ),
}
"""The path parameters, by name."""
OWN_REQUEST_ID: Final = _parameter(
    "X-Request-Id",
    "header",
    "Your own id for the request, for the answer and the log: 1 to 64 of `A-Za-z0-9._-`. Without a valid one the "
    "service makes one.",
    {"type": "string", "examples": _REQUEST_ID["examples"]},
    required=False,
)
IDEMPOTENCY_KEY: Final = _parameter(
    "Idempotency-Key",
    "header",
    'A new key for each request, such as `"8e03978e-40d5-43e8-bc93-6894a57f9324"`: 1 to 255 printable ASCII '
    "characters in double quotes, or a word without them. Repeating the request under its key within 24 hours changes "
    "nothing and returns the first answer again, even if the task has been changed or deleted since; another request "
    "under the same key is refused.",
    {
        "type": "string",
        "pattern": r'^(?:"(?:[ !#-\[\]-~]|\\["\\]){1,255}"|[!#-+\--~]{1,255})$',
        "examples": [f'"{KEY}"'],
    },
    required=False,
)
IF_MATCH: Final = _parameter(
    "If-Match",
    "header",
    f'Only if the task or list has this entity tag, such as `"3"`, or one of a list of at most {TAGS_MAX}.',
    _TAGS,
    required=False,
)
MERGE_BASE: Final = _parameter(
    "Merge-Base",
    "header",
    'The entity tag, such as `"3"`, of the version that your change is based on, instead of `If-Match`: the change is '
    "made if none of the members that it sets has changed since, and is otherwise refused with their names.",
    {"type": "string", "pattern": '^"[1-9][0-9]{0,8}(-(gzip|br|zstd))?"$', "examples": ['"1"']},
    required=False,
)
IF_NONE_MATCH: Final = _parameter(
    "If-None-Match",
    "header",
    f"Answers 304 if the resource still has this entity tag, or one of a list of at most {TAGS_MAX}.",
    _TAGS,
    required=False,
)
LAST_EVENT_ID: Final = _parameter(
    "Last-Event-ID",
    "header",
    "The `id` of the last event received: the stream continues after it, whatever `since` is. What is not a "
    "sync token is refused here with 400 `malformed_request`, and in `since` with 422 `invalid_input`.",
    {"type": "string", "pattern": TOKEN_PATTERN, "examples": [SYNC_TOKEN]},
    required=False,
)
TIME_ZONE: Final = _parameter(
    "Time-Zone",
    "header",
    "The user's time zone, an IANA name: it decides what today is for a task without a `time_zone`. Default: UTC.",
    {"type": "string", "maxLength": ZONE_LENGTH, "examples": ["Europe/Madrid"]},
    required=False,
)
