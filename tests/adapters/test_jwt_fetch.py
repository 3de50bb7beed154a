"""Fetching a document from servers that are honest, hostile, slow or broken: all real, on loopback."""

import asyncio
import gzip
import ssl
import time

import pytest
from issuers import Answer, document, dripping, hanging, issuing, raw, self_signed

from todo_adapters.jwt_identity.fetch import DOCUMENT_BYTES, FetchFailed, fetch

BODY = b'{"keys":[]}'
LARGEST = b" " * DOCUMENT_BYTES


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


GOOD: dict[str, tuple[Answer, bytes]] = {
    "with a length": (document(BODY), BODY),
    "without a length": (raw(b"HTTP/1.1 200 OK\r\n\r\n" + BODY), BODY),
    "in chunks": (raw(chunked(BODY[:4], BODY[4:])), BODY),
    "HTTP/1.0": (raw(b"HTTP/1.0 200 OK\r\n\r\n" + BODY), BODY),
    "as large as may be": (document(LARGEST), LARGEST),
    "in many pieces": (dripping(b"HTTP/1.1 200 OK\r\n\r\n" + BODY, 0.001), BODY),
    "empty": (document(b""), b""),
    "more than its length": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}{}"), b"{}"),
}

BAD: dict[str, Answer] = {
    "a byte too large": document(LARGEST + b" "),
    "a byte too large, in chunks": raw(chunked(LARGEST, b" ")),
    "a byte too large, without a length": raw(b"HTTP/1.1 200 OK\r\n\r\n" + LARGEST + b" "),
    "megabytes": document(b" " * 3_000_000),
    "megabytes of headers": raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500_000),
    "a long header": raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n{}"),
    "many headers": raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}"),
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
        assert await fetch(issuer.url, timeout=3) == body


@pytest.mark.parametrize("name", BAD)
async def test_anything_else_fails_and_nothing_worse(name: str) -> None:
    with issuing(BAD[name]) as issuer:
        with pytest.raises(FetchFailed):
            await fetch(issuer.url, timeout=3)
        assert len(issuer.requests) == 1


async def test_no_more_is_read_than_may_be() -> None:
    written = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" " * 65536)
            written += 65536
            await writer.drain()

    with issuing(endless) as issuer, pytest.raises(FetchFailed, match="the answer is too long"):
        await fetch(issuer.url, timeout=30)
    # What the buffers between the two take in comes on top.
    assert written < 32 * 1024 * 1024


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_not_followed(status: str) -> None:
    with issuing(document(BODY)) as elsewhere, issuing(document(BODY)) as issuer:
        issuer.answer = document(b"", status, f"Location: {elsewhere.url}")
        with pytest.raises(FetchFailed, match=status[:3]):
            await fetch(issuer.url, timeout=3)
        assert not elsewhere.requests


@pytest.mark.parametrize("answer", [hanging, dripping(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200), dripping(LARGEST)])
async def test_the_time_allowed_is_for_everything_together(answer: Answer) -> None:
    with issuing(answer) as issuer:
        start = time.monotonic()
        with pytest.raises(FetchFailed, match="no complete answer"):
            await fetch(issuer.url, timeout=0.3)
        assert time.monotonic() - start < 1.5


async def test_the_event_loop_goes_on_meanwhile() -> None:
    with issuing(hanging) as issuer:
        fetching = asyncio.create_task(fetch(issuer.url, timeout=0.5))
        turns = 0
        while not fetching.done():
            await asyncio.sleep(0.01)
            turns += 1
        with pytest.raises(FetchFailed):
            await fetching
        assert turns > 10


async def test_nobody_listens() -> None:
    with issuing(document(BODY)) as issuer:
        url = issuer.url
    with pytest.raises(FetchFailed, match="Connect"):
        await fetch(url, timeout=3)


async def test_a_certificate_that_nobody_vouches_for() -> None:
    with issuing(document(BODY), tls=self_signed()[0]) as issuer:
        for context in (None, ssl.create_default_context()):
            with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
                await fetch(issuer.url, timeout=3, tls=context)
        assert not issuer.requests


async def test_a_certificate_for_another_name() -> None:
    server, certificate = self_signed()
    context = ssl.create_default_context(cadata=certificate.decode())
    with issuing(document(BODY), tls=server) as issuer:
        with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await fetch(issuer.url.replace("127.0.0.1", "localhost"), timeout=3, tls=context)
        assert await fetch(issuer.url, timeout=3, tls=context) == BODY


async def test_https_where_http_is_spoken() -> None:
    with issuing(document(BODY)) as issuer, pytest.raises(FetchFailed):
        await fetch(issuer.url.replace("http:", "https:"), timeout=0.5)


async def test_no_proxy_comes_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with issuing(document(BODY)) as issuer:
        assert await fetch(issuer.url, timeout=3) == BODY


async def test_the_request_asks_for_what_can_be_read() -> None:
    with issuing(document(BODY)) as issuer:
        await fetch(issuer.url + "?tenant=a&b", timeout=3)
    line, *headers = issuer.requests[0].decode().rstrip().split("\r\n")
    assert line == "GET /api/auth/jwks?tenant=a&b HTTP/1.1"
    assert {f"Host: 127.0.0.1:{issuer.port}", "Accept-Encoding: identity", "Connection: close"} < set(headers)
