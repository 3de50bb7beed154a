"""Writes of a task with a body that is refused and changes nothing."""

from typing import Any

from asking import Service
from factories import ANN
from refusals import problem

TASKS = f"/api/{ANN}/tasks"
LISTS = f"/api/{ANN}/lists"
WRITES = [("POST", ""), ("PUT", "/{id}"), ("PATCH", "/{id}"), ("PATCH", "/{id}/complete")]


async def refused(service: Service, task: dict[str, Any], method: str, below: str, status: int, **request: Any) -> None:
    """Make sure that the request is refused and changes nothing."""
    before = await service.tasks_of(ANN)
    problem(await service.ask(method, TASKS + below.format(**task), **request), status)
    assert await service.tasks_of(ANN) == before
