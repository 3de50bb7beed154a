"""A token with scopes allows only what they allow, at every operation."""

import re
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from asking import Service, token, token_of
from factories import ANN, BOB, make_id
from refusals import problem

from todo_app.api.operation import Operation
from todo_app.api.subjects import operations
from todo_core import SCOPES, Scope

OPERATIONS = pytest.mark.parametrize("operation", list(operations()), ids=lambda operation: operation.id)


async def asked(service: Service, operation: Operation, task_id: object, scopes: list[Scope] | None) -> Any:
    """The answer to a good request to that operation, with a token of these scopes."""
    bearer = {"Authorization": f"Bearer {token(scopes=scopes)}"}
    path = f"/api/{ANN}{await placed(service, operation.path, task_id)}"
    if required := {each["name"]: each["schema"]["examples"][0] for each in operation.query if each.get("required")}:
        path += f"?{urlencode(required)}"
    if operation.body is None:
        return await service.ask(operation.method, path, headers=bearer)
    example = next(iter(operation.body.examples.values()))
    return await service.ask(operation.method, path, headers=bearer, json_=example, type_=operation.body.types[0])


async def placed(service: Service, path: str, task_id: object) -> str:
    """The path with something in each of its places that the operation can be carried out on."""
    tasks = f"/api/{ANN}/tasks"
    if "{trashed_id}" in path:
        trashed = (await service.ask("POST", tasks, json_={"title": "Deleted"})).json()["id"]
        await service.ask("DELETE", f"{tasks}/{trashed}")
        path = path.replace("{trashed_id}", trashed)
    if "{list_id}" in path:
        made = await service.ask("POST", f"/api/{ANN}/lists", json_={"name": "Groceries"})
        path = path.replace("{list_id}", made.json()["id"])
    if "{number}" in path:
        edited = await service.ask("PATCH", f"{tasks}/{task_id}", json_={"title": f"Edited {uuid4()}"})
        path = path.replace("{number}", edited.headers["change"])
    if path.endswith("/skip"):
        recurring = {"due_date": "2096-12-01", "recurrence": "FREQ=DAILY"}
        await service.ask("PATCH", f"{tasks}/{task_id}", json_=recurring)
    return path.replace("{task_id}", f"{task_id}")


@OPERATIONS
@pytest.mark.parametrize("scope", SCOPES)
async def test_a_scope_allows_what_the_operation_declares_and_nothing_else(
    service: Service, task: dict[str, Any], operation: Operation, scope: Scope
) -> None:
    before = {each.id for each in await service.tasks_of(ANN)}
    answer = await asked(service, operation, task["id"], [scope])
    if scope == operation.scope:
        assert answer.status_code in operation.answers
        return
    problem(answer, 403, "insufficient_scope")
    assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{operation.scope}"'
    assert {each.id for each in await service.tasks_of(ANN)} == before


@OPERATIONS
@pytest.mark.parametrize("scopes", [None, list(SCOPES)])
async def test_a_token_without_scopes_and_one_with_all_may_do_everything(
    service: Service, task: dict[str, Any], operation: Operation, scopes: list[Scope] | None
) -> None:
    assert (await asked(service, operation, task["id"], scopes)).status_code in operation.answers


@OPERATIONS
async def test_a_missing_scope_comes_after_the_route_and_before_body_and_id(
    service: Service, operation: Operation
) -> None:
    others = [scope for scope in SCOPES if scope != operation.scope]
    bearer = {"Authorization": f"Bearer {token(scopes=others)}"}
    path = re.sub(r"\{\w+\}", str(make_id(1)), operation.path)
    anything: dict[str, Any] = {"headers": bearer, "body": b"{", "type_": "text/plain"}
    problem(await service.ask(operation.method, f"/api/{ANN}{path}?limit=0", **anything), 403, "insufficient_scope")
    problem(await service.ask(operation.method, f"/api/{BOB}{path}", **anything), 403, "not_your_path")
    problem(await service.ask(operation.method, f"/api/{ANN}{path}/a/b/c", **anything), 404, "not_found")
    problem(await service.ask("TRACE", f"/api/{ANN}{path}", **anything), 405, "method_not_allowed")
    assert (await service.ask("OPTIONS", f"/api/{ANN}{path}", headers=bearer)).status_code == 204


async def test_head_needs_the_scope_of_get(service: Service) -> None:
    for scopes, status in ((["tasks:read"], 200), (["tasks:write"], 403)):
        bearer = {"Authorization": f"Bearer {token(scopes=scopes)}"}  # type: ignore[arg-type]
        assert (await service.ask("HEAD", f"/api/{ANN}/tasks", headers=bearer)).status_code == status


async def test_a_request_that_lacked_a_scope_leaves_its_key_unused(service: Service) -> None:
    for scopes, status in ((["tasks:read"], 403), (["tasks:write"], 201)):
        headers = {"Authorization": f"Bearer {token(scopes=scopes)}", "Idempotency-Key": "k"}  # type: ignore[arg-type]
        answer = await service.ask("POST", f"/api/{ANN}/tasks", json_={"title": "x"}, headers=headers)
        assert answer.status_code == status
        assert "idempotency-replayed" not in answer.headers


async def test_the_history_names_the_program_whose_token_it_was(service: Service) -> None:
    made = None
    for client in (None, "phone app", "agent"):
        headers = {"Authorization": f"Bearer {token_of(client) if client else token()}"}
        if made is None:
            made = await service.ask("POST", f"/api/{ANN}/tasks", json_={"title": "x"}, headers=headers)
            continue
        await service.ask("PATCH", made.headers["location"], json_={"title": client}, headers=headers)
    assert made is not None
    history = (await service.ask("GET", f"{made.headers['location']}/history")).json()["items"]
    assert [change["client"] for change in history] == ["agent", "phone app", None]


async def test_undoing_a_creation_needs_the_scope_to_delete(service: Service, task: dict[str, Any]) -> None:
    undo = f"/api/{ANN}/changes/1/undo"
    refused = await service.ask("POST", undo, headers={"Authorization": f"Bearer {token(scopes=['tasks:write'])}"})
    problem(refused, 403, "insufficient_scope")
    assert 'scope="tasks:delete"' in refused.headers["www-authenticate"]
    assert [each.id for each in await service.tasks_of(ANN)] != []
    both = token(scopes=["tasks:write", "tasks:delete"])
    assert (await service.ask("POST", undo, headers={"Authorization": f"Bearer {both}"})).status_code == 200
    assert await service.tasks_of(ANN) == []
