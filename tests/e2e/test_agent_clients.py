"""docs/how-to/connect-an-agent.md: each configuration leads the program that it is for to the tools."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from pages import ROOT, Block, blocks_of
from serving import Serve, Server, environment

from todo_app.mcp.tools import TOOLS

PAGE = ROOT / "docs/how-to/connect-an-agent.md"
HERE = {"/path/to/todo-api": str(ROOT), '"$PWD/run.py"': str(ROOT / "run.py")}
pytestmark = pytest.mark.timeout(180)


def blocks(language: str) -> list[Block]:
    return [block for block in blocks_of(PAGE) if block.language == language and block.runner]


def configurations() -> Iterator[dict[str, Any]]:
    """What the page has programs do: start a command, or ask a URL with headers."""
    for block in blocks("json"):
        found = json.loads(block.text)
        yield from (found.get("mcpServers") or found["servers"]).values()
    for block in blocks("sh"):
        words = shlex.split(re.sub(r"\$\(.*\)", "${env:TODO_TOKEN}", placed(block.text)))
        assert words[:3] == ["claude", "mcp", "add"]
        if "--" in words:
            command, *arguments = words[words.index("--") + 1 :]
            yield {"command": command, "args": arguments}
        else:
            url = next(word for word in words if word.startswith("http://"))
            name, _, value = words[words.index("--header") + 1].partition(": ")
            yield {"url": url, "headers": {name: value}}


def placed(text: str) -> str:
    """As a reader writes it, whose clone is here."""
    for place, real in HERE.items():
        text = text.replace(place, real)
    return text


async def listed(configuration: dict[str, Any], server: Server, data_dir: Path) -> list[str]:
    if "command" in configuration:
        arguments = [placed(each) for each in configuration["args"]]
        variables = environment(TODO_DATA_DIR=str(data_dir))
        command = StdioServerParameters(command=configuration["command"], args=arguments, env=variables)
        async with Client(stdio_client(command)) as client:
            return [tool.name for tool in (await client.list_tools()).tools]
    token = server.greeting_token()
    headers = {name: re.sub(r"\$\{[\w:-]+\}", token, value) for name, value in configuration["headers"].items()}
    assert token in headers["Authorization"]
    url = configuration["url"].replace("http://127.0.0.1:8000", server.url)
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        return [tool.name for tool in (await client.list_tools()).tools]


async def test_every_configuration_leads_to_the_tools(serve: Serve, data_dir: Path) -> None:
    found = list(configurations())
    assert len(found) == 5
    server = serve(TODO_DATA_DIR=str(data_dir)).started()
    for configuration in found:
        assert await listed(configuration, server, data_dir) == list(TOOLS), configuration


async def test_the_openai_agents_sdk_lists_the_tools_as_the_page_says(
    serve: Serve, data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("agents.mcp", reason="the OpenAI Agents SDK is not installed: `nox -s agents` has it")
    server = serve(TODO_DATA_DIR=str(data_dir)).started()
    monkeypatch.setenv("TODO_TOKEN", server.greeting_token())
    [block] = blocks("python")
    asked: list[str] = []

    async def without_a_model(agent: Any, question: str) -> Any:
        asked.append(question)
        [todo] = agent.mcp_servers
        names = [tool.name for tool in await todo.list_tools()]
        made = await todo.call_tool("add_task", {"title": "Call the dentist"})
        said = json.loads(made.content[0].text)
        return SimpleNamespace(final_output=f"{names} {said['change']}")

    monkeypatch.setattr("agents.Runner.run", without_a_model)
    source = block.text.replace("http://127.0.0.1:8000", server.url).replace("asyncio.run(main())", "")
    program: dict[str, Any] = {"__name__": "page"}
    exec(source, program)  # noqa: S102  (the page's)
    await program["main"]()
    assert asked
    assert capsys.readouterr().out == f"{list(TOOLS)} 1\n"
