"""The contract of listings: order, pages, filters and search are those of `TaskQuery.page_of`."""

# ruff: noqa: S101 (these are tests)

from collections.abc import Sequence
from datetime import timedelta

import pytest

from todo_core.ports import OwnedTasks, TaskStore
from todo_core.queries import Cursor, Sort, TaskQuery
from todo_core.task import OwnerId, Task
from todo_core.testing.examples import LATER, NASTY, NOON, make_id, make_owner, make_task
from todo_core.testing.writing import add, edit, remove

_TITLES = ["b", "B", "a", "", "a ", "aa", "ä", "a\u0308", "z", "Z", "é", "10", "9", "\uffee", "😀", "~", "ß", "ss", "İ"]
_FOUND = [
    ("Milk", "MILK"),
    ("MILK", "milk"),
    ("Straße", "STRASSE"),
    ("STRASSE", "straße"),
    ("ẞ", "ß"),
    ("ΟΔΟΣ", "οδος"),
    ("οδός", "ΟΔΌΣ"),
    ("ſtop", "STOP"),
    ("\u212a", "k"),
    ("ﬃ", "ffi"),
    ("İ", "i\u0307"),
    ("ǅ", "ǆ"),
    ("𐐀", "𐐨"),
    ("ŉ", "ʼn"),
    ("100% sure_thing", "% SURE_"),
    ("back\\slash", "\\"),
    ("it's", "'"),
    ("Cafe\u0301", "CAF\u00c9"),
    ("Caf\u00e9", "cafe\u0301"),
    ("q\u0323\u0307", "Q\u0307\u0323"),
    ("\ud55c\uae00", "\u1112\u1161\u11ab\u1100\u1173\u11af"),
    ("\uff2d\uff49\uff4c\uff4b", "milk"),
    ("milk", "\uff2d\uff29\uff2c\uff2b"),
    ("\uff76\uff9e", "\u30ac"),
    ("1\u2075", "15"),
    ("\u2126", "\u03c9"),
]
_NOT_FOUND = [
    ("Milk", "%"),
    ("Milk", "m_lk"),
    ("Milk", "\\"),
    ("e\u0301", "e\u0300"),
    ("\u00e9", "e"),
    ("e\u0301", "e"),
    ("I", "ı"),
    ("Milk", ".*"),
    ("ab", "ba"),
    ("Milk", "milk "),
]


async def _filled(store: TaskStore, owner: OwnerId, tasks: Sequence[Task]) -> OwnedTasks:
    owned = store.tasks_of(owner)
    for task in tasks:
        await add(owned, task)
    return owned


def _varied(owner: OwnerId) -> list[Task]:
    """Tasks, with ties, that have another order for each sort, and are added in yet another one."""
    tasks = [
        make_task(
            id=make_id(number * 7 % 19),
            owner=owner,
            title=title or "-",
            updated_at=NOON + timedelta(microseconds=number * 5 % 4),
            completed_at=LATER if number % 3 else None,
            description="even" if number % 2 == 0 else None,
        )
        for number, title in enumerate(_TITLES)
    ]
    return tasks + [make_task(id=make_id(100 + number), owner=owner, title="same") for number in (2, 0, 1)]


class ListingContract:
    """A listing is what `TaskQuery.page_of` returns for all of the owner's tasks."""

    @pytest.mark.parametrize("sort", Sort)
    async def test_tasks_come_in_the_order_of_the_sort_ties_by_id(self, store: TaskStore, sort: Sort) -> None:
        owner = make_owner()
        owned = await _filled(store, owner, tasks := _varied(owner))
        if sort.field == "created_at":
            ordered = sorted(tasks, key=lambda task: task.id, reverse=sort.descending)
        else:
            ordered = sorted(tasks, key=lambda task: (getattr(task, sort.field), task.id), reverse=sort.descending)
        assert list((await owned.page(TaskQuery(sort=sort))).items) == ordered

    async def test_the_newest_come_first_unless_asked_otherwise(self, store: TaskStore) -> None:
        owner = make_owner()
        owned = await _filled(store, owner, tasks := [make_task(owner=owner) for _ in range(3)])
        assert (await owned.page(TaskQuery())).items == tuple(reversed(tasks))

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 11, 21, 22, 23, 200])
    @pytest.mark.parametrize("sort", Sort)
    async def test_pages_put_together_are_the_whole_listing(self, store: TaskStore, sort: Sort, limit: int) -> None:
        owner = make_owner()
        owned = await _filled(store, owner, tasks := _varied(owner))
        found: list[Task] = []
        after = None
        while True:
            page = await owned.page(TaskQuery(sort=sort, limit=limit, after=after))
            assert len(page.items) <= limit
            found.extend(page.items)
            if (after := page.next) is None:
                break
            assert len(page.items) == limit
            assert len(found) < len(tasks), "tasks are repeated, or there is a next page behind the last"
        assert found == list(TaskQuery(sort=sort).page_of(tasks).items)

    async def test_a_page_that_takes_the_last_task_has_no_next(self, store: TaskStore) -> None:
        owner = make_owner()
        owned = await _filled(store, owner, [make_task(owner=owner) for _ in range(4)])
        assert (await owned.page(TaskQuery(limit=4))).next is None
        first = await owned.page(TaskQuery(limit=2))
        assert first.next == Cursor.behind(first.items[-1], Sort.NEWEST)
        assert (await owned.page(TaskQuery(limit=2, after=first.next))).next is None

    @pytest.mark.parametrize("sort", Sort)
    async def test_tasks_added_and_removed_between_pages_repeat_and_hide_none(
        self, store: TaskStore, sort: Sort
    ) -> None:
        owner = make_owner()
        owned = await _filled(store, owner, tasks := _varied(owner))
        whole = list(TaskQuery(sort=sort).page_of(tasks).items)
        first = await owned.page(TaskQuery(sort=sort, limit=6))
        for seen in (*first.items[:2], first.items[-1], whole[-1]):
            await remove(owned, seen.id)
        for number, neighbour in enumerate((whole[0], whole[-1])):
            await add(owned, make_task(id=make_id(200 + number), owner=owner, title=neighbour.title))
        rest = await owned.page(TaskQuery(sort=sort, after=first.next))
        assert [task for task in rest.items if task in tasks] == whole[6:-1]

    @pytest.mark.parametrize("sort", Sort)
    async def test_a_cursor_stays_good_when_its_task_is_changed(self, store: TaskStore, sort: Sort) -> None:
        owner = make_owner()
        owned = await _filled(store, owner, tasks := _varied(owner))
        whole = list(TaskQuery(sort=sort).page_of(tasks).items)
        first = await owned.page(TaskQuery(sort=sort, limit=6))
        moved = await edit(owned, whole[5].id, lambda task: task.edited(title="moved", at=LATER))
        rest = await owned.page(TaskQuery(sort=sort, after=first.next))
        assert [task for task in rest.items if task.id != moved.id] == whole[6:]

    @pytest.mark.parametrize(("sort", "edited", "times"), [(Sort.UPDATED_AT, 0, 2), (Sort.LAST_UPDATED, -1, 0)])
    async def test_a_task_whose_sort_value_changes_between_pages_is_on_both_or_on_neither(
        self, store: TaskStore, sort: Sort, edited: int, times: int
    ) -> None:
        owner = make_owner()
        owned = await _filled(store, owner, tasks := _varied(owner))
        moved = TaskQuery(sort=sort).page_of(tasks).items[edited]
        first = await owned.page(TaskQuery(sort=sort, limit=6))
        await edit(owned, moved.id, lambda task: task.edited(title="moved", at=LATER + timedelta(days=9)))
        rest = await owned.page(TaskQuery(sort=sort, after=first.next))
        shown = sorted(task.id for task in (*first.items, *rest.items))
        assert shown == sorted([task.id for task in tasks if task.id != moved.id] + [moved.id] * times)

    @pytest.mark.parametrize("sort", Sort)
    async def test_every_combination_of_filters_is_what_the_core_says(self, store: TaskStore, sort: Sort) -> None:
        owner = make_owner()
        owned = await _filled(store, owner, tasks := _varied(owner))
        places = [None, *(Cursor.behind(task, sort) for task in tasks[::5])]
        for completed in (None, True, False):
            for search in (None, "", "a", "EVEN", "absent"):
                for after in places:
                    query = TaskQuery(completed=completed, search=search, sort=sort, limit=4, after=after)
                    assert await owned.page(query) == query.page_of(tasks)

    @pytest.mark.parametrize("sort", [Sort.UPDATED_AT, Sort.LAST_UPDATED, Sort.TITLE, Sort.TITLE_DESCENDING])
    async def test_a_page_may_begin_between_tasks_of_equal_rank(self, store: TaskStore, sort: Sort) -> None:
        owner = make_owner()
        tasks = [make_task(id=make_id(number * 2), owner=owner) for number in range(4)]
        owned = await _filled(store, owner, tasks)
        value = tasks[0].title if sort.field == "title" else tasks[0].updated_at
        for number in range(-1, 9):
            query = TaskQuery(sort=sort, after=Cursor(sort, make_id(number), value))
            assert await owned.page(query) == query.page_of(tasks)

    @pytest.mark.parametrize(("text", "needle"), _FOUND)
    async def test_a_search_ignores_case_and_how_characters_are_composed(
        self, store: TaskStore, text: str, needle: str
    ) -> None:
        owner = make_owner()
        tasks = [make_task(owner=owner, title=f"x{text}y"), make_task(owner=owner, description=f"x\n{text}y")]
        owned = await _filled(store, owner, [*tasks, make_task(owner=owner, title="Other", description="x")])
        assert (await owned.page(TaskQuery(search=needle, sort=Sort.CREATED_AT))).items == tuple(tasks)

    @pytest.mark.parametrize(("text", "needle"), _NOT_FOUND)
    async def test_a_search_takes_every_character_literally(self, store: TaskStore, text: str, needle: str) -> None:
        owner = make_owner()
        owned = await _filled(store, owner, [make_task(owner=owner, title=text, description=text)])
        assert (await owned.page(TaskQuery(search=needle))).items == ()

    async def test_a_search_does_not_reach_from_the_title_into_the_description(self, store: TaskStore) -> None:
        owner = make_owner()
        owned = await _filled(store, owner, [make_task(owner=owner, title="ab", description="cd")])
        for needle in ("bc", "b c", "b\nc", "abcd", "b\tc"):
            assert (await owned.page(TaskQuery(search=needle))).items == ()

    async def test_due_dates_are_compared_as_text(self, store: TaskStore) -> None:
        owner = make_owner()
        dates = ["2026-09-30", "2026-10-01", "2026-10-01T00:00:00", "2026-10-01T17:00:00", "2026-10-02"]
        owned = await _filled(store, owner, [make_task(owner=owner, due_date=each) for each in (*dates, None)])
        for place, date in enumerate(dates):
            later = await owned.page(TaskQuery(due_from=date, sort=Sort.DUE_DATE))
            assert [task.due_date for task in later.items] == dates[place:]
            earlier = await owned.page(TaskQuery(due_before=date, sort=Sort.DUE_DATE))
            assert [task.due_date for task in earlier.items] == dates[:place]

    @pytest.mark.parametrize(("tag", "wanted"), [("Straße", "STRASSE"), ("ſtop", "STOP"), ("Cafe\u0301", "CAF\u00c9")])
    async def test_tags_are_compared_as_a_search_compares(self, store: TaskStore, tag: str, wanted: str) -> None:
        owner = make_owner()
        tasks = [make_task(owner=owner, tags=(each,)) for each in (tag, wanted, "other")]
        owned = await _filled(store, owner, tasks)
        for each in (tag, wanted):
            assert (await owned.page(TaskQuery(tags=(each,), sort=Sort.CREATED_AT))).items == tuple(tasks[:2])
        assert (await owned.summary()).by_tag == {min(tag, wanted): 2, "other": 1}

    async def test_every_nasty_text_is_found_by_itself(self, store: TaskStore) -> None:
        owner = make_owner()
        tasks = [make_task(owner=owner, title=f"({text})", description=text) for text in NASTY]
        owned = await _filled(store, owner, tasks)
        for text in NASTY:
            query = TaskQuery(search=text, limit=200)
            assert await owned.page(query) == query.page_of(tasks)
            assert (await owned.page(TaskQuery(search=f"({text})"))).items
