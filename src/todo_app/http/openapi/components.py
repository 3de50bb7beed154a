"""What the operations of the document share: schemas, headers, parameters, and examples of refusals."""

from typing import Any, Final, TypeAlias

import msgspec

from todo_app.http.errors import TooManyAtOnce, TooManyRequests
from todo_app.http.openapi.examples import CURSOR, KEY, refusals
from todo_app.http.openapi.examples import TASK as MILK
from todo_app.http.preconditions import HEADER_MOST, TAGS_MOST
from todo_app.http.problems import ProblemDetails
from todo_app.http.wire import TEXT_PATTERN, Completion, NewTask, TaskListView, TaskPatch, TaskPut, TaskView
from todo_core import IdentityUnavailable, NotAuthenticated, Sort, StoreUnavailable, TodoError, VersionConflict
from todo_core.queries import PAGE_DEFAULT, PAGE_MOST, SEARCH_LENGTH
from todo_core.task import OWNER_LENGTH

Json: TypeAlias = dict[str, Any]


def headers(**names: str) -> Json:
    return {name.replace("_", "-"): {"$ref": f"#/components/headers/{ref}"} for name, ref in names.items()}


def components() -> Json:
    structs = list(NAMES)
    _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    renamed = msgspec.json.encode(schemas).decode()
    for struct, name in NAMES.items():
        renamed = renamed.replace(f'/schemas/{struct.__name__}"', f'/schemas/{name}"')
    found = msgspec.json.decode(renamed)
    for schema in found.values():
        for member in schema.get("properties", {}).values():
            # Generators take a member with a default for one that is always there. Bodies may leave it out.
            member.pop("default", None)
    by_name = {struct.__name__: name for struct, name in NAMES.items()}
    return {
        "schemas": {
            by_name.get(name, name): schema | {"title": by_name.get(name, name)} for name, schema in found.items()
        },
        "headers": _HEADERS,
        "examples": refusals(),
        "securitySchemes": {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A token of your Better Auth server, or of `todo token`.",
            }
        },
    }


def _parameter(name: str, place: str, description: str, schema: Json, **more: object) -> Json:
    return {"name": name, "in": place, "description": description, "schema": schema, **more}


NAMES: Final[dict[type, str]] = {
    TaskView: "Task",
    TaskListView: "TaskList",
    NewTask: "NewTask",
    TaskPatch: "TaskPatch",
    TaskPut: "TaskPut",
    Completion: "Completion",
    ProblemDetails: "Problem",
}
REFUSAL_HEADERS: Final[dict[type[TodoError], dict[str, str]]] = {
    NotAuthenticated: {"WWW_Authenticate": "WWW-Authenticate"},
    VersionConflict: {"ETag": "ETag"},
    TooManyRequests: {"Retry_After": "Retry-After"},
    TooManyAtOnce: {"Retry_After": "Retry-After"},
    StoreUnavailable: {"Retry_After": "Retry-After"},
    IdentityUnavailable: {"Retry_After": "Retry-After"},
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
_HEADERS: Final = {
    "X-Request-Id": {
        "description": "Names the request in the service's log; your own, if you sent one of this form.",
        "required": True,
        "schema": _REQUEST_ID,
    },
    "ETag": {
        "description": 'The task\'s version, such as `"3"`.',
        "required": True,
        "schema": {"type": "string", "pattern": r'^"[1-9]\d*"$', "examples": ['"3"']},
    },
    "Document-Tag": {
        "description": "Another one when the document is.",
        "required": True,
        "schema": {"type": "string", "examples": ['"7d219b365e6fc506"']},
    },
    "Location": {
        "description": "The new task's path.",
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
}
REQUEST_ID: Final = headers(X_Request_Id="X-Request-Id")
LIMITS: Final = headers(RateLimit="RateLimit", RateLimit_Policy="RateLimit-Policy")
USER: Final = _parameter(
    "user_id",
    "path",
    "The token's `sub`, exactly.",
    {"type": "string", "minLength": 1, "maxLength": OWNER_LENGTH, "examples": [MILK.owner]},
    required=True,
)
# In the schemas, not beside them: Swagger UI would write those into its form, where they name nobody's task.
TASK: Final = _parameter(
    "task_id",
    "path",
    "The task's id.",
    {"type": "string", "format": "uuid", "examples": [str(MILK.id)]},
    required=True,
)
OWN_REQUEST_ID: Final = _parameter(
    "X-Request-Id",
    "header",
    "Your own name for the request, for the answer and the log.",
    _REQUEST_ID,
    required=False,
)
IDEMPOTENCY_KEY: Final = _parameter(
    "Idempotency-Key",
    "header",
    'A fresh key of yours for each task, such as `"8e03978e-40d5-43e8-bc93-6894a57f9324"`: 1 to 255 printable ASCII '
    "characters in double quotes, or a word without them. Repeating the request under its key within 24 hours creates "
    "nothing and gives the first answer again, also where the task has been changed or deleted since; another task "
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
    f'Act only if the task has this entity tag, such as `"3"`, or one of a list of at most {TAGS_MOST}.',
    _TAGS,
    required=False,
)
IF_NONE_MATCH: Final = _parameter(
    "If-None-Match",
    "header",
    f"Answer 304 if what is asked for still has this entity tag, or one of a list of at most {TAGS_MOST}.",
    _TAGS,
    required=False,
)
FILTERS: Final = [
    _parameter("completed", "query", "Only tasks that are done, or only those that are not.", {"type": "boolean"}),
    _parameter(
        "q",
        "query",
        "Only tasks with this in their title or description, in any case, however it is composed (NFKC). "
        "It is measured as it is compared, too: ß is ss.",
        {
            "type": "string",
            "maxLength": SEARCH_LENGTH,
            "pattern": TEXT_PATTERN,
            "examples": ["milk"],
        },
    ),
    _parameter(
        "sort",
        "query",
        "The order; `-` is descending. By `updated_at` and `title` a task that is changed between two pages moves, and "
        "may come twice or not at all; by `created_at` none does.",
        {"type": "string", "enum": list(Sort), "default": Sort.NEWEST},
    ),
    _parameter(
        "limit",
        "query",
        "How many at most.",
        {"type": "integer", "minimum": 1, "maximum": PAGE_MOST, "default": PAGE_DEFAULT},
    ),
    _parameter("cursor", "query", "The `next_cursor` of the page before.", {"type": "string", "examples": [CURSOR]}),
]
