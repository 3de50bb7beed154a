"""The OpenAPI 3.1 document: the schemas come from the wire structs, the operations are told here."""

from importlib.metadata import version
from typing import Any, Final

import msgspec

from todo_app.http.errors import (
    BodyTooLarge,
    MalformedRequest,
    NotYourPath,
    ProblemDetails,
    TooManyRequests,
    UnsupportedMediaType,
    status_of,
)
from todo_app.http.reading import JSON, MERGE_PATCH
from todo_app.http.wire import TEXT_PATTERN, Completion, NewTask, TaskListView, TaskPatch, TaskReplacement, TaskView
from todo_core import (
    InvalidInput,
    KeyReused,
    NotAuthenticated,
    Sort,
    StoreUnavailable,
    TaskNotFound,
    TodoError,
    VersionConflict,
)
from todo_core.queries import PAGE_DEFAULT, PAGE_MOST
from todo_core.task import DESCRIPTION_LENGTH, OWNER_LENGTH

_Json = dict[str, Any]

_DESCRIPTION: Final = """\
Every user's tasks, reachable with that user's token only. Below `/api` a request needs `Authorization: Bearer <JWT>`,
and the `user_id` in the path must be the token's `sub`. Refusals are `application/problem+json` (RFC 9457) with a
stable `code`. HEAD works wherever GET does.
"""
_EVERYWHERE: Final = (NotAuthenticated, NotYourPath, TooManyRequests, StoreUnavailable)
_BODY: Final = (MalformedRequest, BodyTooLarge, UnsupportedMediaType, InvalidInput)
_ONE: Final = (TaskNotFound,)
_CHANGE: Final = (VersionConflict, MalformedRequest)


def openapi() -> _Json:
    """The document, made anew."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "todo-api",
            "version": version("todo-api"),
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [
            {"name": "tasks", "description": "A user's tasks."},
            {"name": "operations", "description": "For those who run the service."},
        ],
        "paths": {**_task_paths(), **_public_paths()},
        "components": _components(),
    }


def _task_paths() -> _Json:
    tasks, task = "/api/{user_id}/tasks", "/api/{user_id}/tasks/{task_id}"
    return {
        tasks: {"parameters": [_USER], "get": _list(), "post": _create()},
        task: {
            "parameters": [_USER, _TASK],
            "get": _read(),
            "put": _change("replaceTask", "Replace a task", TaskReplacement, JSON),
            "patch": _change("editTask", "Change some of a task", TaskPatch, MERGE_PATCH, JSON),
            "delete": _operation(
                "deleteTask",
                "Delete a task",
                {"204": {"description": "It is gone."}},
                (*_ONE, *_CHANGE),
                parameters=[_IF_MATCH],
            ),
        },
        f"{task}/complete": {"parameters": [_USER, _TASK], "patch": _complete()},
    }


def _list() -> _Json:
    answer = _answer("One page.", TaskListView, Link="Link")
    return _operation("listTasks", "List tasks", {"200": answer}, (InvalidInput,), parameters=_FILTERS)


def _create() -> _Json:
    headers = {"ETag": "ETag", "Location": "Location", "Idempotency_Replayed": "Idempotency-Replayed"}
    answer = _answer(
        "The task as stored; under a key that was used before, as it was stored then.", TaskView, **headers
    )
    return _operation(
        "createTask",
        "Create a task",
        {"201": answer},
        (*_BODY, KeyReused),
        body=_content(NewTask, JSON),
        parameters=[_IDEMPOTENCY_KEY],
    )


def _read() -> _Json:
    answers = {
        "200": _answer("The task.", TaskView, ETag="ETag"),
        "304": {"description": "You have this version already.", "headers": _headers(ETag="ETag")},
    }
    return _operation("getTask", "Get a task", answers, (*_ONE, MalformedRequest), parameters=[_IF_NONE_MATCH])


def _change(name: str, summary: str, body: type, *types: str) -> _Json:
    answer = _answer("The task as it is now.", TaskView, ETag="ETag")
    refusals = (*_BODY, *_ONE, *_CHANGE)
    return _operation(name, summary, {"200": answer}, refusals, body=_content(body, *types), parameters=[_IF_MATCH])


def _complete() -> _Json:
    operation = _change("completeTask", "Toggle a task, or set whether it is done", Completion, JSON, MERGE_PATCH)
    operation["description"] = "Without a body the task is toggled. With one, repeating the request changes nothing."
    operation["requestBody"]["required"] = False
    return operation


def _public_paths() -> _Json:
    return {
        "/health/live": {"get": _public("isLive", "Whether the process lives", "It does.", JSON)},
        "/health/ready": {"get": _public("isReady", "Whether it can answer", "It can.", JSON, StoreUnavailable)},
        "/metrics": {"get": _public("getMetrics", "The service's numbers", "Prometheus's text format.", "text/plain")},
        "/openapi.json": {"get": _public("getOpenapi", "This document", "This document.", JSON)},
    }


def _public(name: str, summary: str, success: str, media_type: str, *refusals: type[TodoError]) -> _Json:
    answers = {"200": {"description": success, "content": {media_type: {"schema": {"type": "object"}}}}}
    answers |= {str(int(status_of(kind)[0])): _refusal([kind]) for kind in refusals}
    return {"operationId": name, "summary": summary, "tags": ["operations"], "security": [], "responses": answers}


def _operation(
    name: str,
    summary: str,
    answers: _Json,
    refusals: tuple[type[TodoError], ...],
    *,
    body: _Json | None = None,
    parameters: list[_Json] | None = None,
) -> _Json:
    kinds: dict[str, list[type[TodoError]]] = {}
    for kind in dict.fromkeys((*refusals, *_EVERYWHERE)):
        kinds.setdefault(str(int(status_of(kind)[0])), []).append(kind)
    answers = answers | {status: _refusal(group) for status, group in sorted(kinds.items())}
    answers = {
        status: answer | {"headers": {**answer.get("headers", {}), **_LIMITS}} for status, answer in answers.items()
    }
    operation: _Json = {"operationId": name, "summary": summary, "tags": ["tasks"], "responses": answers}
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _refusal(kinds: list[type[TodoError]]) -> _Json:
    codes = " or ".join(f"`{kind.code}`" for kind in kinds)
    headers = {name: ref for kind in kinds for name, ref in _REFUSAL_HEADERS.get(kind, {}).items()}
    answer: _Json = {
        "description": f"{status_of(kinds[0])[1]} ({codes}).",
        "content": {"application/problem+json": {"schema": _ref(ProblemDetails)}},
    }
    return answer | ({"headers": _headers(**headers)} if headers else {})


def _answer(description: str, body: type, **headers: str) -> _Json:
    answer: _Json = {"description": description, "content": _content(body, JSON)}
    return answer | ({"headers": _headers(**headers)} if headers else {})


def _content(body: type, *types: str) -> _Json:
    return {media_type: {"schema": _ref(body)} for media_type in types}


def _ref(struct: type) -> _Json:
    return {"$ref": f"#/components/schemas/{_NAMES[struct]}"}


def _headers(**names: str) -> _Json:
    return {name.replace("_", "-"): {"$ref": f"#/components/headers/{ref}"} for name, ref in names.items()}


def _components() -> _Json:
    structs = list(_NAMES)
    _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    renamed = msgspec.json.encode(schemas).decode()
    for struct, name in _NAMES.items():
        renamed = renamed.replace(f'/schemas/{struct.__name__}"', f'/schemas/{name}"')
    found = msgspec.json.decode(renamed)
    by_name = {struct.__name__: name for struct, name in _NAMES.items()}
    return {
        "schemas": {
            by_name.get(name, name): schema | {"title": by_name.get(name, name)} for name, schema in found.items()
        },
        "headers": _HEADERS,
        "securitySchemes": {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A token of your Better Auth server, or of `todo token`.",
            }
        },
    }


def _parameter(name: str, place: str, description: str, schema: _Json, **more: object) -> _Json:
    return {"name": name, "in": place, "description": description, "schema": schema, **more}


_NAMES: Final[dict[type, str]] = {
    TaskView: "Task",
    TaskListView: "TaskList",
    NewTask: "NewTask",
    TaskReplacement: "TaskReplacement",
    TaskPatch: "TaskPatch",
    Completion: "Completion",
    ProblemDetails: "Problem",
}
_REFUSAL_HEADERS: Final[dict[type[TodoError], dict[str, str]]] = {
    NotAuthenticated: {"WWW_Authenticate": "WWW-Authenticate"},
    VersionConflict: {"ETag": "ETag"},
    TooManyRequests: {"Retry_After": "Retry-After"},
    StoreUnavailable: {"Retry_After": "Retry-After"},
}
_TEXT: Final = {"type": "string"}
_HEADERS: Final = {
    "ETag": {"description": 'The task\'s version, such as `"3"`.', "schema": _TEXT},
    "Location": {"description": "The new task's path.", "schema": _TEXT},
    "Idempotency-Replayed": {
        "description": "There only where this answer was given before, under the same `Idempotency-Key`.",
        "schema": {"type": "string", "const": "true"},
    },
    "Link": {"description": 'The next page, as `rel="next"` (RFC 8288).', "schema": _TEXT},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
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
    "WWW-Authenticate": {"description": "How to authenticate (RFC 6750).", "schema": _TEXT},
}
_LIMITS: Final = _headers(RateLimit="RateLimit", RateLimit_Policy="RateLimit-Policy")
_USER: Final = _parameter(
    "user_id",
    "path",
    "The token's `sub`, exactly.",
    {"type": "string", "minLength": 1, "maxLength": OWNER_LENGTH},
    required=True,
)
_TASK: Final = _parameter("task_id", "path", "The task's id.", {"type": "string", "format": "uuid"}, required=True)
_IDEMPOTENCY_KEY: Final = _parameter(
    "Idempotency-Key",
    "header",
    'A fresh key of yours for each task, such as `"8e03978e-40d5-43e8-bc93-6894a57f9324"`: 1 to 255 printable ASCII '
    "characters in double quotes, or a word without them. Repeating the request under its key within 24 hours creates "
    "nothing and gives the first answer again, also where the task has been changed or deleted since; another task "
    "under the same key is refused.",
    {"type": "string", "pattern": r'^(?:"(?:[ !#-\[\]-~]|\\["\\]){1,255}"|[!#-+\--~]{1,255})$'},
    required=False,
)
_IF_MATCH: Final = _parameter(
    "If-Match", "header", 'Act only if the task has this entity tag, such as `"3"`.', _TEXT, required=False
)
_IF_NONE_MATCH: Final = _parameter(
    "If-None-Match", "header", "Answer 304 if the task still has this entity tag.", _TEXT, required=False
)
_FILTERS: Final = [
    _parameter("completed", "query", "Only tasks that are done, or only those that are not.", {"type": "boolean"}),
    _parameter(
        "q",
        "query",
        "Only tasks with this in their title or description, in any case.",
        {
            "type": "string",
            "maxLength": DESCRIPTION_LENGTH,
            "pattern": TEXT_PATTERN,
        },
    ),
    _parameter(
        "sort", "query", "The order; `-` is descending.", {"type": "string", "enum": list(Sort), "default": Sort.NEWEST}
    ),
    _parameter(
        "limit",
        "query",
        "How many at most.",
        {"type": "integer", "minimum": 1, "maximum": PAGE_MOST, "default": PAGE_DEFAULT},
    ),
    _parameter("cursor", "query", "The `next_cursor` of the page before.", _TEXT),
]
