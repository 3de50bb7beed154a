"""What is checked before anything is called done; `uv run nox` and `python3 run.py test` run the same."""

import os
import shutil
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"  # run.py and uv have installed what uv.lock pins, nox and the tools included
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False  # where CI is set too: it says which were there

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
ISSUERS = ["tests/e2e/test_better_auth.py", "tests/e2e/test_openid_provider.py"]
DEPLOYMENT = "tests/deployment"
FAULTS = "tests/faults"
BROWSER = "tests/browser"
CLIENT = "tests/e2e/test_openapi_client.py"
SITE = "tests/test_site.py"
WHEELS = "tests/wheels"
# What a session of its own runs; the session of all tests leaves it out, unless it is named there.
SEPARATE = [f"--ignore={each}" for each in (*ISSUERS, BROWSER, CLIENT, DEPLOYMENT, SITE, WHEELS)]
# Two for each processor: tests wait for servers and databases as long as they compute.
PARALLEL = ["-n", str(min(8, 2 * (os.cpu_count() or 1))), "--dist", "worksteal"]
CI = bool(os.environ.get("CI"))
# Coverage costs as much again as the tests themselves, so only CI measures it.
COVERAGE = ["--cov", "--cov-report=term"] if CI else []

# pyenv's shims stand in PATH for interpreters that then don't run: look at the real ones instead.
_shims = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
_path = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder != str(_shims / "shims")]
os.environ["PATH"] = os.pathsep.join([*_path, *map(str, sorted(_shims.glob("versions/3.*/bin")))])


def run(session: nox.Session, module: str, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run a tool of the environment that nox itself runs in."""
    session.run(sys.executable, "-m", module, *arguments, env=env)


def chosen(session: nox.Session, path: str) -> list[str]:
    """pytest's arguments: those that were given, and this path if they name none."""
    named = any(Path(argument.partition("::")[0]).exists() for argument in session.posargs)
    return [*(session.posargs or ["-q"]), *([] if named else [path])]


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
    """The packages that users install: what is in them, what each extra brings; the core is tried from the wheel."""
    run(session, "pytest", "-q", *PARALLEL, WHEELS)
    packages = Path(session.create_tmp(), "packages").resolve()
    shutil.rmtree(packages, ignore_errors=True)
    # The test tools come from here, what is tested from the wheel: PYTHONPATH goes before the editable install.
    run(session, "uv", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), str(wheel(session)))
    run(session, "pytest", "-q", "tests/core", env={"PYTHONPATH": str(packages)})


def wheel(session: nox.Session) -> Path:
    """The wheel that users install, made from the sdist."""
    dist = Path(session.create_tmp(), "dist").resolve()
    shutil.rmtree(dist, ignore_errors=True)
    run(session, "uv", "build", "--quiet", "--out-dir", str(dist))
    return next(dist.glob("*.whl"))


@nox.session
def pythons(session: nox.Session) -> None:
    """Which of the supported Pythons are here, for `tests-on`; each of them reads the core, at least."""
    program = f"import sys; sys.path.insert(0, {str(Path('src').resolve())!r}); import todo_core; print(sys.version)"
    for version in PYTHONS:
        if (python := shutil.which(f"python{version}")) is None:
            session.log(f"CPython {version} is missing here: nothing is tried on it")
        else:
            session.log(f"CPython {version} is {python}")
            session.run(python, "-I", "-S", "-W", "error", "-c", program, external=True)


@nox.session
def better_auth(session: nox.Session) -> None:
    """Tokens of a real Better Auth and a real OpenID provider, both from npm; skipped, and said so, without node."""
    run(session, "pytest", "-q", *ISSUERS)


@nox.session(venv_backend="uv")
def browser(session: nox.Session) -> None:
    """/docs, the example's page, and one with Better Auth, in this machine's Chromium or else in one from npm."""
    sync(session, "--group", "browser")
    session.run("pytest", *chosen(session, BROWSER))


@nox.session
def client(session: nox.Session) -> None:
    """A TypeScript client of the OpenAPI document, and two linters; skipped, and said so, without node."""
    run(session, "pytest", "-q", CLIENT)


@nox.session
def tests(session: nox.Session) -> None:
    """Everything else on this Python; in CI with branch coverage. Arguments go to pytest."""
    run(session, "pytest", *SEPARATE, *(session.posargs or [*PARALLEL, *COVERAGE]))


@nox.session(venv_backend="uv")
def docs(session: nox.Session) -> None:
    """The documents as a site, in `site/`: no warning, nothing from another host."""
    sync(session, "--group", "docs")
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "--quiet", "--fresh-env", "docs", "site")
    session.run("pytest", "-q", SITE)


@nox.session
def schemathesis(session: nox.Session) -> None:
    """The OpenAPI document against a live server, by Schemathesis; arguments go to it, such as `-n 1000`."""
    session.run(sys.executable, "tests/fuzzing/run.py", *session.posargs)


@nox.session(venv_backend="uv", default=False)
def deployment(session: nox.Session) -> None:
    """The image, compose.yaml, the manifests, the workflows, and Caddy with TLS in front of two real servers."""
    sync(session, "--group", "deployment")
    session.run("pytest", *chosen(session, DEPLOYMENT))


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Databases, connections and processes die under load, and no write is lost (`-- --document`: docs/faults.md)."""
    run(session, "pytest", *chosen(session, FAULTS))


@nox.session(name="tests-on", python=PYTHONS, venv_backend="uv", default=False)
def tests_on(session: nox.Session) -> None:
    """Everything on another Python, from the same lock file: `nox -s tests-on-3.13`; skipped where it is missing."""
    sync(session, "--python", session.virtualenv.location)
    session.run("pytest", *SEPARATE, *(session.posargs or PARALLEL))


@nox.session(name="tests-on-wheel", venv_backend="uv", default=False)
def tests_on_wheel(session: nox.Session) -> None:
    """Everything on the built wheel, in place of the sources."""
    sync(session, "--no-install-project")
    session.run_install("uv", "pip", "install", "--quiet", "--no-deps", "--reinstall", str(wheel(session)))
    session.run("python", "-c", "import todo_core; assert 'site-packages' in todo_core.__file__, todo_core.__file__")
    session.run("pytest", *SEPARATE, *(session.posargs or PARALLEL))


@nox.session(venv_backend="uv", default=False)
def bench(session: nox.Session) -> None:
    """Cost per request beside a FastAPI baseline and the database's own limit (`nox -s bench -- --help`)."""
    measure(session, "benchmarks")


@nox.session(venv_backend="uv", default=False)
def growth(session: nox.Session) -> None:
    """How cost grows with connections, tasks and workers, memory over a million requests, and 10^6 rows' plans."""
    measure(session, "benchmarks.growth")


@nox.session(venv_backend="uv", default=False)
def soak(session: nox.Session) -> None:
    """A million requests, hostile ones included, each answer checked against a model; the server must not grow."""
    measure(session, "benchmarks.soak")


def measure(session: nox.Session, module: str) -> None:
    """Run a benchmark in an environment of its own: what it compares with is no part of the development's."""
    sync(session, "--no-default-groups", "--group", "bench")
    session.run("python", "-m", module, *session.posargs)


def sync(session: nox.Session, *choice: str) -> None:
    """Have the session's own environment hold what uv.lock says of these groups."""
    environment = {"UV_PROJECT_ENVIRONMENT": session.virtualenv.location}
    session.run_install("uv", "sync", "--quiet", "--frozen", *choice, env=environment)
