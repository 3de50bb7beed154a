"""Recurring tasks of any rule, beside a second implementation."""

from dataclasses import replace
from datetime import date, timedelta

from core.courses import COURSE, Members, at, recurring
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_recurrence import named_days

from todo_core.recurrence import RECURRENCE_FROM, Recurrence, RecurrenceFrom, read_recurrence
from todo_core.testing.examples import recurrences

days = st.dates(date(1900, 1, 1), date(2990, 12, 31))


@settings(max_examples=examples(300))
@given(rule=recurrences(), due=days, late=st.integers(-40, 800))
def test_the_next_occurrence_equals_the_one_found_day_by_day(rule: Recurrence, due: date, late: int) -> None:
    """From the due date, with COUNT and UNTIL."""
    rule = replace(rule, until=rule.until and rule.until[:8])
    task = recurring(f"{due}", str(rule).removeprefix("FREQ="))
    now = max(date(1900, 1, 1), due + timedelta(days=late))
    moved = COURSE.completed(task, at(f"{now}T12:00:00")).task
    last = max(now, due) + timedelta(days=1500)
    named = named_days(rule, due, due + timedelta(days=1), last)
    if rule.count is not None:
        named = named[: rule.count - 1]
    if rule.until is not None:
        named = [day for day in named if f"{day:%Y%m%d}" <= rule.until]
    expected = next((day for day in named if day > now), None)
    if expected is not None:
        assert (moved.due_date, moved.completed) == (f"{expected}", False)
    else:
        assert moved.completed or moved.due_date > f"{last}"  # type: ignore[operator]


@settings(max_examples=examples(300))
@given(rule=recurrences(), due=days, late=st.integers(-400, 800))
def test_from_completion_the_next_date_is_later_and_matches_the_rule(rule: Recurrence, due: date, late: int) -> None:
    rule = replace(rule, until=None, count=None)
    done = max(date(1900, 1, 1), due + timedelta(days=late))
    task = recurring(f"{due}", str(rule).removeprefix("FREQ="), recurrence_from="completion")
    moved = COURSE.completed(task, at(f"{done}T12:00:00")).task
    begin = max(due, done) + timedelta(days=1)
    if moved.completed:
        later = date(begin.year + 1, 1, 1)  # no day of the period in which it is completed counts
        assert named_days(rule, due, later, later + timedelta(days=800)) == []
    else:
        there = date.fromisoformat(moved.due_date or "")
        assert there >= begin
        assert [there] in [named_days(rule, first, there, there) for first in (done, due)]


@settings(max_examples=examples(300))
@given(
    rule=recurrences() | st.sampled_from(["FREQ=MONTHLY;COUNT=3", "FREQ=DAILY;INTERVAL=3"]).map(read_recurrence),
    due=days,
    late=st.integers(-400, 800),
    clock=st.sampled_from(["", "T09:00:00"]),
    recurrence_from=st.sampled_from(RECURRENCE_FROM),
)
def test_completing_gives_the_previewed_dates(
    rule: Recurrence, due: date, late: int, clock: str, recurrence_from: RecurrenceFrom
) -> None:
    members: Members = {"recurrence_from": recurrence_from}
    task = recurring(f"{due}{clock}", str(rule).removeprefix("FREQ="), **members)
    now = at(f"{max(date(1900, 1, 1), due + timedelta(days=late))}T12:00:00")
    preview = COURSE.occurrences(task, now, 6)
    happened: list[str | None] = []
    while not task.completed and len(happened) < 6:
        happened.append(task.due_date)
        task = COURSE.completed(task, max(now, at(task.due_date or ""), key=lambda each: each.at)).task
    assert preview == happened
