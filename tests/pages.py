"""Runs a document's code blocks as its reader would: from top to bottom, in one shell, in a clone."""

import importlib.util
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import tty
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType

from markdown_it import MarkdownIt
from serving import environment, eventually, free_port, lives

ROOT = Path(__file__).parents[1]
OUTPUT = {"text"}  # what such a block shows, the block before it must have printed
FOLDERS = ("docs", "examples", "deploy", "benchmarks", "tests", ".github")  # the root's own documents beside these
_PORT = re.compile(r"\b(?:8000|8001|3000)\b")
_SERVES = re.compile(
    r"(?:(?:python3 run\.py|todo) serve|granian|python -m http\.server|python \S+_service\.py)[^\n]*\Z"
)
_NAMES_A_FILE = re.compile(r"(?:#|//) ([\w-]+\.\w+)\n")
_REMARK = re.compile(r"<!-- (not run|run by): (.+?) -->", re.DOTALL)
ADDS_SPACE = "The API's JSON has no white space between members; this page adds it."
_END = "the block has ended"
_CACHES = {".venv", ".nox", ".pytest_cache", ".hypothesis", "__pycache__"}  # git ignores them


@dataclass(frozen=True)
class Block:
    """A code block. On the line before it may stand `<!-- not run: why -->` or `<!-- run by: a test that does -->`."""

    language: str
    text: str
    line: int
    excuse: str = ""
    runner: str = ""
    spaced: bool = False  # the page has said that it adds spaces and line breaks to answers

    @property
    def file(self) -> str:
        """The file that it is the content of, if its first line is a comment with nothing but a file's name."""
        named = _NAMES_A_FILE.match(self.text)
        return named[1] if named else ""


def pages() -> list[str]:
    """Every document with code blocks, as a path from the project's folder."""
    found = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.md"))]
    return sorted(path.relative_to(ROOT).as_posix() for path in found if blocks_of(path))


def blocks_of(path: Path) -> list[Block]:
    """The code blocks of a document, indented ones included."""
    blocks, before, spaced = [], "", False
    for token in MarkdownIt().parse(path.read_text()):
        if token.type in {"fence", "code_block"}:
            line = token.map[0] + 1 if token.map else 0
            remark = dict([found.groups()]) if (found := _REMARK.fullmatch(before)) else {}
            excuse, runner = remark.get("not run", ""), remark.get("run by", "")
            blocks.append(Block(token.info, token.content, line, excuse, runner, spaced))
        spaced = spaced or ADDS_SPACE in token.content
        before = token.content.strip() if token.type == "html_block" else ""
    return blocks


class Terminal:
    """What commands print, as a person sees it: to them it is a terminal, which changes what curl prints, say."""

    def __init__(self) -> None:
        self._ours, self.fd = os.openpty()
        tty.setraw(self.fd)  # a line end stays what it is
        self._printed, self._more = b"", threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError):  # nobody has it open any more
            while printed := os.read(self._ours, 4096):
                with self._more:
                    self._printed += printed
                    self._more.notify()

    def taken(self) -> str:
        """What has been printed since the last call."""
        os.write(self.fd, b"\0")
        with self._more:
            assert self._more.wait_for(lambda: b"\0" in self._printed, 30)
            text, _, self._printed = self._printed.partition(b"\0")
        return text.decode()

    def close(self) -> None:
        """Once the commands have ended."""
        os.close(self.fd)
        self._thread.join(10)
        os.close(self._ours)


class Reader:
    """Somebody at a shell in a clone, who does what a page says. For its ports it has free ones."""

    def __init__(self, folder: Path, *programs: Path, places: dict[str, str] | None = None, **variables: str) -> None:
        """`programs` are folders that go into PATH; `places` what stands for an address.

        The environment is in PATH only once the page has activated it.
        """
        self._clone, self._shown = folder, set[str]()
        self._terminal = Terminal()
        self._ports = {port: str(free_port()) for port in ("8000", "8001", "3000")}
        self._places = places or {}
        self._servers: dict[str, str] = {}
        self._count = 0
        _make_clone(folder)
        self._before = _files(folder)
        self._own = Path(mkdtemp(dir=folder.parent))
        own = _own_variables(self._own, programs)
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment(**variables, **own),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=[self._terminal.fd],
        )
        self._order("set -euo pipefail")

    @property
    def url(self) -> str:
        """Where its server is."""
        return f"http://127.0.0.1:{self._ports['8000']}"

    def _here(self, text: str) -> str:
        """What it reads, with this machine's ports and addresses."""
        for place, here in self._places.items():
            text = text.replace(place, here)
        return _PORT.sub(lambda port: self._ports[port[0]], text)

    def read(self, blocks: list[Block]) -> None:
        """Do it all. Fails where a command fails, an answer is a refusal, or the page shows another output."""
        output = ""
        for block, after in zip(blocks, [*blocks[1:], None], strict=True):
            text = self._here(block.text)
            shown = after is not None and after.language in OUTPUT
            if block.excuse or block.runner:
                continue
            if block.language in OUTPUT:
                assert agree(text, output, spaced=block.spaced), (
                    f"line {block.line} shows\n{text}\nand this was printed:\n{output}"
                )
            elif block.file:
                (self._clone / block.file).write_text(text)
                self._shown.add(block.file)
            elif block.language == "python":
                (self._own / "block.py").write_text(text)
                output = self._run(f"python3 {shlex.quote(str(self._own / 'block.py'))}", block, refusals=shown)
            elif block.language == "sh":
                shows = after.text if after is not None and after.language in OUTPUT else ""
                output = self._run(text.rstrip(), block, refusals=shown, until=self._here(shows))
            else:
                raise AssertionError(f"line {block.line}: nobody knows how to run {block.language!r}")

    def _place(self, command: str) -> tuple[str, bool]:
        """Where this command serves, a port or the path of a socket, and whether it says so itself."""
        for word in shlex.split(command):
            if word in self._ports.values():
                return word, True
            if word.endswith(".sock"):
                return f"{self._order('pwd')}/{word}", True
        return self._ports["8000"], False

    def _make_room(self, place: str) -> None:
        """Who starts a second server somewhere has ended the first."""
        if place in self._servers:
            self._end(self._servers.pop(place))

    def _run(self, command: str, block: Block, *, refusals: bool, until: str = "") -> str:
        """What the command prints; of a server at least the beginning of `until`, which it prints once it answers."""
        self._count += 1
        script, out = (self._own / f"{name}-{self._count}" for name in ("block", "output"))
        serves = _SERVES.search(command)
        if serves:
            place, named = self._place(serves[0])
            self._make_room(place)
            command += f"{'' if named else f' --port {place}'} &\nSERVER=$!"
        script.write_text(f"{command}\n")
        curl = self._own / ("lenient" if refusals else "strict")
        self._order(f"export CURL_HOME={shlex.quote(str(curl))}")
        screen = shlex.quote(str(out)) if serves else f"&{self._terminal.fd}"
        said = self._order(f"source {shlex.quote(str(script))} >{screen} 2>&1 </dev/null")
        printed = out.read_text() if serves else self._terminal.taken()
        assert said is not None, f"line {block.line} failed:\n{block.text}\n{printed}"
        if serves:
            self._await(place, out, until, says=bool(re.search(r"(?:run\.py|todo) serve", serves[0])))
            return out.read_text()
        _looks_right(printed, block)
        return printed

    def _await(self, place: str, out: Path, until: str, *, says: bool) -> None:
        """Wait for the server that was just started there; it `says` by itself that it serves."""
        self._servers[place] = str(self._order("echo $SERVER"))
        begins = _without_space(until.strip("…\n ").split("…")[0])

        def ready() -> bool:
            printed = out.read_text()
            return begins in _without_space(printed) and ('"event":"serving"' in printed if says else _answers(place))

        eventually(lambda: ready() or not lives(int(self._servers[place])), 60)
        assert lives(int(self._servers[place])), out.read_text()

    def left_behind(self) -> set[str]:
        """The files that commands have made in the clone; those that the page shows are not among them."""
        return _files(self._clone) - self._before - self._shown

    def _end(self, server: str) -> None:
        if self._bash.poll() is None:
            self._order(f"kill {server}; wait {server} || true")
        else:  # a command failed, and the shell with it
            os.kill(int(server), signal.SIGTERM)
            eventually(lambda: not lives(int(server)), 60)

    def _order(self, command: str) -> str | None:
        """What a command prints into the pipe; None where the shell ended at it."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{command}\necho '{_END}'\n")
        self._bash.stdin.flush()
        said = ""
        for line in self._bash.stdout:
            if line.strip() == _END:
                return said.strip()
            said += line
        return None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers.values():
            self._end(server)
        self._bash.communicate()
        self._terminal.close()


def _looks_right(printed: str, block: Block) -> None:
    """The prompt after it begins a line, and nothing was drawn over."""
    assert not printed or printed.endswith("\n"), f"line {block.line}: the prompt stands behind {printed[-60:]!r}"
    assert "\r" not in printed, f"line {block.line} shows progress: {printed!r}"


def _files(folder: Path) -> set[str]:
    """All files of a clone but caches, as paths from it."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return {path.as_posix() for path in found if not _CACHES.intersection(path.parts)}


def _make_clone(folder: Path) -> None:
    """What `python3 run.py` needs, the examples, and a .venv as it makes one, holding what is installed here."""
    folder.mkdir(exist_ok=True)
    for name in ("run.py", "pyproject.toml", "uv.lock", "noxfile.py"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".venv").mkdir()
    (folder / ".venv/bin").symlink_to(Path(sys.executable).parent)
    spec = importlib.util.spec_from_file_location("run", folder / "run.py")
    assert spec is not None
    assert spec.loader is not None
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    run.write_stamp("dev", inputs=run.digest_of_inputs())


def _own_variables(folder: Path, programs: tuple[Path, ...]) -> dict[str, str]:
    """The reader's environment, after putting what it names into that folder: a Python, and settings of curl."""
    for strictness, option in {"strict": "fail-with-body\n", "lenient": ""}.items():
        (folder / strictness).mkdir()
        (folder / strictness / ".curlrc").write_text(option)
    (folder / "system").mkdir()  # with the Python that .venv was made with: run.py would make another's anew
    (folder / "system/python3").symlink_to(Path(sys.executable).resolve())
    path = [folder / "system", *programs, _path_without_environments()]
    own = {"PATH": os.pathsep.join(map(str, path)), "TERM": "dumb", "NO_COLOR": "1"}
    return own | {"PYTEST_DEBUG_TEMPROOT": str(folder)}  # else a pytest on a page clears what the one around it made


def _path_without_environments() -> str:
    """PATH as it is before somebody activates an environment, this one or one that a tool has made."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not (Path(folder).parent / "pyvenv.cfg").exists())


def _answers(place: str) -> bool:
    """Whether somebody serves there: a port, or the path of a socket."""
    with suppress(OSError), socket.socket() if place.isdecimal() else socket.socket(socket.AF_UNIX) as caller:
        caller.connect(("127.0.0.1", int(place)) if place.isdecimal() else place)
        return True
    return False


def agree(shown: str, printed: str, *, spaced: bool = False) -> bool:
    """Whether a page shows what was printed: `…` stands for anything, and white space for nothing if it is `spaced`.

    What nobody sees does not count: spaces at the end of a line, and empty lines at the end.
    """
    seen = _without_space if spaced else _without_trailing_spaces
    pattern = ".*".join(map(re.escape, seen(shown).rstrip("\n").split("…")))
    return re.fullmatch(rf"{pattern}\n*", seen(printed), re.DOTALL) is not None


def _without_space(text: str) -> str:
    return "".join(text.split())


def _without_trailing_spaces(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n"))
