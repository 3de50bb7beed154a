"""Random histories of several clients of one owner on an unreliable network: each must end with an exact copy."""

# ruff: noqa: S101 (these are tests)

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle
from time import monotonic
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from todo_core.changes import ChangeQuery, Entry, Kind, kind_of, place_of
from todo_core.errors import ResyncRequired, TodoError
from todo_core.idempotency import IdempotencyKey, Once
from todo_core.lists import TaskList, Thing
from todo_core.plans import Committed, Plan, composed
from todo_core.ports import TaskStore
from todo_core.queries import Sort, TaskQuery
from todo_core.sync import SyncPage, SyncToken
from todo_core.task import OwnerId, Task, TaskId
from todo_core.testing.examples import LATER, NOON, make_fresh, make_id
from todo_core.testing.log import replayed, whole_log
from todo_core.testing.running import Run, run_histories
from todo_core.testing.writing import changing, creating, deleting, erasing, restoring, undoing
from todo_core.use_cases import TaskService
from todo_core.use_cases.base import DEFAULTS, WriteOptions
from todo_core.use_cases.changes import SYNC_MARGIN
from todo_core.versioned import Version

Forget: TypeAlias = Callable[[OwnerId, datetime], Coroutine[Any, Any, None]]
"""Prunes an owner's changes that were made before that moment."""

Key: TypeAlias = tuple[Kind, UUID]
Operation: TypeAlias = Callable[[TaskService, WriteOptions], Awaitable[Committed]]

_CLIENTS: Final = 3
_WHICH: Final = st.integers(0, _CLIENTS - 1)
_LIMITS: Final = st.integers(1, 4)
_IDS: Final = st.sampled_from([make_id(number) for number in range(5)])
_TEXTS: Final = st.sampled_from(["Milk", "Bread", "Tea"])
_MANY_PAGES: Final = 200
_HEARD_WITHIN: Final = 10.0  # seconds


class Stream(Protocol):
    """A stream of a process to one client: the pages after a token, as things change."""

    async def arrived(self) -> Sequence[SyncPage]:
        """The pages received since the last call. Raises `ResyncRequired`."""
        ...

    async def close(self) -> None:
        """Close the stream."""
        ...


class Streams(Protocol):
    """The streams of one process."""

    def changed(self, owner: OwnerId, number: int) -> object:
        """This process has stored that change of the owner."""
        ...

    async def open(self, service: TaskService, owner: OwnerId, token: SyncToken, limit: int) -> Stream:
        """Open a stream of pages of at most `limit` things."""
        ...


def assert_clients_converge(
    store: TaskStore,
    *others: TaskStore,
    run: Run,
    forget: Forget | None = None,
    streams: Callable[[TaskStore], Streams] | None = None,
    examples: int = 100,
    steps: int = 40,
) -> None:
    """Fail with a history after which a client that has caught up differs from what is stored.

    Several clients copy one owner's things, by pages of any size or by a stream, and write: what they do offline is
    sent under keys, and repeated until it is answered. Requests and answers are lost or duplicated, streams break, and
    with `forget` the store prunes changes. `others` are the same storage in further processes. It also fails if an
    answered write is not in the log exactly once, if numbers have gaps, or if the log replayed differs from what is
    stored. `streams` makes the streams of a process; by default they poll `changed`. `run` is that of
    `assert_stores_agree`.
    """

    class Histories(_Clients):
        def __init__(self) -> None:
            super().__init__([store, *others], run, forget, streams or AskingStreams)

    run_histories(Histories, examples=examples, steps=steps)


class AskingStreams:
    """Streams that poll the store."""

    def __init__(self, _: TaskStore) -> None:
        pass

    def changed(self, owner: OwnerId, number: int) -> None:
        """As `Streams.changed`: not needed, since each stream polls."""

    async def open(self, service: TaskService, owner: OwnerId, token: SyncToken, limit: int) -> Stream:
        """As `Streams.open`."""
        return _Asking(service, owner, token, limit)


class _Asking:
    """A stream that polls for changes, and then reads all pages after its token."""

    def __init__(self, service: TaskService, owner: OwnerId, token: SyncToken, limit: int) -> None:
        self._service, self._owner, self._token, self._limit = service, owner, token, limit
        self._number: int | None = None

    async def arrived(self) -> Sequence[SyncPage]:
        """As `Stream.arrived`."""
        pages: list[SyncPage] = []
        more = self._number is None  # at first, there may be changes from before it was opened
        numbers = await self._service.store.changed({self._owner: self._number or 0})
        self._number = numbers.get(self._owner, self._number or 0)
        more = more or bool(numbers)
        while more:
            pages.append(await self._service.sync(self._owner, self._token, limit=self._limit))
            self._token, more = pages[-1].next, pages[-1].more
        return pages

    async def close(self) -> None:
        """As `Stream.close`."""


@dataclass
class Write:
    """A write made offline. It is sent under one key until it is answered; the key is also the client in the log."""

    operation: Operation
    base: Version | None = None
    key: str = field(default_factory=lambda: uuid4().hex)
    numbers: set[int | None] = field(default_factory=set)
    """The numbers of changes in its answers."""

    async def sent(self, service: TaskService) -> None:
        """Carry it out. Raises what the operation raises."""
        once = Once(IdempotencyKey(self.key), "")
        committed = await self.operation(service, WriteOptions(base=self.base, once=once, client=self.key))
        self.numbers.add(committed.change)


@dataclass
class Replica:
    """A client's copy, with all that a client must implement."""

    things: dict[Key, Thing] = field(default_factory=dict)
    token: str | None = None
    named: set[Key] | None = None
    """What a first sync has listed so far, while one is under way."""
    queue: list[Write] = field(default_factory=list)
    stream: Stream | None = None

    def take(self, page: SyncPage, owner: OwnerId) -> None:
        """Apply a page."""
        if page.full:
            self.named = (self.named or set()) | {(item.kind, item.id) for item in page.items}
        elif self.named is not None:
            self.things = {key: thing for key, thing in self.things.items() if key in self.named}
            self.named = None
        for item in page.items:
            if item.value is None:
                self.things.pop((item.kind, item.id), None)
            else:
                self.things[item.kind, item.id] = item.value
        self.token = page.next.encode(owner)

    def begin_anew(self) -> None:
        """Fetch everything next time; the present copy stays until the first sync ends."""
        self.token = self.named = None

    def tasks(self) -> list[Task]:
        """The tasks in the copy."""
        return [thing for thing in self.things.values() if isinstance(thing, Task)]


class _Clock:
    """A clock that stands still at the moment since when changes are kept."""

    def __init__(self) -> None:
        self.kept_since = datetime.now(UTC)

    def now(self) -> datetime:
        return self.kept_since


class _Ids:
    def new(self, _: datetime) -> TaskId:
        return TaskId(UUID(hex=make_fresh()))


@st.composite
def _plans(draw: st.DrawFn, owner: OwnerId) -> Plan:
    task_id, text = draw(_IDS), draw(_TEXTS)
    task = Task(id=task_id, owner=owner, title=text, created_at=NOON, updated_at=NOON)
    change = changing(task_id, lambda task: task.edited(title=text, at=LATER))
    toggle = changing(task_id, lambda task: task.toggled(at=LATER))
    return draw(st.sampled_from([creating(task), creating(task), change, toggle, deleting(task_id)]))


@st.composite
def _writes(draw: st.DrawFn, owner: OwnerId, tasks: Sequence[Task]) -> Write:
    """A write of a user who sees these tasks."""
    text, own_id = draw(_TEXTS), _Ids().new(NOON)

    def create(service: TaskService, options: WriteOptions) -> Awaitable[Committed]:
        return service.create(owner, options, own_id=own_id, title=text)

    def describe(service: TaskService, options: WriteOptions) -> Awaitable[Committed]:
        return service.edit(owner, own_id, options, description=text)

    def both(service: TaskService, options: WriteOptions) -> Awaitable[Committed]:
        return service.batch(owner, [partial(each, options=DEFAULTS) for each in (create, describe)], options)

    if not tasks:
        return Write(draw(st.sampled_from([create, both])))
    task = draw(st.sampled_from(tasks))

    def edit(service: TaskService, options: WriteOptions) -> Awaitable[Committed]:
        return service.edit(owner, task.id, options, title=text)

    def toggle(service: TaskService, options: WriteOptions) -> Awaitable[Committed]:
        return service.toggle(owner, task.id, options)

    def delete(service: TaskService, options: WriteOptions) -> Awaitable[Committed]:
        return service.delete(owner, task.id, options)

    operation = draw(st.sampled_from([create, both, edit, edit, toggle, delete]))
    return Write(operation, task.version if operation is edit and draw(st.booleans()) else None)


class _Clients(RuleBasedStateMachine):
    def __init__(
        self,
        stores: Sequence[TaskStore],
        run: Run,
        forget: Forget | None,
        streams: Callable[[TaskStore], Streams],
    ) -> None:
        super().__init__()
        self.run, self.forget = run, forget
        self.owner = OwnerId(uuid4().hex)
        self.tasks = stores[0].tasks_of(self.owner)
        self.clock = _Clock()
        self._processes = cycle([self._process(store, streams(store)) for store in stores])
        self.clients = [Replica() for _ in range(_CLIENTS)]
        self.answered: list[Write] = []
        self.log: list[Entry] = []

    def _process(self, store: TaskStore, streams: Streams) -> tuple[TaskService, Streams]:
        service = TaskService(store, self.clock, _Ids(), SYNC_MARGIN, on_change=streams.changed)
        return service, streams

    @property
    def service(self) -> TaskService:
        """The service of the next process, in turn."""
        return next(self._processes)[0]

    @invariant()
    def read_the_log(self) -> None:
        """Copy new entries, before they may be pruned."""
        query = ChangeQuery(limit=200, after=place_of(self.log[-1]) if self.log else None)
        self.log += self.run(self.tasks.changes(query)).items

    def attempt(self, call: Coroutine[Any, Any, Any]) -> None:
        with suppress(TodoError):  # refused: it has changed nothing
            self.run(call)

    def commit(self, plan: Plan) -> None:
        self.attempt(self.service._carry_out(self.owner, plan))

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        self.commit(data.draw(_plans(self.owner)))

    @rule(data=st.data())
    def write_several(self, data: st.DataObject) -> None:
        self.commit(composed(data.draw(st.lists(_plans(self.owner), min_size=2, max_size=4))))

    @rule(task_id=_IDS, times=st.integers(3, 8), gone=_IDS)
    def write_often(self, task_id: TaskId, times: int, gone: TaskId) -> None:
        """So often that listing everything takes fewer items than the changes."""
        for _ in range(times):
            self.commit(changing(task_id, lambda task: task.toggled(at=LATER)))
        self.commit(deleting(gone))

    def lists(self) -> list[TaskList]:
        return list(self.run(self.tasks.lists()))

    @rule()
    def add_list(self) -> None:
        self.attempt(self.service.create_list(self.owner, name="Shelf"))

    @rule(data=st.data(), task_id=_IDS, below=st.booleans())
    def add_into(self, data: st.DataObject, task_id: TaskId, below: bool) -> None:
        """Into a list, or below another task."""
        if below:
            self.attempt(self.service.create(self.owner, title="Tea", parent_id=task_id))
        elif lists := self.lists():
            self.attempt(self.service.create(self.owner, title="Tea", list_id=data.draw(st.sampled_from(lists)).id))

    @rule(data=st.data(), task_id=_IDS, delete=st.booleans())
    def move_or_delete_a_list(self, data: st.DataObject, task_id: TaskId, delete: bool) -> None:
        if lists := self.lists():
            chosen = data.draw(st.sampled_from(lists)).id
            call = self.service.delete_list(self.owner, chosen) if delete else None
            self.attempt(call or self.service.move(self.owner, task_id, list_id=chosen))

    @rule(number=st.integers(1, 20))
    def undo(self, number: int) -> None:
        self.commit(undoing(number, LATER))

    @rule(task_id=_IDS, erase=st.booleans())
    def empty(self, task_id: TaskId, erase: bool) -> None:
        self.commit(erasing(task_id) if erase else restoring(task_id, LATER))

    @rule(which=_WHICH, data=st.data())
    def write_offline(self, which: int, data: st.DataObject) -> None:
        client = self.clients[which]
        client.queue.append(data.draw(_writes(self.owner, client.tasks())))

    @rule(which=_WHICH, twice=st.booleans(), lost=st.booleans(), hears=_WHICH)
    def send(self, which: int, twice: bool, lost: bool, hears: int) -> None:
        """The request may arrive twice, at two processes; it is repeated if the answer is lost."""
        for write in self.clients[which].queue[:1]:
            self.run(self._sent([write] * (1 + twice)))
            self._answer([] if lost else [self.clients[which]])
        self.hear(self.clients[hears])

    @rule(limit=_LIMITS, which=_WHICH)
    def send_concurrently(self, limit: int, which: int) -> None:
        """All clients send, one of them twice, while another one reads."""
        writes = [write for client in self.clients for write in client.queue[:1]]
        reader = self.clients[which]
        self.run(self._break(reader))
        page, _ = self.run(_both(self._page(reader, limit), self._sent(writes + writes[:1])))
        if page is not None:
            reader.take(page, self.owner)
        self._answer(self.clients)

    async def _sent(self, writes: Sequence[Write]) -> None:
        outcomes = await asyncio.gather(*(each.sent(self.service) for each in writes), return_exceptions=True)
        for bug in outcomes:
            if bug is not None and not isinstance(bug, TodoError):
                raise bug

    def _answer(self, clients: Sequence[Replica]) -> None:
        for client in clients:
            self.answered += client.queue[:1]
            del client.queue[:1]

    @rule(which=_WHICH, limit=_LIMITS, twice=st.booleans(), lost=st.booleans())
    def ask(self, which: int, limit: int, twice: bool, lost: bool) -> None:
        client = self.clients[which]
        page = None if client.stream else self.run(self._page(client, limit))
        if page is not None and not lost:
            for _ in range(1 + twice):
                client.take(page, self.owner)

    @rule(which=_WHICH, limit=_LIMITS)
    def catch_up(self, which: int, limit: int) -> None:
        if self.clients[which].stream is None:
            self.check(self.clients[which], limit)

    @rule(which=_WHICH)
    def begin_anew(self, which: int) -> None:
        self.run(self._break(self.clients[which]))
        self.clients[which].begin_anew()

    @rule(which=_WHICH, limit=_LIMITS)
    def open_a_stream(self, which: int, limit: int) -> None:
        client = self.clients[which]
        if client.stream is not None:
            return
        if client.token is None:
            self.check(client, limit)
        if (token := self._token(client)) is not None:
            service, streams = next(self._processes)
            client.stream = self.run(streams.open(service, self.owner, token, limit))
        self.hear(client)

    @rule(which=_WHICH, read=st.integers(0, 2))
    def break_a_stream(self, which: int, read: int) -> None:
        """The first pages arrive; the others are lost."""
        client = self.clients[which]
        for page in self._arrived(client)[:read]:
            client.take(page, self.owner)
        self.run(self._break(client))

    @rule(times=st.integers(0, 3))
    def all_hear(self, times: int) -> None:
        """Also of changes that are written while pages are under way."""
        for _ in range(times):
            self.attempt(self.service.create(self.owner, title="Tea"))
        for client in self.clients:
            self.hear(client)

    def hear(self, client: Replica) -> None:
        """A client with a stream receives everything without asking."""
        began = monotonic()
        while client.stream is not None:
            for page in self._arrived(client):
                client.take(page, self.owner)
            if self._has_heard_everything(client):
                self.compare(client)
                break
            assert monotonic() - began < _HEARD_WITHIN, "nothing woke a stream"
            self.run(asyncio.sleep(0.001))

    def _arrived(self, client: Replica) -> Sequence[SyncPage]:
        if client.stream is None:
            return ()
        try:
            pages: Sequence[SyncPage] = self.run(client.stream.arrived())
        except ResyncRequired:
            self.begin_anew(self.clients.index(client))
            return ()
        return pages

    def _has_heard_everything(self, client: Replica) -> bool:
        if (token := self._token(client)) is None:
            return False
        try:
            page: SyncPage = self.run(self.service.sync(self.owner, token))
        except ResyncRequired:  # the stream ends, or is about to
            self.begin_anew(self.clients.index(client))
            return False
        return page.next == token

    @rule(share=st.floats(0, 1))
    def forget_what_is_old(self, share: float) -> None:
        log = self.run(whole_log(self.tasks))
        if self.forget is None or not log:
            return
        before = [entry.at for entry in log][round(share * (len(log) - 1))]
        before += timedelta(microseconds=1) if share == 1 else timedelta()
        self.clock.kept_since = max(before, self.clock.kept_since)
        self.run(self.forget(self.owner, self.clock.kept_since))

    def _token(self, client: Replica) -> SyncToken | None:
        return None if client.token is None else SyncToken.decode(client.token, self.owner)

    async def _break(self, client: Replica) -> None:
        if client.stream is not None:
            await client.stream.close()
            client.stream = None

    async def _page(self, client: Replica, limit: int) -> SyncPage | None:
        """The next page, for a client without a stream."""
        since = self._token(client)
        try:
            page = await self.service.sync(self.owner, since, limit=limit)
        except ResyncRequired:
            assert since is not None
            client.begin_anew()
            return None
        assert len({(item.kind, item.id) for item in page.items}) == len(page.items) <= limit
        return page

    def check(self, client: Replica, limit: int) -> None:
        """After catching up, the client has exactly what is stored."""
        more, pages = True, 0
        while more:
            pages += 1
            assert pages < _MANY_PAGES, "the pages have no end"
            if (page := self.run(self._page(client, limit))) is not None:
                client.take(page, self.owner)
                more = page.more
        self.compare(client)

    def stored(self) -> dict[Key, Thing]:
        tasks = self.run(self.tasks.page(TaskQuery(sort=Sort.CREATED_AT, limit=200))).items
        return {(kind_of(thing), thing.id): thing for thing in [*tasks, *self.lists()]}

    def compare(self, client: Replica) -> None:
        assert client.things == self.stored()

    def teardown(self) -> None:
        for client in self.clients:
            while client.queue:
                self.run(self._sent(client.queue[:1]))
                self._answer([client])
        for number, client in enumerate(self.clients):
            self.hear(client)
            self.run(self._break(client))
            self.check(client, limit=number + 1)
        self.read_the_log()
        assert {thing.id: thing for thing in self.stored().values()} == replayed(self.owner, self.log)
        numbers = sorted({entry.number for entry in self.log})
        assert numbers == list(range(1, len(numbers) + 1)), "numbers have gaps"
        self.assert_each_write_happened_once()

    def assert_each_write_happened_once(self) -> None:
        """An answered write is in the log with the number of its answer and no other; a refused one is not there."""
        for write in self.answered:
            found = {entry.number for entry in self.log if entry.client == write.key}
            assert found == write.numbers - {None}
            assert len(write.numbers) <= 1


async def _both(first: Awaitable[Any], second: Awaitable[Any]) -> list[Any]:
    return [*await asyncio.gather(first, second)]
