"""`todo serve` from start to end: its first output, restarts, signals, and what is left after a kill."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock, call

import httpx
import pytest
from serving import (
    START_SECONDS,
    TODO,
    Serve,
    Server,
    database_pid,
    environment,
    eventually,
    free_port,
    run,
    serving_events,
)

from todo_app.listening import ListeningSocket
from todo_app.local import OPEN_FILES
from todo_app.server import _report, _run
from todo_app.settings import Settings
from todo_app.worker import GRACE

pytestmark = pytest.mark.timeout(300)  # a busy machine starts processes slowly


def test_a_newcomer_can_paste_the_greetings_request_and_tasks_survive_restarts(
    serve: Serve, new_data_dir: Path
) -> None:
    first = serve(TODO_DATA_DIR=str(new_data_dir))
    greeting = first.greeting()
    assert first.answers(), "it said that it serves before it did"
    assert f"Serving {first.url} (documentation at {first.url}/docs)" in greeting
    assert f"Data in {new_data_dir}" in greeting
    assert [event["url"] for event in serving_events(first)] == [first.url]
    if shutil.which("curl"):
        request = greeting[greeting.index("  curl ") :]
        pasted = ["sh", "-c", request.replace("curl -w '\\n'", "curl -s -o /dev/null -w '%{http_code}'", 1)]
        assert subprocess.run(pasted, capture_output=True, text=True, check=True, timeout=30).stdout == "201"
    token = first.greeting_token()
    with first.client(token) as client:
        made = client.post("/api/dev/tasks", json={"title": "survive"}).json()
        done = client.patch(f"/api/dev/tasks/{made['id']}/complete").json()
        kept = client.get("/api/dev/tasks").json()
    assert first.stop() == 0
    check_ended(first, new_data_dir)

    second = serve(TODO_DATA_DIR=str(new_data_dir)).started()
    with second.client(token) as client:  # the secret has been kept as well
        assert client.get(f"/api/dev/tasks/{made['id']}").json() == done
        assert client.get("/api/dev/tasks").json() == kept
    with second.client(run("token", "dev", TODO_DATA_DIR=str(new_data_dir)).stdout.strip()) as client:
        assert client.get("/api/dev/tasks").json() == kept


def test_nothing_is_printed_before_the_first_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Mock()

    def serve() -> None:
        listener.socket.settimeout(10)
        with listener.socket.accept()[0] as connection:  # nobody would ask before a greeting that does not wait
            assert connection.recv(1000).startswith(b"GET /health/live ")
            assert said.mock_calls == []
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            eventually(lambda: said.say.called)

    replaced = {"Log": said.log, "say": said.say}
    for name, other in {**replaced, "_prepare_workers": Mock()}.items():
        monkeypatch.setattr(f"todo_app.server.{name}", other)
    with closing(ListeningSocket("127.0.0.1", free_port())) as listener:
        settings = Settings.read({"TODO_CORS_ORIGIN": "https://not.shown", "TODO_JWT_ISSUER": "not shown\n"})
        _run(Mock(), Mock(serve=serve), listener, lambda: _report(listener, 1, settings, "Serving"))
    said.say.assert_called_once_with("Serving")
    events = said.log.return_value.events
    events.info.assert_called_once_with("serving", url=listener.url, workers=1)
    assert events.warning.mock_calls == [
        call("setting_misspelt", setting="TODO_CORS_ORIGIN", meant="TODO_CORS_ORIGINS", consequence="it is ignored"),
        call("setting_trimmed", setting="TODO_JWT_ISSUER", consequence="the newline at its end is ignored"),
    ]


def test_ctrl_c_ends_everything_and_the_database_last(serve: Serve, data_dir: Path) -> None:
    server = serve("--workers", "2", TODO_DATA_DIR=str(data_dir))
    assert "Serving" in server.greeting()
    assert server.answers(), "it said that it serves before it did"
    eventually(lambda: len(server.workers()) == 2)
    assert database_pid(data_dir) is not None
    begun = time.monotonic()
    os.killpg(server.process.pid, signal.SIGINT)  # as a terminal does: to every process in the foreground
    assert server.process.wait(60) == 0
    assert time.monotonic() - begun < GRACE - 5, "a worker had to be killed"
    check_ended(server, data_dir)


def check_ended(server: Server, data_dir: Path) -> None:
    """Make sure that nothing of the server runs on, and that its database was the last to go."""
    eventually(lambda: server.family() == [])
    assert database_pid(data_dir) is None
    assert not server.answers()
    assert "Traceback" not in server.said()
    log = (data_dir / "postgres" / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down")
    terminated = set(re.findall(r"\[(\d+)\] FATAL:  terminating connection due to administrator command", log))
    left = set(re.findall(r"\[(\d+)\] LOG:  could not send data to client", log))  # which the database had not noticed
    assert terminated <= left, "somebody was still connected"


def test_requests_under_way_are_answered_before_the_end(serve: Serve, data_dir: Path) -> None:
    server = serve(TODO_DATA_DIR=str(data_dir)).started()
    token = server.greeting_token()

    def body() -> Iterator[bytes]:
        yield b'{"title":'
        for _ in range(4):  # to all of its processes, several times, as some supervisors do
            os.killpg(server.process.pid, signal.SIGTERM)
            time.sleep(0.4)
        yield b'"last"}'

    answer = httpx.post(
        f"{server.url}/api/dev/tasks",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        content=body(),
        timeout=20,
    )
    assert answer.status_code == 201
    assert server.process.wait(GRACE - 5) == 0
    check_ended(server, data_dir)


BEGINNINGS: dict[str, Callable[[Server, Path], object]] = {
    "as it begins": lambda server, data: True,
    "as the database is made": lambda server, data: (data / "postgres").exists(),
    "as the database starts": lambda server, data: database_pid(data),
    "as its worker starts": lambda server, data: database_pid(data) and len(server.family()) > 1,
    "as it greets": lambda server, data: server.said(),
}


@pytest.mark.parametrize(
    "beginning",
    [
        *("as the database is made", "as its worker starts"),
        *(
            pytest.param(each, marks=pytest.mark.ci)
            for each in ("as it begins", "as the database starts", "as it greets")
        ),
    ],
)
def test_a_signal_during_startup_leaves_no_processes(serve: Serve, new_data_dir: Path, beginning: str) -> None:
    server = serve(TODO_DATA_DIR=str(new_data_dir))
    eventually(lambda: BEGINNINGS[beginning](server, new_data_dir), START_SECONDS)
    started = time.monotonic()
    assert server.stop() in {0, 130, -signal.SIGTERM}
    assert time.monotonic() - started < GRACE - 5, "a worker did not get the signal"
    eventually(lambda: server.family() == [])
    assert database_pid(new_data_dir) is None
    assert "Traceback" not in server.said()


@pytest.mark.ci
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_during_todo_migrate_ends_the_database_also_if_it_is_repeated(
    new_data_dir: Path, number: signal.Signals
) -> None:
    home = new_data_dir / "postgres"
    variables = environment(TODO_DATA_DIR=str(new_data_dir))
    with subprocess.Popen([TODO, "migrate"], env=variables, stderr=subprocess.PIPE, text=True) as migrating:
        # Which PostgreSQL writes when somebody connects to a database for the first time.
        wait_for(migrating, lambda: list(home.glob("cluster/data/base/1????/pg_internal.init")))
        migrating.send_signal(number)
        wait_for(migrating, lambda: "received fast shutdown request" in (home / "postgres.log").read_text())
        migrating.send_signal(number)
        _, said = migrating.communicate(timeout=60)
    assert (migrating.returncode, said) == (130, "")
    assert database_pid(new_data_dir) is None
    assert (home / "postgres.log").read_text().rstrip().endswith("database system is shut down")


def wait_for(process: "subprocess.Popen[str]", condition: Callable[[], object]) -> None:
    """Return as soon as that is true, or the process has ended: what comes next may take a few milliseconds only."""
    while process.poll() is None and not condition():
        time.sleep(0.001)


def test_an_interrupt_in_a_finalizer_prints_nothing() -> None:
    lines = (
        "import os, signal",
        "from todo_app.signals import Signals",
        "class Last:",
        "    def __init__(self, end): self.end = end",
        "    def __del__(self): self.end()",
        "Signals()",
        "Last(lambda: os.kill(os.getpid(), signal.SIGTERM))",
        "Last(lambda: 1 / 0)",
    )
    program = "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "KeyboardInterrupt" not in done.stderr
    assert "ZeroDivisionError" in done.stderr  # whatever else is lost there must be seen


def test_a_kill_leaves_no_worker_and_a_database_that_the_next_start_adopts(serve: Serve, data_dir: Path) -> None:
    killed = serve("--workers", "2", TODO_DATA_DIR=str(data_dir)).started()
    token = killed.greeting_token()
    with killed.client(token) as client:
        assert client.post("/api/dev/tasks", json={"title": "survive"}).status_code == 201
    killed.stop(signal.SIGKILL)
    eventually(lambda: killed.family() == [], GRACE - 5)
    assert not killed.answers()
    assert (orphan := database_pid(data_dir)) is not None

    heir = serve("--workers", "2", port=killed.port, TODO_DATA_DIR=str(data_dir)).started()
    assert database_pid(data_dir) == orphan
    assert len(list(data_dir.glob("todo-metrics-*"))) == 1  # its own
    with heir.client(token) as client:
        assert [task["title"] for task in client.get("/api/dev/tasks").json()["items"]] == ["survive"]
    assert heir.stop() == 0
    assert database_pid(data_dir) is None


def test_a_killed_database_is_an_outage_until_the_next_start_and_loses_nothing(serve: Serve, data_dir: Path) -> None:
    server = serve(TODO_DATA_DIR=str(data_dir)).started()
    token = server.greeting_token()
    with server.client(token) as client:
        assert client.post("/api/dev/tasks", json={"title": "survive"}).status_code == 201
        database = database_pid(data_dir)
        assert database is not None
        os.kill(database, signal.SIGKILL)
        eventually(lambda: client.get("/health/ready").status_code == 503)
        assert client.get("/api/dev/tasks").status_code == 503
        assert client.get("/health/live").status_code == 200
    assert server.stop() == 0

    heir = serve(port=server.port, TODO_DATA_DIR=str(data_dir)).started()
    with heir.client(token) as client:
        assert [task["title"] for task in client.get("/api/dev/tasks").json()["items"]] == ["survive"]
    assert heir.stop() == 0
    assert database_pid(data_dir) is None


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_workers_are_forked_and_so_share_what_the_server_has_imported(serve: Serve, data_dir: Path) -> None:
    server = serve("--workers", "2", TODO_DATA_DIR=str(data_dir)).started()
    eventually(lambda: len(server.workers()) == len(server.family()) - 1 == 2)
    commands = {Path(f"/proc/{pid}/cmdline").read_bytes() for pid in server.family()}
    assert len(commands) == 1  # a process that was not forked would have another one


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the size of the table")
def test_the_table_of_open_files_of_a_worker_need_not_grow(serve: Serve, data_dir: Path) -> None:
    (worker,) = serve(TODO_DATA_DIR=str(data_dir)).started().workers()
    allowed, _ = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    found = re.search(r"^FDSize:\t(\d+)$", Path(f"/proc/{worker}/status").read_text(), re.MULTILINE)
    assert found is not None
    assert int(found[1]) > min(allowed, OPEN_FILES) // 2


def test_a_killed_worker_is_replaced(serve: Serve, data_dir: Path) -> None:
    server = serve(TODO_DATA_DIR=str(data_dir)).started()
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: server.workers() - {worker} and server.answers(), START_SECONDS)
    assert server.stop() in {0, 1}
    assert database_pid(data_dir) is None


def test_two_servers_share_a_data_folder_but_no_port_and_the_last_ends_the_database(
    serve: Serve, data_dir: Path
) -> None:
    one, two = serve(host="localhost", TODO_DATA_DIR=str(data_dir)), serve(host="::1", TODO_DATA_DIR=str(data_dir))
    token = one.started().greeting_token()
    assert f"curl -w '\\n' {two.started().url}/api/dev/tasks" in two.greeting()
    with one.client(token) as client:
        made = client.post("/api/dev/tasks", json={"title": "x"}).json()
    with two.client(token) as client:
        assert client.get(f"/api/dev/tasks/{made['id']}").json() == made
    taken = run("serve", "--port", str(one.port), TODO_DATA_DIR=str(data_dir))
    assert (taken.returncode, taken.stdout) == (2, "")
    assert taken.stderr == (
        f"todo: --host 127.0.0.1 --port {one.port} cannot be used: Address already in use; choose another --port\n"
    )
    assert one.stop() == 0
    assert database_pid(data_dir) is not None
    with two.client(token) as client:
        assert client.delete(f"/api/dev/tasks/{made['id']}").status_code == 204
    assert two.stop() == 0
    assert database_pid(data_dir) is None
