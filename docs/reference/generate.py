"""Writes the reference from the code itself: `python docs/reference/generate.py`. A test says when that is due."""

import argparse
import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import todo_core
from todo_app.api.openapi import openapi
from todo_app.cli import _parser
from todo_app.http.errors import STATUSES

HERE = Path(__file__).parent
DOCUMENT = openapi()
MADE = "<!-- Made by generate.py: change the code, not this page. -->\n"


def found(part: dict[str, Any]) -> dict[str, Any]:
    """What a part of the OpenAPI document is, or what it refers to."""
    place: Any = DOCUMENT
    for name in part.get("$ref", "#/").removeprefix("#/").split("/"):
        place = place[name] if name else part
    return dict(place)


def table(*head: str, rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ").strip() for cell in row) + " |"


def http() -> Iterator[str]:
    """Every operation and schema of the OpenAPI document."""
    yield "# HTTP\n\n" + MADE + "\n" + DOCUMENT["info"]["description"]
    yield "This page is `/openapi.json` in words; [errors](errors.md) has every code."
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield from operation_of(path, method, operation, item.get("parameters", []))
    yield "\n## Schemas"
    for name, schema in DOCUMENT["components"]["schemas"].items():
        yield f"\n### {name}\n\n{schema.get('description', '')}"
        yield from table("member", "type", "rules", "", rows=members(schema))


def operation_of(path: str, method: str, operation: dict[str, Any], shared: list[Any]) -> Iterator[str]:
    yield f"\n## {operation['summary']}\n\n`{method.upper()} {path}` · operation id `{operation['operationId']}`"
    if text := operation.get("description"):
        yield f"\n{text}"
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"\nBody, as `{media}`: {kind_of(content['schema'])}."
    parameters = [found(one) for one in [*shared, *operation.get("parameters", [])]]
    if parameters:
        rows = ((f"`{one['name']}`", one["in"], one.get("description", ""), rules(one["schema"])) for one in parameters)
        yield from table("parameter", "in", "meaning", "rules", rows=rows)
    yield from table("status", "meaning", "body", "headers", rows=answers(operation["responses"]))


def answers(responses: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for status, answer in responses.items():
        answer = found(answer)
        bodies = dict.fromkeys(kind_of(content.get("schema", {})) for content in answer.get("content", {}).values())
        yield (
            status,
            answer["description"],
            ", ".join(bodies),
            ", ".join(f"`{name}`" for name in answer.get("headers", {})),
        )


def members(schema: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, member in schema.get("properties", {}).items():
        needed = "always there" if name in schema.get("required", []) else "may be absent"
        yield f"`{name}`", kind_of(member), rules(member), needed


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
    told = ("format", "enum", "const", "default", "minimum", "maximum", "minLength", "maxLength", "maxItems")
    own = [f"{name} `{json.dumps(schema[name])}`" for name in told if name in schema]
    return ", ".join(dict.fromkeys(filter(None, [*own, *inner])))


def errors() -> Iterator[str]:
    """Every code that a refusal can have."""
    yield "# Errors\n\n" + MADE
    yield "Every refusal is `application/problem+json` (RFC 9457). `code` is stable, and `type` is"
    yield "`urn:todo:problem:` with the code; `title` and `detail` are for people and may change. `request_id` names"
    yield "the request in the log; `errors` says which members are at fault, where there are any."
    yield "Only a request whose head cannot be read at all gets none of this: a bare 400, 414 or 431."
    rows = ((f"`{kind.code}`", str(int(status)), title, text_of(kind)) for kind, (status, title) in STATUSES.items())
    yield from table("code", "status", "title", "when", rows=rows)


def command_line() -> Iterator[str]:
    """Every command with its arguments."""
    yield "# Command line\n\n" + MADE
    yield "From a clone `python3 run.py COMMAND` is the same. [Settings](../settings.md) say what the commands work on."
    yield "A command that cannot be carried out says why in one line, and exits with 2."
    parser = _parser()
    yield "`todo --version` prints the version, and `--help`, after any command too, what there is."
    commands = next(one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    helps = {choice.dest: choice.help for choice in commands._choices_actions}
    for name, command in commands.choices.items():
        yield f"\n## todo {name}\n\n{helps[name][:1].upper()}{helps[name][1:]}."
        if rows := list(arguments(command)):
            yield from table("argument", "meaning", "default", rows=iter(rows))


def arguments(command: argparse.ArgumentParser) -> Iterator[tuple[str, ...]]:
    for one in command._actions:
        if one.default is not argparse.SUPPRESS:  # --help
            default = one.metavar or one.default
            yield f"`{', '.join(one.option_strings) or one.dest}`", one.help or "", f"`{default}`" if default else ""


MODULES = ("use_cases", "task", "queries", "changes", "plans", "idempotency", "identity", "ports", "errors")


def core() -> Iterator[str]:
    """The public names of the core, with their docstrings."""
    yield f"# todo_core\n\n{MADE}\n{text_of(todo_core)}"
    kinds: dict[str, list[str]] = {module: [] for module in MODULES}
    for name in todo_core.__all__:
        kinds[home_of(name)].append(name)
    for module, names in kinds.items():
        yield f"\n## {module.replace('_', ' ').capitalize()}\n\n{text_of(getattr(todo_core, module))}"
        for name in names:
            yield from told(name, getattr(todo_core, name))
    yield "\n## Testing\n\nIn `todo_core.testing`, which needs pytest and Hypothesis, for"
    yield "[a storage of your own](../how-to/storage-adapter.md)."
    import todo_core.testing as testing

    for name in testing.__all__:
        yield from told(name, getattr(testing, name))


def home_of(name: str) -> str:
    """The module of the core that a public name comes from: where it is assigned or defined."""
    for module in MODULES:
        source = inspect.getsource(getattr(todo_core, module))
        if re.search(rf"^(?:class |def |async def )?{name}\b(?=[(:= ])", source, re.MULTILINE):
            return module
    raise LookupError(name)


def told(name: str, what: Any) -> Iterator[str]:
    if inspect.isclass(what):
        yield f"\n### {name}\n\n{text_of(what)}"
        for method, value in vars(what).items():
            plain = getattr(value, "__func__", getattr(value, "fget", value))
            if not method.startswith("_") and inspect.isfunction(plain):
                yield f"\n- `{method}{signature(plain)}`: {text_of(plain).replace(chr(10), chr(10) + '  ')}"
    elif inspect.isfunction(what):
        yield f"\n### {name}\n\n`{name}{signature(what)}`: {text_of(what)}"
    else:
        yield f"\n### {name}\n\n{comment_on(name)}"


def signature(function: Any) -> str:
    """A function's parameters and result, as they are written: every version of Python tells the same."""
    if function.__code__.co_filename == "<string>":  # made from the names of a class
        return str(inspect.signature(function))
    written: Any = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function))).body[0]
    result = f" -> {ast.unparse(written.returns)}" if written.returns else ""
    parameters = re.sub(r"^(?:self|cls)(?:, )?", "", ast.unparse(written.args))
    return f"({parameters}){result}".replace("'", "")


def comment_on(name: str) -> str:
    """The string below an assignment."""
    source = inspect.getsource(getattr(todo_core, home_of(name)))
    match = re.search(rf'^{name}\b[^\n]*\n"""(.+?)"""', source, re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


def text_of(what: Any) -> str:
    return inspect.getdoc(what) or ""


PAGES = {"http.md": http, "errors.md": errors, "command-line.md": command_line, "core.md": core}


def page(name: str) -> str:
    """The text that a page should have now."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(PAGES[name]())) + "\n"


if __name__ == "__main__":
    for name in PAGES:
        (HERE / name).write_text(page(name))
