"""The sessions of nox: what each of them runs."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore:The session .* has already been registered")  # it is loaded anew


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> ModuleType:
    """noxfile.py, in this environment."""
    monkeypatch.delenv("CI", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # it puts interpreters in front
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module


class Session:
    """Notes what it is told to run."""

    def __init__(self, *posargs: str) -> None:
        self.posargs = posargs
        self.virtualenv = SimpleNamespace(location="venv")
        self.commands: list[list[str]] = []

    def run(self, *command: str, **_: Any) -> None:
        self.commands.append([*command])

    def run_install(self, *command: str, **_: Any) -> None:
        """Nothing."""

    @property
    def command(self) -> list[str]:
        (command,) = self.commands
        return command


@pytest.mark.parametrize("arguments", [(), ("-q",), ("-k", "etag", "-x"), ("tests/e2e",)])
@pytest.mark.parametrize("name", ["tests", "tests_on"])
def test_arguments_bring_no_other_sessions_tests_back(
    monkeypatch: pytest.MonkeyPatch, name: str, arguments: tuple[str, ...]
) -> None:
    session, noxfile = Session(*arguments), load(monkeypatch)
    getattr(noxfile, name).func(session)
    assert {*noxfile.SEPARATE} <= {*session.command}
    assert all(Path(ROOT, each.removeprefix("--ignore=")).exists() for each in noxfile.SEPARATE)
    assert [*arguments] == session.command[len(session.command) - len(arguments) :]


@pytest.mark.parametrize("name", ["browser", "deployment", "faults"])
def test_a_session_runs_its_own_tests_unless_others_are_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    noxfile, own = load(monkeypatch), f"tests/{name}"
    for arguments, expected in {("-x", "-k", "page"): [own], (f"{own}::test",): [], (): [own]}.items():
        getattr(noxfile, name).func(session := Session(*arguments))
        assert session.command[session.command.index("pytest") + 1 :] == [*(arguments or ["-q"]), *expected]


def test_what_is_named_is_run_though_it_has_a_session_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir=."]
    done = subprocess.run([*command, "--ignore=test_it.py", "test_it.py"], cwd=tmp_path, capture_output=True, text=True)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(("variables", "measured"), [({}, False), ({"CI": "true"}, True)])
def test_ci_measures_coverage(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], measured: bool) -> None:
    load(monkeypatch, **variables).tests.func(session := Session())
    assert ("--cov" in session.command) == measured
