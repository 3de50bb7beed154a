"""Requests leave nothing for the garbage collector, which seldom runs in a server, also those that end in a refusal."""

import gc
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from asking import Service, make_service
from factories import ANN, BOB, NOON

from todo_adapters.postgres import PostgresTaskStore
from todo_adapters.system import SystemIds
from todo_core import SyncToken
from todo_core.sync import Mark

HOME: Final = f"/api/{ANN}"
NOWHERE: Final = "01980000-0000-7000-8000-000000000000"
TIMES: Final = 10
WEEKLY: Final = {"title": "Water the plants", "due_date": "2026-11-28", "recurrence": "FREQ=WEEKLY;BYDAY=SA"}
Request = tuple[int, str, str, dict[str, Any]]
"""The status that answers it, its method, its path, and what else is sent."""


IDS: Final = SystemIds()
# `{task}`: a new task that recurs, made by the change `{change}`. `{gone}`: one that was deleted. `{list}`: a new list.
# `{new}`: an id or key that was never used.
REQUESTS: dict[str, Request] = {
    "list": (200, "GET", "tasks", {}),
    "search": (200, "GET", "tasks?q=plants&sort=title", {}),
    "list, refused": (422, "GET", "tasks?limit=0", {}),
    "get": (200, "GET", "tasks/{task}", {}),
    "get, not found": (404, "GET", f"tasks/{NOWHERE}", {}),
    "summary": (200, "GET", "summary", {}),
    "history": (200, "GET", "tasks/{task}/history", {}),
    "occurrences": (200, "GET", "tasks/{task}/occurrences", {}),
    "changes": (200, "GET", "changes", {}),
    "changes, refused": (422, "GET", "changes?since=x", {}),
    "changes, of another log": (410, "GET", "changes?since={since}", {}),
    "trash": (200, "GET", "trash", {}),
    "create": (201, "POST", "tasks", {"json_": {"title": "Milk"}}),
    "create once": (201, "POST", "tasks", {"json_": {"title": "Milk"}, "headers": {"Idempotency-Key": '"{new}"'}}),
    "create again": (201, "POST", "tasks", {"json_": {"title": "Milk"}, "headers": {"Idempotency-Key": '"again"'}}),
    "create in a list": (201, "POST", "tasks", {"json_": {"title": "Milk", "list_id": "{list}"}}),
    "create in a list, refused": (422, "POST", "tasks", {"json_": {"title": "Milk", "list_id": NOWHERE}}),
    "create, refused": (422, "POST", "tasks", {"json_": {"title": ""}}),
    "create, no JSON": (400, "POST", "tasks", {"body": b"{"}),
    "edit": (200, "PATCH", "tasks/{task}", {"json_": {"title": "Water all plants"}}),
    "edit, not found": (404, "PATCH", f"tasks/{NOWHERE}", {"json_": {"title": "x"}}),
    "edit, refused": (422, "PATCH", "tasks/{task}", {"json_": {"recurrence": "FREQ=NEVER"}}),
    "edit, another version": (
        412, "PATCH", "tasks/{task}", {"json_": {"title": "x"}, "headers": {"If-Match": '"999"'}},
    ),
    "toggle": (200, "PATCH", "tasks/{task}/complete", {}),
    "skip": (200, "POST", "tasks/{task}/skip", {}),
    "move": (200, "POST", "tasks/{task}/move", {"json_": {"list_id": "{list}"}}),
    "move, refused": (422, "POST", "tasks/{task}/move", {"json_": {"parent_id": "{task}"}}),
    "move, unknown list": (422, "POST", "tasks/{task}/move", {"json_": {"list_id": NOWHERE}}),
    "delete": (204, "DELETE", "tasks/{task}", {}),
    "delete, not found": (404, "DELETE", f"tasks/{NOWHERE}", {}),
    "delete a list": (204, "DELETE", "lists/{list}", {}),
    "restore": (200, "POST", "trash/{gone}/restore", {}),
    "restore, not there": (404, "POST", f"trash/{NOWHERE}/restore", {}),
    "erase": (204, "DELETE", "trash/{gone}", {}),
    "undo": (200, "POST", "changes/{change}/undo", {}),
    "undo, not found": (404, "POST", "changes/999999/undo", {}),
    "create a list": (201, "POST", "lists", {"json_": {"name": "Shopping"}}),
    "batch": (
        200, "POST", "batch",
        {"json_": {"operations": [
            {"op": "create", "task": {**WEEKLY, "id": "{new}"}},
            {"op": "complete", "id": "{new}"},
            {"op": "delete", "id": "{new}"},
        ]}},
    ),
    "batch of many": (
        200, "POST", "batch", {"json_": {"operations": [{"op": "create", "task": {"title": "Milk"}}] * 30}},
    ),
    "batch, not found": (422, "POST", "batch", {"json_": {"operations": [{"op": "complete", "id": NOWHERE}] * 2}}),
    "batch, refused": (
        412, "POST", "batch",
        {"json_": {"operations": [
            {"op": "create", "task": WEEKLY}, {"op": "complete", "id": "{task}", "version": 999},
        ]}},
    ),
    "another's path": (403, "GET", "/api/{other}/tasks", {}),
    "no token": (401, "GET", "tasks", {"user": None}),
    "no such path": (404, "GET", "nowhere", {}),
    "no such method": (405, "PUT", "tasks", {}),
}  # fmt: skip


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("kind", REQUESTS)
async def test_a_request_leaves_no_reference_cycles(postgres_store: PostgresTaskStore, kind: str) -> None:
    service = make_service(postgres_store)
    await ask(service, *REQUESTS[kind])  # what is loaded and made at the first time stays
    gc.collect()
    for _ in range(TIMES):
        await ask(service, *REQUESTS[kind])
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    left = Counter(type(each).__name__ for each in gc.garbage)
    assert left.total() < TIMES, left


async def ask(service: Service, status: int, method: str, path: str, how: dict[str, Any]) -> None:
    """Ask for what that needs, and then for it."""
    places = {
        "new": str(IDS.new(datetime.now(UTC))),
        "other": BOB,
        "since": SyncToken(Mark(10**6, None, NOON)).encode(ANN),
    }
    if "{task}" in f"{path} {how}" or "{gone}" in path or "{change}" in path:
        made = await service.ask("POST", f"{HOME}/tasks", json_=WEEKLY)
        places |= {"task": made.json()["id"], "change": made.headers["change"]}
    if "{gone}" in path:
        await service.ask("DELETE", f"{HOME}/tasks/{places['task']}")
        places["gone"] = places["task"]
    if "{list}" in f"{path} {how}":
        places["list"] = (await service.ask("POST", f"{HOME}/lists", json_={"name": "Home"})).json()["id"]
    place = path.format(**places)
    answer = await service.ask(method, place if place[0] == "/" else f"{HOME}/{place}", **filled(how, places))
    assert answer.status_code == status, answer.text


def filled(value: Any, places: dict[str, str]) -> Any:
    match value:
        case str():
            return value.format(**places) if "{" in value else value
        case dict():
            return {name: filled(each, places) for name, each in value.items()}
        case list():
            return [filled(each, places) for each in value]
        case _:
            return value
