"""The core in a service without HTTP: users of one machine send lines of JSON through a Unix socket.

    python socket_service.py /run/user/1000/tasks.sock tasks.db

    {"do": "create", "title": "Buy oat milk"}    {"do": "toggle", "id": "0198…"}
    {"do": "list", "after": null}                {"do": "delete", "id": "0198…"}

The kernel identifies the user (Linux's SO_PEERCRED): no passwords, and nobody sees another user's tasks.
"""

import asyncio
import json
import signal
import socket
import struct
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlite_store import SqliteTaskStore

from todo_adapters.system import SystemClock, SystemIds
from todo_core import Cursor, InvalidInput, OwnerId, Problem, Task, TaskId, TaskQuery, TaskService, TodoError, owner_id


async def answer(tasks: TaskService, owner: OwnerId, line: bytes) -> dict[str, object]:
    """Returns the answer to one line. A refusal of the core is reported by its stable code."""
    try:
        return await carry_out(tasks, owner, read(line))
    except TodoError as refusal:
        return {"error": refusal.code, "detail": str(refusal)}


async def carry_out(tasks: TaskService, owner: OwnerId, asked: Any) -> dict[str, object]:
    match asked:
        case {"do": "create", "title": title}:  # of any type: the core validates it
            return shown((await tasks.create(owner, title=title)).task)
        case {"do": "toggle", "id": str(text)}:
            return shown((await tasks.toggle(owner, task_id(text))).task)
        case {"do": "delete", "id": str(text)}:
            await tasks.delete(owner, task_id(text))
            return {"deleted": text}
        case {"do": "list", "after": str() | None as after}:
            page = await tasks.page(owner, TaskQuery(after=Cursor.decode(after) if after else None))
            return {"tasks": list(map(shown, page.items)), "next": page.next.encode() if page.next else None}
    raise InvalidInput([Problem("do", "must be create, toggle, delete or list, with what belongs to it")])


def read(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidInput([Problem("line", "must be JSON")]) from None


def task_id(text: str) -> TaskId:
    try:
        return TaskId(UUID(text))
    except ValueError:
        raise InvalidInput([Problem("id", "must be a UUID")]) from None


def shown(task: Task) -> dict[str, object]:
    return {"id": str(task.id), "title": task.title, "description": task.description, "completed": task.completed}


def caller(connection: socket.socket) -> OwnerId:
    """The user whose process is at the other end: uid 1000 owns the tasks of "1000"."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return owner_id(str(uid))


async def serve(path: Path, database: Path) -> None:
    """Answer until SIGINT or SIGTERM."""
    store = SqliteTaskStore(database)
    tasks = TaskService(store, SystemClock(), SystemIds())
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        owner = caller(writer.get_extra_info("socket"))
        with suppress(ValueError, OSError), closing(writer):  # a line over 64 KiB; a client that has disconnected
            while line := await reader.readline():
                writer.write(json.dumps(await answer(tasks, owner, line)).encode() + b"\n")
                await writer.drain()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(task := asyncio.create_task(talk(reader, writer)))
        task.add_done_callback(talks.discard)

    told_to_end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    server = await asyncio.start_unix_server(begin, sock=listening(path))
    await told_to_end.wait()
    server.close()
    for task in talks:
        task.cancel()
    await asyncio.gather(*talks, return_exceptions=True)
    await store.aclose()


def listening(path: Path) -> socket.socket:
    """A socket at that path, open to every user of the machine."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    path.chmod(0o666)
    return server


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
