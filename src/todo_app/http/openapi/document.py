"""Tells the operations: what each takes and answers; the schemas come from the wire structs."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from todo_app.http.errors import (
    BodyTooLarge,
    BodyTooSlow,
    InternalError,
    MalformedRequest,
    NotYourPath,
    TooManyAtOnce,
    TooManyRequests,
    UnsupportedMediaType,
    status_of,
)
from todo_app.http.openapi import examples
from todo_app.http.openapi.components import (
    FILTERS,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    LIMITS,
    NAMES,
    OWN_REQUEST_ID,
    REFUSAL_HEADERS,
    REQUEST_ID,
    TASK,
    USER,
    Json,
    components,
    headers,
)
from todo_app.http.problems import ProblemDetails
from todo_app.http.reading import JSON, MERGE_PATCH
from todo_app.http.wire import Completion, NewTask, TaskListView, TaskPatch, TaskPut, TaskView
from todo_core import (
    IdentityUnavailable,
    InvalidInput,
    KeyReused,
    NotAuthenticated,
    StoreUnavailable,
    TaskNotFound,
    TodoError,
    VersionConflict,
)

_DESCRIPTION: Final = """\
Every user's tasks, reachable with that user's token only. Below `/api` a request needs `Authorization: Bearer <JWT>`,
and the `user_id` in the path must be the token's `sub`. Refusals are `application/problem+json` (RFC 9457) with a
stable `code`. HEAD works wherever GET does. Only a request whose head cannot be read (no HTTP/1, an address over 65 534
bytes, more than 100 header fields, a head over 64 to 128 KiB) gets a bare 400, 414 or 431: no body, and no header that
is told of here.
"""
_OUTAGES: Final = (StoreUnavailable, IdentityUnavailable)
_EVERYWHERE: Final = (NotAuthenticated, NotYourPath, TooManyRequests, TooManyAtOnce, InternalError, *_OUTAGES)
_BODY: Final = (MalformedRequest, BodyTooSlow, BodyTooLarge, UnsupportedMediaType, InvalidInput)
_ONE: Final = (TaskNotFound,)
_CHANGE: Final = (VersionConflict, MalformedRequest)


def openapi(root_path: str = "") -> Json:
    """The document, made anew, for a service that is reached below `root_path`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "todo-api",
            "version": version("todo-api"),
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": root_path or "/"}],
        "security": [{"bearer": []}],
        "tags": [
            {"name": "tasks", "description": "A user's tasks."},
            {"name": "operations", "description": "For those who run the service."},
        ],
        "paths": {**_task_paths(), **_public_paths()},
        "components": components(),
    }


def _task_paths() -> Json:
    tasks, task = "/api/{user_id}/tasks", "/api/{user_id}/tasks/{task_id}"
    one = [USER, TASK, OWN_REQUEST_ID]
    return {
        tasks: {"parameters": [USER, OWN_REQUEST_ID], "get": _list(), "post": _create()},
        task: {"parameters": one, "get": _read(), "put": _put(), "patch": _edit(), "delete": _delete()},
        f"{task}/complete": {"parameters": one, "patch": _complete()},
    }


def _list() -> Json:
    operation = _operation(
        ("listTasks", "List tasks", "A page of tasks, newest first if nothing else is asked for."),
        {"200": _answer("One page.", TaskListView, examples.LISTED, Link="Link")},
        (InvalidInput,),
        parameters=FILTERS,
    )
    (refusal,) = operation["responses"]["422"]["content"].values()
    refusal["examples"] = {InvalidInput.code: {"$ref": f"#/components/examples/{examples.INVALID_QUERY}"}}
    return operation


def _create() -> Json:
    tags = {"ETag": "ETag", "Location": "Location", "Idempotency_Replayed": "Idempotency-Replayed"}
    stored = "The task as stored; under a key that was used before, as it was stored then."
    return _operation(
        ("createTask", "Create a task", "A new task; under an `Idempotency-Key` only once, however often it is sent."),
        {"201": _answer(stored, TaskView, examples.CREATED, **tags)},
        (*_BODY, KeyReused),
        body=_body(NewTask, examples.CREATE, JSON),
        parameters=[IDEMPOTENCY_KEY],
    )


def _read() -> Json:
    answers = {
        "200": _answer("The task.", TaskView, examples.CREATED, ETag="ETag"),
        "304": {"description": "You have this version already.", "headers": headers(ETag="ETag")},
    }
    return _operation(
        ("getTask", "Get a task", "One task, or nothing but its tag if you have that version."),
        answers,
        (*_ONE, MalformedRequest),
        parameters=[IF_NONE_MATCH],
    )


def _put() -> Json:
    said = "As PATCH: what is absent stays, and `null` clears the description. What only GET gives is ignored."
    body = _body(TaskPut, examples.PUT, JSON)
    return _change(("putTask", "Change a task, as it was read", said), body, examples.PUT_ANSWER)


def _edit() -> Json:
    said = "RFC 7396: what is absent stays, and `null` clears the description."
    return _change(
        ("editTask", "Change some of a task", said),
        _body(TaskPatch, examples.EDIT, MERGE_PATCH, JSON),
        examples.EDITED,
    )


def _complete() -> Json:
    said = "Without a body, or with `{}`, the task is toggled. With `completed`, repeating the request changes nothing."
    words = ("completeTask", "Toggle a task, or set whether it is done", said)
    operation = _change(words, _body(Completion, examples.COMPLETE, JSON, MERGE_PATCH), examples.DONE)
    operation["requestBody"]["required"] = False
    return operation


def _delete() -> Json:
    return _operation(
        ("deleteTask", "Delete a task", "The task is gone for good."),
        {"204": {"description": "It is gone."}},
        (*_ONE, *_CHANGE),
        parameters=[IF_MATCH],
    )


def _change(words: tuple[str, str, str], body: Json, example: Json) -> Json:
    answers = {"200": _answer("The task as it is now.", TaskView, example, ETag="ETag")}
    return _operation(words, answers, (*_BODY, *_ONE, *_CHANGE), body=body, parameters=[IF_MATCH])


def _public_paths() -> Json:
    def health(state: str) -> Json:
        schema = {"type": "object", "required": ["status"], "properties": {"status": {"const": state}}}
        return {JSON: {"schema": schema, "example": {"status": state}}}

    live = ("isLive", "Whether the process lives", "For a supervisor: asks nothing of the database.")
    ready = ("isReady", "Whether it can answer", "For a balancer: 503 while the database is away.")
    numbers = ("getMetrics", "The service's numbers", "In Prometheus's text format.")
    return {
        "/health/live": {"get": _public(live, "It does.", health("live"))},
        "/health/ready": {"get": _public(ready, "It can.", health("ready"), StoreUnavailable)},
        "/metrics": {"get": _public(numbers, "The numbers.", {"text/plain": {"schema": {"type": "string"}}})},
        "/openapi.json": {"get": _itself()},
    }


def _itself() -> Json:
    words = ("getOpenapi", "This document", "OpenAPI 3.1; the page at `/docs` shows it.")
    operation = _public(words, "The document.", {JSON: {"schema": {"type": "object"}}})
    operation["parameters"] = [IF_NONE_MATCH]
    operation["responses"]["304"] = {"description": "You have it already.", "headers": {**REQUEST_ID}}
    for status in ("200", "304"):
        operation["responses"][status]["headers"] |= headers(ETag="Document-Tag")
    return operation


def _public(words: tuple[str, str, str], success: str, content: Json, *refusals: type[TodoError]) -> Json:
    answers = {"200": {"description": success, "content": content}, **_refusals((*refusals, InternalError))}
    return {**_told(words), "tags": ["operations"], "security": [], "responses": _with_headers(answers, REQUEST_ID)}


def _operation(
    words: tuple[str, str, str],
    answers: Json,
    refusals: tuple[type[TodoError], ...],
    *,
    parameters: list[Json],
    body: Json | None = None,
) -> Json:
    answers = _with_headers(answers | _refusals((*refusals, *_EVERYWHERE)), {**REQUEST_ID, **LIMITS})
    operation = {**_told(words), "tags": ["tasks"], "parameters": parameters}
    return operation | ({"requestBody": body} if body else {}) | {"responses": answers}


def _told(words: tuple[str, str, str]) -> Json:
    name, summary, description = words
    return {"operationId": name, "summary": summary, "description": description}


def _with_headers(answers: Json, more: Json) -> Json:
    return {status: answer | {"headers": {**answer.get("headers", {}), **more}} for status, answer in answers.items()}


def _refusals(kinds: tuple[type[TodoError], ...]) -> Json:
    by_status: dict[str, list[type[TodoError]]] = {}
    for kind in dict.fromkeys(kinds):
        by_status.setdefault(str(int(status_of(kind)[0])), []).append(kind)
    return {status: _refusal(group) for status, group in sorted(by_status.items())}


def _refusal(kinds: list[type[TodoError]]) -> Json:
    codes = " or ".join(f"`{kind.code}`" for kind in kinds)
    own = {name: ref for kind in kinds for name, ref in REFUSAL_HEADERS.get(kind, {}).items()}
    shown = {kind.code: {"$ref": f"#/components/examples/{kind.code}"} for kind in kinds}
    answer: Json = {
        "description": f"{status_of(kinds[0])[1]} ({codes}).",
        "content": {"application/problem+json": {"schema": _ref(ProblemDetails), "examples": shown}},
    }
    return answer | ({"headers": headers(**own)} if own else {})


def _answer(description: str, body: type, example: Json, **names: str) -> Json:
    answer: Json = {"description": description, "content": {JSON: {"schema": _ref(body), "example": example}}}
    return answer | ({"headers": headers(**names)} if names else {})


def _body(struct: type, shown: Mapping[str, Any], *types: str) -> Json:
    values = {name: {"value": value} for name, value in shown.items()}
    content = {media_type: {"schema": _ref(struct), "examples": values} for media_type in types}
    return {"required": True, "content": content}


def _ref(struct: type) -> Json:
    return {"$ref": f"#/components/schemas/{NAMES[struct]}"}
