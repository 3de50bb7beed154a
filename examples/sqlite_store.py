"""A storage of one's own: tasks in one SQLite file. `test_sqlite_store.py` proves that it keeps every promise."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from todo_core import (
    KEY_LIFE,
    Action,
    ChangePage,
    ChangeQuery,
    Committed,
    Decision,
    Entry,
    KeyReused,
    NotSeen,
    Once,
    OwnerId,
    Page,
    Pair,
    Plan,
    Seen,
    StoreUnavailable,
    Summary,
    Task,
    TaskExists,
    TaskId,
    TaskNotFound,
    TaskQuery,
    TooMany,
    decided,
    owner_id,
)
from todo_core.changes import LOGGED, decoded, difference, encoded

# Members travel as JSON: a new member of a task needs no new column.
_SCHEMA = """
    create table if not exists owners (owner text primary key, number integer) without rowid;
    create table if not exists tasks (owner text, id blob, members text, primary key (owner, id)) without rowid;
    create table if not exists log (
        owner text, number integer, id blob, at text, action text, client text, before text, after text,
        primary key (owner, number, id)
    ) without rowid;
    create table if not exists keys (
        owner text, key text, used_at text, fingerprint text, number integer, answer text, primary key (owner, key)
    ) without rowid;
    create index if not exists keys_by_age on keys (used_at);
"""
TASKS_MAX = 10_000

Answer = TypeVar("Answer")


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

    async def get(self, task_id: TaskId) -> Task:
        """As `OwnedTasks.get`."""
        if (task := await self._store.transact(lambda connection: self._find(connection, task_id))) is None:
            raise TaskNotFound
        return task

    async def page(self, query: TaskQuery) -> Page:
        """As `OwnedTasks.page`: the core's own words for it do, as long as an owner's tasks fit into memory."""
        return query.page_of(await self._all())

    async def summary(self) -> Summary:
        """As `OwnedTasks.summary`."""
        return Summary.of(await self._all())

    async def changes(self, query: ChangeQuery) -> ChangePage:
        """As `OwnedTasks.changes`."""
        direction, beyond = ("desc", "<") if query.newest_first else ("asc", ">")
        conditions: list[str] = ["owner = ?"]
        values: list[object] = [self._owner]
        if query.of is not None:
            conditions.append("id = ?")
            values.append(query.of.bytes)
        if query.after is not None:
            conditions.append(f"(number, id) {beyond} (?, ?)")
            values += [query.after.number, query.after.id.bytes]
        if query.trash:
            later = "select 1 from log as later where later.owner = log.owner and later.id = log.id"
            conditions.append(
                f"after is null and before <> '{{}}' and not exists ({later} and later.number > log.number)"
            )
        conditions.append(f"true order by number {direction}, id {direction} limit {query.limit + 1}")
        found = " and ".join(conditions)
        return query.page(await self._store.transact(lambda connection: _entries(connection, found, values)))

    async def commit(self, plan: Plan) -> Committed:
        """As `OwnedTasks.commit`: the file is locked from the first look to the last write."""

        def work(connection: sqlite3.Connection) -> Committed:
            if plan.once is not None and (outcome := self._replayed(connection, plan.once)) is not None:
                return outcome
            decision = self._decided(connection, plan)
            committed = Committed(decision.answer, self._write(connection, decision, plan.client))
            if plan.once is not None:
                kept = [plan.once.fingerprint, committed.change, json.dumps(list(map(_dumped, committed.things)))]
                now = _text(datetime.now(UTC))
                connection.execute("insert into keys values (?,?,?,?,?,?)", [self._owner, plan.once.key, now, *kept])
            return committed

        return await self._store.transact(work)

    async def _all(self) -> list[Task]:
        statement = "select id, members from tasks where owner = ?"
        rows = await self._store.transact(lambda connection: connection.execute(statement, [self._owner]).fetchall())
        return [_task(self._owner, *row) for row in rows]

    def _find(self, connection: sqlite3.Connection, task_id: TaskId) -> Task | None:
        found = "select id, members from tasks where owner = ? and id = ?"
        row = connection.execute(found, [self._owner, task_id.bytes]).fetchone()
        return None if row is None else _task(self._owner, *row)

    def _change(self, connection: sqlite3.Connection, number: int) -> tuple[Entry, ...]:
        return tuple(_entries(connection, "owner = ? and number = ? order by id", [self._owner, number]))

    def _last(self, connection: sqlite3.Connection, task_id: TaskId) -> Entry | None:
        latest = "owner = ? and id = ? order by number desc limit 1"
        return next(iter(_entries(connection, latest, [self._owner, task_id.bytes])), None)

    def _replayed(self, connection: sqlite3.Connection, once: Once) -> Committed | None:
        connection.execute("delete from keys where used_at < ?", [_text(datetime.now(UTC) - KEY_LIFE)])
        found = "select fingerprint, number, answer from keys where owner = ? and key = ?"
        row = connection.execute(found, [self._owner, once.key]).fetchone()
        if row is None:
            return None
        fingerprint, number, answer = row
        if fingerprint != once.fingerprint:
            raise KeyReused
        things = tuple(_task(self._owner, bytes.fromhex(task_id), members) for task_id, members in json.loads(answer))
        return Committed(things, number, replayed=True)

    def _decided(self, connection: sqlite3.Connection, plan: Plan) -> Decision:
        seen, wanted = Seen(self._owner, {}), plan.sees
        while True:
            seen = seen.with_tasks({task_id: self._find(connection, task_id) for task_id in wanted.tasks})
            seen = seen.with_log(
                {number: self._change(connection, number) for number in wanted.entries},
                {task_id: self._last(connection, task_id) for task_id in wanted.history},
            )
            try:
                return decided(plan, seen)
            except NotSeen as more:
                wanted = more.wanted

    def _write(self, connection: sqlite3.Connection, decision: Decision, client: str | None) -> int | None:
        """Store the pairs; the number of their change."""
        for task_id in decision.erased:
            mine = [self._owner, task_id.bytes]
            last = "(select max(number) from log where owner = ? and id = ?)"
            connection.execute(f"delete from log where owner = ? and id = ? and number < {last}", mine * 2)
            connection.execute("update log set before = '{}' where owner = ? and id = ?", mine)
            named = [self._owner, f"%{task_id.hex}%"]
            connection.execute("update keys set answer = '[]' where owner = ? and answer like ?", named)
        if not decision.pairs:
            return None
        for pair in decision.pairs:
            self._store_pair(connection, pair)
        growth = sum((pair.before is None) - (pair.after is None) for pair in decision.pairs)
        if growth > 0:
            (live,) = connection.execute("select count(*) from tasks where owner = ?", [self._owner]).fetchone()
            if live > TASKS_MAX:
                raise TooMany("tasks", TASKS_MAX)
        raised = "insert into owners values (?, 1) on conflict do update set number = number + 1 returning number"
        number: int = connection.execute(raised, [self._owner]).fetchone()[0]
        at = _text(datetime.now(UTC))
        for pair in decision.pairs:
            members = [None if each is None else json.dumps(encoded(each)) for each in difference(pair)]
            row = [self._owner, number, pair.thing.id.bytes, at, pair.action, client, *members]
            connection.execute("insert into log values (?,?,?,?,?,?,?,?)", row)
        return number

    def _store_pair(self, connection: sqlite3.Connection, pair: Pair) -> None:
        key = [self._owner, pair.thing.id.bytes]
        if pair.before is not None:
            connection.execute("delete from tasks where owner = ? and id = ?", key)
        if pair.after is not None:
            try:
                connection.execute("insert into tasks values (?,?,?)", [*key, _dumped(pair.after)[1]])
            except sqlite3.IntegrityError:
                raise TaskExists from None


def _dumped(task: Task) -> tuple[str, str]:
    return task.id.hex, json.dumps(encoded({name: getattr(task, name) for name in LOGGED}))


def _task(owner: OwnerId, task_id: bytes, members: str) -> Task:
    return Task(id=TaskId(UUID(bytes=task_id)), owner=owner, **decoded(json.loads(members)))  # type: ignore[arg-type]


def _entries(connection: sqlite3.Connection, found: str, values: list[object]) -> list[Entry]:
    columns = "number, at, client, id, action, before, after"
    return list(map(_entry, connection.execute(f"select {columns} from log where {found}", values)))


def _entry(row: tuple[int, str, str | None, bytes, Action, str | None, str | None]) -> Entry:
    number, at, client, task_id, action, *members = row
    before, after = (None if each is None else decoded(json.loads(each)) for each in members)
    moment, of = datetime.fromisoformat(at), TaskId(UUID(bytes=task_id))
    return Entry(number=number, at=moment, client=client, id=of, action=action, before=before, after=after)


def _text(moment: datetime) -> str:
    """That moment as text, always of the same length: so it sorts as moments do."""
    return moment.isoformat(timespec="microseconds")
