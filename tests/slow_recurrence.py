"""A second implementation of RFC 5545 §3.3.10, slow and obvious: it checks each day whether a rule names it."""

from calendar import isleap, monthrange
from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache

from todo_core.recurrence import Recurrence, Weekday

DAY = timedelta(days=1)


def named_days(rule: Recurrence, anchor: date, first: date, last: date) -> list[date]:
    """The days from `first` to `last` on which a task recurs."""
    return [day for day in walk(first, last) if day >= anchor and names(rule, anchor, day)]


def walk(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + number * DAY


def names(rule: Recurrence, anchor: date, day: date) -> bool:
    if distance(rule, anchor, day) % rule.interval != 0 or not is_meant(rule, anchor, day):
        return False
    if not rule.positions:
        return True
    together = of_period(rule, anchor, *period(rule, day))
    place = together.index(day)
    return place + 1 in rule.positions or place - len(together) in rule.positions


@cache
def of_period(rule: Recurrence, anchor: date, first: date, last: date) -> list[date]:
    return [day for day in walk(first, last) if is_meant(rule, anchor, day)]


def period(rule: Recurrence, day: date) -> tuple[date, date]:
    match rule.frequency:
        case "DAILY":
            return day, day
        case "WEEKLY":
            first = day
            while first.weekday() != rule.week_start:
                first -= DAY
            return first, first + 6 * DAY
        case "MONTHLY":
            return day.replace(day=1), day.replace(day=monthrange(day.year, day.month)[1])
        case "YEARLY":
            return day.replace(month=1, day=1), day.replace(month=12, day=31)


def distance(rule: Recurrence, anchor: date, day: date) -> int:
    """How many periods that day is from the anchor."""
    begin, here = period(rule, anchor)[0], period(rule, day)[0]
    match rule.frequency:
        case "DAILY":
            return (here - begin).days
        case "WEEKLY":
            return (here - begin).days // 7
        case "MONTHLY":
            return 12 * (here.year - begin.year) + here.month - begin.month
        case "YEARLY":
            return here.year - begin.year


def is_meant(rule: Recurrence, anchor: date, day: date) -> bool:
    """Whether the parts of the rule mean that day, its interval and its positions left aside."""
    length = monthrange(day.year, day.month)[1]
    if rule.months and day.month not in rule.months:
        return False
    if rule.month_days and day.day not in rule.month_days and day.day - length - 1 not in rule.month_days:
        return False
    if rule.weekdays:
        return any(is_weekday(rule, each, day) for each in rule.weekdays)
    if rule.month_days or rule.frequency == "DAILY":
        return True
    if rule.frequency == "WEEKLY":
        return day.weekday() == anchor.weekday()
    if rule.frequency == "YEARLY" and not rule.months and day.month != anchor.month:
        return False
    return day.day == min(anchor.day, length)


def is_weekday(rule: Recurrence, wanted: Weekday, day: date) -> bool:
    if day.weekday() != wanted.weekday:
        return False
    if rule.frequency == "MONTHLY" or rule.months:
        number, length = day.day, monthrange(day.year, day.month)[1]
    else:
        number, length = day.timetuple().tm_yday, 366 if isleap(day.year) else 365
    return wanted.ordinal in (0, (number + 6) // 7, -((length - number + 7) // 7))
