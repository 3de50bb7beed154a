"""Sends batches of operations over HTTP, and makes the tasks and ids that they name."""

from typing import Any
from uuid import UUID, uuid4

from asking import Service
from factories import ANN

HOME = f"/api/{ANN}"
TASKS = f"{HOME}/tasks"


def new_id(number: int = 0) -> str:
    """An id that a client may bring: a UUIDv7 of 2026-11-05."""
    return str(UUID(int=0x019A_540B_B400_7000_8000_000000000000 + (uuid4().int & 0xFFFFFF) * 1000 + number))


async def batch(service: Service, *operations: dict[str, Any], **more: Any) -> Any:
    return await service.ask("POST", f"{HOME}/batch", json_={"operations": list(operations)}, **more)


async def made(service: Service, title: str = "Milk", **members: Any) -> dict[str, Any]:
    answer = await service.ask("POST", TASKS, json_={"title": title, **members})
    task: dict[str, Any] = answer.json()
    return task
