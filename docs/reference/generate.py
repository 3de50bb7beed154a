"""Writes the reference from the code itself: `python docs/reference/generate.py`. A test says when that is due."""

import argparse
import ast
import importlib
import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import todo_app
import todo_core
import todo_core.testing
from todo_app.api import components, examples
from todo_app.api.openapi import openapi
from todo_app.api.operation import Operation
from todo_app.api.public import PUBLIC
from todo_app.api.subjects import operations
from todo_app.arguments import parser as command_parser
from todo_app.http.errors import (
    NO_ROUTE,
    STATUSES,
    BodyTooLarge,
    BodyTooSlow,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    NoSuchRoute,
    OriginNotAllowed,
    TooManyAtOnce,
    TooManyRequests,
    UnsupportedMediaType,
    status_of,
)
from todo_app.http.gate import _origin_not_allowed
from todo_app.http.reading import BODY_MAX, BODY_SECONDS
from todo_app.log import _RequestLine, _Where
from todo_app.mcp.tools import TOOLS
from todo_core import IdentityUnavailable, InsufficientScope, NotAuthenticated
from todo_core.identity import SCOPES

HERE = Path(__file__).parent
DOCUMENT = openapi()
DECLARED = {operation.id: operation for operation in operations()}
ALWAYS = frozenset.intersection(*(operation.refusals for operation in DECLARED.values()))
OPERATIONS = [
    {**operation, "request": f"{method.upper()} {path}", "parameters": beside + operation.get("parameters", [])}
    for path, item in DOCUMENT["paths"].items()
    for beside in [item.get("parameters", [])]
    for method, operation in item.items()
    if method != "parameters"
]
LONG = 150  # characters of a meaning that is not repeated
Row: TypeAlias = tuple[str, ...]
MADE = "<!-- Made by generate.py: change the code, not this page. -->\n"


def found(part: dict[str, Any]) -> dict[str, Any]:
    """What a part of the OpenAPI document is, or what it refers to."""
    place: Any = DOCUMENT
    for name in part.get("$ref", "#/").removeprefix("#/").split("/"):
        place = place[name] if name else part
    return dict(place)


def table(*head: str, rows: Iterable[Row]) -> Iterator[str]:
    yield f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ").strip() for cell in row) + " |"


def names_of(rows: Iterable[Row]) -> str:
    return ", ".join(row[0] for row in rows)


def http() -> Iterator[str]:
    """Every operation and schema of the OpenAPI document."""
    yield "# HTTP\n\n" + MADE + "\n" + DOCUMENT["info"]["description"]
    yield "This page is `/openapi.json` in words; [errors](errors.md) has every code."
    yield "\n## All requests\n\nBelow `/api`; `?` marks what may be left out:"
    yield from table("request", "does", rows=map(request, DECLARED.values()))
    yield f"\nOthers: {', '.join(link(each['summary']) for each in OPERATIONS if each['operationId'] not in DECLARED)}."
    anywhere = ", ".join(" ".join(refusal(kind)[:2]) for kind in sorted(ANY_REQUEST, key=by_status))
    yield f"\nAny request, to any path, may get {anywhere}."
    yield "[Agents](agents.md#refusals) has the refusals of `POST /mcp`."
    yield from everywhere()
    yield "\n## Operations"
    for operation in OPERATIONS:
        yield from operation_of(operation)
    yield "\n## Schemas"
    said: dict[str, str] = {}
    for name, schema in DOCUMENT["components"]["schemas"].items():
        yield f"\n### {name}\n\n{schema.get('description', '')}"
        yield from table("member", "type", "meaning", "rules", "", rows=members(name, schema, said))


def everywhere() -> Iterator[str]:
    """What several operations have, and is not repeated at each."""
    yield "\n## What every operation may also answer\n\nBelow `/api`, in addition to each operation's own answers:"
    yield from table("status", "code", "meaning", "headers", rows=map(refusal, sorted(ALWAYS, key=by_status)))
    yield "\nEvery refusal has the body [ProblemDetails](#problemdetails)."
    yield f"\n## Common parameters\n\nAll requests below `/api` take {names_of(OF_EVERY_REQUEST)};"
    yield "each operation names the others that it takes."
    yield from table("parameter", "in", "meaning", "rules", rows=SHARED)
    yield f"\n## Headers of answers\n\nAll answers below `/api` have {names_of(OF_EVERY_ANSWER)};"
    yield "the others are named with each operation's answers, or with the [code](errors.md) of a refusal."
    yield from table("header", "meaning", rows=headers())


def by_status(kind: type[todo_core.TodoError]) -> tuple[int, str]:
    return int(status_of(kind)[0]), kind.code


def refusal(kind: type[todo_core.TodoError]) -> Row:
    status, title = status_of(kind)
    sent = ", ".join(f"`{name}`" for name in components.headers(*components.REFUSAL_HEADERS.get(kind, ())))
    return str(int(status)), f"`{kind.code}`", title, sent


def parameters_of(operation: dict[str, Any]) -> list[Row]:
    resolved = map(found, operation["parameters"])
    return [(f"`{one['name']}`", one["in"], one["description"], rules(one["schema"])) for one in resolved]


def headers_of(answer: dict[str, Any]) -> list[Row]:
    return [(f"`{name}`", found(one)["description"]) for name, one in answer.get("headers", {}).items()]


def headers() -> Iterator[Row]:
    """Each header once. Of several meanings, each says where it applies, if that is one request or one status."""
    for name in sorted({name for name, _ in HEADERS}):
        meanings = {meaning: places_of((name, meaning)) for header, meaning in HEADERS if header == name}
        if len(meanings) == 1:
            yield name, *meanings
        else:
            yield name, " ".join(f"{places}{meaning}" for meaning, places in meanings.items())


def places_of(row: Row) -> str:
    """The only request, or else the only status, that has this header; nothing if there are several of both."""
    pairs = [(each["request"], answer) for each in OPERATIONS for answer in each["responses"].items()]
    used = [(request, status) for request, (status, answer) in pairs if row in headers_of(answer)]
    requests, statuses = ({*values} for values in zip(*used, strict=True))
    return f"`{requests.pop()}`: " if len(requests) == 1 else f"{statuses.pop()}: " if len(statuses) == 1 else ""


def operation_of(operation: dict[str, Any]) -> Iterator[str]:
    declared = DECLARED.get(operation["operationId"])
    scope = f" · scope `{declared.scope}`" if declared else ""
    yield f"\n### {operation['summary']}\n"
    yield f"`{operation['request']}` · operation id `{operation['operationId']}`{scope}"
    yield f"\n{operation.get('description', '')}"
    if content := operation.get("requestBody", {}).get("content"):
        bodies = dict.fromkeys(kind_of(one["schema"]) for one in content.values())
        yield f"\nBody: {' or '.join(bodies)}, as {' or '.join(f'`{media}`' for media in content)}."
    if shared := [row for row in parameters_of(operation) if row in SHARED and row not in OF_EVERY_REQUEST]:
        yield f"\n[Common parameters](#common-parameters): {names_of(shared)}."
    if own := [row for row in parameters_of(operation) if row not in SHARED]:
        yield from table("parameter", "in", "meaning", "rules", rows=own)
    rows = answers(operation["responses"], OF_EVERY_ANSWER if declared else [])
    yield from table("status", "meaning", "body", "[headers](#headers-of-answers)", rows=rows)
    said = " ".join(answer["description"] for answer in operation["responses"].values())
    kinds = declared.refusals - ALWAYS if declared else [kind for kind in STATUSES if f"`{kind.code}`" in said]
    if kinds:
        yield f"\nRefusals: {', '.join(' '.join(refusal(kind)[:2]) for kind in sorted(kinds, key=by_status))}."


def answers(responses: dict[str, Any], always: list[Row]) -> Iterator[Row]:
    for status, answer in responses.items():
        if int(status) < 400:
            bodies = dict.fromkeys(kind_of(content.get("schema", {})) for content in answer.get("content", {}).values())
            own = names_of(row for row in headers_of(answer) if row not in always)
            yield status, answer["description"], ", ".join(bodies), own


def members(of: str, schema: dict[str, Any], said: dict[str, str]) -> Iterator[Row]:
    """The members of a schema; `said` is where long meanings are."""
    for name, member in schema.get("properties", {}).items():
        needed = "always there" if name in schema.get("required", []) else "may be absent"
        kind, here = kind_of(member), f"`{name}` of [{of}](#{of.lower()})"
        says = meaning(member) or PLAIN.get(f"{name}: {kind}") or PLAIN[name]
        first = said.setdefault(says, here) if len(says) > LONG else here
        yield f"`{name}`", kind, says if first == here else f"As {first}.", rules(member), needed


PLAIN = {
    "action": "What happened.",
    "by_tag": "How many open tasks have each tag.",
    "completed": "Whether it is completed.",
    "completed: integer": "How many are completed.",
    "deleted": "Whether it has been deleted.",
    "detail": "What is wrong, for people to read.",
    "id": "Its id.",
    "items": "The items, in order.",
    "kind": "Whether it is a task or a list.",
    "op": "The operation's name.",
    "open": "How many are open.",
    "operations": "What to do, in order.",
}
"""The meaning of members that the OpenAPI document leaves to their names."""


def meaning(schema: dict[str, Any]) -> str:
    """What a member is for: as it says itself, or else what it may be."""
    inner = [meaning(one) for one in schema.get("anyOf", [])]
    return str(found(schema).get("description", "")) or " ".join(filter(None, inner))


def kind_of(schema: dict[str, Any]) -> str:
    """A schema's type in a word, with a link where it has a name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(kind_of, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {kind_of(schema['items'])}"
    kinds = schema.get("type", "")
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)


def rules(schema: dict[str, Any]) -> str:
    """What a value must obey, beside its type."""
    inner = [rules(one) for one in schema.get("anyOf", [])]
    shown = ("format", "enum", "const", "default", "minimum", "maximum", "minLength", "maxLength", "maxItems")
    own = [f"{name} `{json.dumps(schema[name])}`" for name in shown if name in schema]
    return ", ".join(dict.fromkeys(filter(None, [*own, *inner])))


PARAMETERS = Counter(row for operation in OPERATIONS for row in parameters_of(operation))
HEADERS = [row for each in OPERATIONS for answer in each["responses"].values() for row in headers_of(answer)]
BELOW_API = [operation for operation in OPERATIONS if operation["operationId"] in DECLARED]
OF_EVERY_REQUEST = [row for row in PARAMETERS if all(row in parameters_of(each) for each in BELOW_API)]
ANSWERS = [answer for operation in BELOW_API for answer in operation["responses"].values()]
OF_EVERY_ANSWER = [row for row in dict.fromkeys(HEADERS) if all(row in headers_of(answer) for answer in ANSWERS)]
SHARED = [row for row, times in PARAMETERS.items() if times > 1 and row[1] != "query"]
"""Those of queries stay with each operation: `limit` is not the same everywhere."""


def errors() -> Iterator[str]:
    """Every code that a refusal can have, as a caller over HTTP sees it."""
    yield "# Errors\n\n" + MADE
    yield "Every refusal is `application/problem+json` (RFC 9457). `code` is stable, and `type` is"
    yield "`urn:todo:problem:` with the code; `title` and `detail` are for people and may change. `request_id` names"
    yield 'the request in the log; `errors` says which members are at fault, where there are any. "answers" names'
    yield "operations by their ids in [HTTP](http.md); [Agents](agents.md#refusals) has the refusals of `POST /mcp`."
    yield "Only a request whose head cannot be read at all gets none of this: a bare 400, 414 or 431."
    shown = ("code", "status", "title", "detail, for example", "headers", "answers")
    yield from table(*shown, rows=map(error, STATUSES))


OF_NO_OPERATION = {
    NoSuchRoute: NoSuchRoute(f"{NO_ROUTE}."),
    MethodNotAllowed: MethodNotAllowed(["GET", "HEAD", "OPTIONS"]),
    OriginNotAllowed: _origin_not_allowed(),
}
"""Refusals that no operation has as an example."""


def error(kind: type[todo_core.TodoError]) -> Row:
    status, _, title, sent = refusal(kind)
    given = examples.refusals().get(kind.code)
    detail = given["value"]["detail"] if given else str(OF_NO_OPERATION[kind])
    return f"`{kind.code}`", status, title, detail, sent, ", ".join(answered_by(kind))


ANY_REQUEST = (MalformedRequest, NoSuchRoute, MethodNotAllowed, InternalError)
"""Refusals of any path: todo_app/http/gate.py reads `Host` and the path, todo_app/http/edge.py answers bugs."""
OF_MCP = {
    MalformedRequest: "the `Host`, `Content-Length` or `Time-Zone` is invalid, or the body is not one JSON-RPC message",
    NotAuthenticated: "there is no token, or it is not valid",
    InsufficientScope: "the token does not allow the tool",
    OriginNotAllowed: "the request comes from a web page whose origin is not in `TODO_CORS_ORIGINS`",
    BodyTooSlow: f"the body takes more than {BODY_SECONDS:.0f} seconds",
    BodyTooLarge: f"the body has more than {BODY_MAX} bytes",
    UnsupportedMediaType: "the body is not `application/json` in UTF-8, or has a content coding",
    TooManyRequests: "the user has exceeded the rate limit, or the address has sent too many bad tokens",
    TooManyAtOnce: "the user has too many concurrent requests",
    InternalError: "a bug; the log has it under the request's id",
    IdentityUnavailable: "the issuer's keys cannot be fetched",
}
"""When `POST /mcp` refuses: todo_app/http/gate.py before it is routed, then todo_app/mcp/http.py."""


def answered_by(kind: type[todo_core.TodoError]) -> Iterator[str]:
    """The requests that may be answered with it: of the OpenAPI document, and `/mcp`, which it does not have."""
    if kind in ANY_REQUEST:
        yield "any request"
        return
    if kind in ALWAYS:
        yield "any request below `/api`"
    else:
        yield from (f"`{name}`" for name, operation in DECLARED.items() if kind in operation.refusals)
    yield from (f"`{operation.id}`" for operation in PUBLIC if kind in operation.refuses)
    if kind is OriginNotAllowed:
        yield "preflights"
    if kind in OF_MCP:
        yield "`POST /mcp`"


def command_line() -> Iterator[str]:
    """Every command with its arguments."""
    yield "# Command line\n\n" + MADE
    yield "From a clone `python3 run.py COMMAND` is the same. [Settings](../settings.md) say what the commands work on."
    yield "A command that cannot be carried out says why in one line, and exits with 2."
    yield "Wrong arguments also print the usage."
    parser = command_parser()
    yield "`todo --version` prints the version, `todo --help` lists the commands, `todo COMMAND --help` its arguments."
    commands = next(one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    helps = {choice.dest: choice.help for choice in commands._choices_actions}
    for name, command in commands.choices.items():
        yield f"\n## todo {name}\n\n{helps[name][:1].upper()}{helps[name][1:]}."
        if rows := list(arguments(command)):
            yield from table("argument", "meaning", "default", rows=iter(rows))


def arguments(command: argparse.ArgumentParser) -> Iterator[Row]:
    for one in command._actions:
        if one.default is not argparse.SUPPRESS:  # --help
            default = one.metavar or one.default
            meaning = f"{one.help}; one of {named(one.choices)}" if one.choices else one.help or ""
            yield f"`{', '.join(one.option_strings) or one.dest}`", meaning, f"`{default}`" if default else ""


EVENTS = {
    "request": "a request was answered, or a stream has ended",
    "serving": "the port answers; once per start of the server",
    "bug": "an unforeseen exception, answered with 500; without its message, which may quote a user's data",
    "database_pool_too_large": "the workers of this server may open as many connections as the database accepts of "
    "its role, or more; once per start, and not behind a pooler",
    "database_unavailable": "a statement failed temporarily or got no answer in time; in each process at most once a "
    "minute for each `exception` and `sqlstate`",
    "rate_limit_store_unavailable": "requests are not limited; in each process at most once a minute while the store "
    "is unavailable",
    "setting_misspelt": "a variable that begins with `TODO_`, or has nearly the name of a setting, is none; "
    "once per start of the server, for each",
    "setting_trimmed": "a setting ended with a newline, which is ignored; once per start of the server, for each",
    "database_url_parameters_dropped": "parameters for other clients were dropped from the database URL in `setting`",
    "library": "a warning of a library, such as the database driver, or about the issuer's keys",
}
FIELDS = {
    "at": "the traceback: file, line and function of each frame, the innermost last",
    "connections": "the number of workers times `TODO_DATABASE_POOL_SIZE`",
    "consequence": "what the server does instead",
    "event": "the name of the event",
    "exception": "the type of the exception",
    "level": "`debug`, `info`, `warning` or `error`",
    "logger": "the name of the library's logger",
    "max_connections": "PostgreSQL's setting",
    "message": "the message of the library, the database server or its driver, or the client of the limits' store",
    "method": "the request's method",
    "ms": "duration in milliseconds, until the answer was sent",
    "meant": "the setting or argument that is probably meant, or null",
    "parameters": "the parameters' names",
    "reason": "why a token was not accepted (401; 429 after too many bad tokens; 503 without the issuer's keys), or "
    "why a stream ended; otherwise absent",
    "request_id": "the answer's `X-Request-Id`; not in the log of `todo mcp`",
    "route": "the path's template, such as `/api/{user_id}/tasks`; null if none fits, or if the "
    "request was refused before it was routed (400, 401, 403, 429, 503); not in the log of `todo mcp`",
    "setting": "the variable",
    "sqlstate": "PostgreSQL's code of the error; null if no connection was made, or no answer came",
    "status": "the answer's status",
    "time": "the time in UTC (RFC 3339)",
    "url": "the URL from `--host` and `--port`",
    "user": "the token's `sub`; null without a valid token",
    "workers": "the number of worker processes",
}
COMMON = ["time", "level", "event"]


def logged() -> dict[str, tuple[str, list[str]]]:
    """Each event that the code logs: its level, and its fields beside those that all have."""
    found = {"request": ("info", [name for name in _RequestLine.__struct_fields__ if name not in COMMON])}
    for path in sorted(Path(inspect.getfile(todo_app)).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Attribute(attr="events"), attr=level),
                    args=[ast.Constant(value=str(name))],
                    keywords=given,
                ):
                    own = [each.arg for each in given if each.arg]
                    found[name] = level, [*own, *(_Where.__annotations__ if len(own) < len(given) else [])]
    return found


def log() -> Iterator[str]:
    """Every event of the log, and every field."""
    yield "# Log\n\n" + MADE
    yield "The server logs JSON, one object a line, on standard output; `todo mcp`, whose standard output belongs to"
    yield "the protocol, on standard error. It never logs a token, a header, a body, a query, or a path as it was sent."
    yield "`TODO_LOG_LEVEL` ([settings](../settings.md)) is the lowest level logged."
    yield "\n## Events\n\nEvery event has `time`, `level` and `event`, and:"
    rows = ((f"`{name}`", level, EVENTS[name], named(own)) for name, (level, own) in sorted(logged().items()))
    yield from table("event", "level", "when", "fields", rows=rows)
    yield "\n## Fields"
    used = {field for _, own in logged().values() for field in own} | {*COMMON}
    yield from table("field", "meaning", rows=((f"`{name}`", FIELDS[name]) for name in sorted(used)))


def named(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# What each tool's description takes of a model's context, in tokens of o200k; tests/e2e/test_agent_clients.py counts.
TOKENS = {
    "list_tasks": 388,
    "get_task": 142,
    "add_task": 522,
    "update_task": 520,
    "complete_task": 195,
    "reopen_task": 160,
    "delete_task": 169,
    "move_task": 280,
    "list_lists": 97,
    "add_list": 145,
    "search_changes": 240,
    "restore_task": 202,
    "undo": 205,
}


def agents() -> Iterator[str]:
    """Every tool, and what each scope allows."""
    yield "# Agents: tools and scopes\n\n" + MADE
    yield "`POST /mcp` and `todo mcp` have these tools ([Connect an agent](../how-to/connect-an-agent.md)). `tokens` is"
    yield "the size of a tool's description and schemas in a model's context, counted in the encoding o200k. All tools"
    yield f"together have {sum(TOKENS.values())}."
    yield "\n## Tools"
    hinted = ("reads", "destroys", "repeatable")
    shown = (
        (
            f"`{each.name}`",
            each.description,
            ", ".join(hint for hint in hinted if getattr(each, hint)),
            str(TOKENS[each.name]),
        )
        for each in TOOLS.values()
    )
    yield from table("tool", "does", "hints", "tokens", rows=shown)
    yield "\n`reads`: it changes nothing (`readOnlyHint`). `destroys`: it may take away what is there"
    yield "(`destructiveHint`). `repeatable`: doing it again changes nothing more (`idempotentHint`)."
    yield "\n## Refusals\n\n`POST /mcp` refuses a request with one of these [errors](errors.md). Errors of the"
    yield "protocol, such as an unknown method or tool, are JSON-RPC errors, with 200, 400, 404 or 406."
    yield "Other codes, also `store_unavailable`, are in a tool's result, with 200."
    kinds = sorted(OF_MCP, key=by_status)
    yield from table("status", "code", "when", rows=((*refusal(kind)[:2], OF_MCP[kind]) for kind in kinds))
    yield "\n## Scopes\n\nA token that names none of these scopes may do everything. A batch needs what its operations"
    yield "need. Undoing a creation also needs `tasks:delete`: it deletes."
    asked = [(request(each)[0], each.scope) for each in DECLARED.values()]
    asked += [(f"`{each.name}`", each.scope) for each in TOOLS.values()]
    scopes = SCOPES
    rows = ((name, *("yes" if scope == needed else "" for scope in scopes)) for name, needed in asked)
    yield from table("request, or tool", *(f"`{scope}`" for scope in scopes), rows=rows)


def core() -> Iterator[str]:
    """The public names of the core, with their docstrings."""
    yield f"# todo_core\n\n{MADE}\n{text_of(todo_core)}"
    yield "\nWhat has a heading is imported from `todo_core`. Other functions and types are imported from the module"
    yield "that lists them, and may change at any time, unless [a storage of your own](../how-to/storage-adapter.md)"
    yield "names them ([what is stable](../stability.md))."
    for name in modules():
        yield from module(name).section()
    yield "\n## Testing\n\nIn `todo_core.testing`, which needs pytest and Hypothesis, for"
    yield "[a storage of your own](../how-to/storage-adapter.md)."
    for name in todo_core.testing.__all__:
        what = getattr(todo_core.testing, name)
        yield f"\n### {name}\n"
        yield text_of(what) if inspect.isclass(what) else f"`{name}{signature(ast_of(what))}`: {text_of(what)}"


FIRST = ("use_cases", "task", "lists")


def modules() -> list[str]:
    """The core's modules, those that are read first in front."""
    found = sorted(path.stem for path in Path(inspect.getfile(todo_core)).parent.glob("*.py") if path.stem[0] != "_")
    return [*FIRST, *(name for name in found if name not in FIRST)]  # its packages are among the first


class Module:
    """One module of the core, as it is written; of a package all that its modules have."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.what = importlib.import_module(f"todo_core.{name}")
        below = sorted(Path(inspect.getfile(self.what)).parent.glob("*.py")) if hasattr(self.what, "__path__") else []
        sources = [path.read_text() for path in below] or [inspect.getsource(self.what)]
        body = [node for source in sources for node in ast.parse(source).body]
        self.defined = {named: node for node in body if (named := name_of(node))}
        pairs = zip(body, [*body[1:], None], strict=True)
        self.comments = {name_of(node): below.value.value for node, below in pairs if is_comment(below)}

    def section(self) -> Iterator[str]:
        """Its part of the page: the public names, then the types and functions beside them."""
        yield f"\n## {self.name.replace('_', ' ').capitalize()}\n\n`todo_core.{self.name}`: {text_of(self.what)}"
        for name, node in self.defined.items():
            if name in todo_core.__all__:
                yield f"\n### {name}\n\n{text_of(getattr(self.what, name)) if is_code(node) else self.comments[name]}"
                yield from self.shape(node)
        others = [node for name, node in self.defined.items() if name not in todo_core.__all__ and name[0] != "_"]
        yield from self.types(others)
        functions = [node for node in others if isinstance(node, ast.FunctionDef)]
        if functions:
            yield f"\nFunctions of `todo_core.{self.name}` itself:\n"
            yield from (item(f"{node.name}{signature(node)}", ast.get_docstring(node)) for node in functions)

    def types(self, nodes: Iterable[ast.stmt]) -> Iterator[str]:
        """The types that the public names' fields and signatures have, beside public ones."""
        listed = [
            item(name, ast.get_docstring(node) if isinstance(node, ast.ClassDef) else self.comments.get(name))
            for node in nodes
            if (name := name_of(node)) in shown() and (isinstance(node, ast.ClassDef) or is_alias(node))
        ]
        if listed:
            yield f"\nTypes of `todo_core.{self.name}` itself:\n"
            yield from listed

    def shape(self, node: ast.stmt) -> Iterator[str]:
        """What a name is, beside what its docstring says."""
        match node:
            case ast.FunctionDef():
                yield f"\n`{node.name}{signature(node)}`"
            case ast.ClassDef():
                yield from class_of(node, self.defined)
            case ast.Assign(value=value):
                yield f"\n`{ast.unparse(value)}`"
            case ast.AnnAssign(value=value, annotation=annotation):
                yield f"\n`{ast.unparse(value)}`" if value else f"\n`{ast.unparse(annotation)}`"


@cache
def module(name: str) -> Module:
    return Module(name)


@cache
def shown() -> set[str]:
    """The words of the public names' fields and signatures."""
    public = [
        (each, node)
        for each in map(module, modules())
        for name, node in each.defined.items()
        if name in todo_core.__all__
    ]
    return {word for each, node in public for line in each.shape(node) for word in re.findall(r"\w+", line)}


def name_of(node: ast.stmt) -> str:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return ""


def is_alias(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias"


def is_code(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef | ast.FunctionDef)


def is_comment(node: ast.stmt | None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def class_of(node: ast.ClassDef, near: dict[str, ast.stmt]) -> Iterator[str]:
    """The members of a class, each as what it is: a field, a member of an enumeration, a property, or a method.

    Those of the classes that it is made of, beside it and with no section of their own, are shown as its own.
    """
    bases = [ast.unparse(base) for base in node.bases if ast.unparse(base) not in ("Protocol", "Exception")]
    apart = [base for base in bases if base not in near and base not in todo_core.__all__ and any(declaring(base))]
    if named := [base for base in bases if base in todo_core.__all__ or base not in [*near, *apart]]:
        yield f"\nExtends `{'`, `'.join(named)}`."
    lines = [line for part in parts_of(node, near) for line in members_of(part)]
    own = {name_of(each) for each in node.body}
    lines += [line for base in apart for line in inherited(base, own)]
    yield from ["", *lines] if lines else []


def inherited(base: str, own: set[str]) -> Iterator[str]:
    """The methods that a class has from one of another module without a section of its own, but for those named."""
    for part in declaring(base):
        yield from methods_of(part, but=own)


def declaring(name: str) -> Iterator[ast.ClassDef]:
    """The class of that name in the core's modules, if it has one."""
    for each in map(module, modules()):
        if isinstance(node := each.defined.get(name), ast.ClassDef):
            yield node


def parts_of(node: ast.ClassDef, near: dict[str, ast.stmt]) -> list[ast.ClassDef]:
    """The classes whose members are shown, each once, the fields' first."""
    found: list[ast.ClassDef] = []
    for base in (ast.unparse(each) for each in node.bases):
        if base not in todo_core.__all__ and isinstance(part := near.get(base), ast.ClassDef):
            found += [each for each in parts_of(part, near) if each not in found]
    return [*found, node]


def members_of(node: ast.ClassDef) -> Iterator[str]:
    below = {
        name_of(each): text.value.value
        for each, text in zip(node.body, node.body[1:], strict=False)
        if is_comment(text)
    }
    yield from constructor_of(node)
    yield from fields_of(node, below)
    yield from methods_of(node)


def constructor_of(node: ast.ClassDef) -> Iterator[str]:
    """How to call a class that says so itself, as exceptions do."""
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            yield item(f"{node.name}{signature(each).removesuffix(' -> None')}", None)


def default_of(value: ast.expr) -> str:
    """A field's default, also where `dataclasses.field` has it."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        given = {one.arg: ast.unparse(one.value) for one in value.keywords}
        return given.get("default") or ("{}" if given["default_factory"] == "dict" else f"{given['default_factory']}()")
    return ast.unparse(value)


def fields_of(node: ast.ClassDef, below: dict[str, str]) -> Iterator[str]:
    fields: list[str] = []  # so far
    for each in node.body:
        match each:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind) if name[0] != "_":
                plain = re.sub(r"^(?:ClassVar|Final|Required)\[(.*)\]$", r"\1", ast.unparse(kind))
                default = f" = {default_of(each.value)}" if each.value else ""
                if ast.unparse(kind).startswith("ClassVar[Callable"):  # a static method that the class makes
                    yield item(f"{node.name}.{name}({', '.join(fields)}) -> {node.name}", below.get(name))
                    continue
                fields.append(f"{name}: {plain}")
                kind_of_it = "of the class" if ast.unparse(kind).startswith("ClassVar") else ""
                yield item(f"{name}: {plain}{default}", below.get(name), kind_of_it)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name[0] != "_":
                yield item(f"{name} = {ast.unparse(value)}", below.get(name))


def methods_of(node: ast.ClassDef, but: Container[str] = ()) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name[0] != "_" and each.name not in but:
            marks = {ast.unparse(one) for one in each.decorator_list}
            written = f"{each.name}{signature(each)}"
            if "property" in marks and each.returns:
                yield item(f"{each.name}: {ast.unparse(each.returns)}", ast.get_docstring(each), "property")
                continue
            elif "classmethod" in marks:
                written = f"{node.name}.{written}"
            elif isinstance(each, ast.AsyncFunctionDef):
                written = f"await {written}"
            yield item(written, ast.get_docstring(each))


def item(written: str, text: str | None, kind: str = "") -> str:
    """An item of a list; its text is indented, so that it stays one."""
    return f"- `{written}`{kind and f' ({kind})'}" + (f": {text}".replace("\n", "\n  ") if text else "")


def ast_of(function: Callable[..., object]) -> Any:
    return ast.parse(inspect.cleandoc("\n" + inspect.getsource(function))).body[0]


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """A function's parameters and result, as they are written: the same in every version of Python."""
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    parameters = re.sub(r"^(?:self|cls)(?:, )?", "", ast.unparse(node.args))
    return f"({parameters}){result}".replace("'", "")


def text_of(what: Any) -> str:
    return inspect.getdoc(what) or ""


PAGES = {
    "http.md": http,
    "errors.md": errors,
    "agents.md": agents,
    "command-line.md": command_line,
    "log.md": log,
    "core.md": core,
}


def page(name: str) -> str:
    """The text that a page should have now, with links to its sections if there are many."""
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(PAGES[name]())) + "\n"
    links = " ·\n".join(map(link, re.findall("^## (.+)$", text, re.MULTILINE)))
    return text.replace("\n## ", f"\nSections:\n{links}\n\n## ", 1) if name in ("http.md", "core.md") else text


def link(heading: str) -> str:
    """A link to a heading of the same page, by the anchor that GitHub gives it."""
    anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
    return f"[{heading}](#{anchor})"


def request(operation: Operation) -> tuple[str, str]:
    summary, path = operation.documentation[0], operation.path
    asked = "&".join(f"{one['name']}=" for one in operation.query)
    sent = ", ".join(given(operation)) if operation.method == "POST" else ""
    more = f": `?{asked}`" if asked else f": `{{{sent}}}`" if sent else ""
    return f"`{operation.method} /api/{{user_id}}{path}`", f"{link(summary)}{more}"


def given(operation: Operation) -> Iterator[str]:
    """The members of an operation's body, with `?` for those that may be left out."""
    if operation.body is not None:
        schema = DOCUMENT["components"]["schemas"][operation.body.struct.__name__]
        yield from (f'"{name}"{"" if name in schema.get("required", ()) else "?"}' for name in schema["properties"])


if __name__ == "__main__":
    for name in PAGES:
        (HERE / name).write_text(page(name))
