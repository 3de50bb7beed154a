"""A request leaves nothing for the garbage collector: memory stays flat, and nothing pauses."""

import gc
from typing import Any

import pytest
from asking import Service
from factories import ANN

from todo_app.http.exchange import Exchange

TASKS = f"/api/{ANN}/tasks"


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize(
    ("method", "path", "status", "others"),
    [
        ("GET", TASKS, 200, {}),
        ("POST", TASKS, 201, {"json_": {"title": "Milk"}}),
        ("POST", f"/api/{ANN}/batch", 200, {"json_": {"operations": [{"op": "create", "task": {"title": "Milk"}}]}}),
        ("GET", f"/api/{ANN}/changes", 200, {}),
        ("POST", TASKS, 422, {"json_": {"title": ""}}),
        ("POST", TASKS, 400, {"body": b"{"}),
        ("GET", f"{TASKS}/01980000-0000-7000-8000-000000000000", 404, {}),
        ("GET", TASKS, 401, {"user": None}),
        ("GET", "/nowhere", 404, {}),
        ("PUT", TASKS, 405, {}),
        ("GET", "/health/live", 200, {}),
        ("GET", "/docs", 200, {}),
    ],
)
async def test_a_request_is_freed_when_it_is_answered(
    service: Service, method: str, path: str, status: int, others: dict[str, Any]
) -> None:
    for _ in range(3):
        assert (await service.ask(method, path, **others)).status_code == status
    assert [each for each in gc.get_objects() if isinstance(each, Exchange)] == []
