"""The examples work when they are run as a user runs them: as processes, on real databases and sockets."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import NO_TLS, SECRET, START_SECONDS, environment, eventually, free_port, token_for

EXAMPLES = Path(__file__).parents[1] / "examples"
UNKNOWN = "0198c0de-0000-7000-8000-000000000000"
pytestmark = pytest.mark.timeout(300)  # a busy machine starts processes slowly

Ask = Callable[..., dict[str, Any]]


def program(*arguments: str | Path, **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=EXAMPLES, env=environment(**variables), text=True, stderr=subprocess.PIPE
    )


@contextmanager
def running(process: "subprocess.Popen[str]", ready: Callable[[], object]) -> Iterator[None]:
    """The process from when it is ready until it has ended at SIGTERM, without a complaint."""
    with process:
        try:
            eventually(lambda: process.poll() is not None or ready(), START_SECONDS)
            assert process.poll() is None, process.communicate()[1]
            yield
            process.terminate()
            _, complaints = process.communicate(timeout=60)
            assert (process.returncode, "Traceback" in complaints) == (0, False), complaints
        finally:
            process.kill()


def test_the_script_prints_its_list() -> None:
    done = subprocess.run([sys.executable, EXAMPLES / "script.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    refused, *noted = done.stdout.splitlines()
    assert refused.startswith("not noted: title must be 1 to 200 characters")
    assert noted == ["[x] Buy oat milk", "[ ] Call the plumber"]


@pytest.fixture
def starlette(database_url: str) -> Iterator[Callable[[str], httpx.Client]]:
    """Gives clients of the Starlette service, each with its owner's token."""
    port, clients = free_port(), []
    url = f"http://127.0.0.1:{port}"

    def client_of(owner: str) -> httpx.Client:
        token = token_for(owner)
        clients.append(
            httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20, verify=NO_TLS)
        )
        return clients[-1]

    def answers() -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{url}/tasks", timeout=5, verify=NO_TLS).status_code == 401
        return False

    command = ("-m", "granian", "--interface", "asgi", "--port", str(port), "starlette_service:app")
    with running(program(*command, DATABASE_URL=database_url, BETTER_AUTH_SECRET=SECRET), answers):
        yield client_of
        for client in clients:
            client.close()


def test_starlette_serves_each_owner_their_tasks(starlette: Callable[[str], httpx.Client]) -> None:
    ann, bob = starlette("ann"), starlette("bob")
    made = ann.post("/tasks", json={"title": "Buy oat milk", "description": "two litres"})
    assert made.status_code == 201
    task = made.json()
    assert (task["title"], task["description"], task["completed"], task["version"]) == (
        *("Buy oat milk", "two litres"),
        *(False, 1),
    )
    assert bob.get("/tasks").json() == {"items": [], "next_cursor": None}
    assert bob.delete(f"/tasks/{task['id']}").status_code == 404
    toggled = ann.post(f"/tasks/{task['id']}/toggle").json()
    assert toggled == task | {"completed": True, "version": 2}
    assert ann.get("/tasks").json()["items"] == [toggled]
    assert ann.delete(f"/tasks/{task['id']}").status_code == 204
    assert ann.get("/tasks").json()["items"] == []


def test_starlette_pages_through_many_tasks(starlette: Callable[[str], httpx.Client]) -> None:
    ann = starlette("ann")
    titles = [f"Task {number}" for number in range(51)]
    for title in titles:
        ann.post("/tasks", json={"title": title}).raise_for_status()
    first = ann.get("/tasks").json()
    rest = ann.get("/tasks", params={"cursor": first["next_cursor"]}).json()
    assert [task["title"] for page in (first, rest) for task in page["items"]] == titles[::-1]
    assert rest["next_cursor"] is None


def test_starlette_reports_every_refusal(starlette: Callable[[str], httpx.Client]) -> None:
    ann = starlette("ann")
    for body in (b"", b"{", b"\xff", b"[" * 100_000, b"[]", b'{"title": 1}', b'{"title": "x", "owner": "bob"}'):
        answer = ann.post("/tasks", content=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input"), body
    assert ann.get("/tasks", params={"cursor": "x"}).status_code == 422
    answer = ann.post(f"/tasks/{UNKNOWN}/toggle")
    assert (answer.status_code, answer.json()["code"]) == (404, "task_not_found")
    answer = ann.get("/tasks", headers={"Authorization": "Bearer a.b.c"})
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json() == {"code": "not_authenticated", "detail": "Unauthorized"}


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """Sends a line to the service on a Unix socket; gives the answer."""
    path = tmp_path / "s"

    def connect() -> socket.socket | None:
        caller = socket.socket(socket.AF_UNIX)
        caller.settimeout(30)
        with suppress(OSError):
            caller.connect(str(path))
            return caller
        caller.close()
        return None

    with running(program("socket_service.py", path, tmp_path / "tasks.db"), lambda: _close(connect())):
        connection = connect()
        assert connection is not None
        with connection, connection.makefile("rwb") as file:

            def send(line: bytes = b"", **asked: Any) -> dict[str, Any]:
                file.write((line or json.dumps(asked).encode()) + b"\n")
                file.flush()
                return dict(json.loads(file.readline()))

            yield send


def _close(connection: socket.socket | None) -> bool:
    if connection is not None:
        connection.close()
    return connection is not None


needs_peercred = pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="only Linux has SO_PEERCRED")


@needs_peercred
def test_a_unix_socket_serves_the_user_that_the_kernel_reports(ask: Ask, tmp_path: Path) -> None:
    task = ask(do="create", title="Buy oat milk")
    assert task == {"id": task["id"], "title": "Buy oat milk", "description": None, "completed": False}
    assert ask(do="toggle", id=task["id"]) == task | {"completed": True}
    assert ask(do="list", after=None) == {"tasks": [task | {"completed": True}], "next": None}
    assert str(os.getuid()).encode() in b"".join(file.read_bytes() for file in tmp_path.glob("tasks.db*"))
    assert ask(do="delete", id=task["id"]) == {"deleted": task["id"]}
    assert ask(do="list", after=None)["tasks"] == []


@needs_peercred
def test_a_unix_socket_pages_through_many_tasks(ask: Ask) -> None:
    titles = [f"Task {number}" for number in range(51)]
    for title in titles:
        ask(do="create", title=title)
    first = ask(do="list", after=None)
    rest = ask(do="list", after=first["next"])
    assert [task["title"] for page in (first, rest) for task in page["tasks"]] == titles[::-1]


@needs_peercred
def test_a_unix_socket_reports_every_refusal_and_continues(ask: Ask) -> None:
    for line in (b"{", b"\xff", b"[" * 50_000, b"[]", b'{"do": "fly"}', b'{"do": "create", "title": " "}'):
        assert ask(line)["error"] == "invalid_input"
    assert ask(do="toggle", id="x")["error"] == "invalid_input"
    assert ask(do="toggle", id=UNKNOWN)["error"] == "task_not_found"
    assert ask(do="list", after="x")["error"] == "invalid_input"
