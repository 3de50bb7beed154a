"""Forgets what has expired, keys and old changes: beside the writes, a bounded piece at a time."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from sqlalchemy import Column, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from todo_adapters.postgres.batch import Batch, execute
from todo_adapters.postgres.sender import Sender
from todo_adapters.postgres.table import changes, used_keys
from todo_core import KEY_LIFE, StoreUnavailable

EVERY: Final = 600.0  # seconds
PIECE: Final = 1000  # rows: a statement of some milliseconds, also where there is a day's worth of millions


class Pruning:
    """Forgets keys after `KEY_LIFE` and changes after `history`: where nobody writes, no database is woken for it.

    Each process does so at its first write and then every ten minutes at the most.
    """

    def __init__(self, sender: Sender, history: timedelta) -> None:
        self._sender = sender
        self._pieces = (pruning(used_keys, used_keys.c.used_at, KEY_LIFE), pruning(changes, changes.c.at, history))
        self._due = 0.0
        self._under_way: asyncio.Task[None] | None = None

    def begin_if_due(self) -> None:
        """Begin, and let nobody wait for it."""
        if (now := monotonic()) >= self._due:
            self._due = now + EVERY
            self._under_way = asyncio.create_task(self._prune())

    async def _prune(self) -> None:
        with suppress(StoreUnavailable):  # next time, then: what has expired may live longer
            for piece in self._pieces:
                while await self._sender.write(piece, None):
                    pass

    async def aclose(self) -> None:
        """End what is under way."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait({self._under_way})


def pruning(table: Table, moment: Column[datetime], life: timedelta) -> Batch[None, bool]:
    """Forget rows whose `moment` is longer ago than `life`; whether there may be more of them.

    Those who do so at the same time share the work: rows that another process is deleting are left to it.
    """
    # By the primary key: a row's place (ctid) is unique within one partition only. In the order of age, so that its
    # index leads there, and with the number in the text: not every plan knows the values of parameters.
    key = [column.name for column in table.primary_key]
    statement = f"""
        with expired as materialized (
            select {", ".join(key)} from {table.name} where {moment.name} < now() - %(life)s
            order by {moment.name} limit {PIECE} for update skip locked
        )
        delete from {table.name} using expired
        where {" and ".join(f"{table.name}.{name} = expired.{name}" for name in key)}
        returning 1
    """

    async def prune(connection: AsyncConnection, calls: Sequence[None]) -> list[bool]:
        deleted = await execute(connection, statement, {"life": life})
        return [len(deleted) == PIECE for _ in calls]

    return prune
