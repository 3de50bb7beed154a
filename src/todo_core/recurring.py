"""Tasks that recur: completing, skipping and rescheduling an occurrence."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import dropwhile, islice, repeat, takewhile
from typing import Final, NamedTuple, Unpack

from todo_core.changes import Action, Pair, changed
from todo_core.due import (
    DATE_RULE,
    ZONE_RULE,
    has_time,
    instant,
    is_date,
    is_readable,
    is_time_zone,
    on_clock,
    read_date,
    written,
)
from todo_core.errors import InvalidInput, Problem
from todo_core.ports import RecurrenceCalendar
from todo_core.recurrence import Recurrence, read_recurrence, until_of
from todo_core.task import Settable, Task, TaskId, require_limit

OCCURRENCES_DEFAULT: Final = 10
OCCURRENCES_MAX: Final = 100
OCCURRENCES_RULE: Final = f"must be a whole number from 1 to {OCCURRENCES_MAX}"
NEVER_RULE: Final = "must name a day between due_date and the year 2999: this rule never recurs"
NO_RULE: Final = "must be set: only a task that recurs has occurrences"
FORM_RULE: Final = "must be of the same form as the recurring date: a whole day, or a date with a time"
_END: Final = time(23, 59, 59)
_NO_CALENDAR: Final = (
    "recurring tasks need a RecurrenceCalendar: give TaskService one as `calendar`, such as "
    "todo_adapters.dateutil_recurrence.DateutilRecurrenceCalendar() (install the extra `recurrence`)"
)


class Step(NamedTuple):
    """The task after a step, and the action for the log where it cannot be derived from the two states."""

    task: Task
    explicit_action: Action | None = None

    @property
    def moves_on(self) -> bool:
        """Whether the task moved to another occurrence."""
        return self.explicit_action in ("completed", "skipped") and not self.task.completed


@dataclass(frozen=True, slots=True)
class Now:
    """The current moment, and the user's time zone, which decides what "today" is for a task without one.

    Raises `InvalidInput` for an unknown zone.
    """

    at: datetime
    zone: str | None = None

    def __post_init__(self) -> None:
        if not (self.zone is None or is_time_zone(self.zone)):
            raise InvalidInput([Problem("zone", ZONE_RULE)])

    def wall_clock(self, task: Task) -> datetime:
        """The wall-clock time in the task's zone."""
        return on_clock(self.at, self.zone_of(task))

    def zone_of(self, task: Task) -> str:
        """The task's zone; of a task without one, the user's."""
        return task.time_zone or self.zone or "UTC"

    def is_past(self, due: datetime, task: Task) -> bool:
        """Whether the time `due` has come in the task's zone; False for a whole day."""
        moment = instant(written(due, like=task.due_date or ""), self.zone_of(task))
        return moment is not None and moment <= self.at


class NoCalendar:
    """The default where no `RecurrenceCalendar` is given."""

    def after(self, rule: Recurrence, anchor: datetime, moment: datetime, *, skip: int = 0) -> Iterator[datetime]:
        """Raises `RuntimeError`."""
        raise RuntimeError(_NO_CALENDAR)

    def passed(self, rule: Recurrence, anchor: datetime, moment: datetime) -> int:
        """Raises `RuntimeError`."""
        raise RuntimeError(_NO_CALENDAR)


@dataclass(frozen=True, slots=True)
class Course:
    """The changes of tasks that may recur, by a calendar. Each method raises `InvalidInput` as `Task.edited` does."""

    calendar: RecurrenceCalendar

    def checked(self, task: Task) -> Task:
        """The task itself. Raises `InvalidInput` if its rule names no day from the anchor on."""
        if task.recurrence is not None:
            anchor = _clock(task.anchor)
            before = anchor - timedelta(seconds=1)
            if next(self.calendar.after(read_recurrence(task.recurrence), anchor, before), None) is None:
                raise InvalidInput([Problem("recurrence", NEVER_RULE)])
        return task

    def edited(self, task: Task, now: Now, **members: Unpack[Settable]) -> Step:
        """As `Task.edited`, but completing a task that recurs completes its current occurrence."""
        edited = self._recounted(task, task.edited(at=now.at, **members), members)
        if (edited.recurrence, edited.anchor) != (task.recurrence, task.anchor):
            self.checked(edited)
        if edited.completed and not task.completed and edited.recurrence is not None:
            return self._moved_on(task, replace(edited, completed_at=None), now, "completed")
        return Step(edited)

    def toggled(self, task: Task, now: Now) -> Step:
        """As `Task.toggled`, but completing a task that recurs completes its current occurrence."""
        return self.edited(task, now, completed=not task.completed)

    def completed(self, task: Task, now: Now, occurrence: str | None = None) -> Step:
        """The task, or its current occurrence, completed. With `occurrence`: unchanged unless it is due then."""
        return self.edited(task, now, completed=True) if _is_due(_zoned(task, now), occurrence) else Step(task)

    def skipped(self, task: Task, now: Now, occurrence: str | None = None) -> Step:
        """The next occurrence without completing this one. Raises `InvalidInput` if the task does not recur."""
        if task.recurrence is None:
            raise InvalidInput([Problem("recurrence", NO_RULE)])
        if task.completed or not _is_due(_zoned(task, now), occurrence):
            return Step(task)
        return self._moved_on(task, task, now, "skipped")

    def rescheduled(self, task: Task, now: Now, due_date: str, start_date: str | None = None) -> Step:
        """The current occurrence at another date; the anchor stays. Without `start_date` the start date moves along.

        With it, later occurrences keep the new distance between the two.
        """
        zoned = _zoned(task, now)
        dates: Settable = {"due_date": due_date}
        if start_date is not None:
            dates["start_date"] = start_date
        elif has_time(moved := _stored("due_date", due_date, zoned)) == has_time(task.due_date or moved):
            dates["start_date"] = _start(task, moved)
        edited = zoned.edited(at=now.at, **dates)
        if task.recurrence is None or edited is zoned:
            return Step(edited if task.recurrence is None else task)
        if has_time(edited.due_date or "") != has_time(task.anchor or ""):
            raise InvalidInput([Problem("due_date", FORM_RULE)])
        kept = {"due_date": edited.due_date, "start_date": edited.start_date}
        return Step(task.with_stored(now.at, {**kept, "rescheduled_from": task.rescheduled_from or task.due_date}))

    def occurrences(self, task: Task, now: Now, limit: int = OCCURRENCES_DEFAULT) -> list[str]:
        """The due dates, current one first, if each is completed when due, or now if it is overdue."""
        require_limit(limit, OCCURRENCES_MAX)
        if task.due_date is None:
            return []
        found = [task.due_date]
        if task.recurrence is not None and not task.completed:
            clock = max(now.wall_clock(task), _clock(task.due_date))
            coming = islice(self._following(task, now, clock), limit - 1)
            found.extend(written(due, like=task.due_date) for due in coming)
        return found

    def _recounted(self, task: Task, edited: Task, members: Settable) -> Task:
        """The task edited. Where its rule has a new anchor, but was not given, COUNT becomes what remains."""
        same = (edited.due_date, edited.recurrence_from) == (task.due_date, task.recurrence_from)
        if same or task.recurrence is None or "recurrence" in members:
            return edited
        return replace(edited, recurrence=self._remaining(task, read_recurrence(task.recurrence)))

    def _remaining(self, task: Task, rule: Recurrence) -> str:
        """The rule with a COUNT of the occurrences that remain, the current one included."""
        if rule.count is None or task.recurrence_from == "completion":  # then that is what COUNT means
            return str(rule)
        anchor, current = _clock(task.anchor), _clock(task.rescheduled_from or task.due_date)
        passed = min(self.calendar.passed(rule, anchor, current), rule.count - 1)
        return str(replace(rule, count=rule.count - passed))

    def _moved_on(self, before: Task, task: Task, now: Now, action: Action) -> Step:
        """At its next occurrence, or completed if there is none; one version after `before`."""
        after = self._after(task, now)
        if after is None:
            moved = task.edited(at=now.at, completed=True)
        else:
            moved = task.with_stored(now.at, {**after, "rescheduled_from": None})
        names = (name for name in Task.__slots__ if name not in ("version", "updated_at"))
        return Step(before.with_stored(now.at, {name: getattr(moved, name) for name in names}), action)

    def _after(self, task: Task, now: Now) -> dict[str, object] | None:
        """The members that differ at the next occurrence after now; None if there is none."""
        due = next(self._following(task, now, now.wall_clock(task)), None)
        if due is None:
            return None
        rule = read_recurrence(task.recurrence or "")
        if task.recurrence_from == "completion" and rule.count is not None:
            rule = replace(rule, count=rule.count - 1)  # the rest of them
        moved = written(due, like=task.due_date or "")
        return {"due_date": moved, "start_date": _start(task, moved), "recurrence": str(rule)}

    def _following(self, task: Task, now: Now, clock: datetime) -> Iterator[datetime]:
        """The occurrences after now, if the current one is completed at `clock` and each other when it is due."""
        rule = read_recurrence(task.recurrence or "")
        current = max(_clock(task.due_date), _clock(task.rescheduled_from or task.due_date))
        if task.recurrence_from == "completion":
            coming = self._from_completion(rule, _clock(task.anchor), current, clock)
        else:
            behind = max(current, _today(task, now))
            coming = dropwhile(
                lambda due: now.is_past(due, task), self._from_due_date(rule, _clock(task.anchor), behind)
            )
        last = _last(rule, task)
        return takewhile(lambda due: due <= last, coming)

    def _from_due_date(self, rule: Recurrence, anchor: datetime, moment: datetime) -> Iterator[datetime]:
        if rule.count == 1:  # the anchor itself, whether the rule names it or not
            return
        last = None
        for due in self.calendar.after(rule, anchor, moment):
            if last is None:
                last = self._last_counted(rule, anchor)
            if due > last:
                return
            yield due

    def _last_counted(self, rule: Recurrence, anchor: datetime) -> datetime:
        """The last occurrence that COUNT (2 or more) allows; `datetime.max` without COUNT or if it allows all."""
        if rule.count is None:
            return datetime.max
        return next(self.calendar.after(rule, anchor, anchor, skip=rule.count - 2), datetime.max)

    def _from_completion(
        self, rule: Recurrence, anchor: datetime, current: datetime, clock: datetime
    ) -> Iterator[datetime]:
        """Each counted from the day of completion or, if the interval reaches no named day so, from the anchor."""
        for _ in repeat(None) if rule.count is None else range(rule.count - 1):
            done = clock.date()
            behind = _behind(rule, current, done)
            begins = (datetime.combine(done, anchor.time()), anchor)
            due = next((due for begin in begins for due in self.calendar.after(rule, begin, behind)), None)
            if due is None:
                return
            yield due
            current, clock = due, max(clock, due)


def brought_along(before: Task, after: Task, below: Iterable[Task], *, at: datetime) -> list[Pair]:
    """The pairs of the subtasks of a task that moves on: they are reopened, and their dates move by as many days.

    A subtask that recurs by itself is left alone, with all below it. `below`: all subtasks, higher levels first.
    """
    begin = before.rescheduled_from or before.due_date  # rescheduling left the subtasks where they were
    days = timedelta() if begin is None else _clock(after.due_date).date() - _clock(begin).date()
    left: set[TaskId | None] = set()
    opened: list[tuple[Task, Task]] = []
    for task in below:
        if task.recurrence is not None or task.parent_id in left:
            left.add(task.id)
            continue
        opened.append((task, task.with_stored(at, {**_shifted(task, days), "completed_at": None})))
    return changed(opened)


def _shifted(task: Task, days: timedelta) -> dict[str, str]:
    """Its dates that many days later; unchanged if one would leave the years that a date may have."""
    dates = {name: stored for name in ("start_date", "due_date") if (stored := getattr(task, name)) is not None}
    shifted = {name: written(_clock(stored) + days, like=stored) for name, stored in dates.items()}
    return shifted if all(map(is_date, shifted.values())) else dates


def _clock(stored: str | None) -> datetime:
    return datetime.fromisoformat(stored or "")


def _today(task: Task, now: Now) -> datetime:
    """A time up to which occurrences have passed: for whole days, the beginning of today."""
    clock = now.wall_clock(task)
    # `is_past` judges the last day: a skipped time comes up to a day later than the clock shows it.
    return clock - timedelta(days=1) if has_time(task.due_date or "") else datetime.combine(clock.date(), time())


def _zoned(task: Task, now: Now) -> Task:
    """A task that recurs, in the zone in which an instant is read for it; any other task as it is.

    The zone is not to be stored: the later occurrences of a task without one are wherever the user is.
    """
    return task if task.recurrence is None else task.with_stored(now.at, {"time_zone": now.zone_of(task)})


def _is_due(task: Task, occurrence: str | None) -> bool:
    """Whether the task is due at `occurrence`, if that is given. Raises `InvalidInput` for an invalid date."""
    return occurrence is None or _stored("occurrence", occurrence, task) == task.due_date


def _stored(name: str, text: str, task: Task) -> str:
    """A date given as the member `name`, as the task stores it. Raises `InvalidInput` for an invalid date."""
    try:
        if is_readable(text):
            return read_date(text).in_zone(task.time_zone or "UTC")
    except ValueError:
        pass  # an instant outside YEARS
    raise InvalidInput([Problem(name, DATE_RULE)])


def _start(task: Task, due: str) -> str | None:
    """The start date at the same distance from `due` as from the due date, so that rescheduling does not lose it."""
    if task.start_date is None or task.due_date is None:
        return task.start_date
    return written(_clock(task.start_date) + (_clock(due) - _clock(task.due_date)), like=due)


def _last(rule: Recurrence, task: Task) -> datetime:
    """The last moment that UNTIL allows, in the task's wall-clock time."""
    if rule.until is None:
        return datetime.max
    until, is_utc = until_of(rule.until)
    return on_clock(until.replace(tzinfo=UTC), task.time_zone or "UTC") if is_utc else until


def _behind(rule: Recurrence, current: datetime, done: date) -> datetime:
    """The moment after which a task is due again that was due at `current`, and is completed on the day `done`."""
    begin, end = _period(rule, done)
    same = begin <= current.date() <= end
    within = rule.frequency == "WEEKLY" and bool(rule.weekdays) and (rule.interval == 1 or same)
    return max(current, datetime.combine(done if within else end, _END))


def _period(rule: Recurrence, day: date) -> tuple[date, date]:
    """The first and the last day of the rule's period that contains that day."""
    match rule.frequency:
        case "DAILY":
            return day, day
        case "WEEKLY":
            begin = day - timedelta(days=(day.weekday() - rule.week_start) % 7)
            return begin, begin + timedelta(days=6)
        case "MONTHLY":
            behind = day.replace(day=28) + timedelta(days=4)
            return day.replace(day=1), behind - timedelta(days=behind.day)
        case "YEARLY":
            return day.replace(month=1, day=1), day.replace(month=12, day=31)
