"""The core in a plain script: a day's list, kept in memory only."""

import asyncio

from todo_adapters.memory import MemoryTaskStore
from todo_adapters.system import SystemClock, SystemIds
from todo_core import InvalidInput, Sort, TaskQuery, TaskService, owner_id


async def main() -> None:
    tasks = TaskService(MemoryTaskStore(), SystemClock(), SystemIds())
    ann = owner_id("ann")
    milk = (await tasks.create(ann, title="Buy oat milk", description="two litres")).task
    await tasks.create(ann, title="Call the plumber")
    await tasks.complete(ann, milk.id)
    try:
        await tasks.create(ann, title=" ")
    except InvalidInput as refusal:
        print(f"not noted: {refusal}")
    for task in (await tasks.page(ann, TaskQuery(sort=Sort.CREATED_AT))).items:
        print("[x]" if task.completed else "[ ]", task.title)


if __name__ == "__main__":
    asyncio.run(main())
