"""What storage must promise to those who keep a copy: who follows the pages has exactly what is stored."""

# ruff: noqa: S101 (these are tests)

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from todo_core.changes import Kind, kind_of
from todo_core.errors import InvalidInput, ResyncRequired, TodoError
from todo_core.lists import TaskList, Thing
from todo_core.places import deleted
from todo_core.plans import Decision, Plan, composed
from todo_core.ports import OwnedTasks, TaskStore
from todo_core.queries import Sort, TaskQuery
from todo_core.sync import Mark, SyncItem, SyncPage, SyncQuery, SyncToken
from todo_core.task import ListId, OwnerId, Task, TaskId
from todo_core.testing.examples import LATER, NOON, make_fresh, make_id, make_owner, make_task
from todo_core.testing.log import whole_log
from todo_core.testing.writing import (
    add,
    changing,
    creating,
    creating_list,
    deleting,
    edit,
    erasing,
    remove,
    restoring,
    undoing,
)
from todo_core.use_cases import TaskService
from todo_core.use_cases.changes import SYNC_MARGIN

Run: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]
Forget: TypeAlias = Callable[[OwnerId, datetime], Coroutine[Any, Any, None]]
"""Forgets an owner's changes that were made before that moment."""

Key: TypeAlias = tuple[Kind, UUID]

_AGES_AGO: Final = datetime(1970, 1, 2, tzinfo=UTC)
_CLIENTS: Final = 3
_IDS: Final = st.sampled_from([make_id(number) for number in range(5)])
_MANY_PAGES: Final = 200


def asked(since: SyncToken | None = None, limit: int = 50, kept_since: datetime = _AGES_AGO) -> SyncQuery:
    """A query of somebody who has come so far."""
    return SyncQuery(now=datetime.now(UTC), kept_since=kept_since, since=since, limit=limit)


@dataclass
class Replica:
    """A client's copy: all that a client needs to do."""

    things: dict[Key, Thing] = field(default_factory=dict)
    token: str | None = None
    named: set[Key] | None = None
    """What a first sync has named, while one is under way."""

    def take(self, page: SyncPage, owner: OwnerId) -> None:
        """Become what the page says."""
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
        """Ask for everything the next time; what is there already stays until a first sync is over."""
        self.token = self.named = None


async def _caught_up(tasks: OwnedTasks, since: SyncToken | None = None, limit: int = 50) -> list[SyncPage]:
    pages = [await tasks.sync(asked(since, limit))]
    while pages[-1].more:
        assert len(pages) < _MANY_PAGES
        pages.append(await tasks.sync(asked(pages[-1].next, limit)))
    return pages


def _items(pages: list[SyncPage]) -> list[SyncItem]:
    return [item for page in pages for item in page.items]


def _here(thing: Thing) -> SyncItem:
    return SyncItem(kind_of(thing), thing.id, thing)


class SyncContract:
    """`sync` tells a client of everything, and then of what changed; `changed` says whose log has grown."""

    async def test_a_first_sync_gives_everything_and_then_what_changed(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        made = [make_task(owner=owner) for _ in range(3)]
        for task in made:
            await add(tasks, task)
        last = (await _caught_up(tasks))[-1]
        for limit in (1, 2, 3, 4):
            *full, last = await _caught_up(tasks, limit=limit)
            assert _items(full) == [_here(task) for task in sorted(made, key=lambda task: task.id)]
            assert all(page.full for page in full)
            assert (last.items, last.more, last.full) == ((), False, False)
        done = await edit(tasks, made[1].id, lambda task: task.toggled(at=LATER))
        assert _items(await _caught_up(tasks, last.next)) == [_here(done)]

    async def test_a_page_has_each_thing_once_as_it_is_now_and_what_is_gone(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        first, second, third = (make_task(owner=owner) for _ in range(3))
        since = (await tasks.sync(asked())).here
        for task in (first, second, third):
            await add(tasks, task)
        await remove(tasks, second.id)
        first = await edit(tasks, first.id, lambda task: task.toggled(at=LATER))
        page = await tasks.sync(asked(since))
        expected = (_here(third), SyncItem("task", second.id, None), _here(first))
        assert (page.items, page.more, page.full) == (expected, False, False)
        assert (await tasks.sync(asked(since, limit=1))).items == (_here(first),)  # not as it was

    async def test_next_is_the_place_of_the_last_thing_given_and_a_page_may_end_inside_a_change(
        self, store: TaskStore
    ) -> None:
        tasks = store.tasks_of(owner := make_owner())
        made = sorted((make_task(owner=owner) for _ in range(5)), key=lambda task: task.id)
        since = (await tasks.sync(asked())).here
        await tasks.commit(composed([creating(task) for task in reversed(made)]))
        for limit in (1, 2, 3, 4, 5):
            pages = await _caught_up(tasks, since, limit)
            assert [item.value for item in _items(pages)] == made
            assert [len(page.items) for page in pages[:-1]] == [limit] * (len(pages) - 1)
            assert {page.next.mark.number for page in pages} == {1}

    async def test_what_changes_during_a_first_sync_comes_behind_it(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        made = sorted((make_task(owner=owner) for _ in range(3)), key=lambda task: task.id)
        for task in made:
            await add(tasks, task)
        first = await tasks.sync(asked(limit=2))
        done = await edit(tasks, made[0].id, lambda task: task.toggled(at=LATER))
        await remove(tasks, made[2].id)
        await add(tasks, added := make_task(owner=owner, id=make_id(1)))
        second, last = await _caught_up(tasks, first.next)
        assert (second.items, second.full) == ((), True)
        assert last.items == (_here(done), SyncItem("task", made[2].id, None), _here(added))

    async def test_who_is_further_behind_than_there_are_things_is_given_a_first_sync(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))
        since = (await tasks.sync(asked())).here
        for _ in range(4):
            task = await edit(tasks, task.id, lambda task: task.toggled(at=LATER))
        assert [page.full for page in await _caught_up(tasks, since, limit=4)] == [False]
        assert [(page.full, page.items) for page in await _caught_up(tasks, since, limit=3)] == [
            (True, (_here(task),)),
            (False, ()),
        ]

    async def test_an_owner_who_never_wrote_has_nothing_and_is_told_of_the_first_change(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        full, empty = await _caught_up(tasks)
        assert (full.items, full.full, empty.items) == ((), True, ())
        assert (await _caught_up(tasks, empty.next)) == [empty]
        await add(tasks, task := make_task(owner=owner))
        assert _items(await _caught_up(tasks, empty.next)) == [_here(task)]

    async def test_a_token_of_what_never_happened_here_is_too_old(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        for _ in range(3):
            await add(tasks, make_task(owner=owner))
        entries = await whole_log(tasks)
        here = Mark(3, entries[-1].id, entries[-1].at)
        tick = timedelta(microseconds=1)
        await tasks.sync(asked(SyncToken(here)))
        others = [here._replace(number=4), here._replace(at=here.at + tick), here._replace(at=here.at - tick)]
        others += [Mark(2, entries[1].id, entries[1].at - tick), Mark(3, None, here.at), Mark(0, None, _AGES_AGO)]
        for mark in others[:-1]:
            for token in (SyncToken(mark), replace((await tasks.sync(asked(limit=1))).next, mark=mark)):
                with pytest.raises(ResyncRequired):
                    await tasks.sync(asked(token))
        with pytest.raises(ResyncRequired):
            await tasks.sync(asked(SyncToken(others[-1]), kept_since=NOON))
        assert len(_items(await _caught_up(tasks, SyncToken(others[-1])))) == 3

    async def test_a_token_from_before_what_is_kept_is_too_old_unless_nothing_happened_since(
        self, store: TaskStore
    ) -> None:
        tasks = store.tasks_of(owner := make_owner())
        for _ in range(2):
            await add(tasks, make_task(owner=owner))
        first, last = (SyncToken(Mark(entry.number, entry.id, entry.at)) for entry in await whole_log(tasks))
        kept_since = last.mark.at + timedelta(microseconds=1)
        assert (await tasks.sync(asked(last, kept_since=kept_since))).items == ()
        with pytest.raises(ResyncRequired):
            await tasks.sync(asked(first, kept_since=kept_since))

    async def test_lists_are_told_as_tasks_are(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        since = (await tasks.sync(asked())).here
        shelf = TaskList.new(id=ListId(make_id(3)), owner=owner, name="Shelf", at=NOON)
        await tasks.commit(creating_list(shelf))
        await add(tasks, task := make_task(owner=owner, id=make_id(2)))
        await add(tasks, other := make_task(owner=owner, id=make_id(4)))
        assert (await tasks.sync(asked(since))).items == (_here(shelf), _here(task), _here(other))
        for limit in (1, 2, 3):
            assert _items(await _caught_up(tasks, limit=limit)) == [_here(task), _here(shelf), _here(other)]
        assert [page.full for page in await _caught_up(tasks, since, limit=3)] == [False]
        since = (await _caught_up(tasks))[-1].next
        await tasks.commit(Plan(decide=lambda seen: Decision(tuple(deleted(seen, seen.task_list(shelf.id))))))
        assert (await tasks.sync(asked(since))).items == (SyncItem("list", shelf.id, None),)

    async def test_what_was_erased_is_told_as_gone(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        since = (await tasks.sync(asked())).here
        await add(tasks, task := make_task(owner=owner))
        behind = (await tasks.sync(asked(since))).next
        await remove(tasks, task.id)
        await tasks.commit(erasing(task.id))
        for token in (since, behind):  # the entry that the second was behind is gone with the text
            assert (await tasks.sync(asked(token))).items == (SyncItem("task", task.id, None),)

    async def test_one_owner_is_told_nothing_of_another(self, store: TaskStore) -> None:
        ann, bob = make_owner(), make_owner()
        since = (await store.tasks_of(ann).sync(asked())).here
        for _ in range(2):
            await add(store.tasks_of(bob), make_task(owner=bob))
        assert _items(await _caught_up(store.tasks_of(ann), since)) == []
        assert _items(await _caught_up(store.tasks_of(ann))) == []
        theirs = (await _caught_up(store.tasks_of(bob)))[-1].next.encode(bob)
        with pytest.raises(InvalidInput):
            SyncToken.decode(theirs, ann)

    async def test_whose_number_is_another_is_known(self, store: TaskStore) -> None:
        ann, bob, carl = make_owner(), make_owner(), make_owner()
        assert await store.changed({ann: 0, bob: 0}) == {}
        for owner, count in ((ann, 1), (bob, 3)):
            for _ in range(count):
                await add(store.tasks_of(owner), make_task(owner=owner))
        assert await store.changed({ann: 0, bob: 0, carl: 0}) == {ann: 1, bob: 3}
        assert await store.changed({ann: 1, bob: 2}) == {bob: 3}
        assert await store.changed({bob: 4}) == {bob: 3}  # a backup was restored
        assert await store.changed({}) == {}


class _Clock:
    """A clock that may stand still, so that what was made before some moment is too old to be kept."""

    kept_since: datetime | None = None
    history: Final = timedelta(days=30)

    def now(self) -> datetime:
        return datetime.now(UTC) if self.kept_since is None else self.kept_since + self.history - SYNC_MARGIN


class _Ids:
    def new(self, _: datetime) -> TaskId:
        return TaskId(UUID(hex=make_fresh()))


def assert_clients_converge(
    store: TaskStore, *, run: Run, forget: Forget | None = None, examples: int = 100, steps: int = 40
) -> None:
    """Fail with a history after which a client that has caught up has something else than what is stored.

    Several clients follow one owner's changes, in pages of any size; answers are lost, or come twice; where `forget` is
    given, the store forgets changes. `run` runs a coroutine to its end, always on one event loop.
    """

    class Histories(_Clients):
        def __init__(self) -> None:
            super().__init__(store, run, forget)

    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=[Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(Histories, settings=chosen)


@st.composite
def _plans(draw: st.DrawFn, owner: OwnerId) -> Plan:
    task_id, text = draw(_IDS), draw(st.sampled_from(["Milk", "Bread", "Tea"]))
    task = Task(id=task_id, owner=owner, title=text, created_at=NOON, updated_at=NOON)
    change = changing(task_id, lambda task: task.edited(title=text, at=LATER))
    toggle = changing(task_id, lambda task: task.toggled(at=LATER))
    return draw(st.sampled_from([creating(task), creating(task), change, toggle, deleting(task_id)]))


class _Clients(RuleBasedStateMachine):
    def __init__(self, store: TaskStore, run: Run, forget: Forget | None) -> None:
        super().__init__()
        self.store, self.run, self.forget = store, run, forget
        self.owner = OwnerId(uuid4().hex)
        self.tasks = store.tasks_of(self.owner)
        self.clock = _Clock()
        self.service = TaskService(store, self.clock, _Ids(), self.clock.history)
        self.clients = [Replica() for _ in range(_CLIENTS)]

    def commit(self, plan: Plan) -> None:
        with suppress(TodoError):  # refused: it has changed nothing
            self.run(self.tasks.commit(plan))

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        self.commit(data.draw(_plans(self.owner)))

    @rule(data=st.data())
    def write_several(self, data: st.DataObject) -> None:
        self.commit(composed(data.draw(st.lists(_plans(self.owner), min_size=2, max_size=4))))

    @rule(task_id=_IDS, times=st.integers(3, 8), gone=_IDS)
    def write_often(self, task_id: TaskId, times: int, gone: TaskId) -> None:
        """So that listing everything is less than saying what changed."""
        for _ in range(times):
            self.commit(changing(task_id, lambda task: task.toggled(at=LATER)))
        self.commit(deleting(gone))

    def attempt(self, call: Coroutine[Any, Any, Any]) -> None:
        with suppress(TodoError):
            self.run(call)

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

    @rule(client=st.integers(0, _CLIENTS - 1), limit=st.integers(1, 4), twice=st.booleans(), lost=st.booleans())
    def ask(self, client: int, limit: int, twice: bool, lost: bool) -> None:
        page = self.page(self.clients[client], limit)
        if page is not None and not lost:
            for _ in range(1 + twice):
                self.clients[client].take(page, self.owner)

    @rule(client=st.integers(0, _CLIENTS - 1), limit=st.integers(1, 4))
    def catch_up(self, client: int, limit: int) -> None:
        self.check(self.clients[client], limit)

    @rule(client=st.integers(0, _CLIENTS - 1))
    def begin_anew(self, client: int) -> None:
        self.clients[client].begin_anew()

    @rule(share=st.floats(0, 1))
    def forget_what_is_old(self, share: float) -> None:
        log = self.run(whole_log(self.tasks))
        if self.forget is None or not log:
            return
        before = [entry.at for entry in log][round(share * (len(log) - 1))]
        before += timedelta(microseconds=1) if share == 1 else timedelta()
        self.clock.kept_since = max(before, self.clock.kept_since or before)
        self.run(self.forget(self.owner, self.clock.kept_since))

    def page(self, client: Replica, limit: int) -> SyncPage | None:
        since = None if client.token is None else SyncToken.decode(client.token, self.owner)
        try:
            page: SyncPage = self.run(self.service.sync(self.owner, since, limit=limit))
        except ResyncRequired:
            assert since is not None
            client.begin_anew()
            return None
        assert len({(item.kind, item.id) for item in page.items}) == len(page.items) <= limit
        return page

    def check(self, client: Replica, limit: int) -> None:
        """The client, caught up, has exactly what is stored."""
        more, pages = True, 0
        while more:
            pages += 1
            assert pages < _MANY_PAGES, "the pages have no end"
            if (page := self.page(client, limit)) is not None:
                client.take(page, self.owner)
                more = page.more
        tasks = self.run(self.tasks.page(TaskQuery(sort=Sort.CREATED_AT, limit=200))).items
        assert client.things == {(kind_of(thing), thing.id): thing for thing in [*tasks, *self.lists()]}

    def teardown(self) -> None:
        for limit, client in enumerate(self.clients, 1):
            self.check(client, limit)
