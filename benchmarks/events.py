"""What live updates cost and how long they take: idle streams in one process, pushes on one and two replicas.

python -m benchmarks.events
"""

import asyncio
import random
import time
from urllib.parse import urlsplit

from benchmarks import usage
from benchmarks.load import User, request
from benchmarks.subjects import Server, database, seed, serving
from todo_adapters.postgres.migrations import migrate

OURS = "todo-api"
IDLE = 1000
SECONDS = 20.0
PUSHES = 200
BUSY = 200


async def opened(server: Server, user: User) -> asyncio.StreamReader:
    """That user's stream, from now on."""
    place = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    head = f"GET /api/{user.name}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n\r\n"
    writer.write(head.encode())
    await reader.readuntil(b"id: ")
    reader.writer = writer  # type: ignore[attr-defined]  # it must live as long
    return reader


async def idle(server: Server, users: list[User], database_pid: int, seconds: float) -> tuple[float, float, float]:
    """Of as many streams on which nothing happens: shares of a core, the database's too, in percent; and MiB."""
    [worker] = usage.workers(server.pid)
    before = usage.memory_mib(worker)
    streams = [await opened(server, user) for user in users]
    await asyncio.sleep(5)
    grown = usage.memory_mib(worker) - before
    cpu, database_cpu = usage.cpu_seconds(worker), usage.cpu_seconds(database_pid)
    await asyncio.sleep(seconds)
    share = (usage.cpu_seconds(worker) - cpu) / seconds * 100
    database_share = (usage.cpu_seconds(database_pid) - database_cpu) / seconds * 100
    for stream in streams:
        stream.writer.close()  # type: ignore[attr-defined]
    return share, database_share, grown


async def pushed(writing: Server, reading: Server, user: User) -> str:
    """From before a creation is sent until a stream has it, in milliseconds."""
    stream = await opened(reading, user)
    place = urlsplit(writing.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    took = []
    for _ in range(PUSHES):
        began = time.perf_counter()
        writer.write(request(place.netloc, user, "create"))
        await stream.readuntil(b"data: ")
        took.append((time.perf_counter() - began) * 1e3)
        await reader.readuntil(b"\r\n\r\n")
        await reader.read(65536)
        await asyncio.sleep(random.uniform(0, 0.25))  # noqa: S311  (out of step with the looks)
    took.sort()
    return f"median {took[len(took) // 2]:.1f} ms, p99 {took[int(len(took) * 0.99)]:.1f} ms, longest {took[-1]:.1f} ms"


async def busy(writing: Server, reading: Server, users: list[User]) -> str:
    """Whether as many streams, each of a user who creates ten tasks, have them all."""
    streams = [await opened(reading, user) for user in users]
    place = urlsplit(writing.url)

    async def one(user: User, stream: asyncio.StreamReader) -> int:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        for _ in range(10):
            writer.write(request(place.netloc, user, "create"))
            await reader.readuntil(b'"updated_at"')
        said = b""
        while said.count(b'"kind":"task"') < 10:
            said += await asyncio.wait_for(stream.read(65536), 30)
        return said.count(b'"kind":"task"')

    counts = await asyncio.gather(*map(one, users, streams))
    return f"{len(streams)} busy streams: {sum(counts)} of {10 * len(users)} changes arrived"


async def measure(one: Server, other: Server, database_pid: int, users: list[User]) -> None:
    """Print it all."""
    print(usage.load())
    print("one replica:", await pushed(one, one, users[0]))
    print("two replicas:", await pushed(one, other, users[1]))
    print(await busy(one, other, users[:BUSY]))
    share, database_share, grown = await idle(one, users, database_pid, SECONDS)
    print(f"{len(users)} idle streams: {share:.2f} % of a core, PostgreSQL {database_share:.2f} %, {grown:.1f} MiB")


def _main() -> None:
    with database() as base:
        url = base.make("events")
        migrate(url)
        with serving(OURS, url) as one, serving(OURS, url) as other:
            users = seed(one.url, IDLE, 1)
            asyncio.run(measure(one, other, base.pid, users))


if __name__ == "__main__":
    _main()
