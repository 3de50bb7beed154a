"""The stream of changes through real sockets: what a client sees, on one server and on two that share a database."""

import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import SECRET, Serve, Server, eventually, token_for

from benchmarks import usage

VARIABLES = {"BETTER_AUTH_SECRET": SECRET, "TODO_RATE_LIMIT": "1000000/hour"}
ROUTE = "/api/{user_id}/events"
Event = dict[str, str]


class Stream:
    """A client that reads the stream line by line."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines()

    def block(self) -> Event:
        """The next block: its fields by name, a comment's under nothing. Raises `StopIteration` at the end."""
        fields: Event = {}
        for line in self._lines:
            if not line:
                return fields
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        raise StopIteration

    def page(self) -> dict[str, Any]:
        """What the next event says; comments do not count."""
        while "data" not in (block := self.block()):
            pass
        page: dict[str, Any] = json.loads(block["data"])
        assert (block["event"], block["id"]) == ("changes", page["next"])
        return page

    def ends(self) -> bool:
        """Whether it ends properly, with nothing but comments before."""
        return all(set(line) <= {":"} for line in self._lines)


@contextmanager
def following(server: Server, owner: str = "ann", query: str = "", **headers: str) -> Iterator[Stream]:
    with (
        server.client(token_for(owner)) as client,
        client.stream("GET", f"/api/{owner}/events{query}", headers=headers) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream"
        yield Stream(answer)


def add(server: Server, title: str, owner: str = "ann") -> None:
    with server.client(token_for(owner)) as client:
        assert client.post(f"/api/{owner}/tasks", json={"title": title}).status_code == 201


def titles(page: dict[str, Any]) -> list[str]:
    return [item["value"]["title"] for item in page["items"]]


@pytest.fixture
def two(serve: Serve, database_url: str) -> tuple[Server, Server]:
    first, second = (serve(DATABASE_URL=database_url, **VARIABLES) for _ in range(2))
    return first.started(), second.started()


def test_a_stream_says_what_changes_from_now_on_and_continues_with_its_last_id(two: tuple[Server, Server]) -> None:
    server, other = two
    add(server, "before")
    with following(server) as stream:
        begun = stream.block()
        assert begun["retry"] == "1000"
        add(server, "one")
        assert titles(stream.page()) == ["one"]
        add(other, "two")
        last = stream.page()
        assert titles(last) == ["two"]
    add(server, "three")
    for query, headers in (("", {"Last-Event-ID": last["next"]}), (f"?since={last['next']}", {})):
        for each in two:
            with following(each, query=query, **headers) as stream:
                assert titles(stream.page()) == ["three"]
    with following(other, **{"Last-Event-ID": begun["id"]}) as stream:
        assert titles(stream.page()) == ["one", "two", "three"]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.ci)])
def test_server_stops_within_a_second_with_open_streams_and_without_an_error(
    serve: Serve, database_url: str, number: signal.Signals
) -> None:
    server = serve("--workers", "2", DATABASE_URL=database_url, **VARIABLES).started()
    with following(server) as stream, following(server, "bob") as other:
        assert "id" in stream.block()
        assert "id" in other.block()
        server.process.send_signal(number)
        began = time.monotonic()
        assert stream.ends()
        assert other.ends()
        assert time.monotonic() - began < 1
    assert server.process.wait(20) == 0
    lines = [json.loads(line) for line in server.log().splitlines()]
    ended = [(each["user"], each["status"], each["reason"]) for each in lines if each.get("route") == ROUTE]
    assert sorted(ended) == [("ann", 200, "the server is stopping"), ("bob", 200, "the server is stopping")]
    assert server.said() == ""


KEPT_MAX = 64 * 1024  # bytes of a stream that nobody reads, beside the page that is being sent
PAGES = 12
OWNERS = ("ann", "bob")


def write_pages(server: Server, owners: tuple[str, ...]) -> int:
    """As much as a stream can have on a page, again and again; the bytes of one."""
    operations = [{"op": "create", "task": {"title": "x", "description": "x" * 1000}}] * 50
    for owner in owners:
        with server.client(token_for(owner)) as client:
            for _ in range(PAGES):
                assert client.post(f"/api/{owner}/batch", json={"operations": operations}).status_code == 200
            page = len(client.get(f"/api/{owner}/changes?limit=50").content)
    return page


def unread(server: Server, owner: str) -> socket.socket:
    """A stream that its client never reads, with as little room at the client's end as there can be."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.port))
    client.sendall(
        f"GET /api/{owner}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token_for(owner)}\r\n\r\n".encode()
    )
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


def unsent(server: Server) -> list[int]:
    """The bytes that the system holds for each connection of the server's."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(line[4].partition(":")[0], 16) for line in lines if line[1].endswith(f":{server.port:04X}")]


def counted(server: Server, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics", timeout=20).text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


@pytest.mark.ci
@pytest.mark.skipif(sys.platform != "linux", reason="memory and sockets are read from /proc, which only Linux has")
def test_streams_that_nobody_reads_hold_little_and_are_dropped(serve: Serve, database_url: str) -> None:
    server = serve(DATABASE_URL=database_url, **VARIABLES).started()
    [worker] = server.workers()
    write_pages(server, ("dan", "eve"))  # what the first writes need stays
    with ExitStack() as open_:
        clients = [open_.enter_context(unread(server, owner)) for owner in OWNERS for _ in range(10)]
        before = usage.memory_mib(worker)
        page = write_pages(server, OWNERS)
        grown = (usage.memory_mib(worker) - before) * 2**20 / len(clients)
        # The page is there as things, as JSON, as an event, and in pieces on their way: five to nine times.
        assert grown < KEPT_MAX + 11 * page < PAGES * page
        assert max(unsent(server)) < KEPT_MAX + 4096
        eventually(lambda: counted(server, "todo_event_streams_dropped_total") == len(clients), 60)
        assert counted(server, "todo_event_streams") == 0
