"""docs/how-to/connect-an-agent.md, followed step by step, and third-party clients: each finds the tools.

Those of npm are installed, as `agent_clients/package-lock.json` pins them, into pytest's cache.
"""

import json
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from e2e.npm import NEEDS_NODE, NODE, installed
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from pages import ROOT, Block, blocks_of
from serving import TODO, Serve, Server, environment, free_port

from todo_app.mcp.tools import TOOLS

SOURCE = Path(__file__).with_name("agent_clients")
SCENARIOS = ("server-initialize", "ping", "tools-list", "dns-rebinding-protection")
TOKENS_MAX = 4000
PAGE = ROOT / "docs/how-to/connect-an-agent.md"
_LAUNCHER = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
INSPECTOR = (_LAUNCHER, "--cli", "--connect-timeout", "90000")  # of milliseconds: a busy machine takes its time
CONFORMANCE = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
HERE = {"/path/to/todo-api": str(ROOT), '"$PWD/run.py"': str(ROOT / "run.py")}
pytestmark = pytest.mark.timeout(180)


def blocks(language: str) -> list[Block]:
    runner = "tests/e2e/test_agent_clients.py"
    return [block for block in blocks_of(PAGE) if block.language == language and block.runner == runner]


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
            headers = [after for word, after in pairwise(words) if word == "--header"]
            yield {"url": url, "headers": dict(header.split(": ", 1) for header in headers)}


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
    pytest.importorskip("agents.mcp", reason="the OpenAI Agents SDK is not installed: run `nox -s agents`")
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


@pytest.fixture
def programs(request: pytest.FixtureRequest) -> Path:
    """The folder with the clients of npm."""
    return installed(request.config, SOURCE)


def node(folder: Path, *command: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(NODE), *command], cwd=folder, capture_output=True, text=True, timeout=100, check=False, **options
    )


@NEEDS_NODE
def test_all_descriptions_together_are_under_4000_tokens_and_each_is_what_the_reference_says(programs: Path) -> None:
    from todo_app.mcp.server import LISTED

    listed = [tool.model_dump(by_alias=True, mode="json", exclude_none=True) for tool in LISTED.values()]

    def tokens(of: Any) -> int:
        return int(node(programs, "tokens.mjs", input=json.dumps(of, separators=(",", ":"))).stdout)

    assert 1000 < tokens(listed) < TOKENS_MAX
    reference = (ROOT / "docs/reference/agents.md").read_text()
    shown = re.findall(r"^\| `(\w+)` \| .* \| (\d+) \|$", reference, re.MULTILINE)
    assert {name: int(count) for name, count in shown} == {each["name"]: tokens(each) for each in listed}


@NEEDS_NODE
def test_the_inspector_lists_and_calls_over_both_transports(programs: Path, serve: Serve, data_dir: Path) -> None:
    server = serve(TODO_DATA_DIR=str(data_dir)).started()
    bearer = f"Authorization: Bearer {server.greeting_token()}"
    http = ["--transport", "http", "--header", bearer]
    ways = (
        lambda *rest: node(programs, *INSPECTOR, f"{server.url}/mcp", *rest, *http),
        lambda *rest: node(programs, *INSPECTOR, "-e", f"TODO_DATA_DIR={data_dir}", TODO, "mcp", "dev", *rest),
    )
    for way in ways:
        listed = way("--method", "tools/list", "--strict")
        assert listed.returncode == 0, listed.stderr
        assert listed.stderr == ""
        assert [tool["name"] for tool in json.loads(listed.stdout)["tools"]] == list(TOOLS), listed.stderr
        made = way(
            "--method", "tools/call", "--tool-name", "add_task", "--tool-arg", "title=Milk", "due_date=2026-12-01"
        )
        assert json.loads(made.stdout)["structuredContent"]["task"]["due_weekday"] == "Tuesday", made.stderr


@contextmanager
def with_a_token(server: Server, port: int) -> Iterator[str]:
    """The URL of a proxy in front of `/mcp` that adds a token: the suite cannot send one."""
    token = server.greeting_token()

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            passed = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            answer = httpx2.post(
                f"{server.url}/mcp",
                content=body,
                headers={**passed, "Authorization": f"Bearer {token}"},
                trust_env=False,
            )
            self.send_response(answer.status_code)
            for name in ("content-type", "content-length", "allow"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", port), Proxy) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        yield f"http://localhost:{port}/mcp"
        proxy.shutdown()
        thread.join()


@NEEDS_NODE
def test_the_protocols_conformance_suite_finds_nothing_wrong(
    programs: Path, serve: Serve, data_dir: Path, tmp_path: Path
) -> None:
    port = free_port()
    server = serve(TODO_DATA_DIR=str(data_dir), TODO_CORS_ORIGINS=f"http://localhost:{port}").started()
    with with_a_token(server, port) as url:
        for scenario in SCENARIOS:
            finished = node(programs, CONFORMANCE, "server", "--url", url, "--scenario", scenario, "-o", str(tmp_path))
            assert finished.returncode == 0, f"{scenario}: {finished.stdout} {finished.stderr}"
            assert "0 failed" in finished.stdout, finished.stdout
