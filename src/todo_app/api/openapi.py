"""The OpenAPI 3.1 document, made from the operations and the wire structs."""

import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import Final

import msgspec

from todo_app.api import examples
from todo_app.api.components import (
    HEADERS,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    LIMITS,
    MERGE_BASE,
    OWN_REQUEST_ID,
    PLACES,
    REFUSAL_HEADERS,
    REQUEST_ID,
    SECURITY,
    TIME_ZONE,
    USER,
    Json,
    headers,
)
from todo_app.api.operation import Answer, Operation
from todo_app.api.public import PUBLIC, PublicOperation
from todo_app.api.subjects import SUBJECTS, operations
from todo_app.http.errors import InternalError, status_of
from todo_app.http.problems import ProblemDetails
from todo_app.http.reading import JSON
from todo_core import InvalidInput, TodoError

_DESCRIPTION: Final = """\
Tasks of many users, each accessible with that user's token only. Below `/api` a request needs `Authorization: Bearer
<JWT>`, and the `user_id` in the path must be the token's `sub`. Refusals are `application/problem+json` (RFC 9457)
with a stable `code`. HEAD works wherever GET does. Unknown members and query parameters are refused. The header
`Change` has the number of the change that a request made. Agents have the usual operations as tools of the Model
Context Protocol, at `POST /mcp`.
"""
_PROBLEM: Final = "application/problem+json"


def openapi(root_path: str = "") -> Json:
    """The document, for a service below the path `root_path`."""
    paths: Json = {}
    for operation in operations():
        named = [PLACES[name] for name in re.findall(r"\{(\w+)\}", operation.path)]
        shared = [USER, *named, OWN_REQUEST_ID]
        item = paths.setdefault(f"/api/{{user_id}}{operation.path}", {"parameters": shared})
        item[operation.method.lower()] = _operation(operation)
    for public in PUBLIC:
        paths[public.path] = {"get": _public(public)}
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
        "tags": [{"name": subject.tag, "description": subject.description} for subject in SUBJECTS]
        + [{"name": "operations", "description": "For operators of the service."}],
        "paths": paths,
        "components": _components(),
    }


def _operation(operation: Operation) -> Json:
    summary, description = operation.documentation
    document: Json = {"operationId": operation.id, "tags": [operation.tag], "summary": summary}
    document["security"] = [{"bearer": [operation.scope]}]
    if description:
        document["description"] = description
    if parameters := _parameters(operation):
        document["parameters"] = parameters
    if (body := operation.body) is not None:
        values = {name: {"value": value} for name, value in body.examples.items()}
        content = {kind: {"schema": _ref(body.struct), "examples": values} for kind in body.types}
        document["requestBody"] = {"required": body.required, "content": content}
    answers = {str(status): _answer(answer) for status, answer in operation.answers.items()}
    document["responses"] = answers | _refusals(operation.refusals, _invalid(operation))
    for answer in document["responses"].values():
        answer["headers"] = {**REQUEST_ID, **LIMITS, **answer.get("headers", {})}
    return document


def _parameters(operation: Operation) -> list[Json]:
    parameters = [*operation.query]
    if operation.writes:
        parameters.append(IDEMPOTENCY_KEY)
        if operation.thing_kind:
            parameters.append(IF_MATCH)
        if operation.merges:
            parameters.append(MERGE_BASE)
    if operation.zoned:
        parameters.append(TIME_ZONE)
    parameters += operation.headers
    return parameters + ([IF_NONE_MATCH] if operation.conditional else [])


def _answer(answer: Answer) -> Json:
    document: Json = {"description": answer.description}
    if answer.struct is not None:
        document["content"] = {JSON: {"schema": _ref(answer.struct), "example": answer.example}}
    elif answer.example is not None:
        document["content"] = {answer.type: {"schema": {"type": "string"}, "example": answer.example}}
    return document | ({"headers": headers(*answer.headers)} if answer.headers else {})


def _public(operation: PublicOperation) -> Json:
    summary, description = operation.documentation
    answers: Json = {"200": {"description": operation.answer, "content": operation.content}}
    document: Json = {"operationId": operation.id, "summary": summary, "description": description}
    document |= {"tags": ["operations"], "security": []}
    if operation.tagged:
        document["parameters"] = [IF_NONE_MATCH]
        answers["304"] = {"description": "The client has it already."}
        for answer in answers.values():
            answer["headers"] = headers("Document-Tag")
    document["responses"] = answers | _refusals({*operation.refuses, InternalError})
    for answer in document["responses"].values():
        answer["headers"] = {**REQUEST_ID, **answer.get("headers", {})}
    return document


def _invalid(operation: Operation) -> str:
    """The name of the example of invalid input."""
    if operation.query:
        return examples.INVALID_QUERY
    return InvalidInput.code if operation.body else examples.UNKNOWN_PARAMETER


def _refusals(kinds: Iterable[type[TodoError]], invalid: str = InvalidInput.code) -> Json:
    by_status: dict[str, list[type[TodoError]]] = {}
    for kind in sorted(kinds, key=lambda kind: kind.code):
        by_status.setdefault(str(int(status_of(kind)[0])), []).append(kind)
    return {status: _refusal(group, invalid) for status, group in sorted(by_status.items())}


def _refusal(kinds: list[type[TodoError]], invalid: str) -> Json:
    codes = " or ".join(f"`{kind.code}`" for kind in kinds)
    own = [name for kind in kinds for name in REFUSAL_HEADERS.get(kind, ())]
    named = {kind.code: invalid if kind is InvalidInput else kind.code for kind in kinds}
    shown = {code: {"$ref": f"#/components/examples/{name}"} for code, name in named.items()}
    answer: Json = {
        "description": f"{status_of(kinds[0])[1]} ({codes}).",
        "content": {_PROBLEM: {"schema": _ref(ProblemDetails), "examples": shown}},
    }
    return answer | ({"headers": headers(*own)} if own else {})


def _components() -> Json:
    structs: set[type[msgspec.Struct]] = {ProblemDetails}
    for operation in operations():
        structs |= {answer.struct for answer in operation.answers.values() if answer.struct}
        structs |= {operation.body.struct} if operation.body else set()
    ordered = sorted(structs, key=lambda struct: struct.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        for member in schema.get("properties", {}).values():
            # Code generators treat a member with a default as always present, but bodies may leave it out.
            member.pop("default", None)
    return {"schemas": schemas, "headers": HEADERS, "examples": examples.refusals(), "securitySchemes": SECURITY}


def _ref(struct: type) -> Json:
    return {"$ref": f"#/components/schemas/{struct.__name__}"}
