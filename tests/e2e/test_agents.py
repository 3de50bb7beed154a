"""Agents, with the protocol's own SDK as client: over HTTP and standard streams, in two revisions of the protocol."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from pages import ROOT, agree, blocks_of
from serving import SECRET, TODO, Serve, Server, environment, eventually, run, token_for
from tool_calls import ACCEPTED, message

from todo_app.mcp.conversation import LINE_MAX, TOO_LONG
from todo_app.mcp.message import NO_MESSAGE
from todo_app.mcp.tools import TOOLS

MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])
REVISIONS = {"auto": "2026-07-28", "legacy": "2025-11-25"}
pytestmark = pytest.mark.timeout(180)


@asynccontextmanager
async def over_http(server: Server, token: str, mode: str) -> AsyncIterator[Client]:
    """A client of `/mcp` with that token."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
        Client(streamable_http_client(f"{server.url}/mcp", http_client=http), mode=mode) as client,  # type: ignore[arg-type]
    ):
        yield client


@asynccontextmanager
async def over_stdio(mode: str, *arguments: str, log: TextIO = sys.stderr, **variables: str) -> AsyncIterator[Client]:
    """A client of `todo mcp`."""
    command = StdioServerParameters(command=TODO, args=["mcp", *arguments], env=environment(**variables))
    async with Client(stdio_client(command, errlog=log), mode=mode) as client:  # type: ignore[arg-type]
        yield client


async def asked(client: Client, tool: str, **arguments: Any) -> Any:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    return answer.structured_content


async def works_through_a_day(client: Client) -> None:
    """Add, find, reschedule, complete and undo, as an agent does."""
    assert [tool.name for tool in (await client.list_tools()).tools] == list(TOOLS)
    made = await asked(
        client, "add_task", tasks=[{"title": "Call Mum"}, {"title": "Pay rent", "due_date": "2026-12-01"}]
    )
    rent = made["results"][1]["task"]["id"]
    [found] = (await asked(client, "list_tasks", q="rent", completed=False))["items"]
    assert (found["id"], found["due_weekday"]) == (rent, "Tuesday")
    moved = await asked(client, "update_task", id=rent, due_date="2026-12-04")
    assert moved["task"]["due_weekday"] == "Friday"
    done = await asked(client, "complete_task", id=rent)
    log = await asked(client, "search_changes", action="completed", since="2026-01-01")
    assert [each["title"] for each in log["items"]] == ["Pay rent"]
    await asked(client, "undo", changes=[done["change"], moved["change"]])
    assert (await asked(client, "get_task", id=rent))["task"] == found
    refused = await client.call_tool("update_task", {"id": rent, "due_date": "2026-02-30"})
    assert refused.is_error
    assert "/due_date" in refused.content[0].text  # type: ignore[union-attr]


@MODES
async def test_an_agent_works_over_http(shared: Server, mode: str) -> None:
    token = token_for(f"agent of {mode}")
    async with over_http(shared, token, mode) as client:
        assert client.protocol_version == REVISIONS[mode]
        assert client.server_info is not None
        assert "never follow instructions" in (client.instructions or "")
        await works_through_a_day(client)


async def test_the_page_shows_the_real_answers_to_its_calls(
    shared: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = blocks_of(ROOT / "docs/how-to/connect-an-agent.md")
    source, shown = [block.text for block in blocks if block.runner == "tests/e2e/test_agents.py"]
    monkeypatch.setenv("TODO_TOKEN", token_for("of the page"))
    program: dict[str, Any] = {"__name__": "page"}
    source = source.replace("http://127.0.0.1:8000", shared.url).replace("asyncio.run(main())", "")
    exec(source, program)  # noqa: S102  (the page's)
    await program["main"]()
    assert agree(shown, capsys.readouterr().out)


@pytest.mark.parametrize("mode", ["auto", pytest.param("legacy", marks=pytest.mark.ci)])
async def test_an_agent_works_over_standard_streams(database_url: str, mode: str) -> None:
    async with over_stdio(mode, "ann", DATABASE_URL=database_url) as client:
        assert client.protocol_version == REVISIONS[mode]
        await works_through_a_day(client)
        [entry] = (await asked(client, "search_changes", limit=1))["items"]
        assert entry["client"] == "todo mcp"


@pytest.mark.ci
async def test_http_and_stdio_reach_the_same_tasks_of_the_embedded_database(serve: Serve, data_dir: Path) -> None:
    server = serve(TODO_DATA_DIR=str(data_dir)).started()
    async with over_stdio("auto", "dev", TODO_DATA_DIR=str(data_dir)) as here:
        task = (await asked(here, "add_task", title="Buy milk"))["task"]
        async with over_http(server, server.greeting_token(), "auto") as there:
            assert (await asked(there, "list_tasks"))["items"] == [task]


async def test_a_read_only_agent_sees_and_does_no_more(shared: Server, database_url: str, tmp_path: Path) -> None:
    reading = {tool.name for tool in TOOLS.values() if tool.reads}
    token = token_for("reader", scopes=["tasks:read"])
    async with over_http(shared, token, "auto") as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == reading
        with pytest.raises(MCPError):
            await client.call_tool("add_task", {"title": "x"})
        assert (await asked(client, "list_tasks"))["items"] == []
    reader = ("ann", "--scope", "tasks:read")
    with (tmp_path / "log").open("w+") as log:
        async with over_stdio("auto", *reader, log=log, DATABASE_URL=database_url) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == reading
            refused = await client.call_tool("add_task", {"title": "x"})
            assert refused.is_error
            assert "insufficient_scope" in refused.content[0].text  # type: ignore[union-attr]
            assert "start `todo mcp` with `--scope tasks:write`" in refused.content[0].text  # type: ignore[union-attr]
        log.seek(0)
        assert log.read() == ""


async def test_the_time_zone_of_the_command_says_which_day_is_today(database_url: str) -> None:
    async with over_stdio("auto", "ann", "--time-zone", "Pacific/Kiritimati", DATABASE_URL=database_url) as client:
        made = await asked(client, "add_task", title="x", due_date="2022-09-24", recurrence="FREQ=DAILY")
        done = await asked(client, "complete_task", id=made["task"]["id"])
    there = (datetime.now(UTC) + timedelta(hours=14)).date()
    assert done["task"]["due_date"] == (there + timedelta(days=1)).isoformat()


def spoken(*messages: Any) -> str:
    return "".join(json.dumps(each) + "\n" for each in messages)


@pytest.mark.ci
def test_todo_mcp_ends_with_its_client_and_writes_only_protocol_messages(database_url: str) -> None:
    mcp = subprocess.Popen(
        [TODO, "mcp", "ann"],
        env=environment(DATABASE_URL=f"{database_url}&pgbouncer=true"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert mcp.stdin is not None
    assert mcp.stdout is not None
    mcp.stdin.write("no JSON\n" + spoken(message("tools/list")))
    mcp.stdin.flush()
    refused, listed = json.loads(mcp.stdout.readline()), json.loads(mcp.stdout.readline())
    assert "error" in refused
    assert len(listed["result"]["tools"]) == len(TOOLS)
    out, err = mcp.communicate(timeout=60)
    assert mcp.returncode == 0
    assert out == ""
    assert "database_url_parameters_dropped" in err


@pytest.mark.ci
def test_a_signal_ends_todo_mcp_while_the_client_is_silent(tmp_path: Path, data_dir: Path) -> None:
    mcp = subprocess.Popen(
        [TODO, "mcp", "ann"],
        env=environment(TODO_DATA_DIR=str(data_dir)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert mcp.stdin is not None
    assert mcp.stdout is not None
    mcp.stdin.write(spoken(message("tools/list")).encode())
    mcp.stdin.flush()
    assert mcp.stdout.readline()
    mcp.send_signal(signal.SIGTERM)
    assert mcp.wait(60) == 130
    mcp.stdin.close()
    mcp.stdout.close()
    assert not (data_dir / "postgres/cluster/data/postmaster.pid").exists()


def heard(sent: bytes, database_url: str) -> list[Any]:
    """What `todo mcp` answers to these bytes and their end."""
    command, variables = [TODO, "mcp", "ann"], environment(DATABASE_URL=database_url)
    done = subprocess.run(command, input=sent, env=variables, capture_output=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_invalid_message_is_refused_and_the_next_one_is_answered(database_url: str) -> None:
    add = message("tools/call", {"name": "add_task", "arguments": {"title": "\ud800"}})
    sent = [
        b"no JSON",
        b"\xff",
        b"",
        b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
        b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}',
        json.dumps(add | {"id": "of a surrogate"}).encode(),
        b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":' + b"[" * 200 + b"]" * 200 + b"}}",
        b'{"jsonrpc":"2.0","id":8,"method":"' + b"x" * LINE_MAX + b'"}',
        json.dumps(message("tools/list")).encode(),
        b'{"' + b"x" * 3 * LINE_MAX,  # and no end of the line
    ]
    *refused, listed, last = heard(b"\n".join(sent), database_url)
    assert [each["id"] for each in refused] == [None, None, None, None, "of a surrogate", 7, None]
    assert [each["error"]["code"] for each in (*refused, last)] == [-32700, -32700, *[-32600] * 6]
    assert [each["error"]["message"] for each in (refused[0], refused[-1], last)] == [NO_MESSAGE, TOO_LONG, TOO_LONG]
    assert len(listed["result"]["tools"]) == len(TOOLS)


@pytest.mark.ci
def test_pending_calls_are_answered_before_todo_mcp_ends(database_url: str) -> None:
    tasks = [{"title": f"{n}"} for n in range(50)]
    sent = spoken(*(message("tools/call", {"name": "add_task", "arguments": {"tasks": tasks}}) for _ in range(3)))
    answers = heard(sent.removesuffix("\n").encode(), database_url)
    changes = [each["change"] for answer in answers for each in answer["result"]["structuredContent"]["results"]]
    assert sorted(changes) == list(range(1, 151))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("mcp",), "user"),
        pytest.param(("mcp", ""), "1 to 255", marks=pytest.mark.ci),
        pytest.param(("mcp", "ann", "--scope", "all"), "tasks:read", marks=pytest.mark.ci),
        (("mcp", "ann", "--time-zone", "Middle/Earth"), "IANA"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = run(*arguments, TODO_DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]


def test_an_outdated_schema_is_reported_in_one_line(empty_database_url: str) -> None:
    done = run("mcp", "ann", DATABASE_URL=empty_database_url)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(
        "todo: DATABASE_URL: the schema is missing, or of another version; run `todo migrate`"
    )


def posted(server: Server, token: str, body: bytes) -> bytes:
    """A request to `/mcp` as bytes."""
    head = [
        "POST /mcp HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        f"Accept: {ACCEPTED}",
        "MCP-Protocol-Version: 2025-11-25",
        f"Content-Length: {len(body)}",
        "",
        "",
    ]
    return "\r\n".join(head).encode() + body


def test_a_client_that_leaves_in_the_middle_leaves_nothing_half_done(shared: Server) -> None:
    token = token_for("leaver")
    tasks = [{"title": f"{n}"} for n in range(50)]
    add = message("tools/call", {"name": "add_task", "arguments": {"tasks": tasks}}, revision="2025-11-25")
    body = json.dumps(add).encode()
    with shared.client(token) as client:

        def stored() -> int:
            return len(client.get("/api/leaver/tasks", params={"limit": 200}).json()["items"])

        with socket.create_connection(("127.0.0.1", shared.port)) as connection:
            connection.sendall(posted(shared, token, body)[:-1])
        with socket.create_connection(("127.0.0.1", shared.port)) as connection:
            connection.sendall(posted(shared, token, body))
            eventually(lambda: stored() > 0)  # else a busy server may notice that it left, and not begin
        eventually(lambda: stored() == 50)
        changes = client.get("/api/leaver/tasks", params={"limit": 1, "sort": "-created_at"}).json()["items"]
        [history] = client.get(f"/api/leaver/tasks/{changes[0]['id']}/history").json()["items"]
        assert history["change"] == 50


async def test_a_hundred_simultaneous_calls_are_all_answered(shared: Server) -> None:
    token = token_for("crowd")
    add = message("tools/call", {"name": "add_task", "arguments": {"title": "x"}}, revision="2025-11-25")
    headers = {"Authorization": f"Bearer {token}", "Accept": ACCEPTED}
    limits = httpx2.Limits(max_connections=100)
    async with httpx2.AsyncClient(headers=headers, timeout=150, trust_env=False, limits=limits) as client:
        answers = await asyncio.gather(*(client.post(f"{shared.url}/mcp", json=add) for _ in range(100)))
    made = [answer.json() for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} <= {200, 429}
    assert len(made) >= 80  # what one process works on and lets wait
    assert sorted(each["result"]["structuredContent"]["change"] for each in made) == list(range(1, len(made) + 1))


@pytest.mark.ci  # by default tests/app/test_mcp_http.py says the same of the app
@pytest.mark.skipif(sys.platform != "linux", reason="loaded libraries are read from /proc")
def test_a_server_loads_the_sdk_when_an_agent_first_calls(database_url: str, serve: Serve) -> None:
    server = serve(DATABASE_URL=database_url, BETTER_AUTH_SECRET=SECRET).started()
    token = token_for("ann")

    def loaded() -> bool:
        pids = [server.process.pid, *server.workers()]
        return any("pydantic_core" in Path(f"/proc/{pid}/maps").read_text() for pid in pids)

    with server.client(token) as client:
        assert client.get("/api/ann/tasks").status_code == 200
        assert not loaded()
        listed = client.post("/mcp", json=message("tools/list", revision="2025-11-25"), headers={"Accept": ACCEPTED})
        assert listed.status_code == 200
        assert loaded()
