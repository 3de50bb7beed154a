"""The contract of synchronization: a client that follows the pages has exactly what is stored."""

# ruff: noqa: S101 (these are tests)

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from todo_core.changes import kind_of
from todo_core.errors import InvalidInput, ResyncRequired
from todo_core.families import deleted
from todo_core.lists import TaskList, Thing
from todo_core.plans import Decision, Plan, composed
from todo_core.ports import OwnedTasks, TaskStore
from todo_core.sync import Mark, SyncItem, SyncPage, SyncQuery, SyncToken
from todo_core.task import ListId
from todo_core.testing.examples import LATER, NOON, make_id, make_owner, make_task
from todo_core.testing.log import whole_log
from todo_core.testing.writing import add, creating, creating_list, edit, erasing, remove
from todo_core.use_cases.changes import SYNC_MARGIN

_AGES_AGO: Final = datetime(1970, 1, 2, tzinfo=UTC)
_MANY_PAGES: Final = 200


def asked(since: SyncToken | None = None, limit: int = 50, kept_since: datetime = _AGES_AGO) -> SyncQuery:
    """A query of a client with that token."""
    return SyncQuery(now=datetime.now(UTC), kept_since=kept_since, since=since, limit=limit)


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
    """`sync` returns everything, and then what changed; `changed` returns the owners with new changes."""

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

    async def test_next_is_the_place_of_a_pages_last_thing_also_inside_a_change(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        made = sorted((make_task(owner=owner) for _ in range(5)), key=lambda task: task.id)
        since = (await tasks.sync(asked())).here
        await tasks.commit(composed([creating(task) for task in reversed(made)]))
        for limit in (1, 2, 3, 4, 5):
            pages = await _caught_up(tasks, since, limit)
            assert [item.value for item in _items(pages)] == made
            assert [len(page.items) for page in pages[:-1]] == [limit] * (len(pages) - 1)
            assert {page.next.mark.number for page in pages} == {1}

    async def test_changes_made_during_a_first_sync_come_after_it(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        made = sorted((make_task(owner=owner) for _ in range(3)), key=lambda task: task.id)
        for task in made:
            await add(tasks, task)
        first = await tasks.sync(asked(limit=2))
        done = await edit(tasks, made[0].id, lambda task: task.toggled(at=LATER))
        await remove(tasks, made[2].id)
        await add(tasks, added := make_task(owner=owner, id=make_id(0)))
        second, last = await _caught_up(tasks, first.next)
        assert (second.items, second.full) == ((), True)
        assert last.items == (_here(done), SyncItem("task", made[2].id, None), _here(added))

    async def test_a_client_too_far_behind_is_given_a_first_sync(self, store: TaskStore) -> None:
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

    async def test_the_sync_of_an_owner_who_never_wrote_is_empty_and_continues_with_the_first_change(
        self, store: TaskStore
    ) -> None:
        tasks = store.tasks_of(owner := make_owner())
        full, empty = await _caught_up(tasks)
        assert (full.items, full.full, empty.items) == ((), True, ())
        assert (await _caught_up(tasks, empty.next)) == [empty]
        await add(tasks, task := make_task(owner=owner))
        assert _items(await _caught_up(tasks, empty.next)) == [_here(task)]

    async def test_a_token_that_does_not_match_the_log_is_too_old(self, store: TaskStore) -> None:
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

    async def test_a_client_that_was_here_a_moment_ago_is_not_too_far_behind(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, make_task(owner=owner))
        since = (await tasks.sync(asked())).here
        await add(tasks, task := make_task(owner=owner))
        kept_since = datetime.now(UTC) - SYNC_MARGIN
        assert (await tasks.sync(asked(since, kept_since=kept_since))).items == (_here(task),)

    async def test_lists_are_synced_as_tasks_are(self, store: TaskStore) -> None:
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

    async def test_an_erased_task_is_synced_as_deleted(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        since = (await tasks.sync(asked())).here
        await add(tasks, task := make_task(owner=owner))
        behind = (await tasks.sync(asked(since))).next
        await remove(tasks, task.id)
        await tasks.commit(erasing(task.id))
        for token in (since, behind):  # the entry of the second token's mark was erased too
            assert (await tasks.sync(asked(token))).items == (SyncItem("task", task.id, None),)

    async def test_a_sync_includes_nothing_of_another_owner(self, store: TaskStore) -> None:
        ann, bob = make_owner(), make_owner()
        since = (await store.tasks_of(ann).sync(asked())).here
        for _ in range(2):
            await add(store.tasks_of(bob), make_task(owner=bob))
        assert _items(await _caught_up(store.tasks_of(ann), since)) == []
        assert _items(await _caught_up(store.tasks_of(ann))) == []
        theirs = (await _caught_up(store.tasks_of(bob)))[-1].next.encode(bob)
        with pytest.raises(InvalidInput):
            SyncToken.decode(theirs, ann)

    async def test_changed_returns_the_owners_whose_number_differs(self, store: TaskStore) -> None:
        ann, bob, carl = make_owner(), make_owner(), make_owner()
        assert await store.changed({ann: 0, bob: 0}) == {}
        for owner, count in ((ann, 1), (bob, 3)):
            for _ in range(count):
                await add(store.tasks_of(owner), make_task(owner=owner))
        assert await store.changed({ann: 0, bob: 0, carl: 0}) == {ann: 1, bob: 3}
        assert await store.changed({ann: 1, bob: 2}) == {bob: 3}
        assert await store.changed({bob: 4}) == {bob: 3}  # a backup was restored
        assert await store.changed({carl: 1, bob: 3}) == {}
        assert await store.changed({}) == {}
