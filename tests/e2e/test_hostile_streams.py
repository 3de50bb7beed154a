"""`todo mcp` on standard streams that are non-blocking, full, closed or of the wrong kind."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from serving import SECRET, START_SECONDS, TODO, environment

pytestmark = pytest.mark.timeout(300)  # a busy machine starts processes slowly
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
START: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "x", "version": "1"},
}
Mcp: TypeAlias = "Callable[..., subprocess.Popen[bytes]]"


def ask(number: int, method: str = "initialize", **params: Any) -> bytes:
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params or START}
    return json.dumps(request).encode() + b"\n"


@pytest.fixture
def mcp(data_dir: Path) -> Iterator[Mcp]:
    """Starts `todo mcp`, and ends it with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**streams: Any) -> "subprocess.Popen[bytes]":
        variables = environment(TODO_DATA_DIR=str(data_dir), BETTER_AUTH_SECRET=SECRET)
        started.append(subprocess.Popen([TODO, "mcp", "dev"], env=variables, stderr=subprocess.PIPE, **streams))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=START_SECONDS)


def refused(process: "subprocess.Popen[bytes]", line: str) -> None:
    """It ends with that line, and nothing else."""
    _, said = process.communicate(timeout=START_SECONDS)
    assert (said.decode(), process.returncode) == (f"todo: {line}\n", 2)


def test_non_blocking_streams_are_waited_for(mcp: Mcp) -> None:
    theirs, ours = os.pipe()
    read, write = os.pipe()
    for descriptor in (theirs, write):
        os.set_blocking(descriptor, False)
    process = mcp(stdin=theirs, stdout=write)
    os.close(theirs)
    os.close(write)
    with os.fdopen(ours, "wb") as to, os.fdopen(read, "rb") as answers:
        for number in (1, *range(2, 40)):  # 40 lists of tools are more than a pipe holds
            to.write(ask(number) if number == 1 else ask(number, "tools/list", cursor=None))
        to.flush()
        assert {json.loads(answers.readline())["id"] for _ in range(39)} == set(range(1, 40))
        to.close()
        assert answers.read() == b""
    assert process.wait(START_SECONDS) == 0


def test_a_signal_ends_it_while_its_client_reads_nothing(mcp: Mcp) -> None:
    process = mcp(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(ask(1))
    process.stdin.flush()
    process.stdout.read(1)
    process.stdin.write(b"".join(ask(number, "tools/list", cursor=None) for number in range(2, 40)))
    process.stdin.flush()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=START_SECONDS)
    assert (process.returncode, said) == (130, b"")


def test_an_input_that_cannot_be_read_ends_it_with_one_line(mcp: Mcp, tmp_path: Path) -> None:
    with (tmp_path / "written").open("wb") as file:
        process = mcp(stdin=file, stdout=subprocess.DEVNULL)
    refused(process, "standard input cannot be read: Bad file descriptor")


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        pytest.param("/dev/full", "No space left on device", marks=needs_full),
        ("nobody", "Broken pipe"),
        ("closed", "Bad file descriptor"),
    ],
)
def test_an_output_that_cannot_be_written_ends_it_with_one_line(mcp: Mcp, to: str, reason: str) -> None:
    read, write = os.pipe()
    if to == "closed":
        process = mcp(stdin=subprocess.PIPE, preexec_fn=lambda: os.close(1))
    elif to == "nobody":
        process = mcp(stdin=subprocess.PIPE, stdout=write)
    else:
        with Path(to).open("wb") as file:
            process = mcp(stdin=subprocess.PIPE, stdout=file)
    os.close(read)
    os.close(write)
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(ask(1))
        process.stdin.flush()
    process.wait(START_SECONDS)  # its input is still open
    refused(process, f"standard output cannot be written: {reason}")
