"""`todo serve` from its start to its end: greeting, restarts, signals, and what a kill leaves behind."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from serving import Server, database_pid, eventually, run

Serve = Callable[..., Server]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the embedded database runs on Linux and macOS")


def test_a_newcomer_can_paste_the_greetings_request_and_tasks_survive_restarts(serve: Serve, data_dir: Path) -> None:
    first = serve(TODO_DATA_DIR=str(data_dir)).started()
    greeting = first.said()
    assert f"Serving {first.url} (documentation at {first.url}/docs)" in greeting
    assert f"Data in {data_dir}" in greeting
    if shutil.which("curl"):
        request = greeting[greeting.index("  curl ") :]
        pasted = ["sh", "-c", request.replace("curl", "curl -s -o /dev/null -w '%{http_code}'", 1)]
        assert subprocess.run(pasted, capture_output=True, text=True, check=True, timeout=30).stdout == "201"
    token = first.greeting_token()
    with first.client(token) as client:
        made = client.post("/api/dev/tasks", json={"title": "survive"}).json()
        done = client.patch(f"/api/dev/tasks/{made['id']}/complete").json()
        kept = client.get("/api/dev/tasks").json()
    assert first.stop() == 0
    assert database_pid(data_dir) is None

    second = serve(TODO_DATA_DIR=str(data_dir)).started()
    with second.client(token) as client:  # the secret has been kept as well
        assert client.get(f"/api/dev/tasks/{made['id']}").json() == done
        assert client.get("/api/dev/tasks").json() == kept
    with second.client(run("token", "dev", TODO_DATA_DIR=str(data_dir)).stdout.strip()) as client:
        assert client.get("/api/dev/tasks").json() == kept


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_and_the_database_last(serve: Serve, data_dir: Path, number: signal.Signals) -> None:
    server = serve("--workers", "2", TODO_DATA_DIR=str(data_dir)).started()
    family, database = server.family(), database_pid(data_dir)
    assert len(family) == 3
    assert database is not None
    if number == signal.SIGINT:
        os.killpg(server.process.pid, number)  # as a terminal does: to every process in the foreground
        assert server.process.wait(60) == 0
    else:
        assert server.stop(number) == 0
    assert server.family() == []
    assert database_pid(data_dir) is None
    assert not server.answers()
    assert "Traceback" not in server.said()
    log = (data_dir / "postgres" / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down")
    assert "terminating connection due to administrator command" not in log  # nobody was still connected


def test_requests_under_way_are_answered_before_the_end(serve: Serve, data_dir: Path) -> None:
    server = serve(TODO_DATA_DIR=str(data_dir)).started()
    token = server.greeting_token()

    def slowly() -> "list[bytes]":
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        return [b'{"title":"last"}']

    def body() -> object:
        yield from slowly()

    answer = httpx.post(
        f"{server.url}/api/dev/tasks",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        content=body(),  # type: ignore[arg-type]
        timeout=20,
    )
    assert answer.status_code == 201
    assert server.process.wait(60) == 0
    assert database_pid(data_dir) is None


@pytest.mark.parametrize("delay", [0.2, 0.6, 1.0, 1.5])
def test_a_signal_while_it_starts_leaves_nothing_either(serve: Serve, data_dir: Path, delay: float) -> None:
    server = serve(TODO_DATA_DIR=str(data_dir))
    time.sleep(delay)
    started = time.monotonic()
    code = server.stop()
    assert code in {0, 130, -signal.SIGTERM}
    assert time.monotonic() - started < 20
    assert eventually(lambda: server.family() == [])
    assert database_pid(data_dir) is None
    assert "Traceback" not in server.said()


def test_a_kill_leaves_no_worker_and_a_database_that_the_next_start_adopts(serve: Serve, data_dir: Path) -> None:
    killed = serve("--workers", "2", TODO_DATA_DIR=str(data_dir)).started()
    token = killed.greeting_token()
    with killed.client(token) as client:
        assert client.post("/api/dev/tasks", json={"title": "survive"}).status_code == 201
    killed.stop(signal.SIGKILL)
    eventually(lambda: killed.family() == [], 10)
    assert not killed.answers()
    assert (orphan := database_pid(data_dir)) is not None

    heir = serve(port=killed.port, TODO_DATA_DIR=str(data_dir)).started()
    assert database_pid(data_dir) == orphan
    with heir.client(token) as client:
        assert [task["title"] for task in client.get("/api/dev/tasks").json()["items"]] == ["survive"]
    assert heir.stop() == 0
    assert database_pid(data_dir) is None


def test_a_killed_worker_is_replaced(serve: Serve, data_dir: Path) -> None:
    server = serve(TODO_DATA_DIR=str(data_dir)).started()
    (worker,) = set(server.family()) - {server.process.pid}
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: set(server.family()) - {server.process.pid, worker} and server.answers(), 30)
    assert server.stop() in {0, 1}
    assert database_pid(data_dir) is None


def test_two_servers_share_a_data_folder_but_no_port_and_the_last_ends_the_database(
    serve: Serve, data_dir: Path
) -> None:
    one, two = serve(TODO_DATA_DIR=str(data_dir)), serve(TODO_DATA_DIR=str(data_dir))
    token = one.started().greeting_token()
    two.started()
    with one.client(token) as client:
        made = client.post("/api/dev/tasks", json={"title": "x"}).json()
    with two.client(token) as client:
        assert client.get(f"/api/dev/tasks/{made['id']}").json() == made
    taken = run("serve", "--port", str(one.port), TODO_DATA_DIR=str(data_dir))
    assert (taken.returncode, taken.stdout) == (2, "")
    assert taken.stderr == f"todo: --host 127.0.0.1 --port {one.port} cannot be used: Address already in use\n"
    assert one.stop() == 0
    assert database_pid(data_dir) is not None
    with two.client(token) as client:
        assert client.delete(f"/api/dev/tasks/{made['id']}").status_code == 204
    assert two.stop() == 0
    assert database_pid(data_dir) is None


def test_it_serves_ipv6_too(serve: Serve, data_dir: Path) -> None:
    server = serve("--host", "::1", TODO_DATA_DIR=str(data_dir))
    eventually(lambda: "curl http://[::1]:" in server.said(), 60)
    url = f"http://[::1]:{server.port}/health/ready"

    def ready() -> bool:
        try:
            return httpx.get(url).status_code == 200
        except httpx.TransportError:
            return False

    eventually(ready, 60)
