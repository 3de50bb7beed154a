"""Carries a document's code blocks out as its reader would: from the top to the bottom, in one shell, in a clone."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpx
from markdown_it import MarkdownIt
from serving import environment, eventually, free_port, lives

ROOT = Path(__file__).parents[1]
OUTPUT = {"text"}  # what such a block shows, the block before it must have printed
_SERVES = re.compile(r"(?:python3 run\.py|todo) serve[^\n]*\Z")
_NAMES_A_FILE = re.compile(r"(?:#|//) ([\w-]+\.\w+)\n")
_EXCUSE = re.compile(r"<!-- not run: (.+?) -->", re.DOTALL)
_END = "the block has ended"


@dataclass(frozen=True)
class Block:
    """A code block, and why it is not run if it isn't: `<!-- not run: why -->` on the line before it."""

    language: str
    text: str
    line: int
    excuse: str = ""

    @property
    def file(self) -> str:
        """The file that it is the content of, if its first line is a comment with nothing but a file's name."""
        named = _NAMES_A_FILE.match(self.text)
        return named[1] if named else ""


def pages() -> list[str]:
    """Every document with code blocks, as a path from the project's folder."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found if blocks_of(path))


def blocks_of(path: Path) -> list[Block]:
    """The code blocks of a document, indented ones included."""
    blocks, before = [], ""
    for token in MarkdownIt().parse(path.read_text()):
        if token.type in {"fence", "code_block"}:
            excuse = _EXCUSE.fullmatch(before)
            line = token.map[0] + 1 if token.map else 0
            blocks.append(Block(token.info, token.content, line, excuse[1] if excuse else ""))
        before = token.content.strip() if token.type == "html_block" else ""
    return blocks


class Reader:
    """Somebody at a shell in a clone, who does what a page says. For 8000 and 8001 it has free ports."""

    def __init__(self, folder: Path, *programs: Path, **variables: str) -> None:
        """`programs` are folders that go into PATH, behind that of this Python."""
        self._folder = folder
        self._ports = {"8000": str(free_port()), "8001": str(free_port())}
        self._servers: dict[str, str] = {}
        self._count = 0
        _make_clone(folder)
        for strictness, option in {"strict": "fail-with-body\n", "lenient": ""}.items():
            (folder / strictness).mkdir()
            (folder / strictness / ".curlrc").write_text(f"silent\nshow-error\n{option}")
        path = [Path(sys.executable).parent, *programs, os.environ.get("PATH", os.defpath)]
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={**environment(**variables), "PATH": os.pathsep.join(map(str, path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._order("set -euo pipefail")

    def read(self, blocks: list[Block]) -> None:
        """Do it all. Fails where a command fails, an answer is a refusal, or the page shows another output."""
        output = ""
        for block, after in zip(blocks, [*blocks[1:], None], strict=True):
            text = re.sub("800[01]", lambda port: self._ports[port[0]], block.text)
            shown = after is not None and after.language in OUTPUT
            if block.excuse:
                continue
            if block.language in OUTPUT:
                assert _agree(text, output), f"line {block.line} shows\n{text}\nand this was printed:\n{output}"
            elif block.file:
                (self._folder / block.file).write_text(text)
            elif block.language == "python":
                (self._folder / "block.py").write_text(text)
                output = self._run("python3 block.py", block, refusals=shown)
            elif block.language == "sh":
                output = self._run(text.rstrip(), block, refusals=shown)
            else:
                raise AssertionError(f"line {block.line}: nobody knows how to run {block.language!r}")

    def _run(self, command: str, block: Block, *, refusals: bool) -> str:
        self._count += 1
        script, out = (self._folder / f"{name}-{self._count}" for name in ("block", "output"))
        serves = _SERVES.search(command)
        if serves:
            port = self._make_room(serves[0])
            command += f"{'' if '--port' in serves[0] else f' --port {port}'} &\nSERVER=$!"
        script.write_text(f"{command}\n")
        self._order(f"export CURL_HOME=$PWD/{'lenient' if refusals else 'strict'}")
        said = self._order(f"source ./{script.name} >{out.name} 2>&1 </dev/null")
        assert said is not None, f"line {block.line} failed:\n{block.text}\n{out.read_text()}"
        if serves:
            self._servers[port] = str(self._order("echo $SERVER"))
            eventually(lambda: _answers(port) or not lives(int(self._servers[port])), 60)
            assert lives(int(self._servers[port])), out.read_text()
        return out.read_text()

    def _make_room(self, command: str) -> str:
        """The port that this command serves at. Who starts a second server at one has ended the first."""
        port = self._ports["8001" if f"--port {self._ports['8001']}" in command else "8000"]
        if port in self._servers:
            self._end(self._servers.pop(port))
        return port

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


def _make_clone(folder: Path) -> None:
    """The files that `python3 run.py` needs, and a .venv as it makes one, holding what is installed here."""
    for name in ("run.py", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv").mkdir()
    (folder / ".venv/bin").symlink_to(Path(sys.executable).parent)
    spec = importlib.util.spec_from_file_location("run", folder / "run.py")
    assert spec is not None
    assert spec.loader is not None
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    run.write_stamp("dev", inputs=run.digest_of_inputs())


def _answers(port: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=5).is_success
    return False


def _agree(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed: `…` stands for anything, and line breaks and spaces for nothing."""
    parts = [re.escape("".join(part.split())) for part in shown.split("…")]
    return re.fullmatch(".*".join(parts), "".join(printed.split()), re.DOTALL) is not None
