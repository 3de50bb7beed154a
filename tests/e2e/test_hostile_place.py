"""The server where nothing is as it should be: its terminal closed, its port taken."""

import os
import pty
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import ScratchCluster
from serving import START_SECONDS, Serve, Server, database_pid, eventually, free_port, raw, statuses

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="signals, pipes and terminals of POSIX"),
    pytest.mark.timeout(300),  # a busy machine starts processes slowly
]
SECRET = "of the end-to-end tests, and of no use elsewhere"
# What a process may do before it becomes the server: `sh -c … sh todo serve …`.
NOHUP = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh"]
# Makes standard input the terminal of the session, and writes to it.
IN_TERMINAL = (
    "import fcntl, os, sys, termios\n"
    "terminal = os.open(sys.argv[1], os.O_RDWR)\n"
    "fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)\n"
    "for stream in range(3): os.dup2(terminal, stream)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


@pytest.fixture(scope="module")
def variables(cluster: ScratchCluster, migrated: str) -> Iterator[dict[str, str]]:
    """Of servers on one database."""
    url = cluster.create_database(migrated)
    yield {"DATABASE_URL": url, "BETTER_AUTH_SECRET": SECRET}
    cluster.drop(url)


def ask(server: Server, times: int) -> None:
    """Ask so often, each of which is a line of the log."""
    request = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for _ in range(0, times, 500):
        assert len(statuses(raw(server.port, request * 499 + last, timeout=60))) == 500


def test_a_closed_terminal_ends_server_and_database(serve: Serve, data_dir: Path) -> None:
    ours, theirs = pty.openpty()
    server = serve(
        "--workers", "2", through=[sys.executable, "-c", IN_TERMINAL, os.ttyname(theirs)], TODO_DATA_DIR=str(data_dir)
    ).started()
    os.close(theirs)
    assert database_pid(data_dir) is not None
    os.close(ours)
    assert server.process.wait(60) == 0
    eventually(lambda: server.family() == [])
    assert database_pid(data_dir) is None


def test_a_hangup_that_was_ignored_at_the_start_stays_ignored(serve: Serve, variables: dict[str, str]) -> None:
    server = serve("--workers", "2", through=NOHUP, **variables).started()
    workers = eventually(lambda: len(server.workers()) == 2 and server.workers())
    for _ in range(3):
        os.killpg(server.process.pid, signal.SIGHUP)
    ask(server, 500)
    assert server.workers() == workers
    assert server.stop() == 0


def test_of_servers_that_start_at_once_on_one_port_one_serves_and_the_others_say_why(
    serve: Serve, variables: dict[str, str]
) -> None:
    for _ in range(3):
        port = free_port()
        servers = [serve(port=port, **variables) for _ in range(2)]
        eventually(lambda: sum(server.process.poll() is None for server in servers) == 1, START_SECONDS)  # noqa: B023
        (serving,) = (server for server in servers if server.process.poll() is None)
        assert serving.started().stop() == 0
        assert sorted(server.process.wait() for server in servers) == [0, 2]
        line = f"todo: --host 127.0.0.1 --port {port} cannot be used: Address already in use; choose another --port\n"
        assert serving.said() == line  # both write into one file
