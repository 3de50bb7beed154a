"""Recurring tasks: their calendar, their dates, and where completing them moves them."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from factories import NOON, make_task
from hypothesis import strategies as st

from todo_adapters.dateutil_recurrence import DateutilRecurrenceCalendar
from todo_core import Task
from todo_core.recurring import Course, Now, Step

CALENDAR = DateutilRecurrenceCalendar()
COURSE = Course(CALENDAR)
Members = Mapping[str, Any]
MIDNIGHT = datetime.min.time()
# Often near the end of a month or of a year, where rules differ.
_ENDS = st.builds(date, st.integers(1900, 2999), st.sampled_from([1, 3, 10, 12]), st.sampled_from([1, 2, 29, 30, 31]))
days = _ENDS | st.dates(date(1900, 1, 1), date(2999, 12, 31))


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
