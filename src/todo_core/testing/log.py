"""The contract of commits and their log: atomic, numbered without gaps, kept unchanged."""

# ruff: noqa: S101 (these are tests)

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from todo_core.changes import LOGGED, ChangeQuery, Entry, Kind, Pair, difference
from todo_core.errors import TaskExists, TaskNotFound, VersionConflict
from todo_core.identity import CLIENT_LENGTH
from todo_core.lists import TaskList, Thing
from todo_core.plans import Decision, Plan, composed
from todo_core.ports import OwnedTasks, TaskStore
from todo_core.queries import Sort, TaskQuery
from todo_core.seen import Seen, Sees
from todo_core.task import ListId, OwnerId, Task, TaskId
from todo_core.testing.examples import LATER, make_id, make_owner, make_task
from todo_core.testing.writing import add, changing, creating, deleting, edit, remove
from todo_core.use_cases.changes import SYNC_MARGIN
from todo_core.versioned import Version

_CONCURRENT = 25


class _Refusal(Exception):
    """Raised by the plan itself only."""


class LogContract:
    """`commit` stores all pairs of a plan as one numbered change, and `changes` returns what it stored."""

    async def test_a_plan_may_see_and_write_several_things(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        first, second = make_task(owner=owner), make_task(owner=owner)
        for task in (first, second):
            await add(tasks, task)
        third = make_task(owner=owner)

        def decide(seen: Seen) -> Decision:
            toggled = seen.task(first.id).toggled(at=LATER)
            pairs = (Pair(first, toggled), Pair(seen.task(second.id), None), Pair(None, third))
            return Decision(pairs, (third, toggled))

        committed = await tasks.commit(Plan(decide=decide, sees=Sees(frozenset({first.id, second.id})), client="a"))
        assert (committed.things, committed.change) == ((third, first.toggled(at=LATER)), 3)
        assert await _all(tasks) == [first.toggled(at=LATER), third]
        entries = [entry for entry in await whole_log(tasks) if entry.number == 3]
        assert {(entry.id, entry.action, entry.client) for entry in entries} == {
            (first.id, "completed", "a"),
            (second.id, "deleted", "a"),
            (third.id, "created", "a"),
        }

    async def test_a_plan_may_read_more_than_it_asked_for(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        chain = [make_task(owner=owner) for _ in range(3)]
        for task in chain:
            await add(tasks, task)

        def decide(seen: Seen) -> Decision:
            found = [seen.task(task.id) for task in chain]
            return Decision(tuple(Pair(task, task.toggled(at=LATER)) for task in found), tuple(found))

        for sees in (Sees(), Sees(frozenset({chain[1].id}))):
            committed = await tasks.commit(Plan(decide=decide, sees=sees))
            assert list(committed.things) == chain
            chain = [task.toggled(at=LATER) for task in chain]
            assert await _all(tasks) == chain

    async def test_a_plan_that_writes_what_it_did_not_see_is_refused(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))
        stale = make_task(id=task.id, owner=owner, title="Not this")
        for pair in (Pair(stale, stale.toggled(at=LATER)), Pair(stale, None), Pair(task, task.toggled(at=LATER))):
            for sees in (Sees(), Sees(frozenset({make_id(0)}))):
                with pytest.raises(ValueError):  # noqa: PT011 (how it is worded is the storage's own)
                    await tasks.commit(_writing(pair, sees))
        assert await _all(tasks) == [task]
        assert [entry.number for entry in await whole_log(tasks)] == [1]

    async def test_a_refused_plan_writes_nothing_and_takes_no_number(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))

        def refuse(_: Seen) -> Decision:
            raise _Refusal

        refused: list[tuple[Plan, type[Exception]]] = [
            (Plan(decide=refuse), _Refusal),
            (Plan(decide=refuse, sees=Sees(frozenset({task.id, make_id(0)}))), _Refusal),
            (creating(make_task(id=task.id, owner=owner)), TaskExists),
            (changing(make_id(0), lambda task: task), TaskNotFound),
            (deleting(task.id, Version(7)), VersionConflict),
            (composed([deleting(task.id), changing(make_id(0), lambda task: task)]), TaskNotFound),
            (composed([creating(make_task(owner=owner)), creating(task)]), TaskExists),
        ]
        for plan, error in refused:
            with pytest.raises(error):
                await tasks.commit(plan)
        assert await _all(tasks) == [task]
        assert (await add(tasks, make_task(owner=owner))).change == 2

    async def test_what_changes_nothing_takes_no_number(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, task := make_task(owner=owner))
        assert (await tasks.commit(changing(task.id, lambda task: task))).change is None
        assert (await tasks.commit(Plan(decide=lambda _: Decision()))).change is None
        assert (await add(tasks, make_task(owner=owner))).change == 2

    async def test_composed_plans_leave_the_same_result_as_single_ones(self, store: TaskStore) -> None:
        one, other = make_owner("one"), make_owner("other")
        tasks = [make_task(owner=one, title=f"{number}") for number in range(3)]
        last = make_task(owner=one)

        def plans(owner: OwnerId) -> list[Plan]:
            ids = [task.id for task in tasks]
            return [
                *(creating(make_task(id=task.id, owner=owner, title=task.title)) for task in tasks),
                changing(ids[0], lambda task: task.edited(description=task.title, at=LATER)),
                deleting(ids[1]),
                creating(make_task(id=last.id, owner=owner)),
                changing(last.id, lambda task: task.toggled(at=LATER)),
            ]

        for plan in plans(one):
            await store.tasks_of(one).commit(plan)
        committed = await store.tasks_of(other).commit(composed(plans(other)))
        assert committed.change == 1
        left, right = await _all(store.tasks_of(one)), await _all(store.tasks_of(other))
        assert [_content(task) for task in left] == [_content(task) for task in right]

    async def test_numbers_ascend_without_gaps_whoever_writes_at_the_same_time(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        made = [make_task(owner=owner) for _ in range(_CONCURRENT)]
        numbers = [(await add(tasks, make_task(owner=owner))).change]
        committed = await asyncio.gather(
            *(add(tasks, task) for task in made),
            *(tasks.commit(composed([creating(make_task(owner=owner)) for _ in range(2)])) for _ in range(5)),
            *(tasks.commit(changing(made[0].id, lambda task: task.toggled(at=LATER))) for _ in range(5)),
            return_exceptions=True,
        )
        numbers += [each.change for each in committed if not isinstance(each, BaseException)]
        assert all(isinstance(each, TaskNotFound) for each in committed if isinstance(each, BaseException))
        assert sorted(numbers) == list(range(1, len(numbers) + 1))  # type: ignore[type-var]  # all wrote
        assert {entry.number for entry in await whole_log(tasks)} == set(numbers)

    async def test_each_owners_changes_are_numbered_from_one(self, store: TaskStore) -> None:
        for owner in (make_owner("ann"), make_owner("bob")):
            tasks = store.tasks_of(owner)
            assert [(await add(tasks, make_task(owner=owner))).change for _ in range(3)] == [1, 2, 3]

    async def test_the_log_keeps_what_differs(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        task = make_task(owner=owner, description="line\nline \U0010ffff", tags=("a", "B,{}"), due_date="2026-10-01")
        await add(tasks, task)
        edited = await edit(tasks, task.id, lambda task: task.edited(tags=[], description=None, at=LATER))
        await remove(tasks, task.id)
        pairs = [Pair(None, task), Pair(task, edited), Pair(edited, None)]
        entries = await whole_log(tasks)
        assert [(entry.number, entry.id, entry.action) for entry in entries] == [
            (number, task.id, pair.action) for number, pair in enumerate(pairs, 1)
        ]
        assert [(entry.before, entry.after) for entry in entries] == [difference(pair) for pair in pairs]
        assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)

    async def test_the_log_has_the_moment_of_a_change(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await add(tasks, make_task(owner=owner))
        [entry] = await whole_log(tasks)
        assert abs(datetime.now(UTC) - entry.at) < SYNC_MARGIN  # the clocks of two machines differ
        assert entry.at.utcoffset() == timedelta(0)

    @pytest.mark.parametrize("client", [None, "a", "😀" * CLIENT_LENGTH])
    async def test_the_log_has_the_whole_name_of_the_client(self, store: TaskStore, client: str | None) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await tasks.commit(replace(creating(make_task(owner=owner)), client=client))
        assert [entry.client for entry in await whole_log(tasks)] == [client]

    async def test_the_log_keeps_what_a_pair_says_of_itself(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        task, root = make_task(owner=owner), make_task().id
        edited = task.edited(title="Edited", at=LATER)
        pairs = [Pair(None, task, "restored", root), Pair(task, edited, "undone", root, 3)]
        for pair in pairs:
            await tasks.commit(_writing(pair, Sees(tasks=frozenset({task.id}))))
        entries = await whole_log(tasks)
        assert [(entry.action, entry.root, entry.took) for entry in entries] == [
            (pair.action, pair.root, pair.took) for pair in pairs
        ]

    async def test_the_log_replayed_from_nothing_is_what_is_stored(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        made = [make_task(owner=owner) for _ in range(8)]
        await asyncio.gather(*(add(tasks, task) for task in made))
        await asyncio.gather(
            *(edit(tasks, task.id, lambda task: task.toggled(at=LATER)) for task in made[:5] * 3),
            *(remove(tasks, task.id) for task in made[5:7]),
            tasks.commit(composed([deleting(made[7].id), creating(make_task(owner=owner))])),
        )
        assert replayed(owner, await whole_log(tasks)) == {task.id: task for task in await _all(tasks)}

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize("limit", [1, 2, 3, 200])
    async def test_pages_of_the_log_put_together_are_the_log(
        self, store: TaskStore, newest_first: bool, limit: int
    ) -> None:
        tasks = store.tasks_of(owner := make_owner())
        made = [make_task(owner=owner) for _ in range(3)]
        await tasks.commit(composed([creating(task) for task in made]))
        for task in made[:2]:
            await edit(tasks, task.id, lambda task: task.toggled(at=LATER))
        for of in (None, made[0].id, make_id(0)):
            expected = ChangeQuery(of=of, newest_first=newest_first).page_of(await whole_log(tasks)).items
            found: list[Entry] = []
            query = ChangeQuery(of=of, newest_first=newest_first, limit=limit)
            while True:
                page = await tasks.changes(query)
                assert len(page.items) <= limit
                found += page.items
                if page.next is None:
                    break
                query = ChangeQuery(of=of, newest_first=newest_first, limit=limit, after=page.next)
            assert tuple(found) == expected

    async def test_a_log_shows_nobody_elses_changes(self, store: TaskStore) -> None:
        ann, bob = make_owner("ann"), make_owner("bob")
        await add(store.tasks_of(ann), anns := make_task(owner=ann))
        await add(store.tasks_of(bob), make_task(owner=bob))
        assert {entry.id for entry in await whole_log(store.tasks_of(bob))}.isdisjoint({anns.id})
        assert (await store.tasks_of(bob).changes(ChangeQuery(of=anns.id))).items == ()

    async def test_a_cancelled_commit_of_several_things_is_stored_wholly_or_not_at_all(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        for pause in range(15):
            pair = [make_task(owner=owner), make_task(owner=owner)]
            doing = asyncio.create_task(tasks.commit(composed([creating(task) for task in pair])))
            await asyncio.sleep(pause / 5000)
            doing.cancel()
            await asyncio.wait([doing])
        log = await whole_log(tasks)
        assert replayed(owner, log) == {task.id: task for task in await _all(tasks)}
        assert len(log) % 2 == 0
        assert [entry.number for entry in log] == [number for number in range(1, len(log) // 2 + 1) for _ in range(2)]


def _writing(pair: Pair, sees: Sees) -> Plan:
    return Plan(decide=lambda _: Decision((pair,)), sees=sees)


async def whole_log(tasks: OwnedTasks) -> list[Entry]:
    """All entries, in order."""
    page = await tasks.changes(ChangeQuery(limit=200))
    entries = list(page.items)
    while page.next is not None:
        page = await tasks.changes(ChangeQuery(limit=200, after=page.next))
        entries += page.items
    return entries


def replayed(owner: OwnerId, entries: Iterable[Entry]) -> dict[UUID, Thing]:
    """The things that result from a log. Checks that each entry's `before` matches."""
    members: dict[UUID, dict[str, Any]] = {}
    kinds: dict[UUID, Kind] = {}
    for entry in entries:
        kinds[entry.id] = entry.kind
        now = members.pop(entry.id, {})
        for name, value in (entry.before or {}).items():
            was = now.get(name, "nothing")
            assert was == value, f"{name} was {was!r} before change {entry.number}, not {value!r}"
        if entry.after is not None:
            members[entry.id] = now | dict(entry.after)
    return {
        thing_id: Task(id=TaskId(thing_id), owner=owner, **now)
        if kinds[thing_id] == "task"
        else TaskList(id=ListId(thing_id), owner=owner, **now)
        for thing_id, now in members.items()
    }


async def _all(tasks: OwnedTasks) -> list[Task]:
    return list((await tasks.page(TaskQuery(sort=Sort.CREATED_AT, limit=200))).items)


def _content(task: Task) -> dict[str, object]:
    return {name: getattr(task, name) for name in ("id", *LOGGED["task"]) if name not in ("version", "created_at")}
