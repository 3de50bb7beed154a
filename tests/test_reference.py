"""The reference says what the code says: every code, option, operation, name and default."""

import ast
import dataclasses
import enum
import importlib.util
import inspect
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

import todo_core
from todo_app import settings
from todo_app.api.subjects import operations
from todo_app.http.errors import STATUSES
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
    told = re.findall(r"^\| `(\w+)` \| (\d+) ", (MAKER.parent / "errors.md").read_text(), re.MULTILINE)
    assert told == [(kind.code, str(int(status))) for kind, (status, _) in STATUSES.items()]


def test_the_table_of_requests_has_a_row_for_each_operation() -> None:
    text = (MAKER.parent / "http.md").read_text().partition("## What every operation")[0]
    rows = re.findall(r"^\| `([A-Z]+) /api/\{user_id\}(\S+)` \|", text, re.MULTILINE)
    assert rows == [(each.method, each.path) for each in operations()]


def test_each_scope_is_named_where_a_command_takes_scopes() -> None:
    rows = re.findall(r"^\| `--scope` \| (.+) \|  \|$", (MAKER.parent / "command-line.md").read_text(), re.MULTILINE)
    assert len(rows) == 2
    assert not [scope for scope in todo_core.SCOPES for row in rows if f"`{scope}`" not in row]


def told(name: str) -> str:
    """What the core's page says of a public name."""
    found = re.search(rf"^### {name}\n(.+?)(?=^##)", (MAKER.parent / "core.md").read_text(), re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


@pytest.mark.parametrize("name", todo_core.__all__)
def test_the_page_of_the_core_shows_every_member_with_its_kind(name: str) -> None:
    what, said = getattr(todo_core, name), told(name)
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
    told = re.findall(r"^\| `([\w-]+)` \| (.+) \|$", part_of(text, "Headers of answers"), re.MULTILINE)
    headers = [one for _, each, _ in operations_of(document) for one in headers_in(each["responses"])]
    assert len({name for name, _ in told}) == len(told)
    assert {name for name, meaning in told if meaning.strip()} == {*headers}


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
        told = [*own, *((places[name], name) for name in [*taken, *(always if below else [])])]
        assert sorted(told) == sorted((one["in"], one["name"]) for one in parameters)
        good = {status: answer for status, answer in operation["responses"].items() if int(status) < 400}
        rows = re.findall(r"^\| (\d{3}) \| .+ \| (.*) \|$", section, re.MULTILINE)
        listed = {status: {*re.findall(r"`([\w-]+)`", row), *(sent if below else ())} for status, row in rows}
        assert listed == {status: {*headers_in({status: answer})} for status, answer in good.items()}


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


def test_no_other_module_reads_a_variable_that_the_settings_do_not_know() -> None:
    ours = re.compile("(?:TODO|BETTER_AUTH)_[A-Z_]+|DATABASE_URL")
    texts = {
        (path.name, node.value)
        for path in SRC.rglob("*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ours.fullmatch(node.value)
    }
    known = {text for name, text in texts if name == "settings.py"}
    assert len(known) > 20
    assert {text for _, text in texts} == known


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


def test_every_setting_is_documented() -> None:
    read = set(re.findall(r'"((?:TODO|BETTER_AUTH)_[A-Z_]+|DATABASE_URL)"', inspect.getsource(settings)))
    assert len(read) > 20
    for name in ("docs/settings.md", ".env.example"):
        assert not [each for each in read if not re.search(rf"\b{each}\b", (ROOT / name).read_text())], name
    table = re.findall(r"^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)
    assert {each for row in table for each in re.findall("[A-Z_]+", row)} == read


def test_settings_and_example_tell_the_defaults_of_the_code() -> None:
    example = dict(re.findall("^#([A-Z_]+)='(.*)'$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    table = re.findall(r"^\| `([A-Z_]+)` \|.*\| `([^`]+)` \|$", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)
    told = {name: default for name, default in table if default not in example}
    assert len(told) >= 8
    assert {name: example[name] for name in told} == told
    assert Settings.read(told) == Settings.read({})
