"""A store in memory whose pages arrive late, as those of a database do: others commit meanwhile."""

import asyncio
from random import Random

from todo_adapters.memory import MemoryOwnedTasks, MemoryTaskStore
from todo_core import OwnerId, SyncPage, SyncQuery


class SlowTasks(MemoryOwnedTasks):
    """Each page takes a few turns of the loop, before it is read and after."""

    random = Random(1)

    async def sync(self, query: SyncQuery) -> SyncPage:
        await self._turns()
        page = await super().sync(query)
        await self._turns()
        return page

    async def _turns(self) -> None:
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)


class SlowStore(MemoryTaskStore):
    def tasks_of(self, owner: OwnerId) -> SlowTasks:
        return SlowTasks(self._owners, self._lock, owner)
