"""Deletes expired keys and old changes in the background, a bounded piece at a time."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Final

from psycopg import AsyncConnection
from sqlalchemy import Column, Table

from todo_adapters.postgres.batch import Batch, execute
from todo_adapters.postgres.sender import Sender
from todo_adapters.postgres.sharding import OWNER
from todo_adapters.postgres.table import changes, used_keys
from todo_core import KEY_LIFE, OwnerId, StoreUnavailable

EVERY: Final = 600.0  # seconds
PIECE: Final = 1000  # rows: a statement takes some milliseconds, however many rows have expired


class Pruning:
    """Deletes keys after `KEY_LIFE` and changes after `history`.

    Each process does so at its first write, and then at a write at most every ten minutes. There is no timer, which
    would keep a serverless database awake.
    """

    def __init__(self, sender: Sender, history: timedelta) -> None:
        self._sender = sender
        expiring = ((used_keys, used_keys.c.used_at, KEY_LIFE), (changes, changes.c.at, history))
        self._pieces = [(pruning(*each), expired_owners(*each)) for each in expiring]
        self._due = 0.0
        self._under_way: asyncio.Task[None] | None = None

    def begin_if_due(self) -> None:
        """Begin in the background, if ten minutes have passed."""
        if (now := monotonic()) >= self._due:
            self._due = now + EVERY
            self._under_way = asyncio.create_task(self._prune())

    async def _prune(self) -> None:
        with suppress(StoreUnavailable):  # expired rows may stay until next time
            for prune, owners in self._pieces:
                if self._sender.sharded:
                    while await self._prune_by_owner(prune, owners):
                        pass
                else:
                    while await self._sender.write(prune, None) == PIECE:
                        pass

    async def _prune_by_owner(self, prune: Batch[OwnerId | None, int], owners: Batch[None, Sequence[OwnerId]]) -> bool:
        """Prune the owners of the oldest rows. Whether more may be left that no other process is deleting."""
        oldest = await self._sender.read(owners, None)
        deleted = [await self._sender.write(prune, owner, owner=owner) for owner in dict.fromkeys(oldest)]
        return len(oldest) == PIECE and any(deleted)

    async def aclose(self) -> None:
        """End a pruning that is under way."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait({self._under_way})


def pruning(table: Table, moment: Column[datetime], life: timedelta) -> Batch[OwnerId | None, int]:
    """Deletes up to `PIECE` rows whose `moment` is older than `life`, of one owner or of all; returns how many.

    Rows that another process is deleting at the same time are skipped.
    """
    # By primary key: a `ctid` is unique within one partition only.
    key = [column.name for column in table.primary_key]

    def forgetting(of_owner: str) -> str:
        return f"""
            with expired as materialized (
                select {", ".join(key)} {_oldest(table, moment, of_owner)} for update skip locked
            )
            delete from {table.name} using expired
            where {" and ".join(f"{table.name}.{name} = expired.{name}" for name in key)} {of_owner}
            returning 1
        """

    of_all, of_one = forgetting(""), forgetting(f"and {table.name}.user_id = {OWNER}")

    async def prune(connection: AsyncConnection[Any], calls: Sequence[OwnerId | None]) -> list[int]:
        owner = calls[0]
        statement = of_all if owner is None else of_one
        return [len(await execute(connection, statement, {"life": life, "owner": owner}))] * len(calls)

    return prune


def expired_owners(table: Table, moment: Column[datetime], life: timedelta) -> Batch[None, Sequence[OwnerId]]:
    """The owners of the rows that `pruning` would delete."""
    statement = f"select user_id {_oldest(table, moment)}"

    async def owners(connection: AsyncConnection[Any], calls: Sequence[None]) -> list[Sequence[OwnerId]]:
        rows = await execute(connection, statement, {"life": life})
        return [[owner for (owner,) in rows]] * len(calls)

    return owners


def _oldest(table: Table, moment: Column[datetime], of_owner: str = "") -> str:
    # Ordered by age, for the index; the limit is part of the text, since a generic plan does not know parameters.
    return f"""
        from {table.name} where {moment.name} < now() - %(life)s {of_owner} order by {moment.name} limit {PIECE}
    """
