"""Which days a rule of recurrence names, by python-dateutil, at a cost that does not grow with distance.

Which days of a year are of the months, days of months and weekdays that a rule names depends on nothing but whether it
is a leap year and on which day of the week it begins: dateutil is asked about 14 years at most. The answer is a number
with a bit for each day, and so are the periods that an interval leaves: of each further year nothing else is looked at.
"""

from calendar import isleap
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import groupby
from typing import Any, Final, NamedTuple, Self

from dateutil.rrule import YEARLY, rrule, weekday

from todo_core.due import YEARS
from todo_core.recurrence import Frequency, Recurrence, Weekday

_YEAR: Final = (1 << 366) - 1
_WEEK: Final = (1 << 7) - 1
_KINDS: Final = {(isleap(year), date(year, 1, 1).weekday()): year for year in range(2000, 2028)}
"""A year of each kind: whether it is a leap year, and on which day of the week it begins."""


class DateutilRecurrenceCalendar:
    """A `RecurrenceCalendar`."""

    def after(self, rule: Recurrence, anchor: datetime, moment: datetime, *, skip: int = 0) -> Iterator[datetime]:
        """See `todo_core.ports.RecurrenceCalendar`."""
        day, clock = anchor.date(), anchor.time()
        named = _Named.by(rule, day)
        if rule.positions and not named.positions:
            return
        first = max(day, moment.date() + timedelta(days=int(clock <= moment.time())))
        for year in range(first.year, YEARS[1] + 1):
            days = phase(rule, day, year)
            if year == first.year:
                days &= -1 << _place(first)
            if named.months:
                days &= _in_months(named.months, isleap(year))  # the dear question is asked of few years
            if days != 0:
                days &= named.days_of(year)
            if (many := days.bit_count()) <= skip:
                skip -= many
                continue
            for place in _places(days):
                if skip == 0:
                    yield datetime.combine(_day(year, place), clock)
                else:
                    skip -= 1


class _Named(NamedTuple):
    """What a rule says of the days in each of its periods, its anchor's day included where that counts."""

    unit: Frequency
    months: tuple[int, ...]
    month_days: tuple[int, ...]
    weekdays: tuple[Weekday, ...]
    positions: tuple[int, ...]
    week_start: int
    last_of_month: bool

    @classmethod
    def by(cls, rule: Recurrence, anchor: date) -> Self:
        """What `rule` says where `anchor` is its first day."""
        months, month_days, weekdays, last_of_month = rule.months, rule.month_days, rule.weekdays, False
        match rule.frequency:
            case "WEEKLY" if not weekdays:
                weekdays = (Weekday(0, anchor.weekday()),)
            case "MONTHLY" | "YEARLY" if not rule.names_days:
                # The anchor's day, or the last of a shorter month.
                month_days, last_of_month = tuple(range(min(anchor.day, 28), anchor.day + 1)), True
                if rule.frequency == "YEARLY":
                    months = months or (anchor.month,)
        if rule.frequency == "MONTHLY":
            months = months or tuple(range(1, 13))  # numbers of weekdays then count in the month
        most = {"DAILY": 1, "WEEKLY": len(weekdays), "MONTHLY": 31, "YEARLY": 366}[rule.frequency]
        positions = tuple(position for position in rule.positions if abs(position) <= most)
        return cls(rule.frequency, months, month_days, weekdays, positions, rule.week_start, last_of_month)

    def days_of(self, year: int) -> int:
        """The days of that year, as bits: the lowest is its first."""
        return _days_of(self, _KINDS[isleap(year), date(year, 1, 1).weekday()])


@lru_cache(maxsize=4096)
def _days_of(named: _Named, year: int) -> int:
    if named.unit == "DAILY" or not (named.positions or named.last_of_month):
        return _parts_of(named, year)
    around = 1 if named.unit == "WEEKLY" else 0  # weeks reach over the year's ends
    years = range(year - around, year + around + 1)
    days = [_day(each, place) for each in years for place in _places(_parts_of(named, each))]
    if named.last_of_month:
        days = [max(month) for _, month in groupby(days, lambda day: day.month)]
    if named.positions:
        days = [day for period in _periods(named, days) for day in _chosen(period, named.positions)]
    return _bits(_place(day) for day in days if day.year == year)


def _parts_of(named: _Named, year: int) -> int:
    """The days of that year that are of the months, the days of months and the weekdays named."""
    days = _YEAR if isleap(year) else _YEAR >> 1
    if named.months:
        days &= _in_months(named.months, isleap(year))
    if named.month_days:
        days &= _on_month_days(named.month_days, isleap(year))
    if named.weekdays and days:
        days &= _on_weekdays(named.weekdays, bool(named.months), year)
    return days


@lru_cache(maxsize=4096)
def _in_months(months: tuple[int, ...], leap: bool) -> int:
    return _bits(_place(day) for day in _all_days(_KINDS[leap, 0]) if day.month in months)


# Each part by itself names days in nearly every year: dateutil looks for one behind `until`, in 8000 years if need be.


@lru_cache(maxsize=4096)
def _on_month_days(month_days: tuple[int, ...], leap: bool) -> int:
    return _asked(_KINDS[leap, 0], bymonthday=month_days)


@lru_cache(maxsize=4096)
def _on_weekdays(weekdays: tuple[Weekday, ...], in_months: bool, year: int) -> int:
    """The days of that year which these are, their numbers counted in each month or in the year."""
    longest = (date(year, 1, 1).weekday(), date(year, 12, 31).weekday())  # these come 53 times
    plain = [weekday(day.weekday) for day in weekdays if not day.ordinal]
    numbered = [
        weekday(day.weekday, day.ordinal)
        for day in weekdays
        if day.ordinal and (abs(day.ordinal) < 53 or day.weekday in longest)
    ]
    # dateutil wants a day to be of both kinds where some have a number and others have none.
    days = _asked(year, byweekday=plain) if plain else 0
    return days | (_asked(year, bymonth=range(1, 13) if in_months else None, byweekday=numbered) if numbered else 0)


def _asked(year: int, **parts: Any) -> int:
    rule = rrule(YEARLY, datetime(year, 1, 1), until=datetime(year, 12, 31), **parts)
    return _bits(_place(moment.date()) for moment in rule)


def _periods(named: _Named, days: list[date]) -> Iterator[list[date]]:
    """The days period by period."""
    period_of: Callable[[date], int] = {
        "WEEKLY": lambda day: _week(day, named.week_start),
        "MONTHLY": lambda day: day.month,
        "YEARLY": lambda day: day.year,
    }[named.unit]
    for _, period in groupby(days, period_of):
        yield list(period)


def _chosen(period: list[date], positions: tuple[int, ...]) -> Iterator[date]:
    places = {position - 1 if position > 0 else len(period) + position for position in positions}
    return (day for place, day in enumerate(period) if place in places)


def phase(rule: Recurrence, anchor: date, year: int) -> int:
    """The days of that year that are in periods which the interval, counted from the anchor's, does not leave out."""
    new_year = date(year, 1, 1)
    match rule.frequency:
        case "DAILY":
            return _comb(rule.interval) << (anchor - new_year).days % rule.interval & _YEAR
        case "WEEKLY":
            since = (_week(new_year, rule.week_start) - _week(anchor, rule.week_start)) % rule.interval
            begun = 7 * since + (new_year.toordinal() - 1 - rule.week_start) % 7  # days since a week that counts began
            return _comb(7 * rule.interval) * _WEEK >> begun & _YEAR
        case "MONTHLY":
            first = (anchor.year * 12 + anchor.month - 1 - year * 12) % rule.interval
            months = tuple(range(first + 1, 13, rule.interval))
            return _in_months(months, isleap(year)) if months else 0
        case "YEARLY":
            return _YEAR if (year - anchor.year) % rule.interval == 0 else 0


@lru_cache(maxsize=4096)
def _comb(distance: int) -> int:
    """A bit, and one at each further distance, for a year and as much as it may be shifted down."""
    return _bits(range(0, 366 + distance + 7, distance))


def _week(day: date, week_start: int) -> int:
    return (day.toordinal() - 1 - week_start) // 7  # the first day of all is a Monday


def _all_days(year: int) -> list[date]:
    return [_day(year, place) for place in range(366 if isleap(year) else 365)]


def _day(year: int, place: int) -> date:
    return date.fromordinal(date(year, 1, 1).toordinal() + place)


def _place(day: date) -> int:
    return day.toordinal() - date(day.year, 1, 1).toordinal()


def _bits(places: Iterable[int]) -> int:
    return sum(1 << place for place in places)


def _places(days: int) -> Iterator[int]:
    while days:
        lowest = days & -days
        yield lowest.bit_length() - 1
        days ^= lowest
