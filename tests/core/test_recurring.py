"""Recurring tasks: where completing, skipping and rescheduling move them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from effort import examples
from factories import LATER, NOON, make_task
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_recurrence import named_days

from todo_adapters.dateutil_recurrence import DateutilRecurrenceCalendar
from todo_core import InvalidInput, Task
from todo_core.changes import Pair
from todo_core.due import instant, is_time_zone, on_clock
from todo_core.recurrence import RECURRENCE_FROM, Recurrence, RecurrenceFrom, read_recurrence
from todo_core.recurring import Course, NoCalendar, Now, Step, brought_along
from todo_core.testing.examples import recurrences
from todo_core.versioned import Version

COURSE = Course(DateutilRecurrenceCalendar())
Members = Mapping[str, Any]


def recurring(due: str, rule: str, **members: Any) -> Task:
    """A task that recurs by that rule, without its `FREQ=`, since it was due then."""
    return make_task().edited(at=NOON, due_date=due, recurrence=f"FREQ={rule}", **members)


def at(local: str, zone: str | None = None) -> Now:
    """The moment at which a clock in that zone, or UTC, shows that."""
    return Now(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone or "UTC")).astimezone(UTC), zone)


def on_time(task: Task) -> Step:
    """The task, completed when it is due."""
    return COURSE.completed(task, at(task.due_date or "", task.time_zone))


def dates(task: Task, *nows: Now | None) -> list[str | None]:
    """Its due dates after it is completed at each of these moments, None standing for when it is due."""
    found = []
    for now in nows:
        task = (on_time(task) if now is None else COURSE.completed(task, now)).task
        found.append(f"done {task.due_date}" if task.completed else task.due_date)
    return found


@dataclass
class Row:
    """A task, when it is completed, and the dates after that."""

    due: str
    rule: str
    completed: list[Now | None]
    then: list[str]
    members: Members = field(default_factory=dict)


FROM_COMPLETION = {"recurrence_from": "completion"}
TABLE = {
    "the last of a shorter month": Row(
        "2026-01-31", "MONTHLY", [None] * 3, ["2026-02-28", "2026-03-31", "2026-04-30"]
    ),
    "months without that day": Row(
        "2026-01-31", "MONTHLY;BYMONTHDAY=31", [None] * 3, ["2026-03-31", "2026-05-31", "2026-07-31"]
    ),
    "missed weeks": Row("2026-09-14T08:00:00", "WEEKLY", [at("2026-09-30T10:00:00")], ["2026-10-05T08:00:00"]),
    "missed days, today counts as done": Row("2026-09-20", "DAILY", [at("2026-09-24T07:00:00")], ["2026-09-25"]),
    "monthly from completion": Row(
        "2025-08-29", "MONTHLY", [at("2025-09-10T12:00:00")], ["2025-10-10"], FROM_COMPLETION
    ),
    "Sundays from completion": Row(
        "2023-04-30", "WEEKLY;BYDAY=SU", [at("2023-04-28T12:00:00")], ["2023-05-07"], FROM_COMPLETION
    ),
    "today in Auckland": Row(
        "2022-09-24", "DAILY", [at("2022-09-24T08:00:00", "Pacific/Auckland")], ["2022-09-25"]
    ),
    "a count": Row("2026-10-01", "DAILY;COUNT=3", [None] * 3, ["2026-10-02", "2026-10-03", "done 2026-10-03"]),
    "a first date that the rule does not name": Row("2026-09-23", "WEEKLY;BYDAY=MO", [None], ["2026-09-28"]),
    "since 1900": Row("1900-01-01", "DAILY", [at("2026-11-25T12:00:00")], ["2026-11-26"]),
    # What the sentences say beyond the table.
    "a count whose days were missed": Row(
        "2026-10-01", "DAILY;COUNT=3", [at("2026-10-05T09:00:00")], ["done 2026-10-01"]
    ),
    "the first date counts though the rule does not name it": Row(
        "2026-09-23", "WEEKLY;BYDAY=MO;COUNT=2", [None] * 2, ["2026-09-28", "done 2026-09-28"]
    ),
    "one time": Row("2026-10-01", "DAILY;COUNT=1", [None], ["done 2026-10-01"]),
    "a count from completion is what remains": Row(
        "2026-10-01", "DAILY;COUNT=3", [at("2026-10-05T09:00:00"), None, None],
        ["2026-10-06", "2026-10-07", "done 2026-10-07"], FROM_COMPLETION,
    ),
    "until a day, inclusive": Row(
        "2026-10-01T18:00:00", "DAILY;UNTIL=20261002", [None] * 2, ["2026-10-02T18:00:00", "done 2026-10-02T18:00:00"]
    ),
    "until a time": Row("2026-10-01T18:00:00", "DAILY;UNTIL=20261002T175959", [None], ["done 2026-10-01T18:00:00"]),
    "until a moment, on the task's clock": Row(
        "2026-10-01T18:00:00", "DAILY;UNTIL=20261002T160000Z", [None] * 2,
        ["2026-10-02T18:00:00", "done 2026-10-02T18:00:00"], {"time_zone": "Europe/Madrid"},
    ),
    "until a moment, exclusive by a second": Row(
        "2026-10-01T18:00:00", "DAILY;UNTIL=20261002T155959Z", [None], ["done 2026-10-01T18:00:00"],
        {"time_zone": "Europe/Madrid"},
    ),
    "a time of today that is still to come": Row(
        "2026-10-01T18:00:00", "DAILY", [at("2026-10-04T17:59:59")], ["2026-10-04T18:00:00"]
    ),
    "early": Row("2026-10-05", "WEEKLY", [at("2026-10-01T09:00:00")], ["2026-10-12"]),
    "the phase of an interval": Row(
        "2026-10-05", "WEEKLY;INTERVAL=2", [at("2026-10-15T09:00:00")], ["2026-10-19"]
    ),
    "29 February": Row("2024-02-29", "YEARLY", [None] * 4, ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]),
    "the end of time": Row("2999-12-31", "DAILY", [None], ["done 2999-12-31"]),
    "a zone that is a day ahead": Row(
        "2026-10-01", "DAILY", [Now(datetime(2026, 10, 4, 11, tzinfo=UTC))], ["2026-10-06"],
        {"time_zone": "Pacific/Kiritimati"},
    ),
    "daily from completion": Row(
        "2026-10-01", "DAILY;INTERVAL=3", [at("2026-10-05T09:00:00")], ["2026-10-08"], FROM_COMPLETION
    ),
    "from completion, always after the current one": Row(
        "2026-10-10", "DAILY;INTERVAL=3", [at("2026-10-01T09:00:00")], ["2026-10-13"], FROM_COMPLETION
    ),
    "from completion at the same time of day": Row(
        "2026-10-01T09:00:00", "DAILY", [at("2026-10-05T23:00:00")], ["2026-10-06T09:00:00"], FROM_COMPLETION
    ),
    "from completion, the last of a shorter month": Row(
        "2026-01-05", "MONTHLY", [at("2026-01-31T09:00:00")], ["2026-02-28"], FROM_COMPLETION
    ),
    "from completion, the next day of the same week": Row(
        "2026-10-05", "WEEKLY;INTERVAL=2;BYDAY=MO,FR", [at("2026-10-06T09:00:00"), at("2026-10-09T09:00:00")],
        ["2026-10-09", "2026-10-19"], FROM_COMPLETION,
    ),
    "from completion in a later week, as many weeks on": Row(
        "2026-10-05", "WEEKLY;INTERVAL=2;BYDAY=MO,FR", [at("2026-10-13T09:00:00")], ["2026-10-26"], FROM_COMPLETION
    ),
    "from completion in a later week, each week": Row(
        "2026-10-05", "WEEKLY;BYDAY=MO,FR", [at("2026-10-13T09:00:00")], ["2026-10-16"], FROM_COMPLETION
    ),
    "from completion, weeks that begin on Sunday": Row(
        "2026-10-05", "WEEKLY;INTERVAL=2;BYDAY=SU;WKST=SU", [at("2026-10-06T09:00:00")], ["2026-10-18"], FROM_COMPLETION
    ),
    "from completion, a day of the month": Row(
        "2026-08-15", "MONTHLY;BYMONTHDAY=15", [at("2026-09-10T09:00:00")], ["2026-10-15"], FROM_COMPLETION
    ),
    "from completion, workdays": Row(
        "2026-10-02", "DAILY;BYDAY=MO,TU,WE,TH,FR", [at("2026-10-02T09:00:00")], ["2026-10-05"], FROM_COMPLETION
    ),
    "from completion in a month from which the interval reaches none of the named": Row(
        "2026-09-30", "MONTHLY;INTERVAL=3;BYMONTH=3,6,9,12;BYMONTHDAY=-1", [at("2026-11-15T09:00:00"), None],
        ["2026-12-31", "2027-03-31"], FROM_COMPLETION,
    ),
    "from completion on a day from which the interval reaches no Monday": Row(
        "2026-10-05", "DAILY;INTERVAL=7;BYDAY=MO", [at("2026-10-05T09:00:00"), at("2026-10-20T09:00:00")],
        ["2026-10-12", "2026-10-26"], FROM_COMPLETION,
    ),
    "from completion on a later Monday than its own": Row(
        "2026-10-05", "DAILY;INTERVAL=14;BYDAY=MO", [at("2026-10-12T09:00:00"), at("2026-10-27T09:00:00")],
        ["2026-10-26", "2026-11-02"], FROM_COMPLETION,
    ),
    "from completion in a year from which the interval reaches no leap year": Row(
        "2024-02-29", "YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29", [at("2025-03-01T09:00:00")], ["2028-02-29"],
        FROM_COMPLETION,
    ),
    "from completion, a count and an end apply where the interval reaches no named day": Row(
        "2026-10-05", "DAILY;INTERVAL=7;BYDAY=MO;COUNT=2", [at("2026-10-06T09:00:00"), at("2026-10-13T09:00:00")],
        ["2026-10-12", "done 2026-10-12"], FROM_COMPLETION,
    ),
    "from completion, until an end before the next named day": Row(
        "2026-10-05", "DAILY;INTERVAL=7;BYDAY=MO;UNTIL=20261011", [at("2026-10-06T09:00:00")], ["done 2026-10-05"],
        FROM_COMPLETION,
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_completing_moves_a_task_to_its_next_occurrence(row: Row) -> None:
    task = recurring(row.due, row.rule, **row.members)
    assert task.due_date == row.due
    assert dates(task, *row.completed) == row.then


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


def test_completing_an_occurrence_is_one_version_and_the_task_stays_open() -> None:
    task = recurring("2026-10-01", "WEEKLY")
    step = on_time(task)
    assert step.explicit_action == "completed"
    assert Pair(task, *step).action == "completed"
    assert step.task == replace(
        task, due_date="2026-10-08", version=Version(task.version + 1), updated_at=step.task.updated_at
    )


def test_an_edit_that_completes_also_changes_its_other_members() -> None:
    task = recurring("2026-10-01", "WEEKLY")
    step = COURSE.edited(task, at("2026-10-01T09:00:00"), title="Bread", completed=True)
    assert (step.task.title, step.task.due_date, step.task.completed, step.task.version, step.explicit_action) == (
        "Bread", "2026-10-08", False, task.version + 1, "completed",
    )  # fmt: skip
    with_rule = COURSE.edited(
        make_task(), at("2026-10-01T09:00:00"), due_date="2026-10-01", recurrence="FREQ=DAILY", completed=True
    )
    assert (with_rule.task.due_date, with_rule.task.anchor) == ("2026-10-02", "2026-10-01")


def test_toggling_completes_an_occurrence_and_opens_a_task_that_is_done() -> None:
    task = recurring("2026-10-01", "DAILY;COUNT=2")
    second = COURSE.toggled(task, at("2026-10-01T09:00:00")).task
    done = COURSE.toggled(second, at("2026-10-02T09:00:00")).task
    assert (second.due_date, done.due_date, done.completed) == ("2026-10-02", "2026-10-02", True)
    assert COURSE.completed(done, Now(LATER)).task is done
    assert COURSE.skipped(done, Now(LATER)).task is done
    opened = COURSE.toggled(done, Now(LATER)).task
    assert (opened.completed, opened.due_date) == (False, "2026-10-02")
    assert COURSE.edited(opened, Now(LATER), completed=False).task is opened


def test_completing_the_same_occurrence_twice_completes_it_once() -> None:
    task = recurring("2026-10-01", "DAILY")
    now = at("2026-10-01T09:00:00")
    moved = COURSE.completed(task, now, "2026-10-01").task
    assert moved.due_date == "2026-10-02"
    assert COURSE.completed(moved, now, "2026-10-01") == Step(moved)
    assert COURSE.skipped(moved, now, "2026-10-01") == Step(moved)
    timed = recurring("2026-10-01T09:00:00", "DAILY", time_zone="Europe/Madrid")
    for seen in ("2026-10-01T09:00", "2026-10-01T07:00:00Z"):
        assert COURSE.completed(timed, now, seen).task.due_date == "2026-10-02T09:00:00"
    for wrong in ("", "tomorrow", "2026-02-30", "1900-01-01T00:30:00+01:00"):
        with pytest.raises(InvalidInput, match="occurrence"):
            COURSE.completed(task, now, wrong)


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


def test_a_rule_whose_end_has_passed_is_kept_and_ends_when_it_is_completed() -> None:
    task = COURSE.checked(recurring("2026-10-01", "DAILY;UNTIL=20200101"))
    assert COURSE.occurrences(task, Now(NOON)) == ["2026-10-01"]
    assert dates(task, None) == ["done 2026-10-01"]


def test_a_preview_starts_with_the_due_date_and_continues_as_completing_would() -> None:
    task = recurring("2026-01-31", "MONTHLY")
    assert COURSE.occurrences(task, at("2026-01-01T09:00:00"), 3) == ["2026-01-31", "2026-02-28", "2026-03-31"]
    assert COURSE.occurrences(task, at("2026-04-15T09:00:00"), 3) == ["2026-01-31", "2026-04-30", "2026-05-31"]
    assert COURSE.occurrences(recurring("2026-10-01", "DAILY;COUNT=2"), Now(NOON)) == ["2026-10-01"]
    assert COURSE.occurrences(make_task(due_date="2026-10-01"), Now(NOON)) == ["2026-10-01"]
    assert COURSE.occurrences(make_task(), Now(NOON)) == []
    for limit in (0, 101):
        with pytest.raises(InvalidInput, match="limit"):
            COURSE.occurrences(task, Now(NOON), limit)


def test_a_rule_without_a_calendar_is_a_clear_error() -> None:
    with pytest.raises(RuntimeError, match="install the extra `recurrence`"):
        Course(NoCalendar()).checked(recurring("2026-10-01", "DAILY"))
    assert Course(NoCalendar()).edited(make_task(), Now(LATER), completed=True).task.completed


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


def test_every_rule_of_the_table_is_read() -> None:
    assert all(read_recurrence(f"FREQ={row.rule}") for row in TABLE.values())


def brought(parent: Task, *below: Task) -> list[Task]:
    """The subtasks after their parent has been completed on time."""
    after = {pair.thing.id: pair.after for pair in brought_along(parent, on_time(parent).task, below, at=LATER)}
    return [after.get(task.id) or task for task in below]  # type: ignore[misc]  # none is deleted


def test_subtasks_reopen_and_move_with_their_parent_unless_they_recur() -> None:
    weekly = recurring("2026-08-26", "WEEKLY")
    child = make_task(parent_id=weekly.id, due_date="2026-08-25T09:00:00", completed_at=NOON)
    own = recurring("2026-08-26", "WEEKLY", title="Own course")
    below_own = make_task(parent_id=own.id, due_date="2026-08-26", completed_at=NOON)
    moved, *left = brought(weekly, child, own, below_own)
    assert (moved.due_date, moved.completed_at, moved.version) == ("2026-09-01T09:00:00", None, 2)
    assert left == [own, below_own]


def test_subtasks_keep_their_distance_when_one_occurrence_of_their_parent_was_rescheduled() -> None:
    parent = recurring("2097-10-07", "WEEKLY")
    child = make_task(parent_id=parent.id, due_date="2097-10-06")
    for there, due in (("2097-10-09", "2097-10-13"), ("2097-10-12", "2097-10-20")):
        moved = COURSE.rescheduled(parent, Now(LATER), there).task
        [child] = brought(moved, child)
        assert child.due_date == due
        parent = on_time(moved).task
    assert parent.due_date == "2097-10-21"


@given(
    start=st.dates(date(2999, 11, 1), date(2999, 12, 31)),
    days=st.integers(0, 60),
    interval=st.integers(1, 99),
)
def test_a_subtask_near_the_last_possible_date_moves_both_dates_or_neither(
    start: date, days: int, interval: int
) -> None:
    due = min(start + timedelta(days=days), date(2999, 12, 31))
    child = make_task(start_date=f"{start}", due_date=f"{due}", completed_at=NOON)
    [moved] = brought(recurring("2026-08-26", f"DAILY;INTERVAL={interval}"), child)
    assert not moved.completed
    later = [f"{day + timedelta(days=interval)}" for day in (start, due)]
    assert [moved.start_date, moved.due_date] == (later if later[1] < "3000" else [f"{start}", f"{due}"])
