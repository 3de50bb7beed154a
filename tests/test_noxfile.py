"""The sessions of nox: what each of them runs."""

import importlib.util
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore:The session .* has already been registered")  # it is loaded anew


def load(monkeypatch: pytest.MonkeyPatch, *arguments: str, **variables: str) -> ModuleType:
    """noxfile.py, as nox loads it for these arguments in this environment."""
    for name in ("CI", "TODO_TEST_FORCE", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
        monkeypatch.setenv(name, "")  # so that it is put back though the file changes it
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "argv", ["nox", *arguments])
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # it puts interpreters in front
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module


def body(noxfile: ModuleType, name: str) -> Callable[[Any], None]:
    """The body of a session, without the check that may skip it and without the note that it passed."""
    found: Callable[[Any], None] = inspect.unwrap(getattr(noxfile, name).func)
    return found


class Skipped(Exception):
    """A session said why it does not run."""


class Session:
    """Notes the commands that it is to run."""

    def __init__(self, *posargs: str) -> None:
        self.posargs = posargs
        self.virtualenv = SimpleNamespace(location="venv")
        self.commands: list[list[str]] = []
        self.name = "tests"
        self.during: Callable[[], None] = lambda: None

    def run(self, *command: str, **_: Any) -> None:
        self.commands.append([*command])
        self.during()

    def skip(self, reason: str) -> NoReturn:
        raise Skipped(reason)

    def log(self, message: str) -> None:
        """Nothing."""

    def run_install(self, *command: str, **_: Any) -> None:
        """Nothing."""

    @property
    def command(self) -> list[str]:
        (command,) = self.commands
        return command


@pytest.mark.parametrize("arguments", [(), ("-q",), ("-k", "etag", "-x"), ("tests/e2e",)])
@pytest.mark.parametrize("name", ["tests", "tests_on"])
def test_arguments_do_not_add_tests_of_other_sessions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)  # where nothing is known to be green
    session, noxfile = Session(*arguments), load(monkeypatch)
    body(noxfile, name)(session)
    assert {*noxfile.SEPARATE} <= {*session.command}
    assert all(Path(ROOT, each.removeprefix("--ignore=")).exists() for each in noxfile.SEPARATE)
    assert [*arguments] == session.command[len(session.command) - len(arguments) :]
    assert ("not ci" in session.command) == (name == "tests" and not arguments), "what is named runs, whatever its mark"


@pytest.mark.parametrize("name", ["agents", "browser", "clients", "deployment", "faults", "packages"])
def test_a_session_runs_its_own_tests_unless_others_are_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    noxfile = load(monkeypatch)
    owns = {"agents": [noxfile.AGENTS], "clients": noxfile.CLIENTS, "packages": [noxfile.PACKAGES]}
    own = owns.get(name, [f"tests/{name}"])
    assert all(Path(ROOT, each).exists() for each in own)
    for arguments, expected in {("-x", "-k", "page"): own, (f"{own[0]}::test",): [], (): own}.items():
        body(noxfile, name)(session := Session(*arguments))
        taken = [*(arguments or ["-q"]), *expected]
        assert session.command[-len(taken) :] == taken
        assert [each for each in session.command if each in own] == expected


def test_a_test_file_named_on_the_command_line_runs_even_if_ignored(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir=."]
    variables = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command += ["--ignore=test_it.py", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(("variables", "measured"), [({}, False), ({"CI": "true"}, True)])
def test_ci_runs_every_test_and_measures_coverage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], measured: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    noxfile = load(monkeypatch, **variables)
    body(noxfile, "tests")(session := Session())
    assert ("--cov" in session.command) == measured
    assert ("not ci" in session.command) == (not measured)
    paths = {path for name in noxfile.PARTS for path in noxfile.tests_of(name)}
    assert paths
    assert paths & {*session.command} == (set() if measured else paths)  # none is named: all are run


@pytest.mark.parametrize(("variables", "elsewhere"), [({"PYTHONDONTWRITEBYTECODE": "1"}, True), ({}, False)])
def test_pythondontwritebytecode_moves_bytecode_to_another_folder(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], elsewhere: bool
) -> None:
    load(monkeypatch, **variables)
    program = "import sys; print(sys.dont_write_bytecode, sys.pycache_prefix)"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert printed == ["False", str(Path(".nox/bytecode").resolve()) if elsewhere else "None"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project, where nox would be started."""
    for name in ("noxfile.py", "run.py", "pyproject.toml", "uv.lock", "src/a/one.py", "src/b.py", "docs/page.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runs(
    noxfile: ModuleType, *reads: str, posargs: tuple[str, ...] = (), during: Callable[[], None] | None = None
) -> bool:
    """Whether a session that reads these runs."""
    session = Session(*posargs)
    session.during = during or session.during
    with suppress(Skipped):
        noxfile.skipped_while_green(*reads)(lambda session: session.run("something"))(session)
    return bool(session.commands)


def rewrite(name: str) -> None:
    Path(name).write_text("changed")


def fail() -> NoReturn:
    raise AssertionError


CHANGES: dict[str, Callable[[], object]] = {
    "a file": lambda: rewrite("src/a/one.py"),
    "a new file": lambda: rewrite("src/a/two.py"),
    "a file that is gone": lambda: Path("src/a/one.py").unlink(),
    "a renamed file": lambda: Path("src/a/one.py").rename("src/a/three.py"),
    "a file's mode": lambda: Path("src/a/one.py").chmod(0o700),
    "a link": lambda: Path("src/link").symlink_to("b.py"),
    "the lock file": lambda: rewrite("uv.lock"),
    "the sessions": lambda: rewrite("noxfile.py"),
    "the configuration": lambda: rewrite("pyproject.toml"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.usefixtures("project")
def test_a_green_session_runs_again_once_something_that_it_reads_has_changed(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]
) -> None:
    noxfile = load(monkeypatch)
    assert [runs(noxfile, "src") for _ in range(3)] == [True, False, False]
    change()
    assert [runs(noxfile, "src") for _ in range(2)] == [True, False]


@pytest.mark.usefixtures("project")
def test_a_session_does_not_run_again_when_files_it_does_not_read_change(monkeypatch: pytest.MonkeyPatch) -> None:
    noxfile = load(monkeypatch)
    assert runs(noxfile, "src")
    for name in ("docs/page.md", ".coverage.1", "src/a/__pycache__/one.pyc"):
        Path(name).parent.mkdir(exist_ok=True)
        rewrite(name)
    assert not runs(noxfile, "src")


@pytest.mark.parametrize("changed", ["version", "programs", "options"])
@pytest.mark.usefixtures("project")
def test_a_session_runs_again_on_another_python_or_with_other_programs_or_options(
    monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    noxfile = load(monkeypatch)
    assert runs(noxfile, "src")
    if changed == "version":
        monkeypatch.setattr(sys, "version", "3.99")
    elif changed == "options":
        monkeypatch.setenv("PYTEST_ADDOPTS", "-k etag")
    else:
        monkeypatch.setattr(noxfile.shutil, "which", lambda name: f"/opt/{name}")
    assert runs(noxfile, "src")


@pytest.mark.usefixtures("project")
def test_an_explicitly_requested_session_runs_even_if_nothing_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs(load(monkeypatch), "src")
    assert not runs(load(monkeypatch), "src")
    assert runs(load(monkeypatch, CI="true"), "src")
    assert runs(load(monkeypatch, TODO_TEST_FORCE="--force"), "src")
    assert runs(load(monkeypatch, "-s", "tests"), "src")
    assert runs(load(monkeypatch), "src", posargs=("-k", "etag"))


@pytest.mark.usefixtures("project")
def test_a_session_runs_again_after_a_failure_a_partial_run_or_an_edit_during_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noxfile = load(monkeypatch)
    assert runs(noxfile, "src", posargs=("-k", "etag"))
    with pytest.raises(AssertionError):
        runs(noxfile, "src", during=fail)
    assert runs(noxfile, "src", during=lambda: rewrite("src/b.py"))
    assert [runs(noxfile, "src"), runs(noxfile, "src")] == [True, False]
    with pytest.raises(AssertionError):
        runs(load(monkeypatch, "-s", "tests"), "src", during=fail)
    assert runs(load(monkeypatch), "src")


# Beside those that an edit of anything runs: `lint`, `imports`, `pythons`, and the part of documents.
EDITS = {
    "src/todo_core/task.py": "types rules storage identity interface service",
    "src/todo_adapters/postgres/store.py": "types storage service",
    "src/todo_adapters/jwt_identity/policy.py": "types identity interface tokens service",
    "src/todo_adapters/embedded/server.py": "types tools embedded processes service pages",
    "src/todo_app/api/tasks.py": "types interface processes tokens service pages",
    "docs/openapi.json": "docs pages",
    "docs/how-to/better-auth.md": "docs service pages",
    "tests/factories.py": "tools rules storage identity embedded interface processes tokens service pages",
    "tests/e2e/test_serve.py": "processes",
    "uv.lock": "types docs tools rules storage identity embedded interface processes tokens service pages",
}


@pytest.mark.parametrize(("edited", "named"), EDITS.items(), ids=EDITS)
def test_an_edit_runs_the_sessions_and_parts_that_depend_on_the_file(
    monkeypatch: pytest.MonkeyPatch, edited: str, named: str
) -> None:
    monkeypatch.chdir(ROOT)
    assert Path(edited).exists()
    noxfile = load(monkeypatch)
    reads = noxfile.READS | {name: noxfile.reads_of(name) for name in noxfile.PARTS}
    about = {
        name
        for name, patterns in reads.items()
        if Path(edited) in {path for each in noxfile.places(patterns) for path in noxfile.files(Path(each))}
    }
    assert about == {"documents", *named.split()}


def parts_run(noxfile: ModuleType, during: Callable[[], None] = lambda: None) -> set[str]:
    """Which of the parts `one` and `two` run."""
    session = Session()
    session.during = during
    with suppress(Skipped):
        body(noxfile, "tests")(session)
    return {part for part in ("one", "two") for command in session.commands if f"tests/{part}" in command}


@pytest.mark.usefixtures("project")
def test_only_parts_affected_by_an_edit_run_and_after_a_failure_they_run_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noxfile = load(monkeypatch)
    ran = partial(parts_run, noxfile)
    parts = {"one": noxfile.Part(("tests/one",), ("src/a",)), "two": noxfile.Part(("tests/two",), ("src/*.py",))}
    monkeypatch.setattr(noxfile, "PARTS", parts)
    assert [ran(), ran()] == [{"one", "two"}, set()]
    rewrite("src/b.py")
    assert [ran(), ran()] == [{"two"}, set()]
    Path("src/a/one.py").unlink()
    with pytest.raises(AssertionError):
        ran(fail)
    assert [ran(lambda: rewrite("src/a/two.py")), ran(), ran()] == [{"one"}, {"one"}, set()]
    rewrite("uv.lock")
    assert ran() == {"one", "two"}
    monkeypatch.setattr(noxfile, "FORCED", True)
    with pytest.raises(AssertionError):
        ran(fail)
    monkeypatch.setattr(noxfile, "FORCED", False)
    assert [ran(), ran()] == [{"one", "two"}, set()]
    Path("src/b.py").write_text("new")
    assert ran(lambda: rewrite("src/b.py")) == {"two"}
    Path("src/b.py").write_text("new")  # as it was when the tests began, but not when they ended
    assert ran() == {"two"}


def test_every_test_is_in_one_part_or_in_a_session_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    noxfile = load(monkeypatch)
    places = [path for name in noxfile.PARTS for path in noxfile.tests_of(name)]
    places += [each.removeprefix("--ignore=") for each in noxfile.SEPARATE] + [noxfile.FAULTS]
    found = [path for folder in ("tests", "examples") for path in Path(folder).glob("**/test_*.py")]
    holders = {str(path): sum(path.is_relative_to(place) for place in places) for path in found}
    assert {path: held for path, held in holders.items() if held != 1} == {}


def test_every_source_file_belongs_to_some_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    noxfile = load(monkeypatch)
    near = [part for name, part in noxfile.PARTS.items() if name not in ("documents", "service")]
    about = {path for part in near for each in noxfile.places(part.about) for path in noxfile.files(Path(each))}
    assert set(noxfile.files(Path("src"))) - about <= {Path("src/todo_adapters/py.typed")}


def test_the_tests_of_the_tools_load_no_more_of_the_sources_than_their_session_says() -> None:
    program = """
import sys, noxfile, pytest
assert pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *noxfile.tests_of("tools")]) == 0
print("loaded", *sorted(name for name in sys.modules if name.startswith("todo_")))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.split("\nloaded ")[1].split()
    assert [name for name in loaded if not name.startswith("todo_adapters.embedded")] == ["todo_adapters"]
