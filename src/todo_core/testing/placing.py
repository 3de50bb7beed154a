"""The contract of lists, subtasks and their order, also with concurrent plans."""

# ruff: noqa: S101 (these are tests)

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from todo_core.changes import LIMIT_MAX, ChangeQuery, Entry, Pair
from todo_core.errors import InvalidInput, ListNotFound, Problem, TaskExists, TooMany, UndoConflict
from todo_core.families import CYCLE_RULE, LEVELS_MAX, LEVELS_RULE
from todo_core.lists import LISTS_MAX, Thing
from todo_core.places import Where
from todo_core.plans import Decision, Plan, composed
from todo_core.ports import OwnedTasks, TaskStore
from todo_core.queries import Sort, TaskQuery
from todo_core.seen import Sees
from todo_core.task import POSITION_LENGTH, OwnerId, Task, TaskId
from todo_core.testing.belongings import COUNTED, Belongings, assert_in_place, assert_log
from todo_core.testing.examples import LATER, make_id, make_list, make_owner, make_task
from todo_core.testing.log import whole_log
from todo_core.testing.writing import (
    add,
    changing_list,
    creating,
    creating_list,
    deleting_list,
    erasing,
    move,
    moving,
    moving_list,
    placing,
    remove,
    restoring,
    undoing,
)

_CONCURRENT = 100
_MANY = 1_100  # more than a page, and than the usual limits of one answer of a database
_MOVES = 300  # into one gap: enough for positions to exceed their maximum length about twice
_TRASH = ChangeQuery(trash=True, newest_first=True)


class PlacingContract:
    """Each task is in one existing list, subtasks form trees, and siblings have an order."""

    async def test_a_list_is_kept_until_it_is_deleted(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        first, second = make_list(owner=owner, name="Einkäufe 😀", color="#ff8800"), make_list(owner=owner)
        assert (await tasks.commit(creating_list(first))).task_list == first
        await tasks.commit(creating_list(second))
        assert await tasks.lists() == (first, second)
        edited = (await tasks.commit(changing_list(second.id, lambda each: each.edited(name="B", at=LATER)))).task_list
        assert (edited.name, edited.version) == ("B", 2)
        moved = (await tasks.commit(moving_list(second.id, {"before": first.id}, LATER))).task_list
        assert await tasks.lists() == (moved, first)
        assert (await tasks.commit(moving_list(second.id, {"before": first.id}, LATER))).change is None
        await tasks.commit(deleting_list(first.id))
        assert await tasks.lists() == (moved,)
        with pytest.raises(ListNotFound):
            await tasks.commit(deleting_list(first.id))
        assert [entry.kind for entry in await whole_log(tasks)] == ["list"] * 5

    async def test_lists_are_each_owners_own(self, store: TaskStore) -> None:
        ann, bob = make_owner("ann"), make_owner("bob")
        await store.tasks_of(ann).commit(creating_list(anns := make_list(owner=ann)))
        await store.tasks_of(bob).commit(creating_list(bobs := make_list(owner=bob)))
        for plan in (deleting_list(anns.id), changing_list(anns.id, lambda each: each)):
            with pytest.raises(ListNotFound):
                await store.tasks_of(bob).commit(plan)
        with pytest.raises(InvalidInput):
            await store.tasks_of(bob).commit(moving_list(bobs.id, {"after": anns.id}, LATER))
        with pytest.raises(ValueError):  # noqa: PT011 (how it is worded is the storage's own)
            await store.tasks_of(bob).commit(creating_list(anns))
        assert [await store.tasks_of(each).lists() for each in (ann, bob)] == [(anns,), (bobs,)]

    async def test_one_list_more_than_there_may_be_is_refused(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        full = [make_list(owner=owner) for _ in range(LISTS_MAX)]
        await tasks.commit(_storing(full[:-1]))
        one_more = make_list(owner=owner)
        with pytest.raises(TooMany) as refused:
            await tasks.commit(_storing([make_task(owner=owner), full[-1], one_more]))
        assert (refused.value.kind, refused.value.limit) == ("lists", LISTS_MAX)
        assert (await tasks.lists(), await _all(tasks)) == (tuple(full[:-1]), [])
        assert len(await whole_log(tasks)) == LISTS_MAX - 1
        outcomes = await asyncio.gather(
            *(tasks.commit(_storing([each])) for each in (full[-1], one_more)), return_exceptions=True
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Committed", "TooMany"]
        assert len(await tasks.lists()) == LISTS_MAX
        await tasks.commit(deleting_list(full[0].id))
        await tasks.commit(creating_list(make_list(owner=owner)))
        with pytest.raises(TooMany):
            await tasks.commit(restoring(full[0].id, LATER))

    async def test_an_id_is_of_a_task_or_of_a_list(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        await tasks.commit(creating_list(task_list := make_list(owner=owner)))
        await add(tasks, task := make_task(owner=owner))
        with pytest.raises(TaskExists):
            await add(tasks, make_task(id=task_list.id, owner=owner))
        with pytest.raises(TaskExists):
            await tasks.commit(creating_list(make_list(id=task.id, owner=owner)))

    async def test_a_list_is_deleted_with_its_tasks_and_comes_back_with_them(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        first, (task_list, *family) = await _chain(tasks, owner, 3), await _chain(tasks, owner, LEVELS_MAX)
        await remove(tasks, family[3].id)
        before = await _things(tasks)
        change = (await tasks.commit(deleting_list(task_list.id))).change
        assert [entry.root for entry in await _of(tasks, change) if entry.id != task_list.id] == [task_list.id] * 3
        assert await _trash(tasks) == [(task_list.id, 4), (family[3].id, 2)]
        assert [each.id for each in await _all(tasks)] == [each.id for each in first[1:]]
        restored = await tasks.commit(restoring(task_list.id, LATER))
        assert {each.id for each in restored.things} == {task_list.id, *(each.id for each in family[:3])}
        assert await _things(tasks) == before
        assert await _trash(tasks) == [(family[3].id, 2)]

    async def test_a_list_is_deleted_with_all_of_its_tasks_however_many_there_are(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        task_list = make_list(owner=owner)
        await tasks.commit(_storing([task_list, *(make_task(owner=owner, list_id=task_list.id) for _ in range(_MANY))]))
        await tasks.commit(deleting_list(task_list.id))
        assert len(await _all(tasks)) == 0
        assert await _trash(tasks) == [(task_list.id, 1 + _MANY)]

    async def test_subtasks_go_where_their_parent_goes(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        (here, *family), (there, parent) = await _chain(tasks, owner, 3), await _chain(tasks, owner, 1)
        places: list[tuple[Where, object]] = [
            ({"list_id": there.id}, there.id),
            ({"list_id": None}, None),
            ({"parent_id": parent.id}, there.id),
        ]
        for where, list_id in places:
            moved = await move(tasks, family[0].id, **where)
            assert (moved.list_id, moved.parent_id) == (list_id, where.get("parent_id"))
            assert [(await tasks.get(each.id)).list_id for each in family[1:]] == [list_id] * 2
        moved = await move(tasks, family[1].id, list_id=here.id)
        assert (moved.list_id, moved.parent_id, (await tasks.get(family[2].id)).list_id) == (here.id, None, here.id)

    @pytest.mark.parametrize("how", ["parent_id", "before", "after"])
    async def test_no_task_is_moved_below_itself_or_below_the_last_level(self, store: TaskStore, how: str) -> None:
        tasks = store.tasks_of(owner := make_owner())
        (here, *family), (_, *other) = await _chain(tasks, owner, LEVELS_MAX), await _chain(tasks, owner, 2)
        level = 3 if how == "parent_id" else 4
        refused: list[tuple[Task, Task, str]] = [
            (family[0], family[2], CYCLE_RULE),
            (family[1], family[4], CYCLE_RULE),
            (other[0], family[level], LEVELS_RULE),
        ]
        if how == "parent_id":
            refused += [(family[0], family[0], CYCLE_RULE), (other[1], family[4], LEVELS_RULE)]
        for _ in range(2):  # from another list, and within one
            before = await _things(tasks)
            for task, beside, rule in refused:
                where: Any = {how: beside.id}
                with pytest.raises(InvalidInput) as problem:
                    await move(tasks, task.id, **where)
                assert problem.value.problems == (Problem(how, rule),)
            assert await _things(tasks) == before
            await move(tasks, other[0].id, list_id=here.id)
        await move(tasks, other[1].id, parent_id=family[3].id)

    async def test_a_subtask_of_the_last_level_is_not_created(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        _, *family = await _chain(tasks, owner, LEVELS_MAX)
        for make in (placing, creating):
            with pytest.raises(InvalidInput) as problem:
                await tasks.commit(make(make_task(owner=owner, parent_id=family[-1].id, list_id=family[-1].list_id)))
            assert [each.field for each in problem.value.problems] == ["parent_id"]

    async def test_a_task_is_moved_before_or_after_another_or_last(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        task_list, parent = await _chain(tasks, owner, 1)
        a, b, c, d = [await _place(tasks, make_task(owner=owner, parent_id=parent.id)) for _ in range(4)]
        await _place(tasks, make_task(owner=owner))
        moves: list[tuple[Task, Where, list[Task]]] = [
            (a, {"after": b.id}, [b, a, c, d]),
            (d, {"before": b.id}, [d, b, a, c]),
            (b, {"parent_id": parent.id}, [d, a, c, b]),
            (c, {"before": a.id, "parent_id": parent.id, "list_id": task_list.id}, [d, c, a, b]),
            (d, {}, [c, a, b, d]),
            (a, {"list_id": None}, [c, b, d]),
        ]
        for task, where, order in moves:
            await move(tasks, task.id, **where)
            assert await _order(tasks, parent) == [each.id for each in order]
        there: list[tuple[Task, Where]] = [(b, {"before": d.id}), (b, {"after": c.id}), (d, {"parent_id": parent.id})]
        for task, where in there:
            assert (await tasks.commit(moving(task.id, where, LATER))).change is None

    async def test_many_moves_into_one_gap_keep_the_order_and_short_positions(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        first, *others = [await _place(tasks, make_task(owner=owner)) for _ in range(4)]
        expected = [each.id for each in others]
        for _ in range(_MOVES // 10):
            for _ in range(10):
                expected.insert(0, moved := expected.pop())
                await move(tasks, moved, after=first.id)
            assert await _order(tasks) == [first.id, *expected]
        found = await _all(tasks)
        assert all(len(each.position) <= POSITION_LENGTH for each in found)
        assert sum(each.version for each in found) > len(found) + _MOVES  # siblings have been renumbered

    async def test_siblings_that_are_renumbered_are_one_change_which_undo_takes_back(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        narrow = ["i", "i" + "0" * (POSITION_LENGTH - 2) + "1", "z"]
        made = [make_task(owner=owner, position=position) for position in narrow]
        await tasks.commit(composed([creating(each) for each in made]))
        before = await _things(tasks)
        committed = await tasks.commit(moving(made[2].id, {"after": made[0].id}, LATER))
        assert {entry.id for entry in await _of(tasks, committed.change)} == {each.id for each in made}
        assert [each.version for each in await _all(tasks)] == [2, 2, 2]
        assert await _order(tasks) == [made[0].id, made[2].id, made[1].id]
        await tasks.commit(undoing(committed.change or 0, LATER))
        assert await _things(tasks) == before

    async def test_concurrent_moves_to_one_place_get_a_position_each(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        first, last = make_task(owner=owner), make_task(owner=owner)
        many = [make_task(owner=owner) for _ in range(_CONCURRENT)]
        await tasks.commit(Plan(decide=lambda _: Decision(tuple(Pair(None, each) for each in (first, last, *many)))))
        turns = asyncio.Semaphore(20)  # so that no call times out

        async def squeeze(task: Task, number: int) -> None:
            where: Where = {"before": last.id} if number % 2 else {"after": first.id}
            async with turns:
                await move(tasks, task.id, **where)

        await asyncio.gather(*(squeeze(task, number) for number, task in enumerate(many)))
        found = await _all(tasks)
        assert len({each.position for each in found}) == _CONCURRENT + 2
        order = await _order(tasks)
        assert (order[0], order[-1], len(order)) == (first.id, last.id, _CONCURRENT + 2)

    async def test_ids_of_others_and_of_nothing_are_refused_at_their_member(self, store: TaskStore) -> None:
        ann, bob = make_owner("ann"), make_owner("bob")
        anns, bobs = store.tasks_of(ann), store.tasks_of(bob)
        their_list, theirs = await _chain(bobs, bob, 1)
        my_list, mine = await _chain(anns, ann, 1)
        before = await _things(anns), await _things(bobs), await whole_log(anns), await whole_log(bobs)
        wrong = {"list_id": [their_list.id, make_id(0), mine.id], "parent_id": [theirs.id, make_id(0), my_list.id]}
        for name in ("before", "after"):
            wrong[name] = [*wrong["parent_id"], mine.id]
        for name, ids in wrong.items():
            for each in ids:
                where: Any = {name: each}
                plans = [moving(mine.id, where, LATER)]
                if name in ("list_id", "parent_id"):
                    new = make_task(owner=ann, **where)
                    plans += [placing(new), creating(new), composed([moving(mine.id, where, LATER)])]
                for plan in plans:
                    with pytest.raises(InvalidInput) as problem:
                        await anns.commit(plan)
                    assert [each.field for each in problem.value.problems] == [name]
        assert (await _things(anns), await _things(bobs), await whole_log(anns), await whole_log(bobs)) == before

    async def test_tasks_restored_without_their_list_or_parent_go_to_the_inbox_or_the_top(
        self, store: TaskStore
    ) -> None:
        tasks = store.tasks_of(owner := make_owner())
        task_list, *family = await _chain(tasks, owner, 4)
        await remove(tasks, family[2].id)
        await remove(tasks, family[1].id)
        restored = await tasks.commit(restoring(family[2].id, LATER))
        assert [_place_of(each) for each in restored.things] == [(task_list.id, None), (task_list.id, family[2].id)]
        await remove(tasks, family[2].id)
        await tasks.commit(deleting_list(task_list.id))
        restored = await tasks.commit(restoring(family[2].id, LATER))
        assert [_place_of(each) for each in restored.things] == [(None, None), (None, family[2].id)]
        assert [_place_of(each) for each in (await tasks.commit(restoring(family[1].id, LATER))).things] == [
            (None, None)
        ]
        await tasks.commit(restoring(task_list.id, LATER))
        assert _place_of(await tasks.get(family[0].id)) == (task_list.id, None)

    async def test_a_restored_task_goes_to_its_parents_current_place(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        (_, *family), (other, *others) = await _chain(tasks, owner, 3), await _chain(tasks, owner, 4)
        await remove(tasks, family[1].id)
        await move(tasks, family[0].id, parent_id=others[1].id)
        restored = await tasks.commit(restoring(family[1].id, LATER))
        assert [_place_of(each) for each in restored.things] == [(other.id, family[0].id), (other.id, family[1].id)]
        await remove(tasks, family[1].id)
        await move(tasks, family[0].id, parent_id=others[2].id)
        restored = await tasks.commit(restoring(family[1].id, LATER))
        assert [_place_of(each) for each in restored.things] == [(other.id, None), (other.id, family[1].id)]

    async def test_tasks_that_an_older_undo_restored_stay_when_the_rest_is_restored(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        (_, parent), (task_list, task) = await _chain(tasks, owner, 1), await _chain(tasks, owner, 1)
        older = (await remove(tasks, task.id)).change or 0
        await tasks.commit(restoring(task.id, LATER))
        child = await _place(tasks, make_task(owner=owner, parent_id=task.id))
        await move(tasks, task.id, parent_id=parent.id)
        await remove(tasks, parent.id)
        await tasks.commit(undoing(older, LATER))
        assert await _trash(tasks) == [(parent.id, 3)]
        restored = await tasks.commit(restoring(parent.id, LATER))
        assert {each.id for each in restored.things} == {parent.id, child.id}
        assert _place_of(await tasks.get(task.id)) == (task_list.id, None)
        assert _place_of(await tasks.get(child.id)) == (task_list.id, task.id)
        assert await _trash(tasks) == []

    async def test_an_older_undo_that_would_split_what_was_deleted_together_is_refused(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        parent = await _place(tasks, make_task(owner=owner))
        older = (await remove(tasks, parent.id)).change or 0
        await tasks.commit(restoring(parent.id, LATER))
        child = await _place(tasks, make_task(owner=owner, parent_id=parent.id))
        await remove(tasks, parent.id)
        await _refused(tasks, older, "id")
        assert await _trash(tasks) == [(parent.id, 2)]
        await tasks.commit(restoring(parent.id, LATER))
        assert [each.id for each in await _all(tasks)] == [parent.id, child.id]

    async def test_an_undone_undo_leaves_the_trash_as_it_was(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        _, parent, child = await _chain(tasks, owner, 2)
        both = (await remove(tasks, parent.id)).change or 0
        await tasks.commit(restoring(parent.id, LATER))
        alone = (await remove(tasks, child.id)).change or 0
        await remove(tasks, parent.id)
        before = await _trash(tasks)
        assert before == [(parent.id, 1), (child.id, 1)]
        back = (await tasks.commit(undoing(both, LATER))).change or 0
        await tasks.commit(undoing(back, LATER))
        assert sorted(await _trash(tasks)) == sorted(before)
        await tasks.commit(restoring(parent.id, LATER))
        await tasks.commit(undoing(alone, LATER))
        assert {each.id for each in await _all(tasks)} == {parent.id, child.id}

    async def test_a_thing_whose_old_position_is_taken_gets_one_beside_it(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        first, second, third = [await _place(tasks, make_task(owner=owner)) for _ in range(3)]
        second = await move(tasks, second.id, before=first.id)
        removed = (await remove(tasks, second.id)).change
        third = await move(tasks, third.id, before=first.id)
        assert third.position == second.position
        for version, plan in ((3, restoring(second.id, LATER)), (4, undoing(removed or 0, LATER))):
            back = (await tasks.commit(plan)).task
            assert third.position < back.position < first.position
            assert back.version == version
            await remove(tasks, second.id)
        assert await _order(tasks) == [third.id, first.id]

    async def test_undoing_a_move_moves_its_subtasks_back_too(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        (_, *family), (there, *_) = await _chain(tasks, owner, 3), await _chain(tasks, owner, 0)
        before = await _things(tasks)
        change = (await tasks.commit(moving(family[0].id, {"list_id": there.id}, LATER))).change or 0
        await tasks.commit(undoing(change, LATER))
        assert await _things(tasks) == before
        await tasks.commit(undoing(change + 1, LATER))
        assert {_place_of(each)[0] for each in await _all(tasks)} == {there.id}

    async def test_an_undo_without_a_valid_place_names_the_member(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        (here, *family), (_, other) = await _chain(tasks, owner, 2), await _chain(tasks, owner, 1)
        moved = (await tasks.commit(moving(family[1].id, {"parent_id": other.id}, LATER))).change or 0
        removed = (await remove(tasks, family[1].id)).change or 0
        await remove(tasks, other.id)
        await _refused(tasks, removed, "parent_id")
        await tasks.commit(restoring(family[1].id, LATER))
        away = (await tasks.commit(moving(family[0].id, {"list_id": None}, LATER))).change or 0
        await tasks.commit(deleting_list(here.id))
        await _refused(tasks, away, "list_id")
        await _refused(tasks, moved, "parent_id")
        made = (await tasks.commit(placing(task := make_task(owner=owner)))).change or 0
        await tasks.commit(placing(make_task(owner=owner, parent_id=task.id)))
        await _refused(tasks, made, "id")

    async def test_what_is_deleted_again_is_one_item_in_the_trash(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        task_list, *family = await _chain(tasks, owner, 3)
        removed = (await tasks.commit(deleting_list(task_list.id))).change or 0
        before = await _trash(tasks)
        assert before == [(task_list.id, 4)]
        await tasks.commit(undoing(removed, LATER))
        await tasks.commit(undoing(removed + 1, LATER))
        assert await _trash(tasks) == before
        await tasks.commit(restoring(task_list.id, LATER))
        await tasks.commit(undoing(removed + 3, LATER))
        assert await _trash(tasks) == before
        await tasks.commit(restoring(task_list.id, LATER))
        assert {each.id for each in await _all(tasks)} == {each.id for each in family}

    async def test_a_task_deleted_with_a_list_of_the_same_change_is_in_the_trash_by_itself(
        self, store: TaskStore
    ) -> None:
        tasks = store.tasks_of(owner := make_owner())
        (task_list, *family), passing = await _chain(tasks, owner, 2), make_list(owner=owner)
        before = await _things(tasks)
        to_passing: Where = {"list_id": passing.id}
        plans = [creating_list(passing), moving(family[0].id, to_passing, LATER), deleting_list(passing.id)]
        await tasks.commit(composed(plans))
        assert await _trash(tasks) == [(family[0].id, 2)]
        await tasks.commit(restoring(family[0].id, LATER))
        assert await _things(tasks) == before
        new = make_task(owner=owner, parent_id=family[1].id)
        await tasks.commit(composed([placing(new), deleting_list(task_list.id)]))
        assert await _trash(tasks) == [(task_list.id, 3)]

    async def test_what_is_erased_is_erased_with_all_that_was_deleted_with_it(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        task_list, *_ = await _chain(tasks, owner, 3, title="Secret")
        removed = (await tasks.commit(deleting_list(task_list.id))).change or 0
        await tasks.commit(erasing(task_list.id))
        assert [entry.number for entry in await whole_log(tasks) if "Secret" in str(entry)] == []
        assert await _trash(tasks) == []
        await _refused(tasks, removed, "id")

    async def test_a_family_is_whole_whatever_happens_to_it_at_the_same_time(self, store: TaskStore) -> None:
        tasks = store.tasks_of(owner := make_owner())
        for _ in range(8):
            parent, other = [await _place(tasks, make_task(owner=owner)) for _ in range(2)]
            await tasks.commit(creating_list(task_list := make_list(owner=owner)))
            await asyncio.gather(
                tasks.commit(creating(make_task(owner=owner, parent_id=parent.id))),
                tasks.commit(placing(make_task(owner=owner, parent_id=parent.id))),
                tasks.commit(placing(make_task(owner=owner, list_id=task_list.id))),
                move(tasks, other.id, list_id=task_list.id),
                move(tasks, parent.id, parent_id=other.id),
                move(tasks, other.id, parent_id=parent.id),
                tasks.commit(deleting_list(task_list.id)),
                remove(tasks, parent.id),
                return_exceptions=True,
            )
            found = await Belongings.read(tasks, owner)
            assert_in_place(found)
            assert_log(found)


def _storing(things: Sequence[Thing]) -> Plan:
    decision = Decision(tuple(Pair(None, each) for each in things))
    return Plan(decide=lambda _: decision, sees=Sees(lists=True))


async def _place(tasks: OwnedTasks, task: Task) -> Task:
    return (await tasks.commit(placing(task))).task


async def _chain(tasks: OwnedTasks, owner: OwnerId, levels: int, title: str = "Task") -> list[Any]:
    """A new list, and that many tasks in it, each a subtask of the one before."""
    await tasks.commit(creating_list(task_list := make_list(owner=owner, name=title)))
    chain: list[Any] = [task_list]
    for _ in range(levels):
        parent_id = chain[-1].id if len(chain) > 1 else None
        chain.append(
            await _place(tasks, make_task(owner=owner, title=title, list_id=task_list.id, parent_id=parent_id))
        )
    return chain


async def _all(tasks: OwnedTasks) -> list[Task]:
    return list((await tasks.page(TaskQuery(sort=Sort.CREATED_AT, limit=None))).items)


async def _order(tasks: OwnedTasks, parent: Task | None = None) -> list[TaskId]:
    """The ids of that task's subtasks, or of the inbox's top level, by position."""
    parents: Any = "none" if parent is None else frozenset({parent.id})
    query = TaskQuery(parents=parents, list_id=None if parent else "none", sort=Sort.POSITION, limit=None)
    return [each.id for each in (await tasks.page(query)).items]


async def _things(tasks: OwnedTasks) -> list[dict[str, object]]:
    """All things' members, without those that an undo does not set back."""
    found: list[Any] = [*await tasks.lists(), *await _all(tasks)]
    return [{name: getattr(each, name) for name in each.__slots__ if name not in COUNTED} for each in found]


async def _of(tasks: OwnedTasks, change: int | None) -> list[Entry]:
    newest = await tasks.changes(ChangeQuery(newest_first=True, limit=LIMIT_MAX))
    return [entry for entry in newest.items if entry.number == change]


async def _trash(tasks: OwnedTasks) -> list[tuple[UUID, int]]:
    """The trash, newest first: ids, and how many things each deletion took."""
    return [(entry.id, entry.took) for entry in (await tasks.changes(_TRASH)).items]


async def _refused(tasks: OwnedTasks, change: int, *members: str) -> None:
    before = await _things(tasks)
    with pytest.raises(UndoConflict) as conflict:
        await tasks.commit(undoing(change, LATER))
    assert {problem.field for problem in conflict.value.problems} == set(members)
    assert await _things(tasks) == before


def _place_of(thing: Any) -> tuple[object, object]:
    return thing.list_id, thing.parent_id
