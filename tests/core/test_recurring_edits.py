"""Recurring tasks that are edited, skipped or rescheduled: the rule, the anchor and the count that they keep."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from core.courses import COURSE, at, on_time, recurring
from factories import LATER, NOON, make_task

from todo_core import InvalidInput, Task
from todo_core.changes import Pair
from todo_core.recurrence import RECURRENCE_FROM, RecurrenceFrom
from todo_core.recurring import Now


def test_skipping_moves_to_the_next_occurrence_without_completing() -> None:
    task = recurring("2026-10-01", "DAILY;COUNT=2")
    step = COURSE.skipped(task, at("2026-10-01T09:00:00"))
    assert (step.task.due_date, step.explicit_action, Pair(task, *step).action) == ("2026-10-02", "skipped", "skipped")
    assert COURSE.skipped(step.task, at("2026-10-02T09:00:00")).task.completed
    with pytest.raises(InvalidInput, match="recurrence must be set"):
        COURSE.skipped(make_task(), Now(NOON))


@pytest.mark.parametrize("moved", ["2026-10-02", "2026-10-05", "2026-10-07"])
def test_rescheduling_moves_one_occurrence_and_not_the_next(moved: str) -> None:
    task = recurring("2026-10-05", "WEEKLY")
    there = COURSE.rescheduled(task, at("2026-10-01T09:00:00"), moved).task
    assert (there.due_date, there.anchor, there.recurrence) == (moved, "2026-10-05", task.recurrence)
    assert on_time(there).task.due_date == "2026-10-12"
    assert on_time(on_time(there).task).task.due_date == "2026-10-19"


def test_rescheduling_again_keeps_the_rule_and_past_the_next_occurrence_skips_it() -> None:
    task = recurring("2026-10-05", "WEEKLY", start_date="2026-10-03")
    now = at("2026-10-01T09:00:00")
    twice = COURSE.rescheduled(COURSE.rescheduled(task, now, "2026-10-02").task, now, "2026-10-01").task
    assert (twice.due_date, twice.start_date) == ("2026-10-01", "2026-09-29")
    assert on_time(twice).task.due_date == "2026-10-12"
    beyond = COURSE.rescheduled(task, now, "2026-10-14").task
    assert (on_time(beyond).task.due_date, on_time(beyond).task.start_date) == ("2026-10-19", "2026-10-17")


@pytest.mark.parametrize(
    ("zone", "local"),
    [
        ("Europe/Madrid", "2026-10-06T09:00:00"),
        ("Pacific/Kiritimati", "2026-10-06T21:00:00"),
        (None, "2026-10-06T07:00:00"),
    ],
)
def test_an_instant_is_read_in_the_zone_of_the_request_where_a_recurring_task_has_none(
    zone: str | None, local: str
) -> None:
    task = recurring("2026-10-05T09:00:00", "WEEKLY", start_date="2026-10-05T08:00:00")
    now = Now(datetime(2026, 10, 6, 5, tzinfo=UTC), zone)
    for start, minutes in ((None, 60), ("2026-10-06T05:30:00Z", 90)):
        there = COURSE.rescheduled(task, now, "2026-10-06T07:00:00Z", start).task
        assert (there.due_date, there.time_zone) == (local, None)
        assert there.start_date == (datetime.fromisoformat(local) - timedelta(minutes=minutes)).isoformat()
        assert COURSE.completed(there, now, "2026-10-06T07:00:00Z").task.due_date == "2026-10-12T09:00:00"
        assert COURSE.skipped(there, now, "2026-10-06T07:00:01Z").task is there
    zoned = recurring("2026-10-05T09:00:00", "WEEKLY", time_zone="America/Lima")
    there = COURSE.rescheduled(zoned, now, "2026-10-06T07:00:00Z").task
    assert (there.due_date, there.time_zone) == ("2026-10-06T02:00:00", "America/Lima")
    once = COURSE.rescheduled(make_task(due_date="2026-10-05T09:00:00"), now, "2026-10-06T07:00:00Z").task
    assert (once.due_date, once.time_zone) == ("2026-10-06T07:00:00", "UTC")


def test_rescheduling_keeps_the_form_and_needs_a_date() -> None:
    task, now = recurring("2026-10-05", "WEEKLY"), at("2026-10-01T09:00:00")
    for wrong, words in (("2026-10-05T09:00", "same form"), ("2026-02-30", "must be a date"), ("", "must be a date")):
        with pytest.raises(InvalidInput, match=f"due_date {words}|due_date must be of the {words}"):
            COURSE.rescheduled(task, now, wrong)
    with pytest.raises(InvalidInput, match="start_date must not be after"):
        COURSE.rescheduled(task, now, "2026-10-06", "2026-10-07")
    assert COURSE.rescheduled(make_task(due_date="2026-10-01"), now, "2026-10-03").task.due_date == "2026-10-03"


def test_a_start_date_keeps_its_distance_and_its_time_of_day() -> None:
    task = recurring("2026-01-31T17:00:00", "MONTHLY", start_date="2026-01-28T08:00:00")
    assert on_time(task).task.start_date == "2026-02-25T08:00:00"


@pytest.mark.parametrize("moved", ["T07:00:00", "T23:00:00", "T21:30:00"])
@pytest.mark.parametrize("day", ["2026-10-04", "2026-10-05", "2026-10-06"])
def test_rescheduling_leaves_the_start_dates_of_later_occurrences(day: str, moved: str) -> None:
    task = recurring("2026-10-05T21:00:00", "WEEKLY", start_date="2026-10-05T20:00:00")
    there = COURSE.rescheduled(task, at("2026-10-01T09:00:00"), day + moved).task
    assert datetime.fromisoformat(there.start_date or "") == datetime.fromisoformat(day + moved) - timedelta(hours=1)
    twice = COURSE.rescheduled(there, at("2026-10-01T09:00:00"), "2026-10-06T02:00:00").task
    assert twice.start_date == "2026-10-06T01:00:00"
    for task in (there, twice):
        after = on_time(task).task
        assert (after.start_date, after.due_date) == ("2026-10-12T20:00:00", "2026-10-12T21:00:00")


def test_a_start_date_given_for_one_occurrence_sets_the_distance_of_later_ones() -> None:
    early = recurring("2026-10-01T09:00:00", "DAILY", start_date="2026-10-01T07:00:00")
    late = COURSE.rescheduled(early, at("2026-10-01T08:00:00"), "2026-10-01T18:00", "2026-10-01T17:00").task
    assert (late.start_date, late.due_date) == ("2026-10-01T17:00:00", "2026-10-01T18:00:00")
    assert (on_time(late).task.start_date, on_time(late).task.due_date) == (
        "2026-10-02T08:00:00",
        "2026-10-02T09:00:00",
    )


def test_editing_the_due_date_sets_a_new_anchor_and_keeps_the_rule() -> None:
    task = on_time(recurring("2026-01-31", "MONTHLY")).task
    assert (task.due_date, task.anchor) == ("2026-02-28", "2026-01-31")
    same = COURSE.edited(task, Now(LATER), due_date="2026-02-28", recurrence="RRULE:freq=monthly", title="Rent").task
    assert (same.anchor, same.recurrence) == ("2026-01-31", "FREQ=MONTHLY")
    moved = COURSE.edited(task, Now(LATER), due_date="2026-02-27").task
    assert (moved.anchor, moved.recurrence, on_time(moved).task.due_date) == (
        "2026-02-27",
        "FREQ=MONTHLY",
        "2026-03-27",
    )
    changed = COURSE.edited(task, Now(LATER), recurrence="FREQ=MONTHLY;INTERVAL=2").task
    assert (changed.anchor, on_time(changed).task.due_date) == ("2026-02-28", "2026-04-28")
    assert COURSE.edited(task, Now(LATER), due_date="2026-03-01T09:00:00Z").task.anchor == "2026-03-01T09:00:00"


def remaining(task: Task) -> int:
    """How many occurrences it has if each is completed when it is due, the current one included."""
    return len(COURSE.occurrences(task, at("1900-01-01T00:00:00"), 100))


@pytest.mark.parametrize("completions", [0, 1, 5, 9])
@pytest.mark.parametrize("recurrence_from", RECURRENCE_FROM)
@pytest.mark.parametrize("rule", ["DAILY;COUNT=10", "MONTHLY;BYMONTHDAY=10;COUNT=10"])
def test_a_count_goes_on_when_the_due_date_moves_or_what_it_is_counted_from_changes(
    rule: str, recurrence_from: RecurrenceFrom, completions: int
) -> None:
    task = recurring("2026-10-09", rule, recurrence_from=recurrence_from)
    for _ in range(completions):
        task = on_time(task).task
    assert (remaining(task), task.completed) == (10 - completions, False)
    due = date.fromisoformat(task.due_date or "")
    other: Any = next(each for each in RECURRENCE_FROM if each != recurrence_from)
    rescheduled = COURSE.rescheduled(task, Now(LATER), f"{due - timedelta(days=1)}").task
    for before in (task, rescheduled):
        for members in (
            {"due_date": f"{due + timedelta(days=1)}"},
            {"due_date": "2026-10-01"},
            {"recurrence_from": other},
            {"due_date": f"{due}T09:00", "recurrence_from": other, "title": "Else"},
        ):
            edited = COURSE.edited(before, Now(LATER), **members).task
            assert remaining(edited) == 10 - completions, members
            assert edited.version == before.version + 1
            assert COURSE.edited(edited, Now(LATER), **members).task is edited
            back = COURSE.edited(edited, Now(LATER), recurrence_from=recurrence_from).task
            assert remaining(back) == 10 - completions


def test_a_new_rule_restarts_the_count() -> None:
    task = recurring("2026-10-01", "DAILY;COUNT=10")
    for _ in range(8):
        task = on_time(task).task
    same = COURSE.edited(task, Now(LATER), recurrence="FREQ=DAILY;COUNT=10", title="Else").task
    assert remaining(same) == 2
    moved = COURSE.edited(task, Now(LATER), due_date="2026-10-12", recurrence="FREQ=DAILY;COUNT=10").task
    assert remaining(moved) == 10


def test_a_rescheduled_occurrence_stays_so_when_what_the_rule_is_counted_from_changes() -> None:
    task = COURSE.rescheduled(recurring("2026-10-05", "WEEKLY"), Now(NOON), "2026-10-07").task
    there = COURSE.edited(task, Now(LATER), recurrence_from="completion").task
    back = COURSE.edited(there, Now(LATER), recurrence_from="due_date").task
    assert (there.due_date, there.rescheduled_from) == ("2026-10-07", "2026-10-05")
    assert on_time(back).task.due_date == "2026-10-12"


@pytest.mark.parametrize(
    ("task", "members", "at_fault"),
    [
        (recurring("2026-10-01", "DAILY"), {"due_date": None}, "due_date"),
        (recurring("2026-10-01", "DAILY"), {"due_date": None, "recurrence": "FREQ=WEEKLY"}, "recurrence"),
        (make_task(), {"recurrence": "FREQ=DAILY"}, "recurrence"),
        (make_task(due_date="2026-10-01"), {"recurrence": "FREQ=HOURLY"}, "recurrence"),
        (make_task(due_date="2026-10-01"), {"recurrence": ""}, "recurrence"),
        (make_task(due_date="2026-10-01"), {"recurrence": "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30"}, "recurrence"),
        (make_task(due_date="2026-10-01"), {"recurrence": "FREQ=DAILY;BYDAY=MO;BYSETPOS=2"}, "recurrence"),
        (
            make_task(due_date="2026-10-01"),
            {"recurrence": "FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29"},
            "recurrence",
        ),
        (make_task(due_date="2026-10-01"), {"recurrence_from": "now"}, "recurrence_from"),
        (make_task(), {"recurrence": "FREQ=HOURLY", "due_date": "2026-02-30", "title": ""}, "title"),
    ],
)
def test_an_impossible_rule_is_refused_at_the_wrong_member(task: Task, members: Any, at_fault: str) -> None:
    with pytest.raises(InvalidInput) as problem:
        COURSE.edited(task, Now(LATER), **members)
    assert at_fault in [each.field for each in problem.value.problems]


def test_removing_a_rule_removes_its_anchor_and_the_time_zone_of_a_whole_day() -> None:
    task = recurring("2026-10-01", "DAILY", time_zone="Europe/Madrid")
    assert task.time_zone == "Europe/Madrid"
    plain = task.edited(at=LATER, recurrence=None)
    assert (plain.recurrence, plain.anchor, plain.time_zone, plain.due_date) == (None, None, None, "2026-10-01")
    both = task.edited(at=LATER, recurrence=None, due_date=None)
    assert (both.recurrence, both.anchor, both.due_date) == (None, None, None)
    assert task.edited(at=LATER, recurrence_from=None).recurrence_from == "due_date"


def test_a_task_that_recurs_has_an_anchor_of_its_own_form() -> None:
    for values in (
        {"recurrence": "FREQ=DAILY"},
        {"anchor": "2026-10-01"},
        {"recurrence": "FREQ=DAILY", "anchor": "2026-10-01"},
        {"recurrence": "FREQ=DAILY", "anchor": "2026-10-01", "due_date": "2026-10-01T09:00:00"},
        {"recurrence": "freq=daily", "anchor": "2026-10-01", "due_date": "2026-10-01"},
    ):
        with pytest.raises(InvalidInput):
            make_task(**values)
