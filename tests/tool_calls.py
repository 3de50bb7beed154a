"""Calls the tools of `/mcp` as clients of the protocol's revisions do."""

from collections.abc import Iterable
from itertools import count
from typing import Any

import httpx
from asking import Service, token
from factories import ANN, make_id

from todo_core import Scope

CURRENT, LAST_OF_2025 = "2026-07-28", "2025-11-25"
REVISIONS = ("2025-03-26", "2025-06-18", LAST_OF_2025, CURRENT)
ACCEPTED = "application/json, text/event-stream"
UNKNOWN = str(make_id(404))
"""An id that nothing has."""

_META = "io.modelcontextprotocol/"
_numbers = count(1)


def message(method: str, params: dict[str, Any] | None = None, *, revision: str = CURRENT) -> dict[str, Any]:
    """A request of the protocol; from 2026 on each says for itself what an earlier one said once."""
    if revision >= CURRENT:
        said = {"protocolVersion": revision, "clientInfo": {"name": "tests", "version": "1"}, "clientCapabilities": {}}
        params = {**(params or {}), "_meta": {f"{_META}{name}": value for name, value in said.items()}}
    return {"jsonrpc": "2.0", "id": next(_numbers), "method": method, **({} if params is None else {"params": params})}


def fields(body: dict[str, Any], revision: str) -> dict[str, str]:
    """The header fields that go with a request."""
    said = {"Accept": ACCEPTED, "MCP-Protocol-Version": revision}
    if revision >= CURRENT:
        name = body.get("params", {}).get("name")
        said |= {"Mcp-Method": body["method"]} | ({"Mcp-Name": name} if isinstance(name, str) else {})
    return said


async def ask(
    service: Service,
    method: str,
    params: dict[str, Any] | None = None,
    *,
    revision: str = CURRENT,
    user: str = ANN,
    scopes: Iterable[Scope] | None = None,
    **headers: str,
) -> httpx.Response:
    """The HTTP answer to a request of the protocol."""
    body = message(method, params, revision=revision)
    bearer = {} if scopes is None else {"Authorization": f"Bearer {token(user, scopes=list(scopes))}"}
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.ask(
        "POST", "/mcp", user=user, json_=body, headers={**fields(body, revision), **bearer, **more}
    )


async def call(service: Service, tool: str, /, revision: str = CURRENT, user: str = ANN, **arguments: Any) -> Any:
    """What a tool answers, or the error that it reports."""
    asked = {"name": tool, "arguments": arguments}
    answer = await ask(service, "tools/call", asked, revision=revision, user=user)
    assert answer.status_code == 200, answer.text
    result = answer.json()["result"]
    [content] = result["content"]
    structured = result.get("structuredContent")
    assert content["type"] == "text"
    if structured is not None:  # the revision of March 2025 has but text
        assert httpx.Response(200, text=content["text"]).json() == structured
    found = httpx.Response(200, text=content["text"]).json()
    assert result.get("isError", False) == ("error" in found or _all_failed(found))
    return found


async def added(service: Service, title: str = "Buy milk", **members: Any) -> str:
    """The id of a new task."""
    return str((await call(service, "add_task", title=title, **members))["task"]["id"])


def _all_failed(answer: dict[str, Any]) -> bool:
    results = answer.get("results", [])
    return bool(results) and all("error" in each for each in results)
