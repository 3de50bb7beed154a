"""Completing a recurring task moves it to its next occurrence, which the preview shows."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from core.courses import COURSE, Members, at, dates, on_time, recurring
from factories import LATER, NOON, make_task

from todo_core import InvalidInput
from todo_core.changes import Pair
from todo_core.recurrence import read_recurrence
from todo_core.recurring import Course, NoCalendar, Now, Step
from todo_core.versioned import Version


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


def test_every_rule_of_the_table_is_read() -> None:
    assert all(read_recurrence(f"FREQ={row.rule}") for row in TABLE.values())
