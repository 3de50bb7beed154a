"""Fetches one small document over HTTP or HTTPS without trusting the other side to be quick, brief or right."""

import asyncio
import http.client
import io
import ssl
from typing import Final
from urllib.parse import SplitResult, urlsplit

DOCUMENT_BYTES: Final = 64 * 1024
"""The longest document that is accepted."""

# The status line, the headers and the marks of chunks come on top of the document.
_ANSWER_BYTES: Final = DOCUMENT_BYTES + 32 * 1024


class FetchFailed(Exception):
    """There is no document. The message says why, for logs."""


async def fetch(url: str, *, timeout: float, tls: ssl.SSLContext | None = None) -> bytes:  # noqa: ASYNC109
    """The document at `url`, got within `timeout` seconds in all. Raises `FetchFailed`.

    It asks once: no redirects, no proxies, no compression, no more than `DOCUMENT_BYTES`. `tls` verifies the other
    side's certificate; without it the system's authorities do.
    """
    try:
        async with asyncio.timeout(timeout):
            return _document(await _exchange(urlsplit(url), tls))
    except TimeoutError:
        raise FetchFailed(f"no complete answer within {timeout:g} s") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchFailed(repr(error)) from error


async def _exchange(url: SplitResult, tls: ssl.SSLContext | None) -> bytes:
    """Everything that the server sends until it hangs up, as `Connection: close` asks it to (RFC 9112 §9.6)."""
    secure = url.scheme == "https"
    context = (tls or True) if secure else None
    reader, writer = await asyncio.open_connection(url.hostname, url.port or (443 if secure else 80), ssl=context)
    try:
        writer.write(_request(url))
        answer = bytearray()
        while chunk := await reader.read(DOCUMENT_BYTES):
            answer += chunk
            if len(answer) > _ANSWER_BYTES:
                raise FetchFailed("the answer is too long")
        return bytes(answer)
    finally:
        # At once: a polite end would wait for the other side.
        writer.transport.abort()


def _request(url: SplitResult) -> bytes:
    target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    lines = (
        f"GET {target} HTTP/1.1",
        f"Host: {url.netloc}",
        "Accept: application/json",
        "Accept-Encoding: identity",
        "User-Agent: todo-api",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode("ascii")


class _Received:
    """As much of a socket as `http.client` needs to read an answer that has arrived already."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _document(answer: bytes) -> bytes:
    """The body of an HTTP answer, checked for completeness against its length or its chunks."""
    response = http.client.HTTPResponse(_Received(answer))  # type: ignore[arg-type]  # needs no more of a socket
    response.begin()
    if response.status != http.client.OK:
        raise FetchFailed(f"the answer's status is {response.status}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise FetchFailed("the answer is compressed, though none was asked for")
    document = response.read()
    if len(document) > DOCUMENT_BYTES:
        raise FetchFailed("the document is too long")
    return document
