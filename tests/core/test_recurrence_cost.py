"""What rules of recurrence cost: each year is looked at one time only, whatever the rule."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import product

import pytest
from core.courses import CALENDAR, MIDNIGHT, days
from dateutil import rrule
from effort import examples
from factories import make_task
from hypothesis import example, given, settings
from hypothesis import strategies as st

from todo_adapters import dateutil_recurrence
from todo_core import InvalidInput, Task
from todo_core.recurrence import COUNT_MAX, RECURRENCE_FROM, Recurrence, RecurrenceFrom, read_recurrence
from todo_core.recurring import OCCURRENCES_MAX, Course, Now
from todo_core.testing.examples import recurrences

DEAREST = [
    "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30",
    "FREQ=YEARLY;BYDAY=53MO;BYMONTHDAY=5",
    "FREQ=DAILY;INTERVAL=27;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO",
    "FREQ=WEEKLY;INTERVAL=52;BYMONTH=2;BYDAY=MO,SU;BYSETPOS=2",
    "FREQ=WEEKLY;BYMONTH=2;BYDAY=MO,SU;BYSETPOS=3",
    "FREQ=DAILY;BYDAY=MO;BYSETPOS=2",
    "FREQ=WEEKLY;COUNT=999999",
    "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR,SA,SU,-1MO,-5SU;BYMONTHDAY=-31,31;BYSETPOS=31,-31",
]


class Looks:
    """Counts what the calendar looks at: years, kinds of years, and questions to dateutil."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.years = self.kinds = self.asked = 0
        phase, parts = dateutil_recurrence.phase, dateutil_recurrence._days_of.__wrapped__
        month_days = dateutil_recurrence._on_month_days.__wrapped__

        def counted_phase(rule: Recurrence, anchor: date, year: int) -> int:
            self.years += 1
            return phase(rule, anchor, year)

        def counted_days(*arguments: object) -> int:
            self.kinds += 1
            return parts(*arguments)  # type: ignore[arg-type]

        def counted_month_days(*arguments: object) -> int:
            self.asked += 1
            return month_days(*arguments)  # type: ignore[arg-type]

        self.cached = [lru_cache(counted_days), lru_cache(counted_month_days)]
        patch.setattr(dateutil_recurrence, "phase", counted_phase)
        patch.setattr(dateutil_recurrence, "_days_of", self.cached[0])
        patch.setattr(dateutil_recurrence, "_on_month_days", self.cached[1])

    def forget(self) -> None:
        self.years = self.kinds = self.asked = 0
        for each in self.cached:
            each.cache_clear()


YEARS_MAX = 1100  # from 1900 to 2999
KINDS_MAX = 14  # leap years and others, that begin on each day of the week
ASKED_MAX = 2  # about the days of months of leap years, and of others


def test_the_calendar_looks_at_each_year_once_and_asks_about_each_kind_once() -> None:
    @settings(max_examples=examples(200))
    @given(rule=recurrences() | st.sampled_from(DEAREST).map(read_recurrence), anchor=days, moment=days)
    def looks(rule: Recurrence, anchor: date, moment: date) -> None:
        begin = datetime.combine(anchor, MIDNIGHT)
        for where, skip in ((datetime.combine(moment, MIDNIGHT), 0), (begin, 10**6)):
            counted.forget()
            next(CALENDAR.after(rule, begin, where, skip=skip), None)
            assert counted.years <= YEARS_MAX
            assert counted.kinds <= KINDS_MAX
            assert counted.asked <= ASKED_MAX

    with pytest.MonkeyPatch.context() as patch:
        counted = Looks(patch)
        looks()


def with_rule(rule: Recurrence, count: int | None, due: date, recurrence_from: RecurrenceFrom) -> Task:
    rule = rule if count is None else replace(rule, count=count, until=None)
    return make_task(due_date=f"{due}", anchor=f"{due}", recurrence=str(rule), recurrence_from=recurrence_from)


RECURRING = st.builds(
    with_rule,
    recurrences() | st.sampled_from(DEAREST).map(read_recurrence),
    st.none() | st.sampled_from([2, 100, 5000, COUNT_MAX]),
    days,
    st.sampled_from(RECURRENCE_FROM),
)
NEVER_FROM_COMPLETION = with_rule(  # every second month from January: never a February
    read_recurrence("FREQ=MONTHLY;INTERVAL=2;BYMONTH=2"), None, date(1900, 1, 1), "completion"
)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2999, 12, 31), timezones=st.just(UTC)).map(Now)


def test_no_rule_is_expensive_to_write_to_complete_or_to_preview() -> None:
    """For any count and any distance, each year is looked at one time, and once more for the last date of a count."""

    @settings(max_examples=examples(200))
    @example(task=NEVER_FROM_COMPLETION, at=Now(datetime(2000, 1, 2, tzinfo=UTC)))
    @given(task=RECURRING, at=MOMENTS)
    def looks(task: Task, at: Now) -> None:
        counted.forget()
        with suppress(InvalidInput):  # finding that a rule never matches costs as much as any other search
            course.checked(task)
        assert counted.years <= YEARS_MAX
        assert counted.kinds <= KINDS_MAX
        counted.forget()
        course.completed(task, at)
        # From completion, and where there is none so, from the anchor.
        begins, in_preview = (1, 1) if task.recurrence_from == "due_date" else (2, 4)
        assert counted.years <= 2 * YEARS_MAX
        assert counted.kinds <= KINDS_MAX * begins
        counted.forget()
        found = course.occurrences(task, at, OCCURRENCES_MAX)
        # From completion each is looked for anew, from the year on in which the one before was done.
        assert counted.years <= (2 * YEARS_MAX if begins == 1 else 3 * YEARS_MAX + len(found))
        # A rule without days means the day of completion: the 31st may become the 30th, 29th and 28th.
        assert counted.kinds <= KINDS_MAX * in_preview
        assert counted.asked <= ASKED_MAX * in_preview

    with pytest.MonkeyPatch.context() as patch:
        counted, course = Looks(patch), Course(CALENDAR)
        looks()


def test_what_remains_of_a_count_is_found_in_one_look() -> None:
    @settings(max_examples=examples(200))
    @given(task=RECURRING, at=MOMENTS)
    def looks(task: Task, at: Now) -> None:
        counted.forget()
        with suppress(InvalidInput):  # with a new date COUNT becomes what remains, and the rule is checked again
            course.edited(task, at, due_date="2999-12-30")
        assert counted.years <= 2 * YEARS_MAX

    with pytest.MonkeyPatch.context() as patch:
        counted, course = Looks(patch), Course(CALENDAR)
        looks()


def test_dateutil_is_never_asked_for_dates_it_searches_until_the_year_9999(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so for a rule without any day: no part of a rule that it is asked about is without days for long."""
    looked: list[int] = []
    rebuild = rrule._iterinfo.rebuild  # type: ignore[attr-defined]  # where it begins a year

    def counted(self: object, year: int, month: int) -> None:
        looked.append(year)
        rebuild(self, year, month)

    monkeypatch.setattr(rrule._iterinfo, "rebuild", counted)  # type: ignore[attr-defined]
    for day, leap in product([-31, -30, -29, 29, 30, 31], [True, False]):
        looked.clear()
        dateutil_recurrence._on_month_days.__wrapped__((day,), leap)
        assert 1 <= len(set(looked)) <= 2
