"""Two real servers on one database are linearizable: the concurrent calls of their clients have an order."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from histories import CarryOut, record
from linearizability import Action, first_impossible, model
from serving import SECRET, Server

from todo_core import Cursor, OwnerId, Page, Sort, Task, TaskId, TaskNotFound, Version, VersionConflict

PATH = "/api/ann/tasks"


@pytest.mark.ci
async def test_two_servers_on_one_database_are_linearizable(
    serve: Callable[..., Server], database_url: str, token: str
) -> None:
    variables = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "TODO_RATE_LIMIT": "1000000/hour"}
    servers = [serve(**variables) for _ in range(2)]
    headers = {"Authorization": f"Bearer {token}"}
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=each.started().url, headers=headers, timeout=30))
            for each in servers
        ]
        first = [task_of((await clients[0].post(PATH, json={"title": title})).json()) for title in ("a", "b", "c")]
        ids = [task.id for task in first]
        recordings = (
            record(requests_to(each, ids), ids, seed=100 * place, clients=6, actions=25)
            for place, each in enumerate(clients)
        )
        history = [call for recording in await asyncio.gather(*recordings) for call in recording]
    assert (impossible := first_impossible(history, frozenset(first), model)) is None, impossible


def requests_to(client: httpx.AsyncClient, ids: list[TaskId]) -> CarryOut:
    """Carries actions out as requests; ids and moments are the server's."""

    async def carry_out(action: Action) -> tuple[Action, object]:
        answer = await client.send(request_for(client, action))
        if answer.status_code == 404:
            return action, (TaskNotFound.code, None)
        if answer.status_code == 412:
            return action, (VersionConflict.code, int(answer.headers["ETag"].strip('"')))
        answer.raise_for_status()
        if action.kind == "remove":
            return action, None
        if action.kind == "page":
            return action, page_of(answer.json())
        task = task_of(answer.json())
        if action.kind == "add":
            ids.append(task.id)
            return replace(action, id=task.id, at=task.created_at), None
        return replace(action, at=task.updated_at), task

    return carry_out


def request_for(client: httpx.AsyncClient, action: Action) -> httpx.Request:
    match action.kind:
        case "add":
            return client.build_request("POST", PATH, json={"title": action.title})
        case "page":
            return client.build_request("GET", PATH, params=parameters(action))
        case "get":
            return client.build_request("GET", f"{PATH}/{action.id}")
    headers = {} if action.expected is None else {"If-Match": f'"{action.expected}"'}
    match action.kind:
        case "remove":
            return client.build_request("DELETE", f"{PATH}/{action.id}", headers=headers)
        case "toggle":
            return client.build_request("PATCH", f"{PATH}/{action.id}/complete", headers=headers)
        case _:
            return client.build_request("PATCH", f"{PATH}/{action.id}", headers=headers, json={"title": action.title})


def parameters(action: Action) -> dict[str, Any]:
    query = action.query
    given = {"limit": query.limit, "sort": Sort(query.sort).value, "completed": query.completed}
    if query.after is not None:
        given["cursor"] = query.after.encode()
    return {name: value for name, value in given.items() if value is not None}


def page_of(body: dict[str, Any]) -> Page:
    after = body["next_cursor"]
    return Page(tuple(map(task_of, body["items"])), Cursor.decode(after) if after else None)


def task_of(body: dict[str, Any]) -> Task:
    return Task(
        id=TaskId(UUID(body["id"])),
        owner=OwnerId(body["user_id"]),
        title=body["title"],
        description=body["description"],
        completed_at=moment(body["completed_at"]),
        version=Version(body["version"]),
        created_at=datetime.fromisoformat(body["created_at"]),
        updated_at=datetime.fromisoformat(body["updated_at"]),
    )


def moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
