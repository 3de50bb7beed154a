"""The reference lists the refusals of `POST /mcp` and those of any request: each is elicited here."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
from asking import make_service
from factories import ANN, make_id
from refusals import problem
from tool_calls import ask, message

from todo_adapters.deadlines import Deadlines
from todo_app.http import reading, turns
from todo_app.http.errors import STATUSES
from todo_core import IdentityUnavailable, InsufficientScope, OwnerId, TodoError

PAGES = Path(__file__).parents[2] / "docs/reference"
GET_TASK = {"name": "get_task", "arguments": {"id": str(make_id(1))}}
Elicit: TypeAlias = Callable[[pytest.MonkeyPatch], Awaitable[httpx.Response]]


def raising(error: Exception) -> Any:
    """A coroutine function that raises that error."""

    async def fails(*_: Any, **__: Any) -> Any:
        raise error

    return fails


def asking(**request: Any) -> Elicit:
    """A request to `/mcp` that differs from a good one in these arguments of `Service.ask`."""
    return lambda _: make_service().ask("POST", "/mcp", **{"json_": message("tools/list"), **request})


async def without_scope(_: pytest.MonkeyPatch) -> httpx.Response:
    return await ask(make_service(), "tools/call", {"name": "add_task", "arguments": {"title": "x"}}, scopes=[READ])


async def too_slow(monkeypatch: pytest.MonkeyPatch) -> httpx.Response:
    monkeypatch.setattr(reading, "_LIMITS", Deadlines(0.0))
    monkeypatch.setattr(reading, "_gather", raising(TimeoutError()))
    return await ask(make_service(), "tools/list")


async def too_many(_: pytest.MonkeyPatch) -> httpx.Response:
    service = make_service(rate_limit="1/hour")
    await ask(service, "tools/list")
    return await ask(service, "tools/list")


async def too_many_at_once(monkeypatch: pytest.MonkeyPatch) -> httpx.Response:
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.0)
    service = make_service(concurrent_requests_per_user=1, waiting_requests_per_user=0)
    await service.container.turns().take(OwnerId(ANN), raising(AssertionError()))
    return await ask(service, "tools/list")


async def without_keys(monkeypatch: pytest.MonkeyPatch) -> httpx.Response:
    service = make_service()
    monkeypatch.setattr(service.container.verifier(), "authenticate", raising(IdentityUnavailable()))
    return await ask(service, "tools/list")


async def with_a_bug(monkeypatch: pytest.MonkeyPatch) -> httpx.Response:
    monkeypatch.setattr("todo_core.TaskService.get", raising(RuntimeError()))
    return await ask(make_service(), "tools/call", GET_TASK)


READ = "tasks:read"
OF_MCP: dict[str, Elicit] = {
    "malformed_request": asking(json_=[]),
    "not_authenticated": asking(user=None),
    "origin_not_allowed": asking(headers={"Origin": "https://evil.example"}),
    "insufficient_scope": without_scope,
    "body_too_slow": too_slow,
    "body_too_large": asking(json_={"x": "x" * reading.BODY_MAX}),
    "unsupported_media_type": asking(type_="text/plain"),
    "too_many_requests": too_many,
    "too_many_at_once": too_many_at_once,
    "internal_error": with_a_bug,
    "identity_unavailable": without_keys,
}


@pytest.mark.parametrize("code", OF_MCP)
async def test_mcp_refuses_with_each_code_that_is_listed(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    part = (PAGES / "agents.md").read_text().partition("\n## Refusals\n")[2].partition("\n## ")[0]
    listed = dict(re.findall(r"^\| \d+ \| `(\w+)` \| (.+) \|$", part, re.MULTILINE))
    assert listed.keys() == OF_MCP.keys()
    answer = await OF_MCP[code](monkeypatch)
    problem(answer, answer.status_code, code)


@pytest.mark.parametrize("kind", [kind for kind in STATUSES if kind is not InsufficientScope])
async def test_other_refusals_of_a_tool_are_in_its_result(
    monkeypatch: pytest.MonkeyPatch, kind: type[TodoError]
) -> None:
    error = kind.__new__(kind)
    error.__dict__.update(problems=(), ids=(), kind="tasks", limit=1, current=1, retry_after=1, allowed="")
    monkeypatch.setattr("todo_core.TaskService.get", raising(error))
    answer = await ask(make_service(), "tools/call", GET_TASK)
    assert answer.status_code == 200
    assert answer.json()["result"]["structuredContent"]["error"]["code"] == kind.code


ANY_PATH = ("/health/live", "/metrics", "/openapi.json", "/docs", f"/api/{ANN}/tasks", "/mcp")


async def test_any_request_may_get_each_code_listed_for_any_request(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = re.findall(r"^\| `(\w+)` .*\| any request \|$", (PAGES / "errors.md").read_text(), re.MULTILINE)
    assert sorted(listed) == ["internal_error", "malformed_request", "method_not_allowed", "not_found"]
    service = make_service()
    for path in ANY_PATH:
        problem(await service.ask("GET", path, headers={"Host": "a b"}), 400, "malformed_request")
        problem(await service.ask("BREW", path), 405, "method_not_allowed")
        problem(await service.ask("GET", f"{path}/no/where"), 404, "not_found")
    monkeypatch.setattr("todo_app.http.gate.Gate._route", raising(RuntimeError()))
    for path in ANY_PATH:
        problem(await service.ask("GET", path), 500, "internal_error")
