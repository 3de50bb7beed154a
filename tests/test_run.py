"""`run.py` in empty folders: what it installs and when, with a stand-in for uv that records its arguments."""

import ast
import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "run.py"
# Answers `uv --version`; on `uv sync` notes its arguments and makes the commands that an installation would bring.
UV = """\
#!/bin/sh
if [ "$1" = --version ]; then echo "uv 0.13.9"; exit; fi
echo "$*" >> "$UV_PROJECT_ENVIRONMENT/../calls"
sleep "${SLOW:-0}"
while [ -e "${HELD:-}" ]; do sleep 0.02; done
if [ -n "$BROKEN" ]; then echo "no network"; exit 2; fi
for tool in todo nox; do
    [ $tool = nox ] && case "$*" in *--no-dev*) continue ;; esac
    printf '#!/bin/sh\\necho "%s: $*"\\nexit ${STATUS:-0}\\n' $tool > "$UV_PROJECT_ENVIRONMENT/bin/$tool"
    chmod +x "$UV_PROJECT_ENVIRONMENT/bin/$tool"
done
"""
LOCK = """\
[[package]]
name = "uv"
version = "0.13.9"
wheels = [{{ url = "https://example.invalid/uv.whl", hash = "sha256:{digest}" }}]
"""


class Clone:
    """A folder with nothing but `run.py` and the two files that it reads, and a `uv` in PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tools = folder / "tools"
        self.tools.mkdir(parents=True)
        shutil.copy(SOURCE, folder)
        (folder / "pyproject.toml").write_text("")
        self.lock(digest="0" * 64)
        (self.tools / "uv").write_text(UV)
        (self.tools / "uv").chmod(0o755)

    def lock(self, *, digest: str) -> None:
        (self.folder / "uv.lock").write_text(LOCK.format(digest=digest))

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        path = f"{self.tools}{os.pathsep}/usr/bin{os.pathsep}/bin"
        return subprocess.Popen(
            [sys.executable, *(command if command[0] == "-c" else ["run.py", *command])],
            cwd=self.folder,
            env={"PATH": path, "HOME": str(self.folder), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*command, **environment)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def installs(self) -> list[str]:
        """What was asked of `uv sync` so far, the interpreter left out."""
        calls = self.folder / "calls"
        return [line.rpartition("/python ")[2] for line in calls.read_text().splitlines()] if calls.exists() else []


SERVER = "--no-dev --extra all"
DEV = "--group dev --compile-bytecode"


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "a clone")


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], []])
def test_help_installs_nothing(clone: Clone, arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "run.py", *arguments], cwd=clone.folder, capture_output=True, text=True)
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("serve", "test", "migrate", "token", "openapi", "--version"))
    assert "delete .venv" in done.stdout
    assert not (clone.folder / ".venv").exists()


def test_an_older_python_gets_one_sentence_that_says_which_is_needed(clone: Clone) -> None:
    ast.parse(SOURCE.read_text(), feature_version=(3, 8))
    older = "import runpy, sys; sys.version_info = (3, 8, 18); sys.argv = ['run.py', 'serve']"
    done = clone.run("-c", f"{older}; runpy.run_path('run.py', run_name='__main__')")
    assert done.returncode == 1
    assert done.stderr.startswith("run.py: this needs Python 3.11 or newer")
    assert len(done.stderr.splitlines()) == 1


def test_windows_is_refused_in_one_sentence(clone: Clone) -> None:
    done = clone.run("-c", "import os, run; os.name = 'nt'; run.main(['serve'])")
    assert (done.returncode, done.stderr) == (1, "run.py: this needs Linux or macOS\n")


def test_the_first_serve_installs_without_tools_and_hands_everything_over(clone: Clone) -> None:
    done = clone.run("serve", "--port", "0", STATUS="7")
    assert (done.returncode, done.stdout) == (7, "todo: serve --port 0\n")
    assert clone.installs() == [SERVER]


def test_every_other_command_goes_to_the_service_and_nothing_is_added_to_its_output(clone: Clone) -> None:
    assert clone.run("token", "ann").stdout == "todo: token ann\n"
    assert clone.run("--version").stdout == "todo: --version\n"


def test_nothing_is_installed_again_while_nothing_changes(clone: Clone) -> None:
    clone.run("serve")
    done = clone.run("serve")
    assert (done.stdout, done.stderr) == ("todo: serve\n", "")
    assert clone.installs() == [SERVER]


def test_switching_between_test_and_serve_installs_the_tools_once_and_keeps_them(clone: Clone) -> None:
    for command in ("serve", "test", "serve", "test"):
        clone.run(command)
    assert clone.installs() == [SERVER, DEV]
    clone.lock(digest="1" * 64)
    assert clone.run("serve").stdout == "todo: serve\n"
    assert clone.installs() == [SERVER, DEV, DEV]


def test_arguments_of_test_go_to_nox(clone: Clone) -> None:
    assert clone.run("test", "-s", "lint").stdout == "nox: -s lint\n"
    assert clone.run("test", "--force").stdout == "nox: \n"
    assert clone.run("test", "-s", "schemathesis", "--", "--force").stdout == "nox: -s schemathesis -- --force\n"


@pytest.mark.parametrize("file", ["uv.lock", "pyproject.toml"])
def test_a_changed_pin_is_installed_into_the_same_environment(clone: Clone, file: str) -> None:
    clone.run("serve")
    (kept := clone.folder / ".venv/kept").touch()
    with (clone.folder / file).open("a") as changed:
        changed.write("\n# changed\n")
    clone.run("serve")
    assert clone.installs() == [SERVER, SERVER]
    assert kept.exists()


def break_interpreter(folder: Path) -> Path:
    (folder / ".venv/bin/python").unlink()
    (folder / ".venv/bin/python").symlink_to("/nowhere/python")
    return folder


def change_version(folder: Path) -> Path:
    stamp = folder / ".venv/run.json"
    stamp.write_text(stamp.read_text().replace(str(sys.implementation.cache_tag), "cpython-39"))
    return folder


def move(folder: Path) -> Path:
    return folder.rename(folder.with_name("moved"))


@pytest.mark.parametrize("damage", [break_interpreter, change_version, move])
def test_an_environment_that_cannot_work_is_built_anew(clone: Clone, damage: object) -> None:
    clone.run("serve")
    (clone.folder / ".venv/kept").touch()
    clone.folder = damage(clone.folder)  # type: ignore[operator]
    clone.tools = clone.folder / "tools"
    assert clone.run("serve").stdout == "todo: serve\n"
    assert clone.installs() == [SERVER, SERVER]
    assert not (clone.folder / ".venv/kept").exists()


def test_an_environment_that_uv_made_is_completed_and_kept(clone: Clone) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone.folder / ".venv"], check=True)
    (kept := clone.folder / ".venv/kept").touch()
    clone.run("serve")
    assert clone.installs() == [SERVER]
    assert kept.exists()


def test_a_failed_install_shows_everything_and_the_next_run_repairs_it(clone: Clone) -> None:
    done = clone.run("serve", BROKEN="yes")
    assert done.returncode == 1
    assert "no network\n" in done.stderr
    assert done.stdout == ""
    (clone.folder / ".venv/half-made").touch()
    assert clone.run("serve").stdout == "todo: serve\n"
    assert not (clone.folder / ".venv/half-made").exists()


def test_a_killed_install_is_waited_for_and_then_repaired(clone: Clone) -> None:
    (held := clone.folder / "held").touch()
    first = clone.start("serve", HELD=str(held))
    while not clone.installs():
        assert first.poll() is None
    first.kill()
    second = clone.start("serve")  # the orphaned uv still runs, and still holds the lock
    assert second.stderr is not None
    try:
        said = second.stderr.readline()
    finally:
        held.unlink()
    first.communicate()
    assert second.communicate()[0] == "todo: serve\n"
    assert "waiting for another run.py" in said
    assert clone.installs() == [SERVER, SERVER]


def test_two_simultaneous_runs_install_once_and_both_start(clone: Clone) -> None:
    runs = [clone.start("serve", SLOW="0.5") for _ in range(2)]
    assert [run.communicate()[0] for run in runs] == ["todo: serve\n"] * 2
    assert clone.installs() == [SERVER]


def make_wheel(folder: Path) -> str:
    """Put a wheel of uv that is our stand-in into `folder`; returns its SHA-256."""
    info = "uv-0.13.9.dist-info"
    files = {
        "uv-0.13.9.data/scripts/uv": UV,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: uv\nVersion: 0.13.9\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(folder / "uv-0.13.9-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100755 << 16
            wheel.writestr(entry, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text)}\n"
        wheel.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return hashlib.sha256((folder / "uv-0.13.9-py3-none-any.whl").read_bytes()).hexdigest()


@pytest.mark.ci
def test_without_uv_the_pinned_one_is_fetched_and_no_other(clone: Clone) -> None:
    (clone.tools / "uv").unlink()
    # As hostile as a pip configuration gets: user installs, and none outside a virtual environment.
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ".", "PIP_USER": "1", "PIP_REQUIRE_VIRTUALENV": "1"}
    digest = make_wheel(clone.folder)

    refused = clone.run("serve", **offline)  # the lock file wants another hash
    assert refused.returncode == 1
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert clone.installs() == []

    clone.lock(digest=digest)
    done = clone.run("serve", **offline)
    assert done.stdout == "todo: serve\n", done.stderr
    assert clone.installs() == [SERVER]


@pytest.mark.parametrize("uv", ["exit 1", "echo uv 0.13.8", "echo something else"])
def test_with_neither_a_fitting_uv_nor_pip_the_missing_package_is_named(clone: Clone, uv: str) -> None:
    (clone.tools / "uv").write_text(f"#!/bin/sh\n{uv}\n")
    bare = "import importlib.util as u, runpy, sys; u.find_spec = lambda name: None; sys.argv = ['run.py', 'serve']"
    done = clone.run("-c", f"{bare}; runpy.run_path('run.py', run_name='__main__')")
    assert done.returncode == 1
    assert "sudo apt install python3-venv" in done.stderr.splitlines()[-1]
