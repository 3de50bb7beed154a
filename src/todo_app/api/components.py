"""What the operations of the document share: schemas, headers, parameters, and examples of refusals."""

from typing import Any, Final, TypeAlias

from todo_app.api.examples import CURSOR, GROCERIES, KEY, SYNC_TOKEN
from todo_app.api.examples import TASK as MILK
from todo_app.http.errors import TooManyAtOnce, TooManyRequests
from todo_app.http.preconditions import HEADER_MOST, TAGS_MOST
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


# Headers of one name that do not say the same everywhere.
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
        "description": "A token of your Better Auth server, or of `todo token`.",
    }
}
# `*`, or a list of entity tags, members of which may be empty (RFC 9110 §13.1, §8.8.3 and §5.6.1).
_TAG: Final = r'[ \t]*(?:(?:W/)?"[!#-~\u0080-\u00ff]*"[ \t]*)?'
_TAGS: Final = {
    "type": "string",
    "maxLength": HEADER_MOST,
    "pattern": rf"^(?:[ \t]*\*[ \t]*|{_TAG}(?:,{_TAG})*)$",
    "examples": ['"1"'],
}
_REQUEST_ID: Final = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$", "examples": ["5f1d1f2cbd0c4be1a2f0c3d4"]}
HEADERS: Final = {
    "X-Request-Id": {
        "description": "Names the request in the service's log; your own, if you sent one of this form.",
        "required": True,
        "schema": _REQUEST_ID,
    },
    "ETag": {
        "description": 'The version, such as `"3"`.',
        "required": True,
        "schema": {"type": "string", "pattern": r'^"[1-9]\d*"$', "examples": ['"3"']},
    },
    "Change": {
        "description": "The number of the change that this request made; absent where it changed nothing.",
        "schema": {"type": "integer", "minimum": 1, "examples": [7]},
    },
    "Document-Tag": {
        "description": "Another one when the document is.",
        "required": True,
        "schema": {"type": "string", "examples": ['"7d219b365e6fc506"']},
    },
    "Location": {
        "description": "The path of what is new.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference", "examples": [f"/api/ann/tasks/{MILK.id}"]},
    },
    "Idempotency-Replayed": {
        "description": "There only where this answer was given before, under the same `Idempotency-Key`.",
        "schema": {"type": "string", "const": "true"},
    },
    "Link": {
        "description": 'The next page, as `rel="next"` (RFC 8288); none on the last.',
        "schema": {"type": "string", "examples": [f'</api/ann/tasks?cursor={CURSOR}>; rel="next"']},
    },
    "Retry-After": {
        "description": "Seconds to wait.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0, "examples": [2]},
    },
    # draft-ietf-httpapi-ratelimit-headers-11
    "RateLimit": {
        "description": "How many requests are left, and for how many seconds that holds.",
        "required": True,
        "schema": {"type": "string", "pattern": r'^"[a-z-]+";r=\d+;t=\d+$', "examples": ['"default";r=998;t=3540']},
    },
    "RateLimit-Policy": {
        "description": "How many requests pass in a window of how many seconds.",
        "required": True,
        "schema": {"type": "string", "pattern": r'^"[a-z-]+";q=\d+;w=\d+$', "examples": ['"default";q=1000;w=3600']},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate (RFC 6750).",
        "required": True,
        "schema": {"type": "string", "examples": ['Bearer realm="todo"']},
    },
    "Scope-Missing": {
        "description": "Of `insufficient_scope` only: the scope that the token lacks (RFC 6750 §3).",
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
# In the schemas, not beside them: Swagger UI would write those into its form, where they name nobody's task.
_ID: Final = {"type": "string", "format": "uuid", "examples": [str(MILK.id)]}
_LIST_ID: Final = {"type": "string", "format": "uuid", "examples": [str(GROCERIES.id)]}
PLACES: Final = {
    "list_id": _parameter("list_id", "path", "The list's id.", _LIST_ID, required=True),
    "task_id": _parameter("task_id", "path", "The task's id.", _ID, required=True),
    "trashed_id": _parameter("trashed_id", "path", "The id of what was deleted.", _ID, required=True),
    "number": _parameter(
        "number",
        "path",
        "A change's number, as the header `Change` gave it.",
        {"type": "integer", "minimum": 1, "examples": [2]},
        required=True,
    ),
}
"""What paths name, by the names that their templates give it."""
OWN_REQUEST_ID: Final = _parameter(
    "X-Request-Id",
    "header",
    "Your own name for the request, for the answer and the log: 1 to 64 of `A-Za-z0-9._-`. In place of any other the "
    "service makes one.",
    {"type": "string", "examples": _REQUEST_ID["examples"]},
    required=False,
)
IDEMPOTENCY_KEY: Final = _parameter(
    "Idempotency-Key",
    "header",
    'A fresh key of yours for each request, such as `"8e03978e-40d5-43e8-bc93-6894a57f9324"`: 1 to 255 printable ASCII '
    "characters in double quotes, or a word without them. Repeating the request under its key within 24 hours changes "
    "nothing and gives the first answer again, also where the task has been changed or deleted since; another request "
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
    f'Act only if the thing has this entity tag, such as `"3"`, or one of a list of at most {TAGS_MOST}.',
    _TAGS,
    required=False,
)
MERGE_BASE: Final = _parameter(
    "Merge-Base",
    "header",
    'The entity tag, such as `"3"`, of the version that your change is based on, instead of `If-Match`: the change is '
    "made where none of the members that it sets has changed since, and is otherwise refused with their names.",
    {"type": "string", "pattern": '^"[!#-~]*"$', "examples": ['"1"']},
    required=False,
)
IF_NONE_MATCH: Final = _parameter(
    "If-None-Match",
    "header",
    f"Answer 304 if what is asked for still has this entity tag, or one of a list of at most {TAGS_MOST}.",
    _TAGS,
    required=False,
)
LAST_EVENT_ID: Final = _parameter(
    "Last-Event-ID",
    "header",
    "The `id` of the last event that arrived: the stream continues behind it, whatever `since` says.",
    {"type": "string", "pattern": TOKEN_PATTERN, "examples": [SYNC_TOKEN]},
    required=False,
)
TIME_ZONE: Final = _parameter(
    "Time-Zone",
    "header",
    "Your time zone, as the IANA database names it: what is today for a task without a `time_zone`. UTC without it.",
    {"type": "string", "maxLength": ZONE_LENGTH, "examples": ["Europe/Madrid"]},
    required=False,
)
