"""Listings: filters, order, pages and cursors."""

import base64
import string
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Final
from unicodedata import combining, normalize

import pytest
from effort import code_points
from factories import ANN, LATER, NOON, cursor_text, make_id, make_task
from hypothesis import example, given
from hypothesis import strategies as st

from todo_core import Cursor, InvalidInput, Page, Problem, Sort, Task, TaskQuery, searchable
from todo_core import queries as queries_module
from todo_core import task as task_module
from todo_core.queries import SEARCH_RULE
from todo_core.task import is_description
from todo_core.testing.examples import moments, queries, tasks_of, titles
from todo_core.text import folded

NO_CURSOR = Problem("cursor", "must be the next_cursor of an earlier page with the same sort")
IDS = st.integers(0, 30).map(make_id)
FEW = st.integers(0, 7).map(make_id)
CURSORS = queries(IDS).map(lambda query: query.after).filter(bool)


@given(CURSORS)
def test_a_cursor_is_read_as_it_was_written(cursor: Cursor) -> None:
    text = cursor.encode()
    assert Cursor.decode(text) == cursor
    assert set(text) <= set(string.ascii_letters + string.digits + "-_")


@given(tasks_of(ANN, IDS), st.sampled_from(Sort))
def test_a_cursor_survives_encoding_and_decoding(task: Task, sort: Sort) -> None:
    cursor = Cursor.behind(task, sort)
    assert Cursor.decode(cursor.encode()) == cursor
    assert not cursor.precedes(task)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | moments.map(str) | titles,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.text()
    | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode())
    | json_values.map(cursor_text)
    | st.tuples(
        st.sampled_from([*Sort, "", "created", None, []]), st.sampled_from([make_id(1).hex, "x", 1, None]), json_values
    ).map(cursor_text)
)
@example("")
@example("====")
@example("é")
@example("\ud800")
@example("A" * 100_000)
@example(base64.urlsafe_b64encode(b"[" * 50_000).decode())
@example(base64.urlsafe_b64encode(b"9" * 5000).decode())
@example(cursor_text(["title", make_id(1).hex, "a\x00"]))
@example(cursor_text(["title", make_id(1).hex, "\ud800"]))
@example(cursor_text(["created_at", str(make_id(1)), None]))
@example(cursor_text(["created_at", "{" + make_id(1).hex + "}", None]))
@example(cursor_text(["updated_at", make_id(1).hex, "2026-11-05"]))
@example(cursor_text(["updated_at", make_id(1).hex, "2026-11-05T12:00:00"]))
@example(cursor_text(["updated_at", make_id(1).hex, "2026-11-05T12:00:00+01:00"]))
@example(cursor_text({"created_at": 1, "b": 2, "c": 3}))
def test_any_invalid_cursor_is_refused(text: str) -> None:
    try:
        cursor = Cursor.decode(text)
    except InvalidInput as problem:
        outcome = problem.problems
    else:
        outcome = cursor.encode()
    assert outcome in {(NO_CURSOR,), text}


@given(CURSORS, st.data())
def test_a_cursor_has_one_spelling_only(cursor: Cursor, data: st.DataObject) -> None:
    text = cursor.encode()
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_=+/ \n"))
    for altered in (text[:place] + other + text[place + 1 :], text[:place] + other + text[place:], text[:-1]):
        with suppress(InvalidInput):
            assert altered == text or Cursor.decode(altered) != cursor


def test_a_cursor_of_another_sort_is_refused() -> None:
    cursor = Cursor.behind(make_task(), Sort.TITLE)
    with pytest.raises(InvalidInput) as problem:
        TaskQuery(sort=Sort.TITLE_DESCENDING, after=cursor)
    assert [each.field for each in problem.value.problems] == ["cursor"]


def test_every_parameter_at_fault_is_named() -> None:
    for limit in (0, -1, 201, 10**30):
        with pytest.raises(InvalidInput) as problem:
            TaskQuery(
                limit=limit, search="\x00", tags=("",), due_from="2026-02-30", due_before="today",
                after=Cursor.behind(make_task(), Sort.TITLE),
            )  # fmt: skip
        named = ["limit", "q", "tag", "due_from", "due_before", "cursor"]
        assert [each.field for each in problem.value.problems] == named
    assert (TaskQuery().limit, TaskQuery().sort) == (50, Sort.NEWEST)
    assert [TaskQuery(limit=limit).limit for limit in (1, 200, None)] == [1, 200, None]


@pytest.mark.parametrize("search", ["x" * 101, "ß" * 51, "\ufdfa" * 6, "\x00", "\x1f", "\ud800"])
def test_a_search_that_is_too_long_or_no_text_is_refused_by_its_rule(search: str) -> None:
    with pytest.raises(InvalidInput) as problem:
        TaskQuery(search=search)
    assert problem.value.problems == (Problem("q", SEARCH_RULE),)


@pytest.mark.parametrize("search", [None, "", "x" * 100, "ß" * 50, "ΐ" * 100, "😀" * 100, "\n\t"])
def test_a_search_may_have_a_hundred_characters_folded(search: str | None) -> None:
    assert TaskQuery(search=search).search == search


@st.composite
def placed_tasks(draw: st.DrawFn) -> Task:
    """Tasks in a few lists and below a few others."""
    return replace(draw(tasks_of(ANN, FEW)), list_id=draw(st.none() | FEW), parent_id=draw(st.none() | FEW))


@given(st.lists(placed_tasks(), max_size=8, unique_by=lambda task: task.id), queries(FEW))
def test_a_page_is_the_matching_tasks_in_order_behind_its_place(tasks: Sequence[Task], query: TaskQuery) -> None:
    page = query.page_of(tasks)
    behind = [task for task in tasks if matches(query, task) and (query.after is None or query.after.precedes(task))]
    assert set(page.items) <= set(behind)
    assert len(page.items) == len(behind[: query.limit])
    for one, next_one in pairwise(page.items):
        assert Cursor.behind(one, query.sort).precedes(next_one)
        assert not Cursor.behind(next_one, query.sort).precedes(one)
    left = [task for task in behind if task not in page.items]
    assert all(Cursor.behind(page.items[-1], query.sort).precedes(task) for task in left)
    assert (page.next is None) == (query.limit is None or len(behind) <= query.limit)


def matches(query: TaskQuery, task: Task) -> bool:
    """The same rules, written again in another way."""
    text = f"{task.title}\x1f{task.description or ''}"
    due = task.due_date
    parents = frozenset({"none"}) if query.parents == "none" else query.parents
    return (
        (query.completed is None or query.completed is (task.completed_at is not None))
        and folded(query.search or "") in folded(text)
        and (query.priorities is None or task.priority in query.priorities)
        and {folded(tag) for tag in query.tags} <= {folded(tag) for tag in task.tags}
        and (query.due_from is None or (due is not None and query.due_from <= due))
        and (query.due_before is None or (due is not None and due < query.due_before))
        and query.list_id in (None, task.list_id or "none")
        and (parents is None or (task.parent_id or "none") in parents)
    )


@pytest.mark.parametrize("sort", [Sort.DUE_DATE, Sort.DUE_DATE_DESCENDING, Sort.PRIORITY, Sort.PRIORITY_DESCENDING])
def test_tasks_without_the_value_come_last_in_both_directions(sort: Sort) -> None:
    have = [
        make_task(due_date=f"2026-10-0{day}", priority=level) for day, level in ((1, "high"), (2, "medium"), (3, "low"))
    ]
    lack = [make_task() for _ in range(2)]
    page = TaskQuery(sort=sort).page_of([*lack, *have])
    direction = -1 if sort.descending else 1
    assert list(page.items) == [*have[::direction], *lack[::direction]]


@given(
    st.lists(tasks_of(ANN, IDS), max_size=8, unique_by=lambda task: task.id),
    st.sampled_from(Sort),
    st.integers(1, 5),
)
def test_pages_put_together_are_all_tasks_in_order(tasks: Sequence[Task], sort: Sort, limit: int) -> None:
    page = TaskQuery(sort=sort, limit=limit).page_of(tasks)
    found = list(page.items)
    while after := page.next:
        page = TaskQuery(sort=sort, limit=limit, after=after).page_of(tasks)
        found.extend(page.items)
        assert page.next != after, "a page ends where the one before it did"
    assert found == list(TaskQuery(sort=sort).page_of(tasks).items)
    assert len(found) == len(tasks)


def test_filters_keep_what_matches_all_of_them() -> None:
    milk, bread = make_task(title="Milk", completed_at=LATER), make_task(title="Bread", description="Not milk")
    for query, expected in [
        (TaskQuery(), {milk, bread}),
        (TaskQuery(completed=True), {milk}),
        (TaskQuery(completed=False), {bread}),
        (TaskQuery(search="MILK"), {milk, bread}),
        (TaskQuery(search="not MILK"), {bread}),
        (TaskQuery(search="milk", completed=True), {milk}),
        (TaskQuery(search=""), {milk, bread}),
        (TaskQuery(search="not found"), set()),
    ]:
        assert set(query.page_of([milk, bread]).items) == expected


def test_filters_by_list_and_parent_distinguish_none_from_any() -> None:
    parent = make_task(list_id=make_id(1))
    child, other = make_task(list_id=make_id(1), parent_id=parent.id), make_task()
    for query, expected in [
        (TaskQuery(list_id=make_id(1)), {parent, child}),
        (TaskQuery(list_id=make_id(2)), set()),
        (TaskQuery(list_id="none"), {other}),
        (TaskQuery(parents=frozenset({parent.id, other.id})), {child}),
        (TaskQuery(parents=frozenset()), set()),
        (TaskQuery(parents="none"), {parent, other}),
        (TaskQuery(list_id=make_id(1), parents="none"), {parent}),
    ]:
        assert set(query.page_of([parent, child, other]).items) == expected


def test_a_search_finds_line_ends_however_they_come() -> None:
    for search in ("a\r\nb", "A\rB", "a\nb"):
        assert matches(TaskQuery(search=search), make_task(description="a\nb"))


def test_a_search_folds_case_as_unicode_says_and_parts_title_from_description() -> None:
    assert matches(TaskQuery(search="STRASSE"), make_task(title="Straße"))
    assert matches(TaskQuery(search="οδος"), make_task(description="ΟΔΟΣ"))
    assert not matches(TaskQuery(search="ab"), make_task(title="a", description="b"))
    assert searchable(make_task(title="Ä", description=None)) == "\x1eä\x1f"


@cache
def characters() -> list[str]:
    """All that may be searched for; not before a test asks, because every worker collects all tests."""
    return [each for number in code_points() if is_description(each := chr(number))]


FORMS: Final = ("NFC", "NFD", "NFKC", "NFKD")


def test_folding_a_second_time_changes_no_character() -> None:
    assert [each for each in characters() if folded(once := folded(each)) != once or not once] == []


def test_every_character_is_found_in_either_case_and_however_it_is_composed() -> None:
    for character in characters():
        spelled = {character.casefold(), character.lower(), *(normalize(form, character) for form in FORMS)}
        if character != "ı":  # its upper case is that of i, and Unicode's folding does not know which one is meant
            spelled.add(character.upper())
        if len(spelled) > 1:
            assert {folded(one) for one in spelled} == {folded(character)}, ascii(character)


def awkward() -> st.SearchStrategy[str]:
    found = [each for each in characters() if combining(each) or folded(each) != each]
    return st.sampled_from([*found, *"aiI\u0345\u1100\u1161\u11a8"])


@given(st.lists(st.deferred(awkward), min_size=1, max_size=6).map("".join))
def test_folding_a_second_time_changes_no_text_and_neither_does_composing_it_first(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert {folded(normalize(form, text)) for form in FORMS} == {folded(text)}


LONG: Final = "\u0300\u0316" * 5000  # to fold it takes time that grows with the square of its length


@pytest.mark.parametrize("tags", [[LONG], ["x"] * 99 + [LONG], ["x"] * 101, ["x"] * 100_000])
def test_no_tag_is_folded_before_all_of_them_are_known_to_be_short_and_few(
    tags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (task_module, queries_module):
        monkeypatch.setattr(module, "folded", None)
    for refused in (lambda: make_task(tags=tags), lambda: make_task().edited(at=LATER, tags=tags)):
        with pytest.raises(InvalidInput, match="tags"):
            refused()
    with pytest.raises(InvalidInput):
        TaskQuery(tags=tuple(tags))
    with pytest.raises(InvalidInput):
        TaskQuery(search=LONG)


def test_a_hundred_tags_may_be_given_if_at_most_twenty_are_distinct() -> None:
    assert make_task().edited(at=LATER, tags=[f"{n % 20}" for n in range(100)]).tags == tuple(map(str, range(20)))


def test_a_character_takes_33_bytes_at_most_when_it_is_folded() -> None:
    assert max(len(folded(each).encode()) for each in characters()) == 33  # docs/security.md


def test_without_tasks_there_is_an_empty_page() -> None:
    assert TaskQuery().page_of([]) == Page((), None)
    assert NOON < LATER


@pytest.mark.parametrize(
    ("name", "attribute", "value"),
    [
        ("completed", "completed", "true"),
        ("q", "search", 3),
        ("priority", "priorities", "high"),
        ("priority", "priorities", frozenset({"urgent"})),
        ("tag", "tags", "abc"),
        ("tag", "tags", None),
        ("due_from", "due_from", 3),
        ("list_id", "list_id", "abc"),
        ("parent_id", "parents", make_id(1)),
        ("parent_id", "parents", frozenset({"abc"})),
        ("sort", "sort", "title"),
        ("limit", "limit", "5"),
        ("limit", "limit", 2.5),
        ("cursor", "after", "abc"),
    ],
)
def test_a_value_of_another_type_is_refused_by_the_name_of_its_parameter(
    name: str, attribute: str, value: object
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        TaskQuery(**{attribute: value})  # type: ignore[arg-type]  # that is the point
    assert [each.field for each in refusal.value.problems] == [name]
