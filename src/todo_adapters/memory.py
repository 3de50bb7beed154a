"""Tasks in this process's memory: for tests, demonstrations, and programs that need them only while they run."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Lock
from time import monotonic
from typing import Any, Final
from uuid import UUID

from todo_core import (
    KEY_LIFE,
    LISTS_MAX,
    ChangePage,
    ChangeQuery,
    Committed,
    Decision,
    Entry,
    IdempotencyKey,
    KeyReused,
    Kind,
    NotSeen,
    Once,
    OwnerId,
    Page,
    Plan,
    Seen,
    Summary,
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
from todo_core.changes import entry_of, growth_of

_TASKS_MAX: Final = 10_000


@dataclass(slots=True)
class _Kept:
    """The outcome of the write under a key."""

    used_at: float
    fingerprint: str
    outcome: Committed


@dataclass(slots=True)
class _Owner:
    """All that is kept of one owner."""

    tasks: dict[TaskId, Task] = field(default_factory=dict)
    lists: dict[UUID, TaskList] = field(default_factory=dict)
    log: list[Entry] = field(default_factory=list)
    keys: OrderedDict[IdempotencyKey, _Kept] = field(default_factory=OrderedDict)  # oldest first
    number: int = 0

    def kept_with(self, thing: Thing) -> dict[Any, Any]:
        """The mapping for things of its kind."""
        return self.tasks if isinstance(thing, Task) else self.lists


class MemoryTaskStore:
    """A `TaskStore` in memory, which keeps everything until its process ends. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._owners: dict[OwnerId, _Owner] = {}

    def tasks_of(self, owner: OwnerId) -> "MemoryOwnedTasks":
        """As `TaskStore.tasks_of`."""
        return MemoryOwnedTasks(self._owners, self._lock, owner_id(owner))

    async def changed(self, seen: Mapping[OwnerId, int]) -> Mapping[OwnerId, int]:
        """As `TaskStore.changed`."""
        with self._lock:
            numbers = {owner: self._owners[owner].number for owner in seen if owner in self._owners}
        return {owner: number for owner, number in numbers.items() if number != seen[owner]}

    async def ready(self) -> None:
        """As `TaskStore.ready`: memory always is."""

    async def aclose(self) -> None:
        """As `TaskStore.aclose`: there is nothing to wait for."""


class MemoryOwnedTasks:
    """One owner's tasks."""

    def __init__(self, owners: dict[OwnerId, _Owner], lock: Lock, owner: OwnerId) -> None:
        self._owners = owners
        self._lock = lock
        self._owner = owner

    async def get(self, task_id: TaskId) -> Task:
        """As `OwnedTasks.get`."""
        with self._lock:
            task = self._mine.tasks.get(task_id)
        if task is None:
            raise TaskNotFound
        return task

    async def page(self, query: TaskQuery) -> Page:
        """As `OwnedTasks.page`."""
        return query.page_of(self._all())

    async def summary(self) -> Summary:
        """As `OwnedTasks.summary`."""
        return Summary.of(self._all())

    async def lists(self) -> tuple[TaskList, ...]:
        """As `OwnedTasks.lists`."""
        with self._lock:
            return tuple(sorted(self._mine.lists.values(), key=lambda each: each.position))

    async def changes(self, query: ChangeQuery) -> ChangePage:
        """As `OwnedTasks.changes`."""
        with self._lock:
            log = list(self._mine.log)
        return query.page_of(log)

    async def sync(self, query: SyncQuery) -> SyncPage:
        """As `OwnedTasks.sync`."""
        with self._lock:
            mine = self._mine
            return query.page_of([*mine.tasks.values(), *mine.lists.values()], mine.log, mine.number)

    async def commit(self, plan: Plan) -> Committed:
        """As `OwnedTasks.commit`."""
        with self._lock:
            mine = self._mine
            if plan.once is not None and (outcome := _replayed(mine, plan.once)) is not None:
                return outcome
            decision = self._decided(mine, plan)
            committed = Committed(decision.answer, self._store(mine, decision, plan.client))
            if plan.once is not None:
                mine.keys[plan.once.key] = _Kept(monotonic(), plan.once.fingerprint, committed)
            if mine.number or mine.keys:  # owners without any data must not accumulate
                self._owners[self._owner] = mine
            return committed

    @property
    def _mine(self) -> _Owner:
        return self._owners.get(self._owner) or _Owner()

    def _all(self) -> list[Task]:
        with self._lock:
            return list(self._mine.tasks.values())

    def _decided(self, mine: _Owner, plan: Plan) -> Decision:
        seen, wanted = Seen(self._owner, {}), plan.sees
        while True:
            last = {entry.id: entry for entry in mine.log} if wanted.last_entries else {}
            seen = seen.with_read(
                tasks={task_id: mine.tasks.get(task_id) for task_id in wanted.tasks},
                entries={number: tuple(one for one in mine.log if one.number == number) for number in wanted.entries},
                last_entries={thing: last.get(thing) for thing in wanted.last_entries},
                pages={query: query.page_of(mine.tasks.values()).items for query in wanted.pages},
                lists=mine.lists.values() if wanted.lists else None,
                log={query: query.page_of(mine.log).items for query in wanted.log},
            )
            try:
                return decided(plan, seen)
            except NotSeen as more:
                wanted = more.wanted

    def _store(self, mine: _Owner, decision: Decision, client: str | None) -> int | None:
        made = [pair.thing.id for pair in decision.pairs if pair.before is None]
        if not (mine.tasks.keys().isdisjoint(made) and mine.lists.keys().isdisjoint(made)):
            raise TaskExists
        limits: dict[Kind, tuple[int, int]] = {
            "task": (len(mine.tasks), _TASKS_MAX),
            "list": (len(mine.lists), LISTS_MAX),
        }
        for kind, growth in growth_of(decision.pairs).items():
            live, limit = limits[kind]
            if growth > 0 and live + growth > limit:
                raise TooMany(f"{kind}s", limit)
        if decision.erased:
            _erase(mine, decision.erased)
        if not decision.pairs:
            return None
        mine.number += 1
        at = datetime.now(UTC)
        for pair in decision.pairs:
            kept: dict[Any, Any] = mine.kept_with(pair.thing)
            if pair.after is None:
                del kept[pair.thing.id]
            else:
                kept[pair.thing.id] = pair.after
            mine.log.append(entry_of(pair, number=mine.number, at=at, client=client))
        return mine.number


def _erase(mine: _Owner, erased: frozenset[UUID]) -> None:
    """Erase these things from the log and the keys. The last entry of each stays, without its members."""
    last = {entry.id: entry for entry in mine.log if entry.id in erased}
    log = [entry for entry in mine.log if entry.id not in erased or entry is last[entry.id]]
    mine.log = [replace(entry, before={}) if entry.id in erased else entry for entry in log]
    for kept in mine.keys.values():
        kept.outcome = kept.outcome.without(erased)


def _replayed(mine: _Owner, once: Once) -> Committed | None:
    """The outcome of the write under that key, if there was one. Raises `KeyReused` if it was another request."""
    expired = monotonic() - KEY_LIFE.total_seconds()
    while mine.keys and next(iter(mine.keys.values())).used_at < expired:
        mine.keys.popitem(last=False)
    if (kept := mine.keys.get(once.key)) is None:
        return None
    if kept.fingerprint != once.fingerprint:
        raise KeyReused
    return Committed(kept.outcome.answer, kept.outcome.change, replayed=True)
