"""The server in a broken environment: a closed terminal, standard streams that are missing, full or never read."""

import importlib.resources
import json
import os
import pty
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from databases import ScratchCluster
from effort import IN_CI
from serving import SECRET, START_SECONDS, Serve, Server, database_pid, eventually, free_port, raw, run, statuses

from todo_app.worker import GRACE

pytestmark = pytest.mark.timeout(300)  # a busy machine starts processes slowly
# What a process may do before it becomes the server: `sh -c … sh todo serve …`.
IGNORING = ["sh", "-c", 'trap "" HUP QUIT; exec "$@"', "sh"]
NO_STREAMS = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
INTO_ONE = ["sh", "-c", 'pipe=$1; shift; exec "$@" >"$pipe" 2>&1', "sh"]
FULL = ["sh", "-c", 'exec "$@" >/dev/full', "sh"]
# Makes standard input the terminal of the session, and writes to it.
IN_TERMINAL = (
    "import fcntl, os, sys, termios\n"
    "terminal = os.open(sys.argv[1], os.O_RDWR)\n"
    "fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)\n"
    "for stream in range(3): os.dup2(terminal, stream)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)
INTO_PIPE = (
    "import os, sys\n"
    "os.dup2(os.open(sys.argv[1], os.O_WRONLY), 1)\n"
    "os.set_blocking(1, sys.argv[2] == 'blocking')\n"
    "os.execv(sys.argv[3], sys.argv[3:])\n"
)


@pytest.fixture(scope="module")
def variables(cluster: ScratchCluster, migrated: str) -> Iterator[dict[str, str]]:
    """Of servers on one database."""
    url = cluster.create_database(migrated)
    yield {"DATABASE_URL": url, "BETTER_AUTH_SECRET": SECRET}
    cluster.drop(url)


@contextmanager
def reading(path: Path) -> Iterator[int]:
    """The reading end of a named pipe."""
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.set_blocking(descriptor, True)
        yield descriptor
    finally:
        os.close(descriptor)


def ask(server: Server, times: int) -> None:
    """Ask so often, each of which is a line of the log."""
    request = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for _ in range(0, times, 500):
        assert len(statuses(raw(server.port, request * 499 + last, timeout=60))) == 500


def replace_worker(server: Server) -> None:
    """Kill the only worker; another must take its place."""
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: server.workers() - {worker} and server.answers(), START_SECONDS)


def dropped(server: Server) -> float:
    """How many lines of the log it has dropped."""
    text = httpx.get(f"{server.url}/metrics", timeout=20).text
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith("todo_log_lines_dropped_total "))


def test_a_closed_terminal_ends_server_and_database(serve: Serve, data_dir: Path) -> None:
    ours, theirs = pty.openpty()
    through = [sys.executable, "-c", IN_TERMINAL, os.ttyname(theirs)]
    server = serve("--workers", "2", through=through, TODO_DATA_DIR=str(data_dir), PYTHONUNBUFFERED="").started()
    os.close(theirs)
    assert database_pid(data_dir) is not None
    os.close(ours)
    assert server.process.wait(START_SECONDS) == 0  # it waits for its workers, and the database writes what it holds
    eventually(lambda: server.family() == [])
    assert database_pid(data_dir) is None


def test_a_quit_key_ends_server_and_database(serve: Serve, data_dir: Path) -> None:
    server = serve("--workers", "2", TODO_DATA_DIR=str(data_dir)).started()
    assert database_pid(data_dir) is not None
    os.killpg(server.process.pid, signal.SIGQUIT)  # as a terminal does for Ctrl-\\: to all processes
    assert server.process.wait(START_SECONDS) == 0
    eventually(lambda: server.family() == [])
    assert database_pid(data_dir) is None


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(
    serve: Serve, variables: dict[str, str], number: signal.Signals
) -> None:
    server = serve("--workers", "2", through=IGNORING, **variables).started()
    workers = eventually(lambda: len(server.workers()) == 2 and server.workers())
    for _ in range(3):
        os.killpg(server.process.pid, number)
    ask(server, 500)
    assert server.workers() == workers
    assert server.stop() == 0


@pytest.mark.ci
def test_a_server_without_standard_streams_serves_and_counts_lost_lines(
    serve: Serve, variables: dict[str, str]
) -> None:
    server = serve(through=NO_STREAMS, **variables).started()
    ask(server, 10_000)
    assert dropped(server) > 0
    if sys.platform == "linux":
        for pid in server.family():
            streams = [Path(f"/proc/{pid}/fd/{number}").readlink() for number in range(3)]
            assert streams == [Path(os.devnull)] * 3
    replace_worker(server)
    assert server.stop() in {0, 1}
    assert server.said() == ""


@pytest.mark.ci
@pytest.mark.parametrize("blocking", ["blocking", "non-blocking"])
def test_an_output_that_nobody_reads_stops_nothing_and_each_line_is_read_later_or_counted(
    serve: Serve, variables: dict[str, str], tmp_path: Path, blocking: str
) -> None:
    with reading(tmp_path / "pipe") as output:
        server = serve(
            through=[sys.executable, "-c", INTO_PIPE, str(tmp_path / "pipe"), blocking], **variables
        ).started()
        ask(server, 10_000)
        lost = dropped(server)
        assert lost > 0
        written = b""
        while written.count(b'"status":404') < 10_000 - lost or not written.endswith(b"\n"):
            written += os.read(output, 65536)
        logged = [json.loads(line) for line in written.splitlines()]
        assert sum(line.get("status") == 404 for line in logged) == 10_000 - lost
        assert server.said() == ""
        ask(server, 1000)
        replace_worker(server)  # which is reported in the same log
        assert server.stop() in {0, 1}


def test_log_and_errors_in_one_pipe_that_nobody_reads_do_not_delay_the_end(
    serve: Serve, variables: dict[str, str], tmp_path: Path
) -> None:
    with reading(tmp_path / "pipe"):
        server = serve(through=[*INTO_ONE, str(tmp_path / "pipe")], **variables).started()
        ask(server, 1000)  # more than the pipe holds
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < GRACE


def test_a_reader_that_leaves_is_reported_once_and_delays_nothing(
    serve: Serve, variables: dict[str, str], tmp_path: Path
) -> None:
    with reading(tmp_path / "pipe") as output:  # as `| head -1` does
        server = serve(
            through=[sys.executable, "-c", INTO_PIPE, str(tmp_path / "pipe"), "blocking"], **variables
        ).started()
        assert os.read(output, 1) == b"{"
    for _ in range(4):
        ask(server, 500)
        eventually(server.said)
    said = "todo: the log cannot be written to standard output: Broken pipe; "
    assert server.said().startswith(said)
    assert server.said().count("\n") <= 2  # the worker's report, and that of the process that started it
    assert server.stop() == 0
    assert "Traceback" not in server.said()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_reported_once_and_delays_nothing(serve: Serve, variables: dict[str, str]) -> None:
    server = serve(through=FULL, **variables).started()
    for _ in range(4):
        ask(server, 500)
        eventually(server.said)
    reports = server.said().splitlines()
    assert len(reports) <= 2  # the worker's, and that of the process that started it
    said = "todo: the log cannot be written to standard output: No space left on device; "
    assert all(line.startswith(said) for line in reports)
    assert server.stop() == 0


def test_a_cleaner_of_the_temporary_folder_ends_neither_the_metrics_nor_the_server(
    serve: Serve, variables: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "temporary").mkdir()
    (tmp_path / "data").write_text("no folder: the temporary one is used instead")
    places = {"TMPDIR": str(tmp_path / "temporary"), "TODO_DATA_DIR": str(tmp_path / "data")}
    server = serve("--workers", "2", **variables, **places).started()
    eventually(lambda: len(server.workers()) == 2)
    for swept in (tmp_path / "temporary").iterdir():
        shutil.rmtree(swept)
    assert dropped(server) == 0  # is answered
    before = server.workers()
    os.kill(min(before), signal.SIGKILL)
    eventually(lambda: len(server.workers() - {min(before)}) == 2, START_SECONDS)
    for _ in range(6):
        assert dropped(server) == 0
    assert server.stop() in {0, 1}
    assert not list((tmp_path / "temporary").iterdir())


def test_a_cleaner_of_temporary_folders_does_not_end_a_database_in_a_long_path(
    serve: Serve, data_dir: Path, tmp_path: Path
) -> None:
    swept, long = tmp_path / "temporary", data_dir / ("x" * 120)
    swept.mkdir()
    places = {"TMPDIR": str(swept), "XDG_RUNTIME_DIR": str(swept), "TODO_DATA_DIR": str(long)}
    server = serve("--workers", "2", **places).started()
    for left in swept.iterdir():
        shutil.rmtree(left)
    assert (long / "postgres/cluster/.s.PGSQL.5432").is_socket()
    for _ in range(6):  # each on a connection of its own, so by both workers
        assert httpx.get(f"{server.url}/health/ready", timeout=20).status_code == 200
    assert server.stop() == 0
    assert database_pid(long) is None


def test_only_one_of_two_servers_started_on_one_port_serves_and_the_other_says_why(
    serve: Serve, variables: dict[str, str]
) -> None:
    for _ in range(3 if IN_CI else 1):
        port = free_port()
        servers = [serve(port=port, **variables) for _ in range(2)]
        eventually(lambda: sum(server.process.poll() is None for server in servers) == 1, START_SECONDS)  # noqa: B023
        (serving,) = (server for server in servers if server.process.poll() is None)
        assert serving.started().stop() == 0
        assert sorted(server.process.wait() for server in servers) == [0, 2]
        line = f"todo: --host 127.0.0.1 --port {port} cannot be used: Address already in use; choose another --port\n"
        assert serving.said() == line  # both write into one file


@pytest.mark.parametrize("command", ["token ann", "openapi", "--version", "token --help"])
def test_an_unwritable_standard_output_is_reported_in_one_line(command: str) -> None:
    for redirection in (">&-", ">/dev/full"):
        if "full" in redirection and not Path("/dev/full").exists():
            continue
        done = run(*command.split(), BETTER_AUTH_SECRET=SECRET, through=["sh", "-c", f'exec "$@" {redirection}', "sh"])
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("todo: standard output cannot be written: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_unwritable_standard_error_does_not_change_the_exit_code() -> None:
    through = ["sh", "-c", 'exec "$@" 2>/dev/full', "sh"]
    done = run("serve", DATABASE_URL="postgresql://none", PYTHONUNBUFFERED="", through=through)  # as most run it
    assert (done.returncode, done.stderr) == (2, "")


def test_time_zones_are_those_of_the_package_whatever_the_machine_has(
    serve: Serve, variables: dict[str, str], tmp_path: Path, token: str
) -> None:
    folder = Path(str(importlib.resources.files("tzdata"))) / "zoneinfo"
    places = {"Mars/Olympus": "UTC", "Europe/Madrid": "Asia/Tokyo"}  # a name that nobody has, and rules of another's
    for name, rules in places.items():
        (tmp_path / name).parent.mkdir()
        shutil.copy(folder / rules, tmp_path / name)
    server = serve(**variables, PYTHONTZPATH=str(tmp_path)).started()
    due = {"title": "x", "due_date": "2026-12-01T17:00:00"}
    with server.client(token) as client:
        for name in ("Mars/Olympus", "localtime"):
            refused = client.post("/api/ann/tasks", json={**due, "time_zone": name})
            assert refused.status_code == 422
        made = client.post("/api/ann/tasks", json={**due, "time_zone": "Europe/Madrid"})
        assert made.json()["due_at"] == "2026-12-01T16:00:00Z"
