"""No regular expression of the packages backtracks catastrophically: none takes more than linear time."""

import ast
import importlib
import pkgutil
import re
import time
from collections.abc import Iterator, Mapping
from functools import cache, partial
from itertools import chain, pairwise, product
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

import pytest
from asking import make_service

Text: TypeAlias = "str | bytes"
Use: TypeAlias = "tuple[re.Pattern[Any], str]"

PACKAGES = ("todo_core", "todo_adapters", "todo_app")
SRC = Path(__file__).parents[1] / "src"
# A function compiles the paths that are served. The service holds these patterns, so `compiled` finds them.
OF_PATHS = r"re.compile(re.sub('\\\\{[^{}]+\\\\}', '[^/]+', re.escape(path)))"
# These run something when they are imported; their source is looked at nevertheless.
RUN_ON_IMPORT = {"todo_app.__main__", "todo_adapters.postgres.migrations.env"}
SCANNING = {"search", "sub", "subn", "findall", "finditer", "split"}
METHODS = SCANNING | {"match", "fullmatch"}
SIZES = (8, 12, 16, 20, 24, 28, 100, 400, 1_600, 6_400, 25_600, 100_000)
LOOK_FROM = 3_000_000  # nanoseconds: below it, noise is all that there is to measure
SUPERLINEAR = 2.5  # times as dear as the growth of the text explains
STRANGE = "\x00"  # no pattern wants it, so it makes them look back
SAMPLES = 'a0 ,;"\\/=-.é\n\x00'


# What is tried: strings made from the pattern itself.


def accepts(items: list[Any], char: str) -> bool:
    """Whether a set of the parser's has that character."""
    negated, found = False, False
    for name, value in items:
        match str(name):
            case "NEGATE":
                negated = True
            case "LITERAL":
                found |= chr(value) == char
            case "RANGE":
                found |= value[0] <= ord(char) <= value[1]
            case "CATEGORY":
                found |= category(str(value), char)
    return found != negated


def category(name: str, char: str) -> bool:
    known = {"DIGIT": char.isdecimal(), "SPACE": char.isspace(), "WORD": char.isalnum() or char == "_"}
    return known[name.rpartition("_")[2]] != ("_NOT_" in name)


def members(name: str, value: Any) -> list[str]:
    """Some characters that one step of a pattern takes; none, if it takes no character."""
    match name:
        case "LITERAL":
            return [chr(value)]
        case "NOT_LITERAL":
            return [char for char in SAMPLES if char != chr(value)][:2]
        case "ANY":
            return ["a"]
        case "IN":
            edges = [chr(code) for kind, each in value if str(kind) in {"LITERAL", "RANGE"} for code in edge(each)]
            return [char for char in dict.fromkeys([*SAMPLES, *edges, "\t"]) if accepts(value, char)][:2]
    return []


def edge(value: Any) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


def below(name: str, value: Any) -> list[Any]:
    """The parts of which one step of a pattern consists, all alternatives of it."""
    match name:
        case "SUBPATTERN":
            return [value[3]]
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return [value[2]]
        case "BRANCH":
            return list(value[1])
        case "ASSERT" | "ASSERT_NOT":
            return [value[1]]
        case "ATOMIC_GROUP":
            return [value]
    return []


def is_repeat(name: str) -> bool:
    return name.endswith("_REPEAT")


def sample(parts: Any) -> str:
    """Something that these steps take, each repetition once, or as often as it must be."""
    text = ""
    for kind, value in parts:
        name = str(kind)
        if name in {"ASSERT", "ASSERT_NOT"}:
            continue
        inside = sample(below(name, value)[0]) if below(name, value) else "".join(members(name, value)[:1])
        text += inside * max(1, value[0]) if is_repeat(name) else inside
    return text


def alphabet(parts: Any) -> set[str]:
    steps = [(str(kind), value) for kind, value in parts]
    found = chain.from_iterable(members(name, value) for name, value in steps)
    return {*found, *chain.from_iterable(alphabet(part) for name, value in steps for part in below(name, value))}


def repeats(parts: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every repetition, with something that leads up to it."""
    for kind, value in parts:
        name = str(kind)
        for part in below(name, value):
            if is_repeat(name):
                yield before, part
            yield from repeats(part, before)
        if name not in {"ASSERT", "ASSERT_NOT"}:
            before += sample([(kind, value)])


def attacks(pattern: re.Pattern[Any]) -> list[tuple[str, str, str]]:
    """What to write before, again and again, and behind."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree = importlib.import_module("re._parser").parse(source, pattern.flags & ~re.UNICODE)
    found = [("", sample(tree))]
    for before, part in repeats(tree):
        chars = sorted(alphabet(part))[:6]
        units = {*chars, *map("".join, product(chars, repeat=2)), sample(part)} - {""}
        found += [(before, unit) for unit in units] + [("", before + sample(part))]
    return [(before, unit, behind) for before, unit in dict.fromkeys(found) for behind in ("", STRANGE)]


# What it costs.


def run(use: Use, text: Text) -> None:
    pattern, method = use
    if method in SCANNING:
        pattern.sub("" if isinstance(text, str) else b"", text)  # looks everywhere, as all of these may
    else:
        pattern.fullmatch(text)  # tries all that `match` would, and more


def cost(use: Use, text: Text, times: int) -> int:
    """Nanoseconds of this thread, of the cheapest of so many runs."""

    def once() -> int:
        began = time.thread_time_ns()
        run(use, text)
        return time.thread_time_ns() - began

    return min(once() for _ in range(times))


def grown(use: Use, attack: tuple[str, str, str]) -> str | None:
    """Where the cost grows faster than the text, in every measurement."""

    def text(size: int) -> Text:
        before, unit, behind = attack
        whole = before + unit * (size // len(unit)) + behind
        return whole if isinstance(use[0].pattern, str) else whole.encode("latin-1", "replace")

    for small, large in pairwise(SIZES):
        explained = SUPERLINEAR * large / small
        first = cost(use, text(large), 1)
        if first < LOOK_FROM or first <= explained * cost(use, text(small), 5):
            continue
        again = cost(use, text(large), 5)
        ratio = again / max(1, cost(use, text(small), 5))
        if again >= LOOK_FROM and ratio > explained:
            return f"{use[1]} of {attack} costs {ratio:.0f} times as much for {large} characters as for {small}"
    return None


def pumped(pattern: re.Pattern[Any], method: str) -> str | None:
    return next((told for attack in attacks(pattern) if (told := grown((pattern, method), attack))), None)


# What is looked at.


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
