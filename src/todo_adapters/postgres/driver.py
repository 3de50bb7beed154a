"""psycopg's connection, except that it reads all received data of a result without waiting in between."""

import select
from typing import Any, Final, TypeVar

from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.waiting import Ready, Wait

R = TypeVar("R")
READS_MAX: Final = 16  # reads of 8 KiB and more, within a millisecond


class Connection(AsyncConnection[Any]):
    """Reads on while its socket has more, where psycopg would wait for the event loop before each read.

    PostgreSQL sends in pieces of 8 KiB: 400 tasks would take 27 turns of the loop, which may take milliseconds each.
    """

    sharded = False
    """Whether each statement must name exactly one owner."""

    async def wait(self, gen: PQGen[R], *arguments: Any, **named: Any) -> R:
        """As `AsyncConnection.wait`."""
        return await super().wait(reading_on(gen, self.pgconn.socket), *arguments, **named)


def reading_on(gen: PQGen[R], socket: int) -> PQGen[R]:
    """That generator, reading on without a wait while the socket has data, up to `READS_MAX` times in a row."""
    arrived = select.poll()
    arrived.register(socket, select.POLLIN)
    reads = 0
    try:
        wanted = next(gen)
        while True:
            if wanted == Wait.R and 0 < reads < READS_MAX and arrived.poll(0):
                reads += 1
                wanted = gen.send(Ready.R)
            else:
                reads = 1
                wanted = gen.send((yield wanted))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
