"""Recurring tasks when clocks are changed: they keep their local time, in every zone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from core.courses import COURSE, at, dates, on_time, recurring
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from todo_core.due import instant, is_time_zone, on_clock
from todo_core.recurring import Now


def test_a_local_time_stays_the_same_across_a_clock_change() -> None:
    task = recurring("2026-03-28T09:00:00", "DAILY", time_zone="Europe/Madrid")
    step = on_time(task)
    assert [task.due_at, step.task.due_at] == [
        datetime(2026, 3, 28, 8, tzinfo=UTC),
        datetime(2026, 3, 29, 7, tzinfo=UTC),
    ]
    assert step.task.due_date == "2026-03-29T09:00:00"


@pytest.mark.parametrize(
    ("due", "now", "then"),
    [
        # Clocks go back from 03:00 to 02:00 on 25 October, at 01:00Z.
        ("2026-10-24T02:30:00", "2026-10-25T00:29:59", "2026-10-25T02:30:00"),
        ("2026-10-24T02:30:00", "2026-10-25T00:30:00", "2026-10-26T02:30:00"),
        ("2026-10-24T02:30:00", "2026-10-25T01:15:00", "2026-10-26T02:30:00"),
        ("2026-10-24T03:10:00", "2026-10-25T01:15:00", "2026-10-25T03:10:00"),
        # They go on from 02:00 to 03:00 on 29 March, at 01:00Z: 02:30 is at 01:30Z.
        ("2026-03-28T02:30:00", "2026-03-29T01:10:00", "2026-03-29T02:30:00"),
        ("2026-03-28T02:30:00", "2026-03-29T01:30:00", "2026-03-30T02:30:00"),
    ],
)
def test_the_next_occurrence_is_after_now_when_the_clocks_change(due: str, now: str, then: str) -> None:
    task = recurring(due, "DAILY", time_zone="Europe/Madrid")
    assert dates(task, at(now)) == [then]
    assert COURSE.occurrences(task, at(now), 2) == [due, then]
    floating = recurring(due, "DAILY")
    assert dates(floating, Now(at(now).at, "Europe/Madrid")) == [then]


@settings(max_examples=examples(300))
@given(
    zone=st.sampled_from(sorted(filter(is_time_zone, available_timezones()))),
    year=st.integers(1901, 2998),
    minute=st.integers(0, 24 * 60 - 1),
    day=st.integers(0, 300),
)
def test_a_daily_task_keeps_its_time_of_day_across_clock_changes_in_every_zone(
    zone: str, year: int, minute: int, day: int
) -> None:
    begin = datetime(year, 1, 1) + timedelta(days=day, minutes=minute)
    task = recurring(begin.isoformat(), "DAILY", time_zone=zone)
    for number in range(1, 4):
        now = instant(task.due_date, zone)
        assert now is not None
        step = COURSE.completed(task, Now(now))
        skipped = on_clock(now, zone) != datetime.fromisoformat(task.due_date or "")  # a gap of the clock
        assert step.task.due_date == (begin + timedelta(days=number)).isoformat() or skipped
        due_at = step.task.due_at
        assert due_at is not None
        assert due_at >= now
        task = step.task


def turns(zone: ZoneInfo) -> Iterator[tuple[datetime, timedelta]]:
    """When the zone's clocks were changed in 2026, and by how much."""

    def offset(hour: float) -> timedelta:
        return datetime.fromtimestamp(begin + 3600 * hour, zone).utcoffset() or timedelta(0)

    begin = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    for day in range(365):
        low, high = 96 * day, 96 * (day + 1)  # quarters of an hour
        if (shift := offset(high / 4) - offset(low / 4)) != timedelta(0):
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle / 4) == offset(low / 4) else (low, middle)
            yield datetime.fromtimestamp(begin + 900 * high, UTC), shift


def test_clock_gaps_and_overlaps_follow_the_standard_in_every_zone() -> None:
    """RFC 5545 §3.3.5: a time that is skipped is moved on by the gap; of one that comes twice the first counts."""
    gaps = overlaps = 0
    for name in sorted(filter(is_time_zone, available_timezones())):
        for moment, shift in turns(ZoneInfo(name)):
            if shift > timedelta(0):
                gaps += 1
                first_skipped = on_clock(moment, name) - shift
                assert instant(first_skipped.isoformat(), name) == moment
            else:
                overlaps += 1
                shown_again = on_clock(moment, name)
                assert instant(shown_again.isoformat(), name) == moment + shift
    assert gaps > 100
    assert overlaps > 100
