"""PgBouncer in transaction mode, with two connections for everybody, in front of a database."""

import asyncio
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from debian import program
from psycopg.conninfo import conninfo_to_dict
from serving import eventually, free_port

CONFIGURATION = """
[databases]
pooled = host=127.0.0.1 port={port} user={user} password={password} dbname={dbname}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
"""
NOT_ROOT = "user = nobody\n"  # PgBouncer refuses to stay root


class Passage:
    """A port that leads to a Unix socket, and may be cut, or swallow what is sent."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._writers: set[asyncio.StreamWriter] = set()
        self._swallows = False
        self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """End every connection, as a gateway does that has forgotten them."""

        async def end() -> None:
            for writer in self._writers:
                writer.transport.abort()

        self._do(end())

    def swallow(self, swallows: bool) -> None:
        """Let nothing through, and say nothing, from now on; or no longer."""
        self._swallows = swallows

    def close(self) -> None:
        self.cut()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        own = asyncio.current_task()
        left = [task for task in asyncio.all_tasks() if task is not own]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _do(self, work):  # type: ignore[no-untyped-def]
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner, outer = await asyncio.open_unix_connection(self._socket_path)
        except OSError:
            writer.close()
            return
        self.connections += 1
        self._writers |= {writer, outer}
        try:
            await asyncio.gather(self._forward(reader, outer), self._forward(inner, writer))
        finally:
            self._writers -= {writer, outer}

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not self._swallows:
                    writer.write(data)
        writer.close()


@contextmanager
def passage_to(url: str) -> Iterator[tuple[Passage, str]]:
    """A passage to that database, which listens on a Unix socket, and the URL that leads through it."""
    known = conninfo_to_dict(url)
    passage = Passage(f"{known['host']}/.s.PGSQL.{known.get('port', 5432)}")
    try:
        yield passage, f"postgresql://{known['user']}:{known['password']}@127.0.0.1:{passage.port}/{known['dbname']}"
    finally:
        passage.close()


@contextmanager
def pooler_before(url: str) -> Iterator[str]:
    """The URL that leads through a pooler to that database."""
    pgbouncer = program("pgbouncer")
    with passage_to(url) as (passage, _):
        known = conninfo_to_dict(url) | {"port": passage.port, "listen_port": free_port()}
        settings = CONFIGURATION.format(**known) + (NOT_ROOT if os.geteuid() == 0 else "")
        with tempfile.TemporaryFile("w+") as file:  # its size is asked for: a pipe has none
            file.write(settings)
            file.flush()
            pooler = subprocess.Popen(
                [pgbouncer.path, "/dev/stdin"],
                env={**os.environ, **pgbouncer.environment}, stdin=file, stderr=subprocess.DEVNULL, cwd="/",
            )  # fmt: skip
        with pooler:
            try:
                pooled = f"postgresql://ann@127.0.0.1:{known['listen_port']}/pooled?connect_timeout=5"
                eventually(lambda: _reachable(pooled))
                yield pooled
            finally:
                pooler.kill()


def _reachable(url: str) -> bool:
    with suppress(psycopg.OperationalError):
        psycopg.connect(url).close()
        return True
    return False
