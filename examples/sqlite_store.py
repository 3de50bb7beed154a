"""A storage of your own: tasks in one SQLite file. `test_sqlite_store.py` proves that it keeps every promise."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from todo_core import (
    KEY_LIFE,
    LISTS_MAX,
    ChangePage,
    ChangeQuery,
    Committed,
    Decision,
    Entry,
    KeyReused,
    Kind,
    NotSeen,
    Once,
    OwnerId,
    Page,
    Plan,
    Seen,
    StoreUnavailable,
    Summary,
    SyncItem,
    SyncPage,
    SyncQuery,
    Task,
    TaskExists,
    TaskId,
    TaskList,
    TaskNotFound,
    TaskQuery,
    Thing,
    TooMany,
    decided,
    owner_id,
)
from todo_core.changes import decoded, encoded, entry_of, growth_of, kind_of, packed, unpacked

# Members travel as JSON: a new member of a task needs no new column.
_SCHEMA = """
    create table if not exists owners (owner text primary key, number integer) without rowid;
    create table if not exists things (owner text, id text, kind text, thing text, primary key (owner, id));
    create table if not exists log (
        owner text, number integer, at text, client text, kind text, id text, action text, before text, after text,
        root text, took integer, primary key (owner, number, id)
    ) without rowid;
    create table if not exists keys (
        owner text, key text, used_at text, fingerprint text, number integer, answer text, primary key (owner, key)
    ) without rowid;
    create index if not exists keys_by_age on keys (used_at);
"""
_MAX = {"task": 10_000, "list": LISTS_MAX}
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

    async def changed(self, seen: Mapping[OwnerId, int]) -> Mapping[OwnerId, int]:
        """As `TaskStore.changed`."""
        # One parameter, since SQLite limits how many a statement may have.
        asked = "select owner, number from owners where owner in (select value from json_each(?))"
        rows = await self.transact(lambda connection: connection.execute(asked, [json.dumps([*seen])]).fetchall())
        return {owner: number for owner, number in rows if number != seen[owner]}

    async def ready(self) -> None:
        """As `TaskStore.ready`."""
        await self.transact(lambda connection: connection.execute("select 1 from things limit 1").fetchone())

    async def aclose(self) -> None:
        """As `TaskStore.aclose`."""
        await asyncio.to_thread(self._thread.shutdown)
        self._connection.close()

    async def transact(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Run `work` in one transaction, isolated from other writers, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def _transact(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        try:
            # Immediate: after a read, a first write fails if another process has written in between.
            self._connection.execute("begin immediate")
            with self._connection:
                return work(self._connection)
        except sqlite3.OperationalError as problem:  # locked for too long, or the disk is full or missing
            raise StoreUnavailable from problem


class SqliteOwnedTasks:
    """One owner's things. Each call loads all rows that it needs: an owner's things fit into memory."""

    def __init__(self, store: SqliteTaskStore, owner: OwnerId) -> None:
        self._store = store
        self._owner = owner

    async def get(self, task_id: TaskId) -> Task:
        """As `OwnedTasks.get`."""
        for task in await self._store.transact(lambda connection: self._tasks(connection, "id = ?", task_id.hex)):
            return task
        raise TaskNotFound

    async def page(self, query: TaskQuery) -> Page:
        """As `OwnedTasks.page`. The core filters, sorts and cuts the page."""
        return query.page_of(await self._store.transact(self._tasks))

    async def lists(self) -> tuple[TaskList, ...]:
        """As `OwnedTasks.lists`."""
        return tuple(await self._store.transact(self._lists))

    async def summary(self) -> Summary:
        """As `OwnedTasks.summary`."""
        return Summary.of(await self._store.transact(self._tasks))

    async def changes(self, query: ChangeQuery) -> ChangePage:
        """As `OwnedTasks.changes`."""
        return query.page_of(await self._store.transact(self._entries))

    async def sync(self, query: SyncQuery) -> SyncPage:
        """As `OwnedTasks.sync`."""
        return await self._store.transact(lambda file: query.page_of(self._things(file), self._entries(file)))

    async def commit(self, plan: Plan) -> Committed:
        """As `OwnedTasks.commit`. The file is locked from the first read to the last write."""

        def work(connection: sqlite3.Connection) -> Committed:
            if plan.once is not None and (outcome := self._replayed(connection, plan.once)) is not None:
                return outcome
            decision = self._decided(connection, plan)
            committed = Committed(decision.answer, self._write(connection, decision, plan.client))
            if plan.once is not None:
                kept = [plan.once.fingerprint, committed.change, json.dumps(list(map(_to_keep, committed.answer)))]
                now = _text(datetime.now(UTC))
                connection.execute("insert into keys values (?,?,?,?,?,?)", [self._owner, plan.once.key, now, *kept])
            return committed

        return await self._store.transact(work)

    def _things(self, connection: sqlite3.Connection, condition: str = "true", *values: object) -> list[Any]:
        found = f"select thing from things where owner = ? and {condition}"
        return [unpacked(self._owner, json.loads(row[0])) for row in connection.execute(found, [self._owner, *values])]

    def _tasks(self, connection: sqlite3.Connection, condition: str = "true", *values: object) -> list[Task]:
        return self._things(connection, f"kind = 'task' and {condition}", *values)

    def _lists(self, connection: sqlite3.Connection) -> list[TaskList]:
        return sorted(self._things(connection, "kind = 'list'"), key=lambda each: each.position)

    def _entries(self, connection: sqlite3.Connection, condition: str = "true", *values: object) -> list[Entry]:
        found = f"select * from log where owner = ? and {condition} order by number, id"
        return [_entry(*row) for row in connection.execute(found, [self._owner, *values])]

    def _replayed(self, connection: sqlite3.Connection, once: Once) -> Committed | None:
        connection.execute("delete from keys where used_at < ?", [_text(datetime.now(UTC) - KEY_LIFE)])
        found = "select fingerprint, number, answer from keys where owner = ? and key = ?"
        for fingerprint, number, answer in connection.execute(found, [self._owner, once.key]):
            if fingerprint != once.fingerprint:
                raise KeyReused
            return Committed(tuple(_answered(self._owner, one) for one in json.loads(answer)), number, replayed=True)
        return None

    def _decided(self, connection: sqlite3.Connection, plan: Plan) -> Decision:
        seen, wanted = Seen(self._owner, {}), plan.sees
        while True:
            tasks = {each: self._tasks(connection, "id = ?", each.hex) for each in wanted.tasks}
            history = {each: self._entries(connection, "id = ?", each.hex) for each in wanted.last_entries}
            seen = seen.with_read(
                tasks={each: found[0] if found else None for each, found in tasks.items()},
                entries={each: tuple(self._entries(connection, "number = ?", each)) for each in wanted.entries},
                last_entries={each: found[-1] if found else None for each, found in history.items()},
                pages={query: query.page_of(self._tasks(connection)).items for query in wanted.pages},
                lists=self._lists(connection) if wanted.lists else None,
                log={query: query.page_of(self._entries(connection)).items for query in wanted.log},
            )
            try:
                return decided(plan, seen)
            except NotSeen as more:
                wanted = more.wanted

    def _write(self, connection: sqlite3.Connection, decision: Decision, client: str | None) -> int | None:
        """Store the pairs. Returns the number of their change."""
        for erased in decision.erased:
            self._erase(connection, erased.hex)
        if not decision.pairs:
            return None
        old = [(self._owner, pair.before.id.hex) for pair in decision.pairs if pair.before]
        after = [pair.after for pair in decision.pairs if pair.after]
        new = [(self._owner, one.id.hex, kind_of(one), json.dumps(packed(one))) for one in after]
        connection.executemany("delete from things where owner = ? and id = ?", old)
        try:
            connection.executemany("insert into things values (?,?,?,?)", new)
        except sqlite3.IntegrityError:
            raise TaskExists from None
        for kind, growth in growth_of(decision.pairs).items():
            count = "select count(*) from things where owner = ? and kind = ?"
            [live] = connection.execute(count, [self._owner, kind]).fetchone()
            if growth > 0 and live > _MAX[kind]:
                raise TooMany(f"{kind}s", _MAX[kind])
        raised = "insert into owners values (?, 1) on conflict do update set number = number + 1 returning number"
        number: int = connection.execute(raised, [self._owner]).fetchone()[0]
        at = datetime.now(UTC)
        rows = [(self._owner, *_row(entry_of(pair, number=number, at=at, client=client))) for pair in decision.pairs]
        connection.executemany("insert into log values (?,?,?,?,?,?,?,?,?,?,?)", rows)
        return number

    def _erase(self, connection: sqlite3.Connection, erased: str) -> None:
        """Keep the thing's last log entry, without members; in answers stored under keys, its kind and id."""
        mine = [self._owner, erased]
        last = "(select max(number) from log where owner = ? and id = ?)"
        connection.execute(f"delete from log where owner = ? and id = ? and number < {last}", mine * 2)
        connection.execute("update log set before = '{}' where owner = ? and id = ?", mine)
        gone = str(UUID(erased))
        found = "select key, answer from keys where owner = ? and instr(answer, ?)"
        for key, answer in connection.execute(found, [self._owner, gone]).fetchall():
            kept = [{"kind": one["kind"], "id": gone} if one["id"] == gone else one for one in json.loads(answer)]
            changed = [json.dumps(kept), self._owner, key]
            connection.execute("update keys set answer = ? where owner = ? and key = ?", changed)


def _to_keep(answered: Thing | SyncItem) -> dict[str, Any]:
    if isinstance(answered, SyncItem):
        return {"kind": answered.kind, "id": str(answered.id)}
    return packed(answered)


def _answered(owner: OwnerId, kept: dict[str, Any]) -> Thing | SyncItem:
    gone = kept.keys() == {"kind", "id"}
    return SyncItem(kept["kind"], UUID(kept["id"]), None) if gone else unpacked(owner, kept)


def _row(entry: Entry) -> tuple[object, ...]:
    before, after = (json.dumps(encoded(members)) for members in (entry.before, entry.after))
    what = (entry.client, entry.kind, entry.id.hex, entry.action, before, after)
    return (entry.number, _text(entry.at), *what, entry.root and entry.root.hex, entry.took)


def _entry(_: str, number: int, at: str, client: str | None, kind: Kind, thing_id: str, *rest: Any) -> Entry:
    action, before, after, root, took = rest
    return Entry(
        number=number, at=datetime.fromisoformat(at), client=client, kind=kind, id=UUID(thing_id), action=action,
        before=decoded(json.loads(before)), after=decoded(json.loads(after)), root=root and UUID(root), took=took,
    )  # fmt: skip


def _text(moment: datetime) -> str:
    """That moment as text of a fixed length, so that texts sort in the order of time."""
    return moment.isoformat(timespec="microseconds")
