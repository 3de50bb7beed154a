"""Forgets idempotency keys that have expired: beside the creation of tasks, a bounded piece at a time."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from todo_adapters.postgres.batch import execute
from todo_adapters.postgres.sender import Sender
from todo_core import KEY_LIFE, StoreUnavailable

EVERY: Final = 600.0  # seconds
AT_ONCE: Final = 1000  # keys: a statement of some milliseconds, also where there is a day's worth of millions


class Pruning:
    """Forgets expired keys beside the creation of tasks: where nobody writes, no serverless database is woken for it.

    Each process does so at its first creation and then every ten minutes at the most.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._due = 0.0
        self._under_way: asyncio.Task[None] | None = None

    def begin_if_due(self) -> None:
        """Begin, and let nobody wait for it."""
        if (now := monotonic()) >= self._due:
            self._due = now + EVERY
            self._under_way = asyncio.create_task(self._prune())

    async def _prune(self) -> None:
        with suppress(StoreUnavailable):  # next time, then: a key may live longer
            while await self._sender.write(prune_keys, None):
                pass

    async def aclose(self) -> None:
        """End what is under way."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait({self._under_way})


async def prune_keys(connection: AsyncConnection, calls: Sequence[None]) -> list[bool]:
    """Forget keys that have expired; whether there may be more of them. Those who do so at once share the work."""
    deleted = await execute(connection, _PRUNE, {"life": KEY_LIFE, "most": AT_ONCE})
    return [len(deleted) == AT_ONCE for _ in calls]


# Rows that another replica is deleting are left to it. By the primary key: a row's place (ctid) is unique within one
# partition only.
_PRUNE: Final = """
    with expired as materialized (
        select user_id, key from idempotency_keys where used_at < now() - %(life)s
        order by used_at limit %(most)s for update skip locked
    )
    delete from idempotency_keys using expired
    where idempotency_keys.user_id = expired.user_id and idempotency_keys.key = expired.key
    returning 1
"""
