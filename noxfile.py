"""What is checked before anything is called done; `uv run nox` and `python3 run.py test` run the same."""

import functools
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import nox

nox.options.default_venv_backend = "none"  # run.py and uv have installed what uv.lock pins, nox and the tools included
nox.options.reuse_venv = "yes"  # `uv sync` makes each hold exactly what uv.lock says
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
TOOLS = ["tests/test_run.py", "tests/test_noxfile.py", "tests/adapters/test_scratch_cluster.py"]
# What a session of its own runs; the session of all tests leaves it out, unless it is named there.
SEPARATE = [f"--ignore={each}" for each in (*ISSUERS, BROWSER, CLIENT, DEPLOYMENT, SITE, WHEELS, *TOOLS)]
# Two for each processor: tests wait for servers and databases as long as they compute.
PARALLEL = ["-n", str(min(8, 2 * (os.cpu_count() or 1))), "--dist", "worksteal"]
CI = bool(os.environ.get("CI"))
# Coverage costs as much again as the tests themselves, so only CI measures it.
COVERAGE = ["--cov", "--cov-report=term"] if CI else []
# Sessions that are asked for by name run, whatever has changed or not.
NAMED = any(argument.startswith(("-s", "--session", "-t", "--tag", "-k", "--keyword")) for argument in sys.argv[1:])
FORCED = CI or NAMED or bool(os.environ.get("TODO_TEST_FORCE"))

Body: TypeAlias = Callable[[nox.Session], None]
# What every session reads.
COMMON = ["noxfile.py", "run.py", "pyproject.toml", "uv.lock"]
# No session reads these, and many write them.
UNREAD = [".?*_cache", ".coverage*", ".git", ".hypothesis", ".nox", ".venv*", "__pycache__", "dist", "htmlcov", "site"]
# A test is skipped where the program that it needs is missing: it must be run once that is installed.
VARIABLES = ["CHROMIUM", "PYTEST_ADDOPTS"]
PROGRAMS = ["bash", "chromium", "chromium-browser", "curl", "git", "google-chrome", "node", "npm"]

# The tests start hundreds of processes. Without bytecode each compiles all that it imports, and a server takes twice
# the processor time to start.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(".nox/bytecode").resolve()))

# pyenv's shims stand in PATH for interpreters that then don't run: look at the real ones instead.
_shims = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
_path = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder != str(_shims / "shims")]
os.environ["PATH"] = os.pathsep.join([*_path, *map(str, sorted(_shims.glob("versions/3.*/bin")))])


def run(session: nox.Session, module: str, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run a tool of the environment that nox itself runs in."""
    session.run(sys.executable, "-m", module, *arguments, env=env)


READS: dict[str, tuple[str, ...]] = {}


def skipped_while_green(*reads: str) -> Callable[[Body], Body]:
    """Skip a session while nothing that it reads has changed since it was last green; never in CI.

    `reads` are files and folders; without any it is the whole project. Arguments may choose a part of the session:
    given some, it runs, and what it finds is not kept.
    """

    def decorate(body: Body) -> Body:
        READS[body.__name__] = reads

        @functools.wraps(body)
        def check(session: nox.Session) -> None:
            green, before = Path(".nox/green", session.name), digest(reads)
            if not (FORCED or session.posargs) and green.exists() and green.read_text() == before:
                session.skip(
                    "nothing that it reads has changed since it was last green (`run.py test --force` runs it)"
                )
            green.unlink(missing_ok=True)
            body(session)
            # Else some of it was checked as it was before an edit, and some after.
            if not session.posargs and digest(reads) == before:
                green.parent.mkdir(parents=True, exist_ok=True)
                green.write_text(before)

        return check

    return decorate


def digest(reads: tuple[str, ...]) -> str:
    """A digest of these files and folders, of what every session reads, of this Python and the programs at hand."""
    chosen = [*COMMON, *reads] if reads else ["."]
    machine = [sys.version, platform.platform(), *map(os.environ.get, VARIABLES), *map(shutil.which, PROGRAMS)]
    found = sha256(repr(machine).encode())
    for path in sorted({path for each in chosen for path in files(Path(each))}):
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        found.update(repr((path.as_posix(), path.lstat().st_mode, sha256(content).digest())).encode())
    return found.hexdigest()


def files(path: Path) -> Iterator[Path]:
    """The files below `path`, or itself, that a session may read, whether git knows them or not."""
    if any(fnmatch(path.name, pattern) for pattern in UNREAD):
        return
    if path.is_dir() and not path.is_symlink():
        for each in path.iterdir():
            yield from files(each)
    elif path.is_file() or path.is_symlink():
        yield path


def chosen(session: nox.Session, *paths: str) -> list[str]:
    """pytest's arguments: those that were given, and these paths if they name none."""
    named = any(Path(argument.partition("::")[0]).exists() for argument in session.posargs)
    return [*(session.posargs or ["-q"]), *([] if named else paths)]


@nox.session
def lint(session: nox.Session) -> None:
    """Rules and layout of the code (`ruff check --fix` and `ruff format` repair most)."""
    run(session, "ruff", "check")
    run(session, "ruff", "format", "--check")


@nox.session
@skipped_while_green("src", "examples")
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
@skipped_while_green()
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
@skipped_while_green()
def better_auth(session: nox.Session) -> None:
    """Tokens of a real Better Auth and a real OpenID provider, both from npm; skipped, and said so, without node."""
    run(session, "pytest", "-q", "-n", str(len(ISSUERS)), "--dist", "loadfile", *ISSUERS)


@nox.session(venv_backend="uv")
@skipped_while_green()
def browser(session: nox.Session) -> None:
    """/docs, the example's page, and one with Better Auth, in this machine's Chromium or else in one from npm."""
    sync(session, "--group", "browser")
    session.run("pytest", *chosen(session, BROWSER))


@nox.session
@skipped_while_green("src", "tests")
def client(session: nox.Session) -> None:
    """A TypeScript client of the OpenAPI document, and two linters; skipped, and said so, without node."""
    run(session, "pytest", "-q", CLIENT)


@nox.session
@skipped_while_green()
def tests(session: nox.Session) -> None:
    """Everything else on this Python; in CI with branch coverage. Arguments go to pytest."""
    run(session, "pytest", *SEPARATE, *(session.posargs or [*PARALLEL, *COVERAGE]))


@nox.session
@skipped_while_green("tests", "src/todo_adapters/embedded", "src/todo_adapters/__init__.py")
def tools(session: nox.Session) -> None:
    """`run.py`, these sessions, and the databases that tests make."""
    run(session, "pytest", *PARALLEL, *chosen(session, *TOOLS))


@nox.session(venv_backend="uv")
@skipped_while_green("docs", SITE)
def docs(session: nox.Session) -> None:
    """The documents as a site, in `site/`: no warning, nothing from another host."""
    sync(session, "--group", "docs")
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "--quiet", "--fresh-env", "docs", "site")
    session.run("pytest", "-q", "--noconftest", SITE)


@nox.session
@skipped_while_green("src", "tests")
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
def neighbour(session: nox.Session) -> None:
    """What one user feels while another attacks: rewrites the table in docs/performance.md (`-- --help`)."""
    measure(session, "benchmarks.neighbour")


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
