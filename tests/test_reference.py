"""The reference says what the code says: every code, option, operation, name and default."""

import argparse
import ast
import dataclasses
import enum
import importlib.util
import inspect
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, get_args, is_typeddict

import pytest

import todo_core
import todo_core.testing
from todo_adapters.jwt_identity.policy import SECRET_BYTES
from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_app import settings
from todo_app.api.subjects import operations
from todo_app.arguments import parser as command_parser
from todo_app.http.errors import STATUSES
from todo_app.mcp.tools import TOOLS
from todo_app.metrics import Metrics
from todo_app.settings import Settings, SettingsError

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
MAKER = ROOT / "docs/reference/generate.py"


def maker() -> object:
    spec = importlib.util.spec_from_file_location("generate", MAKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = maker()


@pytest.mark.parametrize("name", GENERATE.PAGES)  # type: ignore[attr-defined]
def test_a_generated_page_is_up_to_date(name: str) -> None:
    due = "run `python docs/reference/generate.py`"
    assert (MAKER.parent / name).read_text() == GENERATE.page(name), due  # type: ignore[attr-defined]


def test_every_code_is_among_the_errors() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) ", (MAKER.parent / "errors.md").read_text(), re.MULTILINE)
    assert rows == [(kind.code, str(int(status))) for kind, (status, _) in STATUSES.items()]


def test_each_code_names_the_requests_that_the_openapi_document_and_the_page_for_agents_give_it() -> None:
    """tests/app/test_errors_page.py elicits those of `/mcp` and of any request."""
    document = json.loads((ROOT / "docs/openapi.json").read_text())
    ids = {each["operationId"]: path for path, each, _ in operations_of(document)}
    below = {name for name, path in ids.items() if path.startswith("/api/")}
    given: dict[str, set[str]] = {kind.code: set() for kind in STATUSES}
    for _, each, _ in operations_of(document):
        for status, answer in each["responses"].items():
            for code in re.findall(r"`(\w+)`", answer["description"]) if int(status) >= 400 else ():
                given[code].add(each["operationId"])
    agents = (MAKER.parent / "agents.md").read_text()
    of_mcp = re.findall(r"^\| \d+ \| `(\w+)` \|", part_of(agents, "Refusals"), re.MULTILINE)
    assert len(of_mcp) > 5
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", (MAKER.parent / "errors.md").read_text(), re.MULTILINE)
    assert len(rows) == len(given)
    for code, cell in rows:
        places = {*cell.split(", ")}
        if "any request" in places:
            assert places == {"any request"}
            assert code in {"malformed_request", "not_found", "method_not_allowed", "internal_error"}
            continue
        assert ("`POST /mcp`" in places) == (code in of_mcp), code
        assert ("preflights" in places) == (code == "origin_not_allowed")
        named = {each.strip("`") for each in places if each.strip("`") in ids}
        everywhere = below if "any request below `/api`" in places else set()
        assert named | everywhere == given[code], code
        assert len(places) == len(named) + sum(each in places for each in NO_OPERATIONS), places


NO_OPERATIONS = ("`POST /mcp`", "preflights", "any request below `/api`")


def test_the_table_of_requests_has_a_row_for_each_operation() -> None:
    text = (MAKER.parent / "http.md").read_text().partition("## What every operation")[0]
    rows = re.findall(r"^\| `([A-Z]+) /api/\{user_id\}(\S+)` \|", text, re.MULTILINE)
    assert rows == [(each.method, each.path) for each in operations()]


def test_each_scope_is_named_where_a_command_takes_scopes() -> None:
    rows = re.findall(r"^\| `--scope` \| (.+) \|  \|$", (MAKER.parent / "command-line.md").read_text(), re.MULTILINE)
    assert len(rows) == 2
    assert not [scope for scope in todo_core.SCOPES for row in rows if f"`{scope}`" not in row]


def test_every_command_and_argument_is_listed_with_its_meaning() -> None:
    text = (MAKER.parent / "command-line.md").read_text()
    commands = next(one for one in command_parser()._actions if isinstance(one, argparse._SubParsersAction)).choices
    assert re.findall("^## todo (.+)$", text, re.MULTILINE) == [*commands]
    for name, command in commands.items():
        part = part_of(text, f"todo {name}")
        assert re.search(r"^\w.+\.$", part, re.MULTILINE), name
        listed = re.findall(r"^\| `(.+?)` \| (.*) \| .*\|$", part, re.MULTILINE)
        wanted = [one for one in command._actions if one.dest != "help"]
        assert [each for each, _ in listed] == [", ".join(one.option_strings) or one.dest for one in wanted]
        assert all(one.help and meaning.startswith(one.help) for one, (_, meaning) in zip(wanted, listed, strict=True))


def test_every_tool_is_listed_with_what_it_does_and_with_its_scope() -> None:
    text = (MAKER.parent / "agents.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (.+?) \|", part_of(text, "Tools"), re.MULTILINE)
    assert listed == [(each.name, each.description) for each in TOOLS.values()]
    assert all(does.strip() for _, does in listed)
    scopes = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", part_of(text, "Scopes"), re.MULTILINE)
    assert [name for name, *_ in scopes] == [*TOOLS]
    assert [row.index("yes") for _, *row in scopes] == [todo_core.SCOPES.index(each.scope) for each in TOOLS.values()]


def section_on(name: str) -> str:
    """What the core's page says of a public name."""
    found = re.search(rf"^### {name}\n(.+?)(?=^##)", (MAKER.parent / "core.md").read_text(), re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


@pytest.mark.parametrize("name", todo_core.__all__)
def test_the_page_of_the_core_shows_every_member_with_its_kind(name: str) -> None:
    what, said = getattr(todo_core, name), section_on(name)
    if isinstance(what, type) and issubclass(what, enum.Enum):
        assert not [one.name for one in what if f"- `{one.name} = {one.value!r}`" not in said]
    elif dataclasses.is_dataclass(what):
        assert not [field.name for field in dataclasses.fields(what) if f"- `{field.name}: " not in said]
    elif not inspect.isclass(what):
        assert all(repr(value) in said for value in get_args(what) if isinstance(value, str))
    members = {} if not inspect.isclass(what) else vars(what)
    if "__init__" in members and issubclass(what, Exception):
        called = re.search(rf"^- `{name}\((.*)\)`$", said, re.MULTILINE)
        assert called
        assert re.findall(r"(\w+): ", called[1]) == list(inspect.signature(what).parameters)
    properties = [each for each, value in members.items() if isinstance(value, property)]
    assert not [each for each in properties if not re.search(rf"^- `{each}: .+` \(property\)", said, re.MULTILINE)]
    assert not [each for each, value in members.items() if inspect.isfunction(value) and f"`{each}: " in said]
    callables = inspect.getmembers(what, inspect.isfunction) if inspect.isclass(what) else [(name, what)]
    for each, value in callables:
        if not inspect.isfunction(value) or value.__module__ in ("enum", "typing"):
            continue  # it is no function, or one of Python's
        line = re.search(rf"^(?:- )?`(?:await )?(?:{name}\.)?{each}\((.*)\)", said, re.MULTILINE)
        assert line or each.startswith("_"), each
        wanted = inspect.signature(value).parameters.keys() - {"self", "members"} if line else ()
        assert [one for one in wanted if not re.search(rf"\b{one}\b", line[1])] == []


@pytest.mark.parametrize("name", [each for each in todo_core.__all__ if inspect.isclass(getattr(todo_core, each))])
def test_the_page_of_the_core_shows_everything_that_a_class_declares_or_sets(name: str) -> None:
    said = section_on(name)
    declared = [*attributes_of(getattr(todo_core, name))]
    assert not [each for each in declared if not re.search(rf"^- `(?:{name}\.)?{each}\b", said, re.MULTILINE)]
    if issubclass(getattr(todo_core, name), Exception):
        assert not re.findall(r"^- `\w+: [^`]+`(?: \(.+\))?$", said, re.MULTILINE)  # without its meaning


def attributes_of(what: type) -> Iterator[str]:
    """The public names that the body of a class has, and an exception's attributes, as they are written."""
    [node] = ast.parse(inspect.getsource(what)).body
    assert isinstance(node, ast.ClassDef)
    targets = [each.target for each in node.body if isinstance(each, ast.AnnAssign)]
    targets += [target for each in node.body if isinstance(each, ast.Assign) for target in each.targets]
    yield from (each.id for each in targets if isinstance(each, ast.Name) and each.id[0] != "_")
    for each in ast.walk(node) if issubclass(what, Exception) else ():
        if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store) and each.attr[0] != "_":
            yield each.attr


def test_the_typed_dicts_of_the_core_are_seen_with_their_members() -> None:
    kinds = {name: getattr(todo_core, name) for name in todo_core.__all__ if is_typeddict(getattr(todo_core, name))}
    assert {"Settable", "NewTask", "ListSettable", "NewList", "Where"} <= {*kinds}
    for name, kind in kinds.items():
        said = section_on(name)
        bases = [base for base in kinds if f"Extends `{base}`." in said]
        shown = {*re.findall(r"^- `(\w+): ", "".join([said, *map(section_on, bases)]), re.MULTILINE)}
        assert shown == {*kind.__annotations__}, name


def test_the_page_of_the_core_has_a_section_for_every_public_name_and_no_other() -> None:
    text = (MAKER.parent / "core.md").read_text()
    testing = part_of(text, "Testing")
    headings = re.findall("^### (.+)$", testing, re.MULTILINE)
    assert headings == todo_core.testing.__all__
    assert sorted(re.findall("^### (.+)$", text, re.MULTILINE)) == sorted([*todo_core.__all__, *headings])
    for part in testing.split("\n### ")[1:]:
        assert re.search(r"^(?:`.+?`: )?\w", part.partition("\n")[2].strip()), part


def test_the_refusals_of_every_operation_are_listed_once() -> None:
    text = (MAKER.parent / "http.md").read_text()
    for each in operations():
        section = section_of(text, each.id)
        own = re.findall(r"\d{3} `(\w+)`", section)
        assert "not_authenticated" not in own
        assert f"· scope `{each.scope}`" in section
        assert {kind.code for kind in each.refusals} == {*own} | common(text)


def section_of(text: str, operation_id: str) -> str:
    return text[text.index(f"operation id `{operation_id}`") :].partition("\n##")[0]


def test_every_member_parameter_and_header_has_a_line_that_says_what_it_is() -> None:
    text = (MAKER.parent / "http.md").read_text()
    document = json.loads((ROOT / "docs/openapi.json").read_text())
    schemas = text.partition("\n## Schemas\n")[2].split("\n### ")[1:]
    rows = {part.partition("\n")[0]: re.findall(r"^\| `(\w+)` \| [^|]*\| \S", part, re.MULTILINE) for part in schemas}
    assert rows == {name: [*each.get("properties", {})] for name, each in document["components"]["schemas"].items()}
    sections = [section_of(text, each["operationId"]) for _, each, _ in operations_of(document)]
    lines = [line for part in [part_of(text, "Common parameters"), *sections] for line in parameters_in(part)]
    assert len(lines) > 20
    assert not [name for _, name, meaning in lines if not meaning]
    described = re.findall(r"^\| `([\w-]+)` \| (.+) \|$", part_of(text, "Headers of answers"), re.MULTILINE)
    headers = [one for _, each, _ in operations_of(document) for one in headers_in(each["responses"])]
    assert len({name for name, _ in described}) == len(described)
    assert {name for name, meaning in described if meaning.strip()} == {*headers}


def test_every_operation_names_all_of_its_parameters_and_headers_and_repeats_none() -> None:
    text = (MAKER.parent / "http.md").read_text()
    shared = [(place, name) for place, name, _ in parameters_in(part_of(text, "Common parameters"))]
    assert len({name for _, name in shared}) == len(shared)  # so that a name is enough
    places = {name: place for place, name in shared}
    always = [*names(r"All requests below `/api` take (.+);", text)]
    sent = [*names(r"All answers below `/api` have (.+);", text)]
    assert always
    assert sent
    for path, operation, parameters in operations_of(json.loads((ROOT / "docs/openapi.json").read_text())):
        section = section_of(text, operation["operationId"])
        taken = names(r"^\[Common parameters\]\(#common-parameters\): (.+)\.", section)
        own = [(place, name) for place, name, _ in parameters_in(section)]
        assert not {*own} & {*shared}
        below = path.startswith("/api/")
        listed = [*own, *((places[name], name) for name in [*taken, *(always if below else [])])]
        assert sorted(listed) == sorted((one["in"], one["name"]) for one in parameters)
        good = {status: answer for status, answer in operation["responses"].items() if int(status) < 400}
        rows = re.findall(r"^\| (\d{3}) \| .+ \| (.*) \|$", section, re.MULTILINE)
        sent_with = {status: {*re.findall(r"`([\w-]+)`", row), *(sent if below else ())} for status, row in rows}
        assert sent_with == {status: {*headers_in({status: answer})} for status, answer in good.items()}


def test_every_link_within_a_page_leads_to_a_heading_and_the_long_pages_link_their_sections() -> None:
    for name in GENERATE.PAGES:  # type: ignore[attr-defined]
        text = (MAKER.parent / name).read_text()
        headings = re.findall(r"^(#+) (.+)$", text, re.MULTILINE)
        anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for _, heading in headings]
        assert not {*re.findall(r"\]\(#([^)]+)\)", text)} - {*anchors}, name
        linked = re.findall(r"\]\(#([^)]+)\)", text.partition("\n## ")[0])
        if len(text) > LONG_PAGE:
            assert linked == [each for each, (level, _) in zip(anchors, headings, strict=True) if level == "##"]
            assert {headings[anchors.index(each)][0] for each in linked} == {"##"}  # others of that name come later


LONG_PAGE = 10_000  # characters


def part_of(text: str, heading: str) -> str:
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def names(pattern: str, text: str) -> list[str]:
    found = re.search(pattern, text, re.MULTILINE)
    return re.findall(r"`([\w-]+)`", found[1]) if found else []


def parameters_in(part: str) -> list[tuple[str, str, str]]:
    """Where each parameter is that has a line, its name, and what it means."""
    rows = re.findall(r"^\| `([\w-]+)` \| (path|query|header) \| (.*?) \|", part, re.MULTILINE)
    return [(place, name, meaning.strip()) for name, place, meaning in rows]


def operations_of(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """Each with its path and all of its parameters."""
    known = document["components"].get("parameters", {})
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                both = [*item.get("parameters", []), *operation.get("parameters", [])]
                yield path, operation, [known[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in both]


def headers_in(responses: dict[str, Any]) -> Iterator[str]:
    for answer in responses.values():
        yield from answer.get("headers", {})


def common(text: str) -> set[str]:
    table = text[text.index("## What every operation") :].partition("\n## ")[0]
    return set(re.findall(r"^\| \d{3} \| `(\w+)`", table, re.MULTILINE))


def test_every_event_and_field_of_the_log_is_documented_and_nothing_else() -> None:
    logged, used = GENERATE.logged(), {*GENERATE.COMMON}  # type: ignore[attr-defined]
    assert {*logged} == {*GENERATE.EVENTS}  # type: ignore[attr-defined]
    assert {field for _, own in logged.values() for field in own} | used == {*GENERATE.FIELDS}  # type: ignore[attr-defined]


def test_every_event_and_field_of_the_log_has_a_row_with_a_meaning() -> None:
    text = (MAKER.parent / "log.md").read_text()
    events = re.findall(r"^\| `(\w+)` \| \w+ \| +(\w.*?) \| .* \|$", part_of(text, "Events"), re.MULTILINE)
    assert {name for name, _ in events} == {*GENERATE.logged()}  # type: ignore[attr-defined]
    fields = re.findall(r"^\| `(\w+)` \| +([\w`].*) \|$", part_of(text, "Fields"), re.MULTILINE)
    assert {name for name, _ in fields} == {*GENERATE.FIELDS}  # type: ignore[attr-defined]


def test_every_use_of_the_log_is_one_that_the_reference_finds() -> None:
    found = [node for node in nodes(SRC / "todo_app") if isinstance(node, ast.Attribute) and node.attr == "events"]
    called = [
        node.func.value
        for node in nodes(SRC / "todo_app")
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and [type(each) for each in node.args] == [ast.Constant]
    ]
    made = [node for node in found if isinstance(node.ctx, ast.Store)]
    assert len(made) == 1
    assert {*found} - {*made} <= {*called}  # nodes are equal if they are the same


def nodes(folder: Path) -> Iterator[ast.AST]:
    for path in sorted(folder.rglob("*.py")):
        yield from ast.walk(tree_of(path))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


OURS = re.compile("(?:TODO|BETTER_AUTH)_[A-Z_]+|DATABASE_URL")


def test_no_other_module_reads_a_variable_that_the_settings_do_not_know() -> None:
    texts = {
        (path.name, node.value)
        for path in SRC.rglob("*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and OURS.fullmatch(node.value)
    }
    known = {text for name, text in texts if name == "settings.py"}
    assert len(known) > 20
    assert {text for _, text in texts} == known


def test_every_other_variable_that_the_code_reads_is_on_the_page_of_the_settings() -> None:
    others = part_of((ROOT / "docs/settings.md").read_text(), "Other variables")
    listed = re.findall(r"^- `([A-Z_]+)`: \w", others, re.MULTILINE)
    assert len(listed) > 2
    assert {*listed} == {name for name in variables_read(SRC) if not OURS.fullmatch(name)}


def variables_read(folder: Path) -> Iterator[str]:
    """The variables that the code names where it reads the environment, in quotes or by a constant."""
    constants = {
        target.id: node.value.value
        for node in nodes(folder)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for node in nodes(folder):
        match node:
            case ast.Call(func=ast.Attribute(value=environment, attr="get" | "pop" | "setdefault"), args=[key, *_]):
                found = key if is_environment(environment) else None
            case ast.Call(func=ast.Attribute(attr="getenv") | ast.Name(id="getenv"), args=[key, *_]):
                found = key
            case ast.Subscript(value=environment, slice=key, ctx=ast.Load()):
                found = key if is_environment(environment) else None
            case ast.Compare(left=key, comparators=[environment]):
                found = key if is_environment(environment) else None
            case _:
                found = None
        name = constants.get(found.id) if isinstance(found, ast.Name) else getattr(found, "value", None)
        if isinstance(name, str):
            yield name


def is_environment(node: ast.expr) -> bool:
    return ast.unparse(node) in ("os.environ", "environ")


def test_the_page_of_the_settings_gives_the_length_of_a_secret() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    assert re.search(rf"^\| `BETTER_AUTH_SECRET` \|.* at least {SECRET_BYTES} bytes:", page, re.MULTILINE)


def test_the_ranges_of_numbers_are_those_that_the_settings_accept() -> None:
    rows = re.findall(
        r"^\| `([A-Z_]+)` \|.*?\b([\d.]+) to ([\d.]+)\b", (ROOT / "docs/settings.md").read_text(), re.MULTILINE
    )
    assert len(rows) >= 8
    for name, least, most in rows:
        step = 0.001 if "." in least else 1
        beside = {"DATABASE_URL": "postgresql://x", "BETTER_AUTH_SECRET": "x" * 32}
        for value in (least, most):
            Settings.read(beside | {name: value})
        for value in (float(least) - step, float(most) + step):
            with pytest.raises(SettingsError, match=name):
                Settings.read(beside | {name: f"{value:g}"})


def test_every_metric_is_in_the_table_of_what_to_watch() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    made = {metric.name for metric in Metrics()._registry.collect() if metric.name.startswith("todo_")}
    assert len(made) >= 8
    assert not [name for name in made if not re.search(rf"\| `{name}(?:_total|_count|_bucket)?\b", page)]


def test_the_page_about_embedding_has_the_options_of_the_storage_and_their_defaults() -> None:
    page = (ROOT / "docs/how-to/embed.md").read_text()
    options = [
        *inspect.signature(create_engine).parameters.values(),
        *inspect.signature(PostgresTaskStore).parameters.values(),
    ]
    written = {10_000: "10_000", timedelta(days=30): "timedelta(days=30)"}
    for option in options:
        if option.kind is option.KEYWORD_ONLY:
            default = "" if callable(option.default) else written.get(option.default, option.default)
            assert f"{option.name}={default}" in page


def test_every_setting_is_documented() -> None:
    read = set(settings.DEFAULTS)
    assert len(read) > 20
    for name in ("docs/settings.md", ".env.example"):
        assert not [each for each in read if not re.search(rf"\b{each}\b", (ROOT / name).read_text())], name
    table = re.findall(r"^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)
    assert {each for row in table for each in re.findall("[A-Z_]+", row)} == read


def test_settings_and_example_give_the_defaults_of_the_code() -> None:
    example = dict(re.findall("^#([A-Z_]+)='(.*)'$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    table = re.findall(r"^\| `([A-Z_]+)` \|.*\| `([^`]+)` \|$", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)
    given = {name: default for name, default in table if default not in example}
    assert len(given) >= 8
    assert {name: example[name] for name in given} == given
    assert Settings.read(given) == Settings.read({})
