"""Arbitrary bytes on a socket: the server answers or disconnects, and stores nothing that it refuses."""

import json
import re
import resource
import socket
import time
from contextlib import ExitStack

import pytest
from pages import ROOT
from serving import Serve, Server, eventually, head, raw, statuses

TASKS = "/api/ann/tasks"
GOOD = b'{"title":"x"}'
JSON = "Content-Type: application/json"


def authorized(token: str, *fields: str) -> tuple[str, ...]:
    return (f"Authorization: Bearer {token}", *fields)


def post(token: str, *fields: str, version: str = "HTTP/1.1") -> bytes:
    return head("POST", TASKS, *authorized(token, JSON, *fields), version=version)


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def stored(shared: Server, token: str) -> int:
    with shared.client(token) as client:
        return len(client.get(f"{TASKS}?limit=200").json()["items"])


@pytest.fixture(autouse=True)
def nothing_stored(shared: Server, token: str) -> None:
    with shared.client(token) as client:
        for task in client.get(f"{TASKS}?limit=200").json()["items"]:
            client.delete(f"{TASKS}/{task['id']}")


def test_a_plain_request_is_answered(shared: Server, token: str) -> None:
    answer = raw(shared.port, post(token, f"Content-Length: {len(GOOD)}") + GOOD)
    assert statuses(answer) == [201]
    assert re.search(rb"\r\nlocation: /api/ann/tasks/[0-9a-f-]{36}\r\n", answer)


def test_a_chunked_body_is_read_and_one_over_64_kib_is_refused(shared: Server, token: str) -> None:
    request = post(token, "Transfer-Encoding: chunked")
    assert statuses(raw(shared.port, request + chunked(GOOD[:5], GOOD[5:]))) == [201]
    answer = raw(shared.port, request + chunked(GOOD, *[b" " * 10_000] * 7))
    assert statuses(answer) == [413]
    assert b"application/problem+json" in answer
    # One that never ends is refused all the same.
    assert statuses(raw(shared.port, request + chunked(GOOD, *[b" " * 10_000] * 7)[:-5])) == [413]
    assert stored(shared, token) == 1


def test_a_body_announced_too_large_is_refused_before_it_comes(shared: Server, token: str) -> None:
    assert statuses(raw(shared.port, post(token, "Content-Length: 65537"))) == [413]
    assert statuses(raw(shared.port, post(token, f"Content-Length: {2**63}"))) == [413]
    assert stored(shared, token) == 0


# Requests whose length two parties might read differently (RFC 9112 §11.2). Each is refused, or read in one way only
# and the connection closed after it, so that what follows is never taken for a request of its own.
SMUGGLED = head("DELETE", f"{TASKS}/never", "X-Request-Id: smuggled")
SHAPES = {
    "two lengths": ("Content-Length: 13", "Content-Length: 5"),
    "lengths in a list": ("Content-Length: 13, 5",),
    "the same length in a list": ("Content-Length: 13, 13",),
    "length with a sign": ("Content-Length: +13",),
    "negative length": ("Content-Length: -13",),
    "hexadecimal length": ("Content-Length: 0xd",),
    "length with a space": ("Content-Length : 13",),
    "length and no number": ("Content-Length: x",),
    "unknown coding": ("Transfer-Encoding: xchunked",),
    "chunked is not last": ("Transfer-Encoding: chunked, identity",),
    "identity": ("Transfer-Encoding: identity",),
    "coding with a space": ("Transfer-Encoding : chunked",),
    "coding after a tab": ("Transfer-Encoding: \x0bchunked",),
    "folded": ("X: a", " b: c"),
    "bare carriage return": ("X: a\rTransfer-Encoding: chunked",),
    "NUL": ("X: a\x00b",),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_request_of_ambiguous_length_is_refused(shared: Server, token: str, shape: str) -> None:
    answer = raw(shared.port, post(token, *SHAPES[shape]) + GOOD + SMUGGLED)
    assert statuses(answer) == [400]
    assert b"smuggled" not in answer
    assert stored(shared, token) == 0


def test_with_chunks_and_a_content_length_the_chunks_count_and_the_connection_ends(shared: Server, token: str) -> None:
    fields = ("Content-Length: 4", "Transfer-Encoding: chunked")
    kept_open = post(token, *fields).replace(b"Connection: close\r\n", b"")
    answer = raw(shared.port, kept_open + chunked(GOOD) + SMUGGLED)
    assert statuses(answer) == [201]
    assert b"smuggled" not in answer


@pytest.mark.parametrize(
    "broken",
    [
        b"zz\r\nx\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nx",
        b"-1\r\nx\r\n",
        b"\r\n",
        b"d\n" + GOOD,
        b"e\r\n" + GOOD + b"\r\n0\r\n\r\n",
    ],
)
def test_broken_chunks_store_nothing(shared: Server, token: str, broken: bytes) -> None:
    answer = raw(shared.port, post(token, "Transfer-Encoding: chunked") + broken, finish=True)
    assert statuses(answer) in ([400], [])
    assert stored(shared, token) == 0


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\r\n\r\n", b"GET", b"GET /\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET / HTTP/1.1 x\r\n\r\n", b" GET / HTTP/1.1\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01",
        b"G@T / HTTP/1.1\r\n\r\n", b"G\x00T / HTTP/1.1\r\n\r\n", b"GET http:///x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00" * 1000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /health/live HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\n: x\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_not_http_1_is_refused(shared: Server, line: bytes) -> None:
    assert statuses(raw(shared.port, line, finish=True)) in ([400], [])
    assert shared.answers()


def test_http_1_0_is_spoken(shared: Server, token: str) -> None:
    answer = raw(shared.port, post(token, f"Content-Length: {len(GOOD)}", version="HTTP/1.0") + GOOD)
    assert statuses(answer) == [201]
    assert statuses(raw(shared.port, b"GET /health/live HTTP/1.0\r\n\r\n")) == [200]
    request = post(token, "Transfer-Encoding: chunked", version="HTTP/1.0")
    assert statuses(raw(shared.port, request + chunked(GOOD))) == [400]


def test_pipelined_requests_are_answered_in_order(shared: Server, token: str) -> None:
    one = post(token, f"Content-Length: {len(GOOD)}").replace(b"Connection: close\r\n", b"") + GOOD
    got = head("GET", TASKS, *authorized(token)).replace(b"Connection: close\r\n", b"")
    answer = raw(shared.port, one + head("GET", "/nowhere").replace(b"Connection: close\r\n", b"") + got + one + head())
    assert statuses(answer) == [201, 404, 200, 201, 200]
    assert stored(shared, token) == 2


def test_a_refused_requests_body_is_not_taken_for_a_request(shared: Server) -> None:
    inner = head("GET", "/health/live", "X-Request-Id: inner")
    outer = head("POST", TASKS, f"Content-Length: {len(inner)}").replace(b"Connection: close\r\n", b"")
    answer = raw(shared.port, outer + inner, 0.2, head("GET", "/health/ready", "X-Request-Id: after"))
    assert statuses(answer)[0] == 401
    assert b"inner" not in answer


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://evil.example/health/live", 200),
        ("http://evil.example/api/ann/tasks", 200),
        ("http://evil.example/api/bob/tasks", 403),
        ("http://user:pass@evil.example/health/live", 200),
        ("http://evil.example", 307),
        ("https://evil.example//health/live", 404),
        ("*", 404),
        ("/health/live#x", 200),
        ("/health/../health/live", 404),
        ("//evil.example/health/live", 404),
        ("/%61pi/ann/tasks", 404),
        ("/api/%61nn/tasks", 200),
        ("/api/ann/tasks/%2e%2e/%2e%2e/bob/tasks", 404),
        ("/api/ann%2f..%2fbob/tasks", 403),
        ("/api/ann/tasks?limit=1?completed=x", 422),
        ("/api/ann/tasks?q=" + "x" * 60_000, 422),
        ("/" + "x" * 70_000, 414),
    ],
)
def test_only_the_path_of_a_request_target_counts(shared: Server, token: str, target: str, status: int) -> None:
    answer = raw(shared.port, head("GET", target, *authorized(token)))
    assert statuses(answer) == [status]
    assert b"evil" not in answer


@pytest.mark.parametrize("method", ["FOO", "TRACE", "CONNECT", "get", "PROPFIND", "M-SEARCH", "PRI", "X" * 1000])
def test_an_unknown_method_is_refused_in_problem_json(shared: Server, token: str, method: str) -> None:
    answer = raw(shared.port, head(method, TASKS, *authorized(token, "Max-Forwards: 0", "X-Canary: not-echoed")))
    assert statuses(answer) == [405]
    assert b"\r\nallow: GET, HEAD, OPTIONS, POST\r\n" in answer
    assert b"method_not_allowed" in answer
    assert b"not-echoed" not in answer
    assert b"Bearer e" not in answer


def test_head_and_no_content_have_no_body_on_the_wire(shared: Server, token: str) -> None:
    for method, target in (("HEAD", TASKS), ("OPTIONS", TASKS), ("HEAD", "/nowhere"), ("HEAD", "/openapi.json")):
        answer = raw(shared.port, head(method, target, *authorized(token)))
        assert answer.endswith(b"\r\n\r\n")
        assert answer.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize(
    "fields",
    [
        ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
        ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    ],
)  # fmt: skip
def test_no_other_protocol_is_spoken(shared: Server, fields: tuple[str, ...]) -> None:
    assert statuses(raw(shared.port, head("GET", "/health/live", *fields), timeout=0.5)) == [200]


def test_giant_heads_are_refused(shared: Server, token: str) -> None:
    assert statuses(raw(shared.port, head("GET", "/health/live", "X: " + "x" * 500_000))) == [431]
    assert statuses(raw(shared.port, head("GET", "/health/live", *[f"X-{number}: x" for number in range(500)]))) == [
        431
    ]
    assert statuses(raw(shared.port, head("GET", TASKS, f"Authorization: Bearer {'x' * 20_000}"))) == [401]


def test_a_head_of_64_kib_is_accepted_and_one_over_128_kib_is_refused(shared: Server) -> None:
    fits, too_long = (head("GET", "/health/live", "X: " + "x" * (size - 100)) for size in (64 * 1024, 128 * 1024 + 200))
    cut: list[bytes | float] = []
    for position in range(0, len(fits), 8192):
        cut += [fits[position : position + 8192], 0.01]
    assert statuses(raw(shared.port, fits)) == [200]
    assert statuses(raw(shared.port, *cut)) == [200]
    assert statuses(raw(shared.port, too_long)) == [431]


UNREADABLE = {
    "no HTTP": (b"GET / HTTP/1.1 x\r\n\r\n", 400),
    "a length that is none": (head("POST", TASKS, "Content-Length: x", "Origin: https://x.example"), 400),
    "an address of 65 535 bytes": (head("GET", "/" + "x" * 65_534), 414),
    "101 header fields": (head("GET", "/health/live", *[f"X-{number}: x" for number in range(99)]), 431),
}


@pytest.mark.parametrize("shape", UNREADABLE)
def test_a_head_that_cannot_be_read_is_answered_by_a_bare_status_as_the_page_on_errors_says(
    shared: Server, shape: str
) -> None:
    request, status = UNREADABLE[shape]
    answer = raw(shared.port, request)
    assert statuses(answer) == [status]
    fields, _, body = answer.partition(b"\r\n\r\n")
    assert {line.partition(b":")[0] for line in fields.splitlines()[1:]} == {b"connection", b"content-length", b"date"}
    assert body == b""
    assert f"{status}" in (ROOT / "docs/reference/errors.md").read_text().partition("|")[0]


def test_heads_that_cannot_be_read_are_neither_logged_nor_counted(shared: Server) -> None:
    for request, _ in UNREADABLE.values():
        raw(shared.port, request)
    raw(shared.port, head("GET", "/health/live", "X-Request-Id: after-the-unreadable"))
    log = eventually(lambda: log if b'"after-the-unreadable"' in (log := shared.log()) else None)
    numbers = raw(shared.port, head("GET", "/metrics"))
    assert b'status="200"' in numbers
    for status in (414, 431):
        assert status not in {json.loads(line).get("status") for line in log.splitlines()}
        assert b'status="%d"' % status not in numbers


def test_a_host_header_changes_nothing(shared: Server) -> None:
    for field in ("Host: evil.example", "Host: evil.example:99999", "Host: evil.example:"):
        answer = raw(shared.port, head("GET", "/health/live").replace(b"Host: x", field.encode()))
        assert statuses(answer) == [200]
        assert b"evil" not in answer


@pytest.mark.parametrize("hosts", [b"", b"Host:\r\n", b"Host: a\r\nHost: evil.example\r\n", b"Host: x\r\nHost: x\r\n"])
def test_http_1_1_needs_exactly_one_host(shared: Server, token: str, hosts: bytes) -> None:
    before = stored(shared, token)
    for request in (head("GET", "/health/live"), post(token, f"Content-Length: {len(GOOD)}") + GOOD):
        answer = raw(shared.port, request.replace(b"Host: x\r\n", hosts))
        assert statuses(answer) == [400]
        assert b"application/problem+json" in answer
    assert stored(shared, token) == before


def test_credentials_given_twice_are_refused(shared: Server, token: str) -> None:
    answer = raw(shared.port, head("GET", TASKS, *authorized(token), *authorized(token)))
    assert statuses(answer) == [401]


def test_expect_100_continue_is_answered(shared: Server, token: str) -> None:
    request = post(token, "Expect: 100-continue", f"Content-Length: {len(GOOD)}")
    assert statuses(raw(shared.port, request, 0.2, GOOD)) == [100, 201]
    # A client that would be refused need not send its body.
    assert statuses(raw(shared.port, post("x.y.z", "Expect: 100-continue", "Content-Length: 13"))) == [401]


def test_a_client_that_hangs_up_midway_stores_nothing_and_is_not_logged_as_a_bug(shared: Server, token: str) -> None:
    before = len(shared.log().splitlines())
    for request in (
        post(token, "Content-Length: 100") + b'{"title":',
        post(token, "Transfer-Encoding: chunked") + b"5\r\n{",
        post(token, f"Content-Length: {len(GOOD)}"),
        head("GET", TASKS, *authorized(token))[:-2],
    ):
        with socket.create_connection(("127.0.0.1", shared.port)) as connection:
            connection.sendall(request)
            time.sleep(0.1)
    for _ in range(20):  # gone before the answer is
        with socket.create_connection(("127.0.0.1", shared.port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(head("GET", TASKS, *authorized(token)))
    assert stored(shared, token) == 0
    eventually(lambda: len(shared.log().splitlines()) > before)
    lines = [json.loads(line) for line in shared.log().splitlines()[before:]]
    assert {line["event"] for line in lines} == {"request"}
    assert not [line for line in lines if line["status"] >= 500]


def test_a_slow_client_is_served_and_delays_no_other(shared: Server, token: str) -> None:
    whole = post(token, f"Content-Length: {len(GOOD)}") + GOOD
    pieces: list[bytes | float] = []
    for position in range(0, len(whole), 40):
        pieces += [whole[position : position + 40], 0.01]
    assert statuses(raw(shared.port, *pieces)) == [201]
    idle = [socket.create_connection(("127.0.0.1", shared.port)) for _ in range(100)]
    for connection in idle[:50]:
        connection.sendall(b"POST / HTTP/1.1\r\nHost:")
    started = time.monotonic()
    assert statuses(raw(shared.port, head())) == [200]
    assert time.monotonic() - started < 5
    for connection in idle:
        connection.close()


def test_more_than_a_thousand_idle_clients_block_no_other(shared: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    with ExitStack() as idle:
        for _ in range(1200):
            idle.enter_context(socket.create_connection(("127.0.0.1", shared.port), 10))
        assert statuses(raw(shared.port, head())) == [200]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_idle_connection_is_kept_as_long_as_the_setting_says(
    shared: Server, serve: Serve, database_url: str
) -> None:
    hasty = serve(DATABASE_URL=database_url, BETTER_AUTH_SECRET="x" * 32, TODO_KEEP_ALIVE="1").started()
    request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with ExitStack() as stack:
        kept, ended = (
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 60)) for server in (shared, hasty)
        )
        for connection in (kept, ended):
            connection.sendall(request)
        while ended.recv(65536):  # until the server ends the connection
            pass
        kept.recv(65536)
        kept.sendall(request)
        assert statuses(kept.recv(65536)) == [200]


def test_the_servers_log_is_one_object_a_line_and_holds_nothing_that_was_sent(shared: Server, token: str) -> None:
    raw(
        shared.port,
        head("GET", f"{TASKS}/s3cr3t?q=s3cr3t", *authorized(token, "User-Agent: s3cr3t", "X-Request-Id: last")),
    )
    raw(shared.port, head("GET", "/s3cr3t%0d%0a{}", "Cookie: s3cr3t", "X-Request-Id: very-last"))
    log = eventually(lambda: log if b'"very-last"' in (log := shared.log()) else None)
    for line in log.splitlines():
        assert isinstance(json.loads(line), dict)
    assert b"s3cr3t" not in log
    assert token.encode() not in log
    assert b"Traceback" not in shared.said().encode()
