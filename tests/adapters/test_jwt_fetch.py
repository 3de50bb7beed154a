"""Fetching a document from servers that are honest, hostile, slow or broken: all real, on loopback."""

import asyncio
import gzip
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from issuers import Answer, document, dripping, hanging, issuing, raw, self_signed

from todo_adapters.jwt_identity.fetch import DOCUMENT_BYTES, Fetch, FetchFailed

BODY = b'{"keys":[]}'
LARGEST = b" " * DOCUMENT_BYTES


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def held_open(data: bytes) -> Answer:
    """Exactly these bytes, and no end of the connection."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        await raw(data)(writer)
        await hanging(writer)

    return answer


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
OK_WITH_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)

GOOD: dict[str, tuple[Answer, bytes]] = {
    "with a length": (document(BODY), BODY),
    "without a length": (raw(b"HTTP/1.1 200 OK\r\n\r\n" + BODY), BODY),
    "in chunks": (raw(chunked(BODY[:4], BODY[4:])), BODY),
    "HTTP/1.0": (raw(b"HTTP/1.0 200 OK\r\n\r\n" + BODY), BODY),
    "as large as may be": (document(LARGEST), LARGEST),
    "in many pieces": (dripping(b"HTTP/1.1 200 OK\r\n\r\n" + BODY, 0.001), BODY),
    "empty": (document(b""), b""),
    "after interim answers": (raw(b"HTTP/1.1 100 Continue\r\n\r\n" + HINTS * 2 + OK_WITH_LENGTH + BODY), BODY),
    "on a connection held open": (held_open(OK_WITH_LENGTH + BODY), BODY),
    "in chunks, on a connection held open": (held_open(chunked(BODY)), BODY),
    "after an interim answer, on a connection held open": (held_open(HINTS + OK_WITH_LENGTH + BODY), BODY),
    "that says it is not compressed, in capitals": (document(BODY, "200 OK", "Content-Encoding: Identity"), BODY),
    "with an empty list of codings": (document(BODY, "200 OK", "Content-Encoding: "), BODY),
    "more than its length": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}{}"), b"{}"),
}

BAD: dict[str, Answer] = {
    "a byte too large": document(LARGEST + b" "),
    "a byte too large, in chunks": raw(chunked(LARGEST, b" ")),
    "a byte too large, without a length": raw(b"HTTP/1.1 200 OK\r\n\r\n" + LARGEST + b" "),
    "megabytes": document(b" " * 3_000_000),
    "megabytes of headers": raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500_000),
    "a long header": raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500_000 + b"\r\n\r\n{}"),
    "interim answers without end": raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 9000),
    "an interim answer and no other": raw(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "another protocol": raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + BODY),
    "cut short": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + BODY),
    "cut short in chunks": raw(chunked(BODY, end=b"")),
    "bad chunks": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n"),
    "a negative chunk": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n"),
    "gzip": document(gzip.compress(BODY), "200 OK", "Content-Encoding: gzip"),
    "an unknown encoding": document(BODY, "200 OK", "Content-Encoding: br, gzip"),
    "not found": document(BODY, "404 Not Found"),
    "a server error": document(BODY, "500 Internal Server Error"),
    "no content": document(b"", "204 No Content"),
    "part of it": document(BODY, "206 Partial Content"),
    "not modified": document(b"", "304 Not Modified"),
    "nothing": raw(b""),
    "a part of the status": raw(b"HTTP/1.1 2"),
    "something else than HTTP": raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "HTTP/0.9": raw(BODY),
    "bytes": raw(bytes(range(256)) * 100),
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_complete_document_comes_as_it_is(name: str) -> None:
    answer, body = GOOD[name]
    with issuing(answer) as issuer:
        assert await Fetch(issuer.url, timeout=3)() == body


@pytest.mark.parametrize("name", BAD)
async def test_any_other_answer_raises_fetch_failed(name: str) -> None:
    with issuing(BAD[name]) as issuer:
        with pytest.raises(FetchFailed):
            await Fetch(issuer.url, timeout=3)()
        assert len(issuer.requests) == 1


async def test_no_more_than_the_maximum_is_read() -> None:
    written = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" " * 65536)
            written += 65536
            await writer.drain()

    with issuing(endless) as issuer, pytest.raises(FetchFailed, match="the answer is too long"):
        await Fetch(issuer.url, timeout=30)()
    # What the buffers between the two take in comes on top.
    assert written < 32 * 1024 * 1024


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_not_followed(status: str) -> None:
    with issuing(document(BODY)) as elsewhere, issuing(document(BODY)) as issuer:
        issuer.answer = document(b"", status, f"Location: {elsewhere.url}")
        with pytest.raises(FetchFailed, match=status[:3]):
            await Fetch(issuer.url, timeout=3)()
        assert not elsewhere.requests


@pytest.mark.parametrize(
    "answer", [hanging, dripping(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200), dripping(b"HTTP/1.1 2" + LARGEST)]
)
async def test_one_timeout_covers_all_steps(answer: Answer) -> None:
    with issuing(answer) as issuer:
        start = time.monotonic()
        with pytest.raises(FetchFailed, match="no complete answer"):
            await Fetch(issuer.url, timeout=0.3)()
        assert time.monotonic() - start < 1.5


async def test_a_fetch_does_not_block_the_event_loop() -> None:
    with issuing(hanging) as issuer:
        fetching = asyncio.create_task(Fetch(issuer.url, timeout=0.5)())
        turns = 0
        while not fetching.done():
            await asyncio.sleep(0.01)
            turns += 1
        with pytest.raises(FetchFailed):
            await fetching
        assert turns > 10


async def test_a_refused_connection_raises_fetch_failed() -> None:
    with issuing(document(BODY)) as issuer:
        url = issuer.url
    with pytest.raises(FetchFailed, match="Connect"):
        await Fetch(url, timeout=3)()


async def test_a_self_signed_certificate_is_refused() -> None:
    with issuing(document(BODY), tls=self_signed()[0]) as issuer:
        for context in (None, ssl.create_default_context()):
            with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
                await Fetch(issuer.url, timeout=3, tls=context)()
        assert not issuer.requests


async def test_a_certificate_for_another_name_is_refused() -> None:
    server, certificate = self_signed()
    context = ssl.create_default_context(cadata=certificate.decode())
    with issuing(document(BODY), tls=server) as issuer:
        with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await Fetch(issuer.url.replace("127.0.0.1", "localhost"), timeout=3, tls=context)()
        assert await Fetch(issuer.url, timeout=3, tls=context)() == BODY


async def test_https_to_an_http_server_raises_fetch_failed() -> None:
    with issuing(document(BODY)) as issuer, pytest.raises(FetchFailed):
        await Fetch(issuer.url.replace("http:", "https:"), timeout=0.5)()


async def test_no_proxy_comes_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with issuing(document(BODY)) as issuer:
        assert await Fetch(issuer.url, timeout=3)() == BODY


async def test_the_request_asks_for_an_uncompressed_answer() -> None:
    with issuing(document(BODY)) as issuer:
        await Fetch(issuer.url + "?tenant=a&b", timeout=3)()
    line, *headers = issuer.requests[0].decode().rstrip().split("\r\n")
    assert line == "GET /api/auth/jwks?tenant=a&b HTTP/1.1"
    assert {f"Host: 127.0.0.1:{issuer.port}", "Accept-Encoding: identity", "Connection: close"} < set(headers)


class Swallowing:
    """A port that swallows packets: its queue of connections is full, and nobody takes one out."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.address = self._listener.getsockname()
        self._fillers = [socket.socket() for _ in range(4)]
        for filler in self._fillers:
            filler.setblocking(False)
            filler.connect_ex(self.address)

    def close(self) -> None:
        for each in (self._listener, *self._fillers):
            each.close()


@pytest.fixture
def swallowing() -> Iterator[Swallowing]:
    port = Swallowing()
    yield port
    port.close()


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> list[str]:
    """Have every name resolve to these addresses; the names that were looked up."""
    asked: list[str] = []

    def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host.replace(".", "").isdecimal():
            return real(host, *_, **__)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    real: Any = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("count", [1, 3, 15])
async def test_an_address_that_answers_is_reached_in_time_and_tried_first_next_time(
    monkeypatch: pytest.MonkeyPatch, swallowing: Swallowing, count: int
) -> None:
    with issuing(document(BODY)) as issuer:
        here = ("127.0.0.1", issuer.port)
        dead = [swallowing.address, *(("127.0.0.1", port) for port in range(1, count))]
        asked = resolving(monkeypatch, *dead, here)
        fetch = Fetch("http://keys.example/jwks", timeout=3)
        assert await fetch() == BODY
        assert (await fetch._addresses())[0] == here
        fetch._timeout = 60.0
        fetch._first_answer = partial(only_first, fetch)  # type: ignore[method-assign]
        assert await fetch() == BODY
        assert set(asked) == {"keys.example"}
        assert b"Host: keys.example\r\n" in issuer.requests[0]


async def only_first(fetch: Fetch, addresses: Sequence[tuple[str, int]]) -> bytes:
    return await Fetch._first_answer(fetch, addresses[:1])


async def test_an_address_that_accepts_and_never_answers_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with issuing(hanging) as dead, issuing(document(BODY)) as alive:
        resolving(monkeypatch, ("127.0.0.1", dead.port), ("127.0.0.1", alive.port))
        assert await Fetch("http://keys.example/jwks", timeout=3)() == BODY


async def test_if_no_address_answers_the_time_limit_covers_all_of_them(
    monkeypatch: pytest.MonkeyPatch, swallowing: Swallowing
) -> None:
    resolving(monkeypatch, *[swallowing.address] * 3)
    with pytest.raises(FetchFailed, match="no complete answer"):
        await Fetch("http://keys.example/jwks", timeout=0.3)()


async def test_the_certificate_must_be_for_the_name_whatever_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    server, certificate = self_signed()
    context = ssl.create_default_context(cadata=certificate.decode())
    with issuing(document(BODY), tls=server) as issuer:
        resolving(monkeypatch, ("127.0.0.1", issuer.port))
        with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await Fetch("https://keys.example/jwks", timeout=3, tls=context)()
