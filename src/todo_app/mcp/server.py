"""The tools in the protocol's SDK, which takes long to load and is imported only here and in `stdio`."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any, Final, TypeAlias

import msgspec
from mcp import MCPError
from mcp.server import Server, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp.types import Tool as Listed

from todo_app.http.errors import InternalError
from todo_app.http.exchange import App, Receive, Scope, Send
from todo_app.mcp import answers
from todo_app.mcp.schema import Json
from todo_app.mcp.tool import Caller, Tool
from todo_app.mcp.tools import INSTRUCTIONS, ONE_PAGE, TOOLS
from todo_core import InsufficientScope, TodoError

LISTED_FOR: Final = 300_000  # milliseconds for which a client may cache the list
_NAME_LENGTH: Final = 100  # characters of an unknown tool's name that are repeated

Request: TypeAlias = ServerRequestContext[Any]
WhoAsks: TypeAlias = Callable[[Request], Caller]
"""The caller of a request."""

Report: TypeAlias = Callable[[Request, Exception], None]
"""Called with an exception that the transport must handle: a missing scope, or a bug."""


def http_server(who: WhoAsks, report: Report) -> App:
    """The tools over HTTP, stateless. The Host is not checked: a proxy may have another name."""
    server = server_for(who, report)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)
        async with manager.run():
            await manager.handle_request(scope, receive, send)

    return answer


def server_for(who: WhoAsks, report: Report) -> "Server[Any]":
    """A server of the tools that the caller's scopes allow."""

    async def list_tools(request: Request, params: PaginatedRequestParams | None) -> ListToolsResult:
        if params is not None and params.cursor:
            raise MCPError(INVALID_PARAMS, ONE_PAGE)
        may = who(request).identity.may
        listed = [LISTED[tool.name] for tool in TOOLS.values() if may(tool.scope)]
        # "private": it differs from token to token.
        return ListToolsResult(tools=listed, ttl_ms=LISTED_FOR, cache_scope="private")

    async def call_tool(request: Request, params: CallToolRequestParams) -> CallToolResult:
        tool = TOOLS.get(params.name)
        if tool is None:
            name = params.name[:_NAME_LENGTH].encode("utf-8", "replace").decode()
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {name}")
        return await _outcome(tool, who(request), params.arguments or {}, partial(report, request))

    return Server(
        "todo-api",
        version=version("todo-api"),
        title="Tasks",
        instructions=INSTRUCTIONS,
        get_tool_input_schema=lambda name: TOOLS[name].input_schema if name in TOOLS else None,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _outcome(
    tool: Tool, caller: Caller, arguments: Mapping[str, Any], report: Callable[[Exception], None]
) -> CallToolResult:
    try:
        answer = await tool.answer(caller, arguments)
    except TodoError as error:
        if isinstance(error, InsufficientScope):
            report(error)  # over HTTP the answer is a 403, and not what follows
        return _result(answers.refusal(error), failed=True)
    except Exception as error:  # the SDK would send its message to the client
        report(error)
        return _result(answers.refusal(InternalError("Internal error.")), failed=True)
    results = answer.get("results", ())
    return _result(answer, failed=bool(results) and all("error" in each for each in results))


def _result(answer: Json, *, failed: bool) -> CallToolResult:
    text = TextContent(type="text", text=msgspec.json.encode(answer).decode())
    return CallToolResult(content=[text], structured_content=answer, is_error=failed)


def _listed(tool: Tool) -> Listed:
    hints = ToolAnnotations(
        read_only_hint=tool.reads,
        destructive_hint=tool.destroys,
        idempotent_hint=tool.reads or tool.repeatable,
        open_world_hint=False,
    )
    return Listed(
        name=tool.name,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=hints,
    )


LISTED: Final = {name: _listed(tool) for name, tool in TOOLS.items()}
"""The SDK's description of each tool, by name."""
