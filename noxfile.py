"""What is checked before anything is called done; `uv run nox` and `python3 run.py test` run the same."""

import os
import shutil
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"  # run.py and uv have installed what uv.lock pins, nox and the tools included
nox.options.download_python = "never"

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
PARALLEL = ["-n", "logical", "--maxprocesses", "8", "--dist", "worksteal"]

# pyenv's shims stand in PATH for interpreters that then don't run: look at the real ones instead.
_shims = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
_path = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder != str(_shims / "shims")]
os.environ["PATH"] = os.pathsep.join([*_path, *map(str, sorted(_shims.glob("versions/3.*/bin")))])


def run(session: nox.Session, module: str, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run a tool of the environment that nox itself runs in."""
    session.run(sys.executable, "-m", module, *arguments, env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Rules and layout of the code (`ruff check --fix` and `ruff format` repair most)."""
    run(session, "ruff", "check")
    run(session, "ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly."""
    run(session, "mypy")


@nox.session
def imports(session: nox.Session) -> None:
    """No import points outward: app, adapters, core."""
    session.run(
        sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-logo'])"
    )


@nox.session
def build(session: nox.Session) -> None:
    """The packages that users install; the core is tried from the wheel, with no other package beside it."""
    dist, empty = (Path(session.create_tmp(), name).resolve() for name in ("dist", "venv"))
    shutil.rmtree(dist, ignore_errors=True)
    run(session, "uv", "build", "--quiet", "--out-dir", str(dist))
    run(session, "uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(empty))
    wheel = next(dist.glob("*.whl"))
    run(session, "uv", "pip", "install", "--quiet", "--offline", "--python", str(empty), str(wheel))
    python = empty / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    session.run(str(python), "-I", "-c", "import todo_core; print('alone:', todo_core.__file__)")
    # The test tools come from here, the core under test from the wheel: PYTHONPATH goes before the editable install.
    packages = next(empty.glob("**/site-packages"))
    run(session, "pytest", "-q", "tests/core", env={"PYTHONPATH": str(packages)})


@nox.session
def tests(session: nox.Session) -> None:
    """Everything on this Python, with branch coverage (given arguments, only what they select, without it)."""
    coverage = [] if session.posargs else ["--cov", "--cov-report=term"]
    run(session, "pytest", *(session.posargs or PARALLEL), *coverage)


@nox.session(name="tests-on", python=PYTHONS, venv_backend="uv", default=False)
def tests_on(session: nox.Session) -> None:
    """Everything on another Python, from the same lock file: `nox -s tests-on-3.13`."""
    environment = {"UV_PROJECT_ENVIRONMENT": session.virtualenv.location}
    session.run_install("uv", "sync", "--quiet", "--frozen", "--python", session.virtualenv.location, env=environment)
    session.run("pytest", *(session.posargs or PARALLEL))
