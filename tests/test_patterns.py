"""No regular expression of the packages backtracks catastrophically: none takes more than linear time."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import pytest
from asking import make_service
from backtracking import SCANNING, Use, pumped

PACKAGES = ("todo_core", "todo_adapters", "todo_app")
SRC = Path(__file__).parents[1] / "src"
# A function compiles the paths that are served. The service holds these patterns, so `compiled` finds them.
OF_PATHS = r"re.compile(re.sub('\\\\{[^{}]+\\\\}', '[^/]+', re.escape(path)))"
# These run something when they are imported; their source is looked at nevertheless.
RUN_ON_IMPORT = {"todo_app.__main__", "todo_adapters.postgres.migrations.env"}
METHODS = SCANNING | {"match", "fullmatch"}


def modules() -> Iterator[ModuleType]:
    for package in map(importlib.import_module, PACKAGES):
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name not in RUN_ON_IMPORT:
                yield importlib.import_module(found.name)


def is_ours(thing: object) -> bool:
    return (getattr(thing, "__module__", None) or type(thing).__module__).startswith(PACKAGES)


def parts_of(thing: Any) -> Iterator[tuple[str, Any]]:
    """What a thing holds, with its name."""
    if isinstance(thing, Mapping):
        yield from ((str(key), value) for key, value in thing.items())
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from (("", value) for value in thing)
    elif isinstance(thing, partial):
        yield from (("", value) for value in (thing.func, *thing.args, *thing.keywords.values()))
    elif isinstance(thing, MethodType | BuiltinFunctionType):
        yield "", thing.__self__  # also `_PATTERN.fullmatch`, kept as a function
    elif isinstance(thing, FunctionType):
        yield from (("", cell.cell_contents) for cell in thing.__closure__ or ())
        yield from (("", value) for value in (*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()))
    elif is_ours(thing):
        slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
        yield from vars(thing).items() if hasattr(thing, "__dict__") else ()
        yield from ((name, getattr(thing, name, None)) for name in slots)


def compiled() -> Iterator[Use]:
    """Every pattern that a module of ours, or the whole service, holds, with each method that it is used by."""
    scanned = scanning_names()
    service = make_service()
    waiting: list[tuple[str, Any]] = [("", service.app)]
    for module in modules():
        waiting += [(f"{module.__name__}.{name}", value) for name, value in vars(module).items()]
    seen: dict[int, Any] = {}
    while waiting:
        name, thing = waiting.pop()
        if isinstance(thing, re.Pattern):
            # One without a name of its own is held to everything that could be done with it.
            known = name.rpartition(".")[0] in {module.__name__ for module in modules()}
            yield thing, "fullmatch"
            if not known or name in scanned:
                yield thing, "search"
        elif id(thing) not in seen:
            seen[id(thing)] = thing
            waiting += parts_of(thing)


def sources() -> dict[str, str]:
    """The source of each of our modules, by the module's name."""
    return {
        ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path.read_text()
        for path in SRC.rglob("*.py")
    }


@cache
def calls() -> list[tuple[str, ast.Call, ast.Attribute]]:
    """Each call of something's method in our modules, and the module's name."""
    return [
        (module, node, node.func)
        for module, source in sources().items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]


def scanning_names() -> set[str]:
    """The patterns of modules that are looked for anywhere in a text, and not just at its beginning."""
    return {
        f"{module}.{function.value.id}"
        for module, _, function in calls()
        if isinstance(function.value, ast.Name) and function.attr in SCANNING
    }


def written_in_place() -> Iterator[Use]:
    """Every pattern in a call such as `re.fullmatch("…", text)`."""
    for _, call, function in calls():
        match function.value, call.args:
            case ast.Name("re"), [ast.Constant(str() | bytes() as source), *_] if function.attr in METHODS:
                yield re.compile(source), "search" if function.attr in SCANNING else "fullmatch"


@cache
def uses() -> list[Use]:
    """Every pattern of ours, with each method that it is used by. Takes over a second."""
    return list(dict.fromkeys([*compiled(), *written_in_place()]))


def hidden(source: str) -> list[str]:
    """Uses of `re` whose pattern `uses` misses: no literal argument, nor compiled in the body of a module or class."""
    tree = ast.parse(source)
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    ]
    within = {node for function in functions for node in ast.walk(function)}
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found: list[ast.stmt | ast.expr | ast.keyword | ast.alias] = []
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="re") | ast.alias("re", str()) | ast.alias("regex" | "sre_compile"):
                found.append(node)
            case ast.Name("__import__") | ast.keyword("pattern"):
                found.append(node)
            case ast.Attribute(ast.Name("re"), name) if node not in called and name[0].islower():
                found.append(node)
            case ast.Call(ast.Attribute(ast.Name("re"), method), arguments) if method != "escape":
                is_written = method in METHODS and bool(arguments) and isinstance(arguments[0], ast.Constant)
                is_kept = method == "compile" and node not in within
                found += [] if is_written or is_kept else [node]
    return [f"line {node.lineno}: {ast.unparse(node)}" for node in found]


def test_no_pattern_of_the_sources_escapes_the_search_for_them() -> None:
    found = [f"{name}, {call}" for name, source in sources().items() for call in hidden(source)]
    assert [call for call in found if not call.endswith(OF_PATHS)] == []


@pytest.mark.parametrize(
    "source",
    [
        "def f(x): return re.compile('a+').match(x)",
        "def f(x): return re.fullmatch(rf'a{{1,{MAX}}}', x)",
        "async def f(x): return re.sub(PATTERN, '', x)",
        "f = lambda x: re.compile('a')",
        "FOUND = re.findall(f'{PREFIX}a+', TEXT)",
        "def f(x): return re.sub(pattern='a+', repl='', string=x)",
        "from re import fullmatch",
        "import re as regex",
        "import json, re as r",
        "import regex",
        "f = lambda names: map(re.compile, names)",
        "c = re.compile; c('a')",
        "__import__('re').match('a', 'a')",
        "Rule = Annotated[str, msgspec.Meta(pattern='a+')]",
    ],
)
def test_a_pattern_that_would_escape_is_detected(source: str) -> None:
    assert hidden(source)


@pytest.mark.parametrize(
    "source", ["A = re.compile(rf'{B}+')", "class C:\n    A = re.compile('a')", "def f(x): return re.match('a', x)"]
)
def test_a_pattern_that_is_found_is_not_reported(source: str) -> None:
    assert not hidden(source)


def test_the_regular_expressions_of_the_sources_are_found() -> None:
    found = {pattern.pattern for pattern, _ in uses()}
    assert {"[0-9]{1,9}", "postgres(ql)?://", "/api/[^/]+/tasks/[^/]+"} <= {str(each) for each in found}
    assert len(found) > 20


@pytest.mark.parametrize("first", range(4))
def test_no_pattern_has_catastrophic_backtracking(first: int) -> None:
    assert {use: by for use in uses()[first::4] if (by := pumped(*use)) is not None} == {}


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        (r"a/b[ \t]*(?:;[ \t]*(?:c)?[ \t]*)?", "fullmatch"),
        (r"(?:a+)+b", "fullmatch"),
        (r"(?:a|a)*b", "fullmatch"),
        (rb"x*[xy]*z", "fullmatch"),
        (r" - at `\$(.*)`$", "search"),
        (r"[ \t]+$", "search"),
        (r"(\w+\s?)*;", "fullmatch"),
        (r"(?:ab){12700,}c", "search"),  # costs nothing in a shorter text
    ],
)
def test_a_pattern_with_catastrophic_backtracking_is_detected(pattern: Any, method: str) -> None:
    assert pumped(re.compile(pattern), method)


@pytest.mark.parametrize("pattern", [r"(?:a++)++b", r"[^,]*(?:,[^,]*)*", r"(?=.*\S)[^\x00]{1,200}", r"(?>a|ab)*+c"])
def test_a_pattern_without_catastrophic_backtracking_passes(pattern: str) -> None:
    assert pumped(re.compile(pattern), "fullmatch") is None
