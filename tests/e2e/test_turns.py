"""Concurrent requests of one user, over real sockets: clients that disconnect, and answers that nobody reads."""

import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from select import select

import httpx
import pytest
from databases import ScratchCluster
from serving import NO_TLS, SECRET, Server, eventually, head, token_for

TASKS = "/api/ann/tasks"
# Becomes `todo`, and names the path of each request that it starts in turn.
TELLING = """
import os, sys
from todo_app.http import admission
usual = admission._run
def run(start):
    os.write(2, b"started " + start[1][-1].scope["raw_path"] + b"\\n")
    usual(start)
admission._run = run
from todo_app.cli import main
del sys.argv[0]
sys.exit(main())
"""


def authorized() -> str:
    return f"Authorization: Bearer {token_for('ann')}"


@pytest.fixture
def start(serve: Callable[..., Server], cluster: ScratchCluster, migrated: str) -> Iterator[Callable[..., Server]]:
    url = cluster.create_database(migrated)
    variables = {"DATABASE_URL": url, "BETTER_AUTH_SECRET": SECRET, "TODO_RATE_LIMIT": "1000000/hour"}
    yield lambda **settings: serve(**variables, **settings).started()
    cluster.drop(url)


def logged(server: Server, status: int) -> int:
    """How many requests have ended with this status."""
    lines = [json.loads(line) for line in server.log().splitlines()]
    return sum(line["event"] == "request" and line["status"] == status for line in lines)


def connected(server: Server) -> socket.socket:
    client = socket.socket()
    client.settimeout(20)
    client.connect(("127.0.0.1", server.port))
    return client


def status(client: socket.socket) -> int:
    return int(client.recv(65536)[9:12])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are no forks of the patched process")
def test_every_request_to_the_server_is_started_in_turn(start: Callable[..., Server]) -> None:
    server = start(through=[sys.executable, "-c", TELLING])
    for number in range(3):
        assert httpx.get(f"{server.url}/none/{number}", verify=NO_TLS).status_code == 404
    said = server.said().splitlines()
    assert [line for line in said if "none" in line] == [f"started /none/{number}" for number in range(3)]


def test_a_client_that_hangs_up_while_it_waits_leaves_its_place(start: Callable[..., Server]) -> None:
    server = start(TODO_CONCURRENT_REQUESTS_PER_USER="1", TODO_WAITING_REQUESTS_PER_USER="1")
    with ExitStack() as open_:
        working, waiting, refused, next_ = (open_.enter_context(connected(server)) for _ in range(4))
        fields = ("Content-Type: application/json", "Content-Length: 13", "Expect: 100-continue")
        working.sendall(head("POST", TASKS, authorized(), *fields))
        assert status(working) == 100  # its body is asked for: it has the place
        waiting.sendall(head("GET", TASKS, authorized()))
        # Which of the two comes first is the server's choice; one waits, the other is refused.
        refused.sendall(head("GET", TASKS, authorized()))
        eventually(lambda: logged(server, 429) == 1)
        waiting.close()
        refused.close()
        eventually(lambda: logged(server, 400) == 1)
        next_.sendall(head("GET", TASKS, authorized()))
        working.sendall(b'{"title":"x"}')
        assert (status(working), status(next_)) == (201, 200)


@pytest.mark.skipif(
    not hasattr(socket, "TCP_NOTSENT_LOWAT"),
    reason="this system has no TCP_NOTSENT_LOWAT: its buffers take any part of an answer",
)
def test_unread_answers_are_bounded_per_user_and_block_nobody_else(start: Callable[..., Server]) -> None:
    """A page of 0.9 MB fits into the system's buffers of a connection: sixteen may be kept there, not a hundred."""
    server = start()
    with server.client(token_for("ann")) as ann, server.client(token_for("bob")) as bob, ExitStack() as open_:
        for number in range(200):
            made = ann.post(TASKS, json={"title": f"{number}", "description": "\N{PILE OF POO}" * 1000})
            assert made.status_code == 201
        before = logged(server, 200)
        clients = [open_.enter_context(connected(server)) for _ in range(100)]
        for client in clients:
            client.sendall(head("GET", f"{TASKS}?limit=200", authorized()))
        eventually(lambda: logged(server, 429) == 20)
        assert bob.get("/api/bob/tasks").status_code == 200
        eventually(lambda: logged(server, 200) - before == 1)  # Bob's: none of Ann's is over
        eventually(lambda: len(select(clients, [], [], 0)[0]) == 36)
        begun = [client for client in select(clients, [], [], 0)[0] if status(client) == 200]
        assert len(begun) == 16
        while begun[0].recv(2**20):  # whoever reads is served to the end, and makes room for the next
            pass
        eventually(lambda: logged(server, 200) - before == 2)
        open_.close()
        eventually(lambda: ann.get(f"{TASKS}?limit=200").status_code == 200)
