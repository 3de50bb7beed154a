"""Every example of the OpenAPI document is sent, and gets the answer that the document shows."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from asking import Service, make_service, token
from factories import ANN
from jsonschema_rs import validator_for

from todo_app.api.examples import CHANGED, GROCERIES, RENT, TASK
from todo_app.api.openapi import openapi
from todo_app.http import turns
from todo_app.http.event_stream import EVENT_STREAM
from todo_core import IdentityUnavailable, OwnerId, StoreUnavailable, SyncToken
from todo_core.sync import Mark
from todo_core.testing.writing import add, creating_list, edit, remove

DOCUMENT = openapi()
PROBLEM = "application/problem+json"
OPERATIONS = {
    operation["operationId"]: (
        method.upper(),
        path,
        [*item.get("parameters", []), *operation.get("parameters", [])],
        operation,
    )
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
}
MOMENTS = {"created_at", "updated_at", "completed_at", "deleted_at", "erased_at", "at"}
VARYING = MOMENTS | {"id", "version", "next", "next_cursor", "request_id", "position"}


def requests() -> Iterator[tuple[str, str | None, Any, dict[str, Any]]]:
    """Every operation with every body, and with each of its optional parameters: its examples, and its default."""
    for name, (_, _, parameters, operation) in OPERATIONS.items():
        content = operation.get("requestBody", {"content": {}})["content"]
        bodies = [(kind, shown["value"]) for kind, part in content.items() for shown in part["examples"].values()]
        if not operation.get("requestBody", {}).get("required", False):
            bodies.append((None, None))
        for kind, body in bodies:
            yield name, kind, body, {}
        kind, body = bodies[0]
        for parameter in parameters:
            if not parameter.get("required"):
                schema = parameter["schema"]
                values = [*schema.get("examples", []), *schema.get("enum", [])] or [schema.get("default", True)]
                for value in values:
                    yield name, kind, body, {parameter["name"]: value}


def schema_of(content: dict[str, Any]) -> Any:
    """What validates such a content."""
    return validator_for({**content["schema"], "components": DOCUMENT["components"]}, validate_formats=True)


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """The part that a reference leads to, or the part itself."""
    for name in part.get("$ref", "#").split("/")[1:]:
        part = part[name] if name in part else DOCUMENT[name]
    return part


async def send(service: Service, name: str, kind: str | None, body: Any, given: dict[str, Any]) -> Any:
    """The answer to that operation, on the example's task, with these parameters."""
    method, path, parameters, _ = OPERATIONS[name]
    place = {parameter["name"]: parameter["in"] for parameter in parameters}
    required = {
        parameter["name"]: parameter["schema"]["examples"][0] for parameter in parameters if parameter.get("required")
    }
    query = "&".join(
        f"{key}={str(value).lower() if value is True else value}"
        for key, value in {**required, **given}.items()
        if place[key] == "query"
    )
    headers = {key: value for key, value in given.items() if place[key] == "header"}
    target = path.format(**required) + (f"?{query}" if query else "")
    sent = {} if kind is None else {"json_": body, "headers": {**headers, "Content-Type": kind}}
    return await service.ask(method, target, **({"headers": headers} | sent))


def check(name: str, answer: Any) -> dict[str, Any]:
    """Assert that the document describes the answer; return the part that describes it."""
    documented = OPERATIONS[name][3]["responses"][str(answer.status_code)]
    for header, ref in documented["headers"].items():
        described = DOCUMENT["components"]["headers"][ref["$ref"].rpartition("/")[2]]
        if header in answer.headers:
            value: Any = answer.headers[header]
            schema = described["schema"]
            assert validator_for(schema).is_valid(int(value) if schema["type"] == "integer" else value), header
        else:
            assert not described.get("required"), header
    own = {
        "etag",
        "location",
        "link",
        "retry-after",
        "www-authenticate",
        "idempotency-replayed",
        "ratelimit",
        "ratelimit-policy",
    }
    assert own & answer.headers.keys() <= {header.lower() for header in documented["headers"]}
    if "content" not in documented:
        assert answer.content == b""
        return documented
    ((kind, content),) = documented["content"].items()
    assert answer.headers["content-type"].partition(";")[0] == kind
    schema_of(content).validate(answer.text if kind.startswith("text/") else answer.json())
    return documented


def form(value: Any) -> Any:
    """A value without the parts that differ every time."""
    if isinstance(value, dict):
        return {name: None if name in VARYING else form(inner) for name, inner in value.items()}
    return [form(inner) for inner in value] if isinstance(value, list) else value


async def prepare(service: Service, name: str) -> None:
    """Store the task of the example; if the operation undoes a change, change it first."""
    tasks = service.store.tasks_of(TASK.owner)
    if "lists" in OPERATIONS[name][3]["tags"] and name != "createList":
        await tasks.commit(creating_list(GROCERIES))
    await add(tasks, RENT if "recurring tasks" in OPERATIONS[name][3]["tags"] else TASK)
    if "trash" in OPERATIONS[name][1]:
        await remove(tasks, TASK.id)
    if "undo" in OPERATIONS[name][1]:
        await edit(tasks, TASK.id, lambda task: task.edited(title="Something else", at=CHANGED))


@pytest.mark.parametrize(("name", "kind", "body", "given"), [*requests()])
async def test_every_example_is_accepted_and_answered_as_the_document_says(
    service: Service, name: str, kind: str | None, body: Any, given: dict[str, Any]
) -> None:
    await prepare(service, name)
    answer = await send(service, name, kind, body, given)
    assert answer.status_code in {200, 201, 204, 304}, answer.text
    content = check(name, answer).get("content", {})
    first = (
        kind is None
        or body == next(iter(OPERATIONS[name][3]["requestBody"]["content"][kind]["examples"].values()))["value"]
    )
    if EVENT_STREAM in content:
        assert answer.text.startswith("retry: ")  # what the example shows comes when something changes
    elif first and not given and "example" in (shown := next(iter(content.values()), {})):
        assert form(answer.json()) == form(shown["example"])


def test_every_example_of_an_answer_fits_its_schema() -> None:
    for _, _, _, operation in OPERATIONS.values():
        for documented in operation["responses"].values():
            for content in documented.get("content", {}).values():
                examples = [resolved(shown)["value"] for shown in content.get("examples", {}).values()]
                for example in examples + ([content["example"]] if "example" in content else []):
                    schema_of(content).validate(example)


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "malformed_request": ("createTask", {"body": b"{"}),
    "not_authenticated": ("listTasks", {"user": None}),
    "not_your_path": ("listTasks", {"user": "bob"}),
    "insufficient_scope": ("createTask", {"headers": {"Authorization": f"Bearer {token(scopes=['tasks:read'])}"}}),
    "task_not_found": ("getTask", {}),
    "list_not_found": ("getList", {}),
    "task_exists": ("createTask", {"json_": {"title": "x", "id": str(TASK.id)}}),
    "merge_conflict": ("editTask", {"json_": {"title": "x"}, "headers": {"Merge-Base": '"1"'}}),
    "version_conflict": ("deleteTask", {"headers": {"If-Match": '"1"'}}),
    "body_too_large": ("createTask", {"body": b" " * 70_000}),
    "unsupported_media_type": ("createTask", {"body": b"{}", "type_": "text/plain"}),
    "not_in_trash": ("restoreTrashed", {}),
    "resync_required": ("getChanges", {"query": f"?since={SyncToken(Mark(9, None, CHANGED)).encode(TASK.owner)}"}),
    "change_not_found": ("undoChange", {}),
    "invalid_input": ("createTask", {"json_": {"title": ""}}),
    "invalid_query": ("listTasks", {"query": "?limit=x"}),
    "unknown_parameter": ("getSummary", {"query": "?page=2"}),
    "idempotency_key_reused": ("createTask", {"json_": {"title": "y"}, "headers": {"Idempotency-Key": "k"}}),
    "too_many_requests": ("listTasks", {}),
    "too_many_at_once": ("listTasks", {}),
    "internal_error": ("listTasks", {}),
    "store_unavailable": ("listTasks", {}),
    "identity_unavailable": ("listTasks", {"headers": {"Authorization": "Bearer x"}}),
}


async def refusing(code: str, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service that refuses the request of `REFUSED` with that code."""
    service = make_service(rate_limit="1/hour") if code == "too_many_requests" else make_service()
    name, _ = REFUSED[code]
    tasks = f"/api/{ANN}/tasks"
    if code == "version_conflict":
        await prepare(service, name)
        for _ in range(2):
            await service.ask("PATCH", f"{tasks}/{TASK.id}/complete")
    elif code in {"task_exists", "merge_conflict"}:
        await prepare(service, name)
        await service.ask("PATCH", f"{tasks}/{TASK.id}", json_={"title": "y"})
    elif code == "idempotency_key_reused":
        await service.ask("POST", tasks, json_={"title": "x"}, headers={"Idempotency-Key": "k"})
    elif code == "too_many_requests":
        await service.ask("GET", tasks)
    elif code == "too_many_at_once":
        monkeypatch.setattr(turns, "WAIT_SECONDS", 0.0)
        for _ in range(16):
            await service.container.turns().take(OwnerId(ANN), failing(AssertionError()))
    elif code in {"internal_error", "store_unavailable"}:
        error = StoreUnavailable() if code == "store_unavailable" else RuntimeError()
        monkeypatch.setattr(service.store, "tasks_of", failing(error))
    elif code == "identity_unavailable":
        monkeypatch.setattr(service.container.verifier(), "authenticate", failing(IdentityUnavailable()))
    return service


@pytest.mark.parametrize("code", REFUSED)
async def test_every_refusal_has_the_text_of_its_example(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    service = await refusing(code, monkeypatch)
    name, request = REFUSED[code]
    method, path, _, _ = OPERATIONS[name]
    target = path.format(
        user_id=ANN, task_id=TASK.id, list_id=GROCERIES.id, trashed_id=TASK.id, number=2
    ) + request.get("query", "")
    answer = await service.ask(method, target, **{key: value for key, value in request.items() if key != "query"})
    example = DOCUMENT["components"]["examples"][code]["value"]
    assert f"`{example['code']}`" in check(name, answer)["description"]
    assert sorted(answer.json()) == sorted(example)
    numbers = (re.sub(r"\d+", "n", each["detail"]) for each in (answer.json(), example))
    assert next(numbers) == next(numbers)
    assert form(answer.json()) | {"detail": ""} == form(example) | {"detail": ""}


def failing(error: Exception) -> Any:
    """A function that raises that error."""

    def fail(*_: object) -> None:
        raise error

    return fail


def test_every_refusal_example_is_tried_except_three() -> None:
    """test_bodies.py has `body_too_slow`, taking 20 s; test_trash.py has `undo_conflict`; `too_many` takes many."""
    assert DOCUMENT["components"]["examples"].keys() == {*REFUSED, "body_too_slow", "too_many", "undo_conflict"}
