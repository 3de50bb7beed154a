"""Query parameters that an operation does not have: refused by name, before anything is done."""

import pytest
from asking import Service
from factories import ANN, make_id
from refusals import problem

from todo_app.api.operation import Operation
from todo_app.api.subjects import operations

OPERATIONS = list(operations())
EACH = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)


@EACH
async def test_an_unknown_parameter_is_refused_by_every_operation(service: Service, operation: Operation) -> None:
    task = (await service.ask("POST", f"/api/{ANN}/tasks", json_={"title": "x"})).json()
    made = (await service.ask("POST", f"/api/{ANN}/lists", json_={"name": "x"})).json()
    path = operation.path.format(task_id=task["id"], list_id=made["id"], trashed_id=task["id"], number=1)
    body = {} if operation.body is None else {"json_": next(iter(operation.body.examples.values()))}
    before = await service.tasks_of(ANN)
    answer = await service.ask(operation.method, f"/api/{ANN}{path}?fields=id", **body)
    errors = problem(answer, 422, "invalid_input")["errors"]
    assert errors[0]["pointer"] == "/fields"
    assert errors[0]["detail"].startswith("is unknown: ")
    if not operation.query:
        assert errors == [{"pointer": "/fields", "detail": "is unknown: leave it out"}]
    assert await service.tasks_of(ANN) == before


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("kind", ["task", "list"])
async def test_an_unknown_id_takes_precedence_over_an_unknown_parameter(
    service: Service, method: str, kind: str
) -> None:
    body = {"json_": {}} if method == "PATCH" else {}
    answer = await service.ask(method, f"/api/{ANN}/{kind}s/{make_id(1)}?fields=id", **body)
    problem(answer, 404, f"{kind}_not_found")


async def test_an_empty_query_is_no_parameter(service: Service) -> None:
    assert (await service.ask("GET", f"/api/{ANN}/summary?")).status_code == 200
