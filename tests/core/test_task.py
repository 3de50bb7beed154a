"""The rules of every task, and how it may change."""

import unicodedata
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from dataclasses import fields as fields_of
from datetime import UTC, datetime, timedelta, timezone
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest
from effort import code_points
from factories import ANN, BOB, LATER, NOON, make_id, make_task
from hypothesis import given
from hypothesis import strategies as st

from todo_core import InvalidInput, Pair, Task, Version, VersionConflict, owner_id
from todo_core.task import RULES, VERSION_MAX, NewTask, Settable, exact, is_description, is_owner, is_title
from todo_core.testing.examples import MEMBERS, SETTABLE, alike, descriptions, moments, titles

HINTS = get_type_hints(Task)


def fields(problem: pytest.ExceptionInfo[InvalidInput]) -> list[str]:
    return [each.field for each in problem.value.problems]


def test_every_character_is_judged_by_its_unicode_category() -> None:
    characters = [*map(chr, code_points())]
    forbidden = {each for each in characters if unicodedata.category(each) in {"Cc", "Cs"}}
    assert {each for each in characters if not is_owner(f"a{each}")} == forbidden
    assert {each for each in characters if not is_title(f"a{each}")} == forbidden
    assert {each for each in characters if not is_description(each)} == forbidden - {"\n", "\t"}
    assert {each for each in characters if not is_title(each)} == forbidden | {*filter(str.isspace, characters)}


@pytest.mark.parametrize(("fits", "longest"), [(is_title, 200), (is_description, 1000), (is_owner, 255)])
def test_lengths_are_counted_in_code_points(fits: Callable[[object], bool], longest: int) -> None:
    for character in ("x", "é", "😀"):
        assert fits(character * longest)
        assert not fits(character * (longest + 1))


def test_a_title_may_not_be_blank_but_keeps_its_spaces() -> None:
    for blank in ("", " ", "\u3000\xa0 "):
        assert not is_title(blank)
    assert make_task(title="  a ").title == "  a "
    assert is_description("")
    assert is_description(" ")
    assert not is_owner("")


@pytest.mark.parametrize("sent", ["a\r\nb\rc\r\r\n", "a\nb\nc\n\n", "a\rb\r\nc\n\r\n"])
def test_line_ends_become_line_feeds_however_they_come(sent: str) -> None:
    stored = "a\nb\nc\n\n"
    task = Task.new(id=make_id(1), owner=ANN, title="x", description=sent, at=NOON)
    assert task.description == stored
    assert make_task().edited(description=sent, at=LATER).description == stored
    assert task.edited(description=sent, at=LATER) is task


def test_line_ends_count_as_one_character_and_a_title_has_none() -> None:
    assert Task.new(id=make_id(1), owner=ANN, title="x", description="\r\n" * 1000, at=NOON).description == "\n" * 1000
    for values in ({"title": "a\r\nb"}, {"title": "a\rb"}, {"description": "\r\n" * 1001}):
        with pytest.raises(InvalidInput):
            make_task().edited(**values, at=LATER)  # type: ignore[arg-type]


def test_a_stored_task_has_no_carriage_return() -> None:
    with pytest.raises(InvalidInput) as problem:
        make_task(description="a\r\nb")
    assert fields(problem) == ["description"]


def test_values_of_other_types_are_refused() -> None:
    for value in (None, 1, b"a", ["a"]):
        assert not is_title(value)
        assert not is_owner(value)
    assert not is_description(1)


def test_a_task_converts_values_of_subclasses_to_the_plain_types() -> None:
    plain = make_task(
        description="b", completed_at=LATER, version=Version(7), priority="high", tags=("a",),
        start_date="2026-10-01T09:00:00", due_date="2026-10-01T09:00:00", time_zone="UTC",
        recurrence="FREQ=DAILY", anchor="2026-10-01T09:00:00", rescheduled_from="2026-10-01T08:00:00",
        list_id=make_id(1), parent_id=make_id(2), position="i",
    )  # fmt: skip
    given = {name: alike(getattr(plain, name)) for name in plain.__slots__}
    assert all(type(value) is not type(getattr(plain, name)) for name, value in given.items())
    made = [Task(**given), plain.edited(title=alike("c"), description=alike("d"), at=alike(LATER))]
    made.append(
        Task.new(id=given["id"], owner=given["owner"], title=given["title"], completed=True, at=given["created_at"])
    )
    for task in made:
        for name in plain.__slots__:
            value = getattr(task, name)
            assert type(value) in {type(getattr(plain, name)), NoneType}
            assert not isinstance(value, datetime) or value.tzinfo is UTC
    assert made[0] == plain
    assert type(owner_id(alike("ann"))) is str


def test_a_version_is_a_number_that_every_storage_can_hold() -> None:
    for version in (0, -1, VERSION_MAX + 1, 1.5, "1"):
        with pytest.raises(InvalidInput) as problem:
            make_task(version=version)
        assert fields(problem) == ["version"]
    with pytest.raises(InvalidInput) as problem:
        make_task(id="01980000-0000-7000-8000-000000000000")
    assert fields(problem) == ["id"]


def test_every_field_at_fault_is_named() -> None:
    with pytest.raises(InvalidInput) as problem:
        Task(
            id=make_id(1),
            owner=ANN,
            title="",
            description="\x00",
            version=Version(0),
            completed_at=datetime(2026, 1, 1),
            created_at=NOON,
            updated_at=NOON,
        )
    assert fields(problem) == ["title", "description", "completed_at", "version"]
    assert "title must be 1 to 200 characters" in str(problem.value)


@pytest.mark.parametrize("moment", [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))])
def test_moments_are_in_utc(moment: datetime) -> None:
    for field in ("created_at", "updated_at", "completed_at"):
        with pytest.raises(InvalidInput):
            make_task(**{field: moment})


def test_an_owner_is_exactly_what_was_given() -> None:
    assert owner_id(" Ann ") == " Ann "
    with pytest.raises(InvalidInput) as problem:
        owner_id("a\x00")
    assert fields(problem) == ["user id"]


def test_a_task_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        make_task().title = "Other"  # type: ignore[misc]


def test_a_new_task_has_version_one_and_is_open_by_default() -> None:
    task = Task.new(id=make_id(1), owner=ANN, title="Milk", at=NOON)
    assert (task.version, task.completed, task.description) == (1, False, None)
    assert (task.created_at, task.updated_at) == (NOON, NOON)
    assert Task.new(id=make_id(1), owner=ANN, title="Milk", completed=True, at=NOON).completed_at == NOON


def test_toggling_completes_and_reopens() -> None:
    done = make_task().toggled(at=LATER)
    assert (done.completed_at, done.updated_at, done.version) == (LATER, LATER, 2)
    again = done.toggled(at=LATER)
    assert (again.completed_at, again.version) == (None, 3)


def test_completing_twice_keeps_the_first_moment() -> None:
    done = make_task().edited(completed=True, at=NOON)
    assert done.edited(completed=True, at=LATER) is done
    opened = done.edited(completed=False, at=LATER)
    assert opened.edited(completed=False, at=LATER).version == 3


def test_an_edit_changes_what_is_given_and_nothing_else() -> None:
    task = make_task(description="Two litres", completed_at=NOON)
    edited = task.edited(title="Bread", at=LATER)
    assert edited == replace(task, title="Bread", version=Version(2), updated_at=LATER)
    assert task.edited(description=None, at=LATER).description is None
    assert task.edited(completed=False, at=LATER).completed_at is None
    assert task.edited(at=LATER) is task
    assert task.edited(title=task.title, description=task.description, completed=True, at=LATER) is task


def test_an_edit_that_breaks_a_rule_is_refused() -> None:
    with pytest.raises(InvalidInput) as problem:
        make_task().edited(title=" ", description="x" * 1001, at=LATER)
    assert fields(problem) == ["title", "description"]


def test_time_never_runs_backwards_within_a_task() -> None:
    task = make_task(updated_at=LATER)
    done = task.toggled(at=NOON)
    assert (done.updated_at, done.completed_at) == (LATER, LATER)
    assert done.toggled(at=NOON).updated_at == LATER


def test_the_moment_of_an_edit_does_not_touch_when_the_task_was_first_done() -> None:
    task = make_task(updated_at=LATER, completed_at=NOON)
    assert task.edited(title="Else", at=NOON).completed_at == NOON  # the very object: it must not be taken for new


@given(titles, descriptions, st.booleans(), moments, moments)
def test_an_edit_either_changes_nothing_or_raises_the_version_by_one(
    title: str, description: str | None, completed: bool, created: datetime, at: datetime
) -> None:
    task = make_task(created_at=created)
    edited = task.edited(title=title, description=description, completed=completed, at=at)
    assert (edited.title, edited.description, edited.completed) == (title, description, completed)
    assert edited.version == task.version + (edited != task)
    assert edited.updated_at == (max(exact(at), exact(created)) if edited != task else exact(created))
    assert edited.edited(title=title, description=description, completed=completed, at=at) is edited
    assert edited is task or Pair(task, edited).after is edited


@pytest.mark.parametrize("expected", [None, 3, (3,), {1, 3}, frozenset({3})])
def test_a_task_at_an_expected_version_goes_on(expected: object) -> None:
    task = make_task(version=Version(3))
    assert task.expecting(expected) is task  # type: ignore[arg-type]


@pytest.mark.parametrize("expected", [1, 4, (), [1, 2], frozenset({4})])
def test_a_task_at_another_version_is_a_conflict_with_the_current_version(expected: object) -> None:
    with pytest.raises(VersionConflict, match="current version is 3") as conflict:
        make_task(version=Version(3)).expecting(expected)  # type: ignore[arg-type]
    assert conflict.value.current == 3


@pytest.mark.parametrize(
    "values",
    [
        {"id": make_id(0)},
        {"owner": BOB},
        {"created_at": LATER},
        {"title": "Other", "version": Version(1)},
        {"title": "Other", "version": Version(3)},
    ],
)
def test_a_change_into_another_task_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a change must"):
        Pair(task := make_task(), replace(task, **({"version": Version(2)} | values)))  # type: ignore[arg-type]


def test_utc_by_another_name_is_utc() -> None:
    assert make_task(created_at=NOON.replace(tzinfo=timezone(timedelta(0), "Z"))).created_at == NOON.astimezone(UTC)


def test_the_strategies_name_every_member() -> None:
    """Storages are tested only with the members that the strategies generate."""
    names = {field.name for field in fields_of(Task)}
    assert MEMBERS.keys() | {"id", "owner"} == names
    assert RULES.keys() - {"completed"} == names
    assert SETTABLE.keys() == Settable.__annotations__.keys()
    assert NewTask.__annotations__.keys() >= {"title"}


@pytest.mark.parametrize("name", [each.name for each in fields_of(Task) if NoneType not in get_args(HINTS[each.name])])
def test_a_member_that_must_be_there_cannot_be_none(name: str) -> None:
    with pytest.raises(InvalidInput) as problem:
        Task(**{field.name: getattr(make_task(), field.name) for field in fields_of(Task)} | {name: None})
    assert fields(problem) == [name]


def test_a_task_is_restored_from_its_members_in_their_order() -> None:
    task = make_task(tags=("a",), due_date="2026-10-01")
    assert Task.restored(*(getattr(task, field.name) for field in fields_of(Task))) == task


def test_tags_that_fold_alike_are_one_and_the_first_stays() -> None:
    task = make_task().edited(tags=["Home", "shop", "HOME", "Straße", "STRASSE", "home ", "M²", "m2"], at=LATER)
    assert task.tags == ("Home", "shop", "Straße", "home ", "M²")
    assert task.edited(tags=None, at=LATER).tags == ()
    with pytest.raises(InvalidInput):
        make_task(tags=("a", "A"))


@pytest.mark.parametrize(
    "tags", ["ab", [""], [" "], ["a\n"], ["x" * 51], [1], [None], [f"{number}" for number in range(21)], {"a": 1}, 5]
)
def test_invalid_tags_are_refused(tags: object) -> None:
    with pytest.raises(InvalidInput) as problem:
        make_task().edited(tags=tags, at=LATER)  # type: ignore[arg-type]
    assert fields(problem) == ["tags"]


def test_all_faults_are_named_including_contradictory_dates() -> None:
    with pytest.raises(InvalidInput) as problem:
        make_task(due_date="2026-10-01").edited(title="", priority="urgent", start_date="2026-10-02", at=LATER)  # type: ignore[arg-type]
    assert fields(problem) == ["title", "priority", "start_date"]
    with pytest.raises(InvalidInput) as problem:
        make_task().edited(due_date="2026-02-30", time_zone="Mars/Base", completed=None, at=LATER)  # type: ignore[arg-type]
    assert fields(problem) == ["due_date", "time_zone", "completed"]


def test_an_instant_is_written_on_the_clock_of_the_zone_that_the_task_has() -> None:
    task = Task.new(
        id=make_id(1), owner=ANN, title="x", at=NOON, due_date="2026-10-01T09:00", time_zone="Europe/Madrid"
    )
    moved = task.edited(due_date="2026-12-01T09:00:00Z", at=LATER)
    assert (moved.due_date, moved.time_zone) == ("2026-12-01T10:00:00", "Europe/Madrid")
    assert moved.due_at == datetime(2026, 12, 1, 9, tzinfo=UTC)
    assert task.edited(due_date="2026-12-01", at=LATER).time_zone is None
    assert task.edited(time_zone=None, at=LATER).due_at is None
    assert task.edited(time_zone="Asia/Tokyo", at=LATER).due_date == "2026-10-01T09:00:00"


@pytest.mark.parametrize("wrong", [{"due_date": 5}, {"anchor": 5}, {"due_date": "soon"}, {"anchor": None}])
def test_a_recurring_task_with_a_date_that_is_none_is_refused_by_name(wrong: dict[str, Any]) -> None:
    recurring = make_task(due_date="2026-12-01", recurrence="FREQ=DAILY", anchor="2026-12-01")
    for make in (lambda: replace(recurring, **wrong), lambda: recurring.with_stored(LATER, wrong)):
        with pytest.raises(InvalidInput) as problem:
            make()
        assert fields(problem) == [*wrong]


def test_a_date_may_be_of_a_subclass_of_str_that_has_no_hash() -> None:
    class Odd(str):
        __slots__ = ()
        __hash__ = None  # type: ignore[assignment]

    task = make_task().edited(at=LATER, due_date=Odd("2026-12-01"))
    assert (type(task.due_date), task.due_date) == (str, "2026-12-01")
