"""Plans: what a decision may read and write, and several plans as one change."""

import json
import operator
import random
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from uuid import UUID

import pytest
from factories import ANN, BOB, LATER, make_id, make_list, make_task

from todo_core import (
    Cursor,
    Decision,
    Identity,
    ListId,
    NotSeen,
    Pair,
    Plan,
    Seen,
    Sees,
    Sort,
    SyncItem,
    Task,
    TaskExists,
    TaskId,
    TaskList,
    TaskNotFound,
    TaskQuery,
    Thing,
    composed,
    decided,
)
from todo_core.changes import LOGGED, decoded, difference, encoded, kind_of
from todo_core.places import placed
from todo_core.queries import NONE


def seen(*tasks: Task) -> Seen:
    return Seen(ANN, {task.id: task for task in tasks})


def outcome(plan: Plan, *tasks: Task, lists: Iterable[TaskList] = (), looks: list[Sees] | None = None) -> Decision:
    """What is decided where these are all of the owner's things, after the `looks` that a storage allows."""
    now, wanted = Seen(ANN, {}), plan.sees
    while True:
        if looks is not None:
            looks.append(wanted)
        now = now.with_read(
            tasks={each: next((task for task in tasks if task.id == each), None) for each in wanted.tasks},
            entries={},
            last_entries={},
            pages={query: query.page_of(tasks).items for query in wanted.pages},
            lists=lists if wanted.lists else None,
            log={},
        )
        try:
            return decided(plan, now)
        except NotSeen as more:
            wanted = more.wanted


def writing(*pairs: Pair) -> Plan:
    return Plan(decide=lambda _: Decision(pairs, tuple(pair.after for pair in pairs if pair.after)))


def changing(task_id: TaskId, change: Callable[[Task], Task]) -> Plan:
    def decide(now: Seen) -> Decision:
        before = now.task(task_id)
        after = change(before)
        return Decision((Pair(before, after),) if after != before else (), (after,))

    return Plan(decide=decide, sees=Sees(frozenset({task_id})))


def placing(task: Task) -> Plan:
    return Plan(decide=lambda now: Decision(tuple(placed(now, task))))


def titled(title: str) -> Callable[[Task], Task]:
    return lambda task: task.edited(title=title, at=LATER)


def test_reading_something_that_was_not_loaded_requests_it() -> None:
    with pytest.raises(NotSeen) as more:
        seen().task(make_id(1))
    assert more.value.wanted == Sees(frozenset({make_id(1)}))
    with pytest.raises(TaskNotFound):
        Seen(ANN, {make_id(1): None}).task(make_id(1))


def test_a_plan_may_write_only_things_it_has_seen_in_their_current_state() -> None:
    task = make_task()
    pair = Pair(task, task.toggled(at=LATER))
    assert decided(writing(pair), seen(task)).pairs == (pair,)
    for now in (seen(), seen(make_task(id=task.id, title="Other")), Seen(ANN, {task.id: None})):
        with pytest.raises(ValueError, match="must have seen"):
            decided(writing(pair), now)


def test_a_plan_may_not_write_things_of_another_owner_or_one_thing_twice() -> None:
    foreign = make_task(owner=BOB)
    with pytest.raises(ValueError, match="another owner"):
        decided(writing(Pair(None, foreign)), seen())
    task = make_task()
    with pytest.raises(ValueError, match="once"):
        decided(writing(Pair(None, task), Pair(None, task)), seen())


def test_creating_something_that_exists_is_refused() -> None:
    with pytest.raises(TaskExists):
        decided(writing(Pair(None, task := make_task())), seen(task))


@pytest.mark.parametrize("after", [None, make_task(id=make_id(9))])
def test_a_pair_must_be_about_one_thing(after: Task | None) -> None:
    before = None if after is None else make_task()
    with pytest.raises(ValueError, match=r"pair|must keep"):
        Pair(before, after)


def test_a_pair_must_raise_the_version_by_one() -> None:
    task = make_task()
    for after in (task, titled("b")(titled("a")(task))):
        with pytest.raises(ValueError, match="version by one"):
            Pair(task, after)


def test_composed_plans_each_see_the_result_of_the_previous_one_and_are_one_change() -> None:
    first, other = make_task(), make_task()
    plan = composed(
        [
            changing(first.id, titled("a")),
            changing(other.id, titled("b")),
            changing(first.id, lambda task: task.edited(description=task.title, at=LATER)),
        ]
    )
    decision = decided(plan, seen(first, other))
    after = {pair.thing.id: pair.after for pair in decision.pairs}
    changed = after[first.id]
    assert changed is not None
    assert (changed.title, changed.description, changed.version) == ("a", "a", first.version + 1)
    assert [task.version for task in decision.answer] == [2, 2, 2]
    assert plan.sees == Sees(frozenset({first.id, other.id}))


def test_composed_plans_can_change_and_delete_what_earlier_ones_created() -> None:
    task = make_task()
    deleting = Plan(decide=lambda now: Decision((Pair(now.task(task.id), None),)))
    kept = outcome(composed([writing(Pair(None, task)), changing(task.id, titled("a"))]))
    assert [(pair.before, pair.after and pair.after.version) for pair in kept.pairs] == [(None, 1)]
    gone = SyncItem("task", task.id, None)
    assert outcome(composed([writing(Pair(None, task)), deleting])) == Decision((), (gone,))
    with pytest.raises(TaskExists):  # an id is not used again
        outcome(composed([deleting, writing(Pair(None, task))]), task)


def test_a_hundred_creations_in_a_list_read_its_last_two_tasks_together() -> None:
    task_list = make_list()
    there, new = (
        [make_task(list_id=task_list.id, position=make_id(number).hex) for number in numbers]
        for numbers in (range(50), range(50, 150))
    )
    plan = composed([placing(task) for task in new])
    looks: list[Sees] = []
    decision = outcome(plan, *there, lists=[task_list], looks=looks)
    assert [pair.after for pair in decision.pairs] == new
    asked = [query.limit for look in looks for query in look.pages]
    assert (len(looks), asked) == (3, [2])


@pytest.mark.parametrize("seed", range(60))
def test_a_page_read_in_a_batch_reflects_the_batchs_earlier_changes(seed: int) -> None:
    chance, lists = random.Random(seed), [None, ListId(make_id(900)), ListId(make_id(901))]
    ids = [make_id(number) for number in range(30)]

    def somewhere(task_id: TaskId, version: int) -> Task:
        position = chance.choice(ids).hex
        return make_task(id=task_id, version=version, list_id=chance.choice(lists), position=position)

    stored = {each: somewhere(each, 1) for each in ids[:24]}
    changed: dict[UUID, Thing | None] = {}
    for each in chance.sample(ids, chance.randrange(1, 20)):
        deleted = each in stored and chance.random() < 0.5
        changed[each] = None if deleted else somewhere(each, 1 + (each in stored))
    sort = chance.choice([Sort.POSITION, Sort.POSITION_DESCENDING, Sort.CREATED_AT])
    behind = chance.choice([None, Cursor.behind(make_task(id=chance.choice(ids)), sort)])
    list_id, limit = chance.choice([None, NONE, lists[1]]), chance.choice([1, 8, 50, None])
    query = TaskQuery(list_id=list_id, sort=sort, after=behind, limit=limit)
    now = Seen(ANN, {}, changed=changed)
    while True:
        try:
            found = now.page(query)
            break
        except NotSeen as more:
            pages = {each: each.page_of(stored.values()).items for each in more.wanted.pages}
            now = replace(now, pages={**now.pages, **pages})
    present = [each for each in (stored | changed).values() if isinstance(each, Task)]
    assert found == query.page_of(present).items


def test_one_refusing_plan_refuses_the_whole_composition() -> None:
    task = make_task()
    with pytest.raises(TaskNotFound):
        decided(
            composed([changing(task.id, titled("a")), changing(make_id(0), titled("b"))]),
            Seen(ANN, {task.id: task, make_id(0): None}),
        )


def test_the_log_keeps_the_changed_members_of_an_edit() -> None:
    task = make_task(description="old", tags=("a",))
    before, after = difference(Pair(task, task.edited(description=None, tags=["b"], at=LATER)))
    assert before == {"description": "old", "tags": ("a",), "version": 1, "updated_at": task.updated_at}
    assert after == {"description": None, "tags": ("b",), "version": 2, "updated_at": LATER}


TASK = make_task(
    due_date="2026-10-01T17:00:00", time_zone="Europe/Madrid", completed_at=LATER, tags=("a",), list_id=make_id(1),
    parent_id=make_id(2),
)  # fmt: skip
LIST = TaskList.new(id=ListId(make_id(3)), owner=ANN, name="Home", color="#ff8800", at=LATER)


@pytest.mark.parametrize("thing", [TASK, LIST], ids=["task", "list"])
def test_the_log_keeps_all_members_of_a_creation_and_of_a_deletion(thing: Thing) -> None:
    whole = {name: getattr(thing, name) for name in LOGGED[kind_of(thing)]}
    assert {"id", "owner", *whole} == {field.name for field in fields(thing)}
    assert difference(Pair(None, thing)) == (None, whole)
    assert difference(Pair(thing, None)) == (whole, None)
    assert decoded(json.loads(json.dumps(encoded(whole)))) == whole


@pytest.mark.parametrize(
    ("change", "action"),
    [
        (operator.methodcaller("toggled", at=LATER), "completed"),
        (lambda task: task.edited(title="x", completed=True, at=LATER), "completed"),
        (titled("x"), "edited"),
    ],
)
def test_the_action_of_a_pair_is_named_after_its_change(change: Callable[[Task], Task], action: str) -> None:
    task = make_task()
    assert Pair(task, change(task)).action == action
    assert Pair(None, task).action == "created"
    assert Pair(task, None).action == "deleted"
    done = task.toggled(at=LATER)
    assert Pair(done, done.toggled(at=LATER)).action == "reopened"


@pytest.mark.parametrize("client", ["", "a" * 256, "a\0", "\n", "\ud800", 7])
def test_a_client_that_the_log_cannot_name_is_refused_before_a_storage_sees_it(client: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        Plan(decide=lambda _: Decision(), client=client)
    with pytest.raises(ValueError, match="printable"):
        Identity(ANN, client)


def test_reading_subtasks_ends_even_if_there_is_a_cycle() -> None:
    first, second = make_task(id=make_id(1), parent_id=make_id(2)), make_task(id=make_id(2), parent_id=make_id(1))

    def below(task: Task) -> TaskQuery:
        return TaskQuery(parents=frozenset({task.id}), sort=Sort.CREATED_AT, limit=None)

    assert Seen(ANN, {}, pages={below(first): (second,), below(second): (first,)}).below([first.id]) == [second]
