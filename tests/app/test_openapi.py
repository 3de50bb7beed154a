"""The OpenAPI document: valid, and equal to what the service serves."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import JSON, Service
from effort import code_points
from factories import ANN

from todo_app.api.openapi import openapi
from todo_app.http.errors import STATUSES, status_of
from todo_core.task import is_description, is_title, with_line_feeds

DOCUMENT = openapi()
OPERATIONS = [
    (path, method, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
]
TYPES = {"string", "integer", "number", "boolean", "object", "array", "null"}


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(ref := part.get("$ref"), str):
            yield ref
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def found(ref: str) -> Any:
    part: Any = DOCUMENT
    for name in ref.removeprefix("#/").split("/"):
        part = part[name]
    return part


def test_the_document_is_openapi_3_1() -> None:
    assert re.fullmatch(r"3\.1\.\d", DOCUMENT["openapi"])
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    assert DOCUMENT["paths"]
    assert len({operation["operationId"] for _, _, operation in OPERATIONS}) == len(OPERATIONS)


def test_every_reference_resolves_and_no_component_is_unused() -> None:
    used = set(references(DOCUMENT))
    for ref in used:
        assert found(ref)
    kept = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "headers")
        for name in DOCUMENT["components"].get(kind, {})
    }
    assert kept <= used
    schemes = {name for _, _, operation in OPERATIONS for item in operation.get("security", []) for name in item}
    assert schemes | {name for item in DOCUMENT["security"] for name in item} == {
        *DOCUMENT["components"]["securitySchemes"]
    }


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_every_operation_says_what_it_takes_and_answers(path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["responses"]
    for status, response in operation["responses"].items():
        assert re.fullmatch("[1-5][0-9]{2}", status)
        assert response["description"]
        for media_type, content in response.get("content", {}).items():
            assert content["schema"]
            assert (media_type == "application/problem+json") == (int(status) >= 400)
    parameters = [*DOCUMENT["paths"][path].get("parameters", []), *operation.get("parameters", [])]
    in_path = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
    assert in_path == set(re.findall(r"\{(\w+)\}", path))
    for parameter in parameters:
        assert parameter["in"] in {"path", "query", "header"}
        assert parameter["schema"].get("type") in TYPES
        assert parameter["in"] != "path" or parameter["required"] is True
    assert method in {"get", "put", "post", "delete", "patch"}
    assert ("requestBody" in operation) == (
        method in {"put", "patch"} or (method == "post" and in_path <= {"user_id", "task_id", "list_id"})
    )


def test_schemas_are_strict_about_what_a_body_may_hold() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for name in (
        "NewTask",
        "TaskPut",
        "TaskPatch",
        "Completion",
        "Move",
        "NewList",
        "ListPut",
        "ListPatch",
        "MoveList",
    ):
        assert schemas[name]["additionalProperties"] is False
    assert schemas["NewTask"]["required"] == ["title"]
    assert not [name for name, schema in schemas.items() if "default" in str(schema)]  # generators would require these
    for name in ("TaskPatch", "TaskPut", "Completion"):
        assert not schemas[name].get("required")
    title = schemas["NewTask"]["properties"]["title"]
    assert (title["minLength"], title["maxLength"]) == (1, 200)
    assert set(schemas["Task"]["required"]) == set(schemas["Task"]["properties"])


@pytest.mark.parametrize(("member", "obeys"), [("title", is_title), ("description", is_description)])
def test_a_pattern_and_the_cores_rule_agree_on_every_character(member: str, obeys: Callable[[str], bool]) -> None:
    schema = DOCUMENT["components"]["schemas"]["NewTask"]["properties"][member]
    schema = next(kind for kind in schema.get("anyOf", [schema]) if "pattern" in kind)
    pattern = re.compile(schema["pattern"].replace("$", r"\Z"))  # ECMAScript's, whose `$` is no end of a line
    characters = [chr(each) for each in code_points() if not 0xD800 <= each < 0xE000]
    texts = (text for each in characters for text in (each, f"a{each}"))
    assert [text for text in texts if bool(pattern.search(text)) != obeys(with_line_feeds(text))] == []


async def test_the_document_lists_exactly_the_served_routes(service: Service) -> None:
    gate = service.app._app  # type: ignore[attr-defined]
    served = {
        (re.sub(r"/-(?=/|$)", "/{}", route.path_format), method)  # the gate puts `-` in the place of ids
        for route in gate._app.routes
        for method in gate._methods(route.path_format)
        if method not in {"OPTIONS", "HEAD"}
    }
    listed = {(re.sub(r"\{\w+\}", "{}", path), method.upper()) for path, method, _ in OPERATIONS}
    documentation = {item for item in served if item[0] == "/" or item[0].startswith("/docs")}
    of_agents = {("/mcp", "POST")}  # its protocol describes itself
    assert listed - documentation == served - documentation - of_agents


def descriptions(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(said := part.get("description"), str):
            yield said
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from descriptions(inner)


def test_descriptions_that_mention_case_mention_nfkc_too() -> None:
    compared = [each for each in descriptions(DOCUMENT) if re.search(r"\bcase\b", each)]
    assert len(compared) >= 3
    assert not [each for each in compared if "NFKC" not in each]


def test_the_order_of_creation_is_said_to_be_that_of_the_ids_timestamps() -> None:
    [listing] = [operation for _, _, operation in OPERATIONS if operation["operationId"] == "listTasks"]
    [sort] = [each for each in listing["parameters"] if each.get("name") == "sort"]
    own_id = DOCUMENT["components"]["schemas"]["NewTask"]["properties"]["id"]
    for part in (listing, sort, own_id):
        assert "timestamp in the `id`" in part["description"] or "sort=created_at" in part["description"]


def test_the_committed_copy_is_up_to_date() -> None:
    copy = Path(__file__).parents[2] / "docs/openapi.json"
    assert json.loads(copy.read_text("utf-8")) == DOCUMENT, (
        "review the change, then run `python3 run.py openapi > docs/openapi.json`"
    )


async def test_the_document_is_served_as_it_is_printed(service: Service) -> None:
    answer = await service.ask("GET", "/openapi.json", user=None)
    assert answer.headers["content-type"] == JSON
    assert answer.json() == DOCUMENT


def test_every_refusal_named_in_the_document_exists() -> None:
    codes = {kind.code: str(int(status_of(kind)[0])) for kind in STATUSES}
    for _, _, operation in OPERATIONS:
        for status, response in operation["responses"].items():
            named = set(re.findall(r"`(\w+)`", response["description"])) if int(status) >= 400 else set()
            assert {codes[code] for code in named} <= {status}


async def test_every_status_that_a_route_answers_is_listed(service: Service) -> None:
    """What the document says of an operation must hold for its answers."""
    made = (await service.ask("POST", f"/api/{ANN}/tasks", json_={"title": "x"})).json()
    tried: list[dict[str, Any]] = [
        {}, {"json_": {"title": "x"}}, {"json_": {"completed": True}}, {"json_": {"x": 1}}, {"body": b"{"},
        {"body": b"x" * 70_000},
        {"body": b"{}", "type_": "text/plain"}, {"user": None}, {"user": "bob"},
        {"json_": {"title": "x"}, "headers": {"If-Match": '"99"'}}, {"json_": {}, "headers": {"If-Match": "x"}},
        {"json_": {"title": "x"}, "headers": {"Idempotency-Key": "a"}},
        {"json_": {"title": "y"}, "headers": {"Idempotency-Key": "a"}},
        {"json_": {"title": "x"}, "headers": {"Idempotency-Key": '"'}},
        {"headers": {"If-None-Match": "*"}}, {"headers": {"If-None-Match": "x"}},
    ]  # fmt: skip
    for path, method, operation in OPERATIONS:
        if method == "delete":
            continue
        for id_ in (made["id"], "x"):
            for request in tried:
                target = path.format(user_id=ANN, task_id=id_, list_id=id_, trashed_id=id_, number=1)
                answer = await service.ask(method.upper(), target, **request)
                assert str(answer.status_code) in operation["responses"], (method, path, request)
