"""The project's checks; `uv run nox` and `python3 run.py test` run the same."""

import functools
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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
DEPLOYMENT = "tests/deployment"
FAULTS = "tests/faults"
BROWSER = "tests/browser"
SITE = "tests/test_site.py"
AGENTS = "tests/e2e/test_agent_clients.py"
CLIENTS = [
    f"tests/e2e/test_{each}.py" for each in ("better_auth", "openid_provider", "openapi_client", "offline_first")
]
PACKAGES = "tests/wheels"
# What a session of its own runs; the session of all tests leaves it out, unless it is named there.
SEPARATE = [f"--ignore={each}" for each in (AGENTS, BROWSER, *CLIENTS, DEPLOYMENT, PACKAGES, SITE)]
# Two for each processor: tests wait for servers and databases as long as they compute.
PARALLEL = ["-n", str(min(8, 2 * (os.cpu_count() or 1))), "--dist", "worksteal"]
CI = bool(os.environ.get("CI"))
# Coverage costs as much again as the tests themselves, so only CI measures it.
COVERAGE = ["--cov", "--cov-report=term"] if CI else []
# Tests with the mark `ci` run in CI and where they are named: they take long, and no promise about data rests on them.
CHOICE = [] if CI else ["-m", "not ci"]
# Sessions that are asked for by name run, whatever has changed or not.
NAMED = any(argument.startswith(("-s", "--session", "-t", "--tag", "-k", "--keyword")) for argument in sys.argv[1:])
FORCED = CI or NAMED or bool(os.environ.get("TODO_TEST_FORCE"))

MEMORY = Path("/dev/shm")  # noqa: S108  (pytest makes a folder of its own there)
MEMORY_NEEDED = 4 * 1024**3  # bytes

Body: TypeAlias = Callable[[nox.Session], None]
# What every session reads.
COMMON = ["noxfile.py", "run.py", "pyproject.toml", "uv.lock"]
# No session reads these, and many write them.
UNREAD = [".?*_cache", ".coverage*", ".git", ".hypothesis", ".nox", ".venv*", "__pycache__", "dist", "htmlcov", "site"]
# A test is skipped where the program that it needs is missing: it must be run once that is installed.
VARIABLES = ["PYTEST_ADDOPTS"]
PROGRAMS = ["bash", "curl", "git", "node", "npm"]

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


def in_memory() -> dict[str, str]:
    """Temporary files in memory, if there is plenty: the tests' databases sync them all the time."""
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED
    runs_programs = roomy and not os.statvfs(MEMORY).f_flag & getattr(os, "ST_NOEXEC", 0)
    return {"TMPDIR": str(MEMORY)} if runs_programs else {}


@dataclass(frozen=True)
class Part:
    """A part of the session `tests`, and the sources that it is about: less than all that it passes through."""

    tests: tuple[str, ...]
    about: tuple[str, ...]


def matching(patterns: Iterable[str]) -> list[str]:
    """The files and folders of these names or patterns."""
    found = (Path().glob(each) if "*" in each else [Path(each)] for each in patterns)
    return sorted(path.as_posix() for paths in found for path in paths)


def in_files(folder: str, *names: str) -> tuple[str, ...]:
    """Patterns of the files of tests with these names."""
    return tuple(f"{folder}/test_{name}.py" for name in names)


SHARED = ("tests/[!t]*.py", "tests/t[!e]*.py", "tests/attacks")
CORE = ("src/todo_core", "src/todo_adapters/*.py")
IDENTITY = ("src/todo_adapters/jwt_identity", "src/todo_adapters/rate_limit")
APP = ("src/todo_app", *SHARED)
INTERFACE = (*APP, *IDENTITY)
# After an edit of the core or of an adapter the tests near it run by default, and in CI all.
# A file of tests is in a session of its own, or in the first part that matches it.
PARTS = {
    "tools": Part(
        (*in_files("tests", "run", "noxfile"), *in_files("tests/adapters", "scratch_cluster")),
        ("src/todo_adapters/embedded",),
    ),
    "rules": Part(("tests/core",), CORE),
    "storage": Part(
        (
            "tests/contracts",
            *in_files("tests/adapters", "coalescer*", "deadlines", "erasing", "linearizability", "migrations*"),
            *in_files("tests/adapters", "postgres_*", "shared_statement*"),
            *in_files("tests", "linearizability_checker"),
            *in_files("examples", "*"),
        ),
        (*CORE, "src/todo_adapters/postgres", "tests/adapters/[!t]*.py", "examples", "deploy/partition.sql"),
    ),
    "identity": Part(in_files("tests/adapters", "jwt_*", "rate_limit*", "system"), (*CORE, *IDENTITY)),
    "embedded": Part(("tests/adapters/embedded",), ("src/todo_adapters/embedded",)),
    "interface": Part(("tests/app",), (*CORE, *INTERFACE)),
    "processes": Part(
        in_files(
            "tests/e2e",
            *("behind_nginx", "hostile_*", "metrics", "serve", "serve_database", "sockets", "turns"),
        ),
        (*APP, "src/todo_adapters/embedded", "tests/e2e/conftest.py", "docs/deploy-systemd.md"),
    ),
    "tokens": Part(in_files("tests/e2e", "jws_cases", "limits"), (*INTERFACE, "tests/e2e/conftest.py")),
    "service": Part(in_files("tests/e2e", "*"), ("src", "benchmarks", "docs/how-to", "tests/e2e/conftest.py")),
    "pages": Part(
        in_files("tests", "pages", "examples"),
        ("*.md", "docs", "examples", "run.py", "src/todo_app", "src/todo_adapters/embedded"),
    ),
    "documents": Part((*in_files("tests", "*"), *in_files("tests/adapters", "*")), (".",)),
}


def tests_of(name: str) -> list[str]:
    """The tests of that part, as pytest takes them."""
    taken = {each.removeprefix("--ignore=") for each in SEPARATE}
    for other in PARTS:
        found = [path for path in matching(PARTS[other].tests) if path not in taken]
        if other == name:
            return found
        taken.update(found)
    raise KeyError(name)


def reads_of(name: str) -> tuple[str, ...]:
    """That part's tests, what tests share, and what they are about."""
    return (*tests_of(name), *SHARED, *PARTS[name].about)


READS: dict[str, tuple[str, ...]] = {}


def skipped_while_green(*reads: str) -> Callable[[Body], Body]:
    """Skip a session while nothing that it is about has changed since it was last green; never in CI.

    `reads` are files, folders and patterns. Arguments may choose a part of the session: given some, it runs, and what
    it finds is not kept.
    """

    def decorate(body: Body) -> Body:
        READS[body.__name__] = reads

        @functools.wraps(body)
        def check(session: nox.Session) -> None:
            before = digest(reads)
            if not session.posargs and is_green(session.name, before):
                session.skip(
                    "nothing that it is about has changed since it was last green (`run.py test --force` runs it)"
                )
            forget(session.name)
            body(session)
            # Else some of it was checked as it was before an edit, and some after.
            if not session.posargs and digest(reads) == before:
                note(session.name, before)

        return check

    return decorate


def is_green(name: str, digest: str) -> bool:
    """Whether what has that name was green with that digest, and need not run again."""
    green = Path(".nox/green", name)
    return not FORCED and green.exists() and green.read_text() == digest


def forget(name: str) -> None:
    """Let nothing be known of what is about to run."""
    Path(".nox/green", name).unlink(missing_ok=True)


def note(name: str, digest: str) -> None:
    """Remember that it was green with that digest."""
    green = Path(".nox/green", name)
    green.parent.mkdir(parents=True, exist_ok=True)
    green.write_text(digest)


def digest(reads: tuple[str, ...]) -> str:
    """A digest of these files and folders, of what every session reads, of this Python and the programs at hand."""
    machine = [sys.version, platform.platform(), *map(os.environ.get, VARIABLES), *map(shutil.which, PROGRAMS)]
    found = sha256(repr(machine).encode())
    for path in sorted({path for each in places(reads) for path in files(Path(each))}):
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        found.update(repr((path.as_posix(), path.lstat().st_mode, sha256(content).digest())).encode())
    return found.hexdigest()


def places(reads: tuple[str, ...]) -> list[str]:
    """Where that is which they read, what every session reads included."""
    return [*COMMON, *matching(reads)]


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
    """Style: rules and layout of the code (`ruff check --fix` and `ruff format` repair most)."""
    run(session, "ruff", "check")
    run(session, "ruff", "format", "--check")


@nox.session
@skipped_while_green("src", "examples")
def types(session: nox.Session) -> None:
    """Types: mypy, strictly."""
    run(session, "mypy", "--num-workers", "auto")


@nox.session
def imports(session: nox.Session) -> None:
    """Layers: no import points outward, from the core to adapters to the app."""
    session.run(
        sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-logo'])"
    )


@nox.session
def tests(session: nox.Session) -> None:
    """Behaviour: all tests that no other session has; skips parts with unchanged sources; in CI all, with coverage."""
    if session.posargs or CI:
        run(session, "pytest", *SEPARATE, *(session.posargs or [*PARALLEL, *COVERAGE]), env=in_memory())
        return
    before = {name: digest(reads_of(name)) for name in PARTS}
    chosen = [name for name in PARTS if not is_green(name, before[name])]
    if not chosen:
        session.skip("nothing that they are about has changed since they were last green")
    session.log(f"{', '.join(chosen)}: what other parts are about has not changed since they were last green")
    for name in chosen:
        forget(name)
    paths = [path for name in chosen for path in tests_of(name)]
    run(session, "pytest", *SEPARATE, *PARALLEL, *CHOICE, *paths, env=in_memory())
    for name in chosen:
        if digest(reads_of(name)) == before[name]:
            note(name, before[name])


@nox.session(venv_backend="uv")
@skipped_while_green("docs", SITE)
def docs(session: nox.Session) -> None:
    """Documents: a site of them, in `site/`, without a warning and with nothing from another host."""
    sync(session, "--group", "docs")
    session.run(
        "sphinx-build", "--fail-on-warning", "--keep-going", "--quiet", "--fresh-env", "--jobs", "auto", "docs", "site"
    )
    session.run("pytest", "-q", "--noconftest", SITE)


@nox.session
def pythons(session: nox.Session) -> None:
    """Pythons: lists the supported ones that are installed, for `tests-on`; each imports the core."""
    program = f"import sys; sys.path.insert(0, {str(Path('src').resolve())!r}); import todo_core; print(sys.version)"
    for version in PYTHONS:
        if (python := shutil.which(f"python{version}")) is None:
            session.log(f"CPython {version} is missing here: nothing is tried on it")
        else:
            session.log(f"CPython {version} is {python}")
            session.run(python, "-I", "-S", "-W", "error", "-c", program, external=True)


@nox.session(venv_backend="uv", default=CI)
def browser(session: nox.Session) -> None:
    """Pages (by default in CI only): /docs, the example, Better Auth; in this machine's Chromium, or one from npm."""
    sync(session, "--group", "browser", "--compile-bytecode")
    beside = [] if session.posargs else ["-n", "3"]  # each with a browser and a server of its own
    session.run("pytest", *beside, *chosen(session, BROWSER), env=in_memory())


@nox.session(default=CI)
def clients(session: nox.Session) -> None:
    """Clients (by default in CI only): Better Auth, OpenID, a generated one, one that works offline; most need node."""
    beside = [] if session.posargs else PARALLEL
    run(session, "pytest", *beside, *chosen(session, *CLIENTS), env=in_memory())


@nox.session(default=CI)
def packages(session: nox.Session) -> None:
    """Packages (by default in CI only): what is built, and what each extra brings."""
    beside = [] if session.posargs else PARALLEL
    run(session, "pytest", *beside, *chosen(session, PACKAGES), env=in_memory())


@nox.session(default=CI)
def schemathesis(session: nox.Session) -> None:
    """Fuzzing (by default in CI only): the OpenAPI document against a live server (`-- -n 1000`: for Schemathesis)."""
    session.run(sys.executable, "tests/fuzzing/run.py", *session.posargs)


@nox.session(venv_backend="uv", default=CI)
def agents(session: nox.Session) -> None:
    """Agents (by default in CI only): OpenAI's SDK; MCP's inspector and conformance suite; tokens. Some need node."""
    sync(session, "--group", "agents")
    session.run("pytest", *chosen(session, AGENTS))


@nox.session(venv_backend="uv", default=False)
def deployment(session: nox.Session) -> None:
    """Deployment: the image, compose.yaml, manifests, workflows, and Caddy with TLS in front of two real servers."""
    sync(session, "--group", "deployment")
    session.run("pytest", *chosen(session, DEPLOYMENT))


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Faults: processes, connections, databases die; no write is lost. `-- --document` writes docs/faults.md."""
    run(session, "pytest", *chosen(session, FAULTS))


@nox.session(name="tests-on", python=PYTHONS, venv_backend="uv", default=False)
def tests_on(session: nox.Session) -> None:
    """`tests` on this version of Python, from the same lock file; skipped where it is missing."""
    sync(session, "--python", session.virtualenv.location)
    session.run("pytest", *SEPARATE, *(session.posargs or PARALLEL))


@nox.session(name="tests-on-wheel", venv_backend="uv", default=False)
def tests_on_wheel(session: nox.Session) -> None:
    """`tests` on the built wheel, in place of the sources."""
    sync(session, "--no-install-project")
    session.run_install("uv", "pip", "install", "--quiet", "--no-deps", "--reinstall", str(wheel(session)))
    session.run("python", "-c", "import todo_core; assert 'site-packages' in todo_core.__file__, todo_core.__file__")
    session.run("pytest", *SEPARATE, *(session.posargs or PARALLEL))


@nox.session(venv_backend="uv", default=False)
def bench(session: nox.Session) -> None:
    """Speed: cost per request, beside FastAPI, Fastify and the database's own limit (`-- --help`)."""
    measure(session, "benchmarks")


@nox.session(venv_backend="uv", default=False)
def neighbour(session: nox.Session) -> None:
    """Fairness: what one user feels while another attacks; rewrites the table in docs/performance.md (`-- --help`)."""
    measure(session, "benchmarks.neighbour")


@nox.session(venv_backend="uv", default=False)
def growth(session: nox.Session) -> None:
    """Scale: how cost grows with connections, tasks and workers; memory, and the plans of 10^6 rows."""
    measure(session, "benchmarks.growth")


@nox.session(venv_backend="uv", default=False)
def soak(session: nox.Session) -> None:
    """Endurance: a million requests, hostile ones included, each checked against a model; the server must not grow."""
    measure(session, "benchmarks.soak")


def wheel(session: nox.Session) -> Path:
    """The wheel that users install, made from the sdist."""
    dist = Path(session.create_tmp(), "dist").resolve()
    shutil.rmtree(dist, ignore_errors=True)
    run(session, "uv", "build", "--quiet", "--out-dir", str(dist))
    return next(dist.glob("*.whl"))


def measure(session: nox.Session, module: str) -> None:
    """Run a benchmark in an environment of its own: what it compares with is no part of the development's."""
    sync(session, "--no-default-groups", "--group", "bench")
    session.run("python", "-m", module, *session.posargs)


def sync(session: nox.Session, *choice: str) -> None:
    """Have the session's own environment hold what uv.lock says of these groups."""
    environment = {"UV_PROJECT_ENVIRONMENT": session.virtualenv.location}
    session.run_install("uv", "sync", "--quiet", "--frozen", *choice, env=environment)
