"""A storage of one's own: tasks in one SQLite file. `test_sqlite_store.py` proves that it keeps every promise."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias, TypeVar
from uuid import UUID

from todo_core import (
    KEY_LIFE,
    Expected,
    IdempotencyKey,
    KeyReused,
    OwnerId,
    Page,
    StoreUnavailable,
    Task,
    TaskExists,
    TaskId,
    TaskNotFound,
    TaskQuery,
    Version,
    asks_for_the_same,
    owner_id,
    searchable,
)

_SCHEMA = """
    create table if not exists tasks (
        owner text, id blob, title text, description text, completed_at text, version integer, created_at text,
        updated_at text, words text, primary key (owner, id)
    ) without rowid;
    create table if not exists firsts (
        owner text, id blob, title text, description text, completed_at text, version integer, created_at text,
        updated_at text, key text, used_at text, primary key (owner, key)
    ) without rowid;
    create index if not exists firsts_by_age on firsts (used_at);
"""
_COLUMNS = "owner, id, title, description, completed_at, version, created_at, updated_at"
_ORDER = {"created_at": "id", "updated_at": "updated_at, id", "title": "title, id"}

Answer = TypeVar("Answer")
Row: TypeAlias = tuple[str, bytes, str, str | None, str | None, int, str, str]


class SqliteTaskStore:
    """A `TaskStore` in the file at `path`, which several processes may share. `aclose` it at the end."""

    def __init__(self, path: Path) -> None:
        # SQLite waits for the disk, and for other processes: not in the event loop. One thread: one call at a time.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.executescript(_SCHEMA)

    def tasks_of(self, owner: OwnerId) -> "SqliteOwnedTasks":
        """As `TaskStore.tasks_of`."""
        return SqliteOwnedTasks(self, owner_id(owner))

    async def ready(self) -> None:
        """As `TaskStore.ready`."""
        await self.transact(lambda connection: connection.execute("select 1 from tasks limit 1").fetchone())

    async def aclose(self) -> None:
        """As `TaskStore.aclose`."""
        await asyncio.to_thread(self._thread.shutdown)
        self._connection.close()

    async def transact(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """What `work` answers, done wholly or not at all, and nobody else's writes in between."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def _transact(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        try:
            # Immediate: a transaction that begins by reading could not begin to write once another process has.
            self._connection.execute("begin immediate")
            with self._connection:
                return work(self._connection)
        except sqlite3.OperationalError as problem:  # locked for too long, the disk is full or gone
            raise StoreUnavailable from problem


class SqliteOwnedTasks:
    """One owner's tasks."""

    def __init__(self, store: SqliteTaskStore, owner: OwnerId) -> None:
        self._store = store
        self._owner = owner

    async def add(self, task: Task) -> None:
        """As `OwnedTasks.add`."""
        self._require_mine(task)
        await self._store.transact(lambda connection: _insert(connection, task))

    async def add_once(self, key: IdempotencyKey, task: Task) -> Task:
        """As `OwnedTasks.add_once`."""
        self._require_mine(task)

        def work(connection: sqlite3.Connection) -> Task:
            now = datetime.now(UTC)
            connection.execute("delete from firsts where used_at < ?", [_text(now - KEY_LIFE)])
            found = connection.execute(
                f"select {_COLUMNS} from firsts where owner = ? and key = ?", [self._owner, key]
            ).fetchone()
            if found is not None:
                return _task(found)
            _insert(connection, task)
            connection.execute("insert into firsts values (?,?,?,?,?,?,?,?,?,?)", [*_row(task), key, _text(now)])
            return task

        first = await self._store.transact(work)
        if not asks_for_the_same(first, task):
            raise KeyReused
        return first

    async def get(self, task_id: TaskId) -> Task:
        """As `OwnedTasks.get`."""
        return await self._store.transact(lambda connection: self._found(connection, task_id))

    async def edit(self, task_id: TaskId, change: Callable[[Task], Task]) -> Task:
        """As `OwnedTasks.edit`."""

        def work(connection: sqlite3.Connection) -> Task:
            task = self._found(connection, task_id)
            changed = task.after(change)
            if changed != task:
                self._delete(connection, task_id)
                _insert(connection, changed)
            return changed

        return await self._store.transact(work)

    async def remove(self, task_id: TaskId, *, expected: Expected = None) -> None:
        """As `OwnedTasks.remove`."""

        def work(connection: sqlite3.Connection) -> None:
            self._found(connection, task_id).expecting(expected)
            self._delete(connection, task_id)

        await self._store.transact(work)

    async def page(self, query: TaskQuery) -> Page:
        """As `OwnedTasks.page`."""
        statement, values = _listing(self._owner, query)
        rows = await self._store.transact(lambda connection: connection.execute(statement, values).fetchall())
        return query.page([_task(row) for row in rows])

    def _require_mine(self, task: Task) -> None:
        if task.owner != self._owner:
            raise ValueError("this task belongs to another owner")

    def _found(self, connection: sqlite3.Connection, task_id: TaskId) -> Task:
        row = connection.execute(
            f"select {_COLUMNS} from tasks where owner = ? and id = ?", [self._owner, task_id.bytes]
        ).fetchone()
        if row is None:
            raise TaskNotFound
        return _task(row)

    def _delete(self, connection: sqlite3.Connection, task_id: TaskId) -> None:
        connection.execute("delete from tasks where owner = ? and id = ?", [self._owner, task_id.bytes])


def _listing(owner: OwnerId, query: TaskQuery) -> tuple[str, list[object]]:
    """The statement for the query's tasks and one more, where there is one, and its values."""
    # The order is the core's: SQLite compares text by its UTF-8, which is by code point.
    conditions = ["owner = ?"]
    values: list[object] = [owner]
    if query.completed is not None:
        conditions.append(f"completed_at is {'not' if query.completed else ''} null")
    if query.needle is not None:
        conditions.append("instr(words, ?) > 0")
        values.append(query.needle)
    order = _ORDER[query.sort.field]
    if query.after is not None:
        places = [_column(part) for part in query.after.key]
        conditions.append(f"({order}) {'<' if query.sort.descending else '>'} ({','.join('?' * len(places))})")
        values += places
    direction = "desc" if query.sort.descending else "asc"
    ordered = ", ".join(f"{column} {direction}" for column in order.split(", "))
    where = " and ".join(conditions)
    return f"select {_COLUMNS} from tasks where {where} order by {ordered} limit {query.limit + 1}", values


def _insert(connection: sqlite3.Connection, task: Task) -> None:
    try:
        connection.execute("insert into tasks values (?,?,?,?,?,?,?,?,?)", [*_row(task), searchable(task)])
    except sqlite3.IntegrityError:
        raise TaskExists from None


def _row(task: Task) -> Row:
    done = _text(task.completed_at) if task.completed_at else None
    created, updated = _text(task.created_at), _text(task.updated_at)
    return task.owner, task.id.bytes, task.title, task.description, done, task.version, created, updated


def _task(row: Row) -> Task:
    owner, task_id, title, description, done, version, created, updated = row
    return Task(
        id=TaskId(UUID(bytes=task_id)),
        owner=OwnerId(owner),
        title=title,
        description=description,
        completed_at=datetime.fromisoformat(done) if done else None,
        version=Version(version),
        created_at=datetime.fromisoformat(created),
        updated_at=datetime.fromisoformat(updated),
    )


def _text(moment: datetime) -> str:
    """That moment as text, always of the same length: so it sorts as moments do."""
    return moment.isoformat(timespec="microseconds")


def _column(part: str | datetime | UUID) -> str | bytes:
    match part:
        case datetime():
            return _text(part)
        case UUID():
            return part.bytes
    return part
