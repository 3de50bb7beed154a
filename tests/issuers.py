"""An issuer of tokens on loopback: a real HTTP server for its keys, which can misbehave in every way on demand."""

import asyncio
import datetime
import ipaddress
import ssl
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class LoopbackIssuer:
    """Answers every request as `answer` says at that moment, and keeps the requests."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.port = 0
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/api/auth/jwks"

    async def serve(self, started: Callable[[], None]) -> None:
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        started()
        try:
            await asyncio.Event().wait()
        finally:
            await _turns()  # a connection that is just being accepted would be lost, and never closed
            server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with suppress(OSError, EOFError, asyncio.CancelledError):
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                await self.answer(writer)
        finally:
            writer.close()

    async def hang_up(self) -> None:
        """End all connections and everything that is still going on in this thread."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
        await _turns()


async def _turns() -> None:
    """Let everything go on that is due in this event loop."""
    for _ in range(20):
        await asyncio.sleep(0)


@contextmanager
def issuing(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[LoopbackIssuer]:
    """Such an issuer, in a thread of its own, so that it serves other processes and blocked event loops as well."""
    issuer, started, loop = LoopbackIssuer(answer, tls), threading.Event(), asyncio.new_event_loop()
    serving = loop.create_task(issuer.serve(started.set))

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(serving)
        loop.run_until_complete(issuer.hang_up())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(5)
    try:
        yield issuer
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join(5)


def document(body: bytes, status: str = "200 OK", *headers: str) -> Answer:
    """The answer of an honest server."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers)
    return raw("\r\n".join((*lines, "", "")).encode() + body)


def raw(data: bytes) -> Answer:
    """Exactly these bytes, and the end."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return answer


async def hanging(_: asyncio.StreamWriter) -> None:
    """Accepts the request and never answers."""
    await asyncio.Event().wait()


def dripping(answer: bytes, seconds: float = 0.05) -> Answer:
    """The right answer, a byte at a time."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        for byte in answer:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(seconds)

    return drip


def self_signed() -> tuple[ssl.SSLContext, bytes]:
    """A server's TLS with a certificate for 127.0.0.1 that it signed itself, and that certificate as PEM."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    certificate = builder.add_extension(address, critical=True).sign(key, hashes.SHA256())
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        both = Path(folder, "both.pem")
        both.write_bytes(private + pem)
        context.load_cert_chain(both)
    return context, pem
