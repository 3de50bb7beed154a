"""Fetches a small document over HTTP or HTTPS, with limits on time and size."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

import h11

DOCUMENT_BYTES: Final = 64 * 1024
"""The longest document that is accepted."""

STAGGER: Final = 0.25
"""Seconds until the next address is tried as well (RFC 8305 §8)."""

ADDRESSES: Final = 16
"""How many addresses of a host are tried at most."""

# For status lines, headers and chunk marks, in addition to the document.
_HEAD_BYTES: Final = 32 * 1024
_OK: Final = 200
_Address: TypeAlias = tuple[str, int]


class FetchFailed(Exception):
    """The document could not be fetched. The message gives the reason, for logs."""


class Fetch:
    """Fetches the document at one URL; each call tries first the address that answered last."""

    def __init__(self, url: str, *, timeout: float, tls: ssl.SSLContext | None = None) -> None:
        """`timeout`: seconds for one whole fetch. `tls` replaces the system's certificate authorities."""
        self._url = urlsplit(url)
        self._timeout = timeout
        self._tls = (tls or True) if self._url.scheme == "https" else None
        self._answered: _Address | None = None

    async def __call__(self) -> bytes:
        """The document. Raises `FetchFailed`.

        No redirects, no proxies, no compression, at most `DOCUMENT_BYTES`. Each of the host's addresses is tried once,
        all within the timeout.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._first_answer(await self._addresses())
        except TimeoutError:
            raise FetchFailed(f"no complete answer within {self._timeout:g} s") from None
        except OSError as error:
            raise FetchFailed(repr(error)) from error

    async def _addresses(self) -> Sequence[_Address]:
        port = self._url.port or (443 if self._tls else 80)
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._url.hostname, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys((str(address[0]), int(address[1])) for *_, address in found))
        return sorted(addresses, key=lambda address: address != self._answered)[:ADDRESSES]

    async def _first_answer(self, addresses: Sequence[_Address]) -> bytes:
        """The document from the first address that answers. The next is tried when one fails, or after a pause."""
        stagger = min(STAGGER, self._timeout / (2 * len(addresses)))
        waiting, pending = list(addresses), set[asyncio.Task[bytes]]()
        failure: BaseException | None = None
        try:
            while waiting or pending:
                if waiting:
                    pending.add(asyncio.create_task(self._ask(waiting.pop(0))))
                pause = stagger if waiting else None
                done, pending = await asyncio.wait(pending, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if (failure := task.exception()) is None:
                        return task.result()
            raise failure or FetchFailed("the host has no address")
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _ask(self, address: _Address) -> bytes:
        name = self._url.hostname if self._tls else None
        try:
            reader, writer = await asyncio.open_connection(*address, ssl=self._tls, server_hostname=name)
            try:
                connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
                writer.write(connection.send(_request(self._url)) or b"")
                connection.send(h11.EndOfMessage())
                document = await _document(connection, reader)
            finally:
                writer.transport.abort()  # `close` would wait for the other side
        except (OSError, h11.RemoteProtocolError) as error:
            raise FetchFailed(repr(error)) from error
        self._answered = address
        return document


def _request(url: SplitResult) -> h11.Request:
    target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    headers = {
        "Host": url.netloc,
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "todo-api",
        "Connection": "close",
    }
    return h11.Request(method="GET", target=target, headers=list(headers.items()))


async def _document(connection: h11.Connection, reader: asyncio.StreamReader) -> bytes:
    """The body of the answer, delimited by its length, its chunks or the connection's end (RFC 9112 §6.3)."""
    document, received = bytearray(), 0
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            data = await reader.read(DOCUMENT_BYTES)
            received += len(data)
            if received > _HEAD_BYTES + DOCUMENT_BYTES:
                raise FetchFailed("the answer is too long")
            connection.receive_data(data)
        elif isinstance(event, h11.Response):
            _check(event)
        elif isinstance(event, h11.Data):
            document += event.data
        # Other events are interim answers, such as a 103.
    if len(document) > DOCUMENT_BYTES:
        raise FetchFailed("the document is too long")
    return bytes(document)


def _check(response: h11.Response) -> None:
    if response.status_code != _OK:
        raise FetchFailed(f"the answer's status is {response.status_code}")
    # Codings compare without case, and their list may be empty (RFC 9110 §8.4.1, §5.6.1).
    codings = {value.lower() for name, value in response.headers if name == b"content-encoding"}
    if codings - {b"identity", b""}:
        raise FetchFailed("the answer is compressed, though none was asked for")
