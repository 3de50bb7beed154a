"""What takes a millisecond and waits for nothing is done for one request in each round of the event loop."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from asking import Service
from factories import ANN
from tool_calls import added, call

from todo_app.api import bodies
from todo_app.mcp import http as mcp_http
from todo_app.mcp import server
from todo_core.recurring import Course

TASKS = f"/api/{ANN}/tasks"
RULE = {"title": "Rent", "due_date": "2026-11-30", "recurrence": "FREQ=MONTHLY"}


async def most_in_a_round(asked: list[Awaitable[httpx.Response]], where: Any, name: str) -> int:
    """How often that function is called in one round of the event loop at most, while these are answered."""
    rounds, calls, usual = 0, Counter[int](), getattr(where, name)

    def counted(*arguments: Any, **named: Any) -> Any:
        calls[rounds] += 1
        return usual(*arguments, **named)

    with patch.object(where, name, counted):
        answers = asyncio.gather(*asked)
        while not answers.done():
            rounds += 1
            await asyncio.sleep(0)
    assert {answer.status_code for answer in await answers} <= {200, 201}
    assert calls.total() == len(asked)
    return max(calls.values())


async def test_previews_are_computed_one_in_each_round(service: Service) -> None:
    query = "due_date=2026-11-30&recurrence=FREQ%3DMONTHLY"
    previews = [service.ask("GET", f"/api/{ANN}/occurrences?{query}") for _ in range(10)]
    assert await most_in_a_round(previews, Course, "occurrences") == 1
    task = (await service.ask("POST", TASKS, json_=RULE)).json()["id"]
    of_a_task = [service.ask("GET", f"{TASKS}/{task}/occurrences") for _ in range(10)]
    assert await most_in_a_round(of_a_task, Course, "occurrences") == 1


@pytest.mark.parametrize(("length", "at_once"), [(100, 10), (1000, 1)])
async def test_bodies_longer_than_usual_are_decoded_one_in_each_round(
    service: Service, length: int, at_once: int
) -> None:
    body = json.dumps({"title": "Notes", "description": "\N{GRINNING FACE}" * length}, ensure_ascii=False).encode()
    sent = [service.ask("POST", TASKS, body=body + b" " * 100) for _ in range(10)]
    assert await most_in_a_round(sent, bodies, "decoded") == at_once


class Answers:
    """Which large answers of tools are being made."""

    def __init__(self, patched: pytest.MonkeyPatch) -> None:
        self.now = self.most = self.made = 0
        begin, end = server._result, mcp_http._Turn.give_back

        def begun(answer: Any, *, failed: bool) -> Any:
            if len(answer.get("items", ())) > 1:
                self.now += 1
                self.most = max(self.most, self.now)
            return begin(answer, failed=failed)

        def ended(turn: mcp_http._Turn) -> None:
            if turn._is_ours:
                self.now -= 1
                self.made += 1
            end(turn)

        patched.setattr(server, "_result", begun)
        patched.setattr(mcp_http._Turn, "give_back", ended)


async def test_large_answers_of_tools_are_made_one_at_a_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(11):
        await added(service)
    answers = Answers(monkeypatch)
    for tool in ("list_tasks", "search_changes"):
        await asyncio.gather(*(call(service, tool) for _ in range(5)))
    assert (answers.most, answers.made, answers.now) == (1, 10, 0)


async def test_small_answers_of_tools_are_made_beside_a_large_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await added(service)
    for _ in range(10):
        await added(service)
    take, goes_on = mcp_http._Turn.take, asyncio.Event()

    async def held(turn: mcp_http._Turn) -> None:
        await take(turn)
        await goes_on.wait()

    monkeypatch.setattr(mcp_http._Turn, "take", held)
    large = asyncio.ensure_future(call(service, "list_tasks"))
    assert (await call(service, "get_task", id=task_id))["task"]["id"] == task_id
    assert len((await call(service, "list_tasks", limit=10))["items"]) == 10
    assert not large.done()
    goes_on.set()
    assert len((await large)["items"]) == 11
