"""Subtasks of a recurring task: they reopen and move with it."""

from datetime import date, timedelta

from core.courses import COURSE, on_time, recurring
from factories import LATER, NOON, make_task
from hypothesis import given
from hypothesis import strategies as st

from todo_core import Task
from todo_core.recurring import Now, brought_along


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
