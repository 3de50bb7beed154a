"""Occurrences of recurrence rules, at a cost that does not grow with distance in time (docs/adr/0009).

Which days of a year a rule names, its interval aside, depends only on whether it is a leap year and on which weekday it
begins: there are 14 kinds of years. The days of a kind are computed once, as an integer with one bit per day; the
periods that the interval selects in a year are another such integer. dateutil computes BYMONTHDAY only, for one leap
year and one other: at up to a millisecond per year it is too slow for the weekdays of all 14 kinds.
"""

from calendar import isleap, monthrange
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple, Self

from dateutil.rrule import YEARLY, rrule

from todo_core.due import YEARS
from todo_core.recurrence import Frequency, Recurrence, Weekday

_YEAR: Final = (1 << 366) - 1
_WEEK: Final = (1 << 7) - 1
_KINDS: Final = {(isleap(year), date(year, 1, 1).weekday()): year for year in range(2000, 2028)}
"""An example year of each kind: whether it is a leap year, and on which weekday it begins."""
_KIND_OF: Final = {year: _KINDS[isleap(year), date(year, 1, 1).weekday()] for year in range(YEARS[0], YEARS[1] + 1)}
_LENGTHS: Final = {
    leap: [monthrange(2000 if leap else 2001, month)[1] for month in range(1, 13)] for leap in (False, True)
}
_MONTHS: Final = {
    leap: [range(end - length, end) for length, end in zip(lengths, accumulate(lengths), strict=True)]
    for leap, lengths in _LENGTHS.items()
}
"""The days of each month as indexes in the year, for leap years and others."""
_YEARS: Final = {leap: [range(365 + leap)] for leap in (False, True)}


class DateutilRecurrenceCalendar:
    """A `RecurrenceCalendar`."""

    def after(self, rule: Recurrence, anchor: datetime, moment: datetime, *, skip: int = 0) -> Iterator[datetime]:
        """See `todo_core.ports.RecurrenceCalendar`."""
        day, clock = anchor.date(), anchor.time()
        first = max(day, moment.date() + timedelta(days=int(clock <= moment.time())))
        for year, days in _found(rule, day, first):
            if (many := days.bit_count()) <= skip:
                skip -= many
                continue
            for place in _places(days):
                if skip == 0:
                    yield datetime.combine(_day(year, place), clock)
                else:
                    skip -= 1

    def passed(self, rule: Recurrence, anchor: datetime, moment: datetime) -> int:
        """See `todo_core.ports.RecurrenceCalendar`."""
        last, passed = moment.date() - timedelta(days=int(anchor.time() > moment.time())), 0
        for year, days in _found(rule, anchor.date(), anchor.date() + timedelta(days=1)):
            if year >= last.year:
                return passed + (days & (2 << _place(last)) - 1).bit_count() * (year == last.year)
            passed += days.bit_count()
        return passed


def _found(rule: Recurrence, anchor: date, first: date) -> Iterator[tuple[int, int]]:
    """The days from `first` on that the rule names, year by year, without the years that have none."""
    named = _Named.by(rule, anchor)
    if rule.positions and not named.positions:
        return
    kinds: dict[int, int] = {}  # cheaper than `lru_cache`, which hashes the rule for each year
    for year in _years(rule, anchor, first.year):
        if (days := phase(rule, anchor, year)) == 0:
            continue
        if (kind := _KIND_OF[year]) not in kinds:
            kinds[kind] = _days_of(named, kind)
        days &= kinds[kind]
        if year == first.year:
            days &= -1 << _place(first)
        if days:
            yield year, days


class _Named(NamedTuple):
    """What a rule says about the days in each period, completed from its anchor where it names none."""

    unit: Frequency
    months: tuple[int, ...]
    month_days: tuple[int, ...]
    weekdays: tuple[Weekday, ...]
    positions: tuple[int, ...]
    week_start: int
    last_of_month: bool

    @classmethod
    def by(cls, rule: Recurrence, anchor: date) -> Self:
        """What `rule` says if it is counted from `anchor`."""
        months, month_days, weekdays, last_of_month = rule.months, rule.month_days, rule.weekdays, False
        match rule.frequency:
            case "WEEKLY" if not weekdays:
                weekdays = (Weekday(0, anchor.weekday()),)
            case "MONTHLY" | "YEARLY" if not rule.names_days:
                # The anchor's day, or the last day of a shorter month.
                month_days, last_of_month = tuple(range(min(anchor.day, 28), anchor.day + 1)), True
                if rule.frequency == "YEARLY":
                    months = months or (anchor.month,)
        if rule.frequency == "MONTHLY":
            months = months or tuple(range(1, 13))  # so that numbered weekdays count within the month
        days_max = {"DAILY": 1, "WEEKLY": len(weekdays), "MONTHLY": 31, "YEARLY": 366}[rule.frequency]
        positions = tuple(position for position in rule.positions if abs(position) <= days_max)
        return cls(rule.frequency, months, month_days, weekdays, positions, rule.week_start, last_of_month)


def _years(rule: Recurrence, anchor: date, first: int) -> range:
    """The years from `first` on that may have occurrences."""
    if rule.frequency != "YEARLY":
        return range(first, YEARS[1] + 1)
    return range(first + (anchor.year - first) % rule.interval, YEARS[1] + 1, rule.interval)


@lru_cache(maxsize=4096)
def _days_of(named: _Named, year: int) -> int:
    """The days of that year as bits, the lowest bit being 1 January."""
    days, leap = _parts_of(named, year), isleap(year)
    if named.last_of_month:
        days = _chosen(days, _MONTHS[leap], (-1,))
    if not named.positions:
        return days
    match named.unit:
        case "DAILY":
            return days
        case "WEEKLY":  # weeks cross the year's ends: add a week on both sides
            length = 365 + leap
            before = _parts_of(named, year - 1) >> 358 + isleap(year - 1)
            days = before | days << 7 | (_parts_of(named, year + 1) & _WEEK) << 7 + length
            begin = 7 - (date(year, 1, 1).weekday() - named.week_start) % 7
            weeks = [range(day, day + 7) for day in range(begin, 7 + length, 7)]
            return _chosen(days, weeks, named.positions) >> 7 & (1 << length) - 1
        case "MONTHLY":
            return _chosen(days, _MONTHS[leap], named.positions)
        case "YEARLY":
            return _chosen(days, _YEARS[leap], named.positions)


def _parts_of(named: _Named, year: int) -> int:
    """The days of that year that match the named months, days of months and weekdays."""
    leap = isleap(year)
    days = (1 << 365 + leap) - 1
    if named.months:
        days &= _in_months(named.months, leap)
    if named.month_days:
        days &= _on_month_days(named.month_days, leap)
    if named.weekdays and days:
        days &= _on_weekdays(named.weekdays, bool(named.months), year)
    return days


@lru_cache(maxsize=4096)
def _in_months(months: tuple[int, ...], leap: bool) -> int:
    return _bits(place for month in months for place in _MONTHS[leap][month - 1])


@lru_cache(maxsize=4096)
def _on_month_days(month_days: tuple[int, ...], leap: bool) -> int:
    year = _KINDS[leap, 0]
    # Every year has such days; otherwise dateutil would search 8000 years after `until`.
    rule = rrule(YEARLY, datetime(year, 1, 1), until=datetime(year, 12, 31), bymonthday=month_days)
    return _bits(_place(moment) for moment in rule)


def _on_weekdays(weekdays: tuple[Weekday, ...], in_months: bool, year: int) -> int:
    """The days of that year that are these weekdays, with ordinals counted within each month or within the year."""
    new_year, found = date(year, 1, 1).weekday(), 0
    for ordinal, weekday in weekdays:
        days = _comb(7) << (weekday - new_year) % 7
        found |= days & _sevenths(ordinal, in_months, isleap(year)) if ordinal else days
    return found


@lru_cache(maxsize=4096)
def _sevenths(ordinal: int, in_months: bool, leap: bool) -> int:
    """The seven days of each month, or of the year, that contain a weekday's nth occurrence, from the end if < 0."""
    found = 0
    for period in (_MONTHS if in_months else _YEARS)[leap]:
        first = period.start + 7 * (ordinal - 1) if ordinal > 0 else period.stop + 7 * ordinal
        found |= _bits(place for place in range(first, first + 7) if place in period)
    return found


def _chosen(days: int, periods: Sequence[range], positions: tuple[int, ...]) -> int:
    """The days at one of these positions among the days of their period: 1 is the first, -1 the last."""
    indexes = [position - 1 if position > 0 else position for position in positions]
    chosen, known = 0, {0: 0}
    for period in periods:
        part = days >> period.start & (1 << len(period)) - 1
        if part not in known:
            places = list(_places(part))
            known[part] = _bits(places[index] for index in indexes if -len(places) <= index < len(places))
        chosen |= known[part] << period.start
    return chosen


def phase(rule: Recurrence, anchor: date, year: int) -> int:
    """The days of that year in periods that the interval, counted from the anchor's period, selects."""
    if rule.interval == 1:
        return _YEAR
    match rule.frequency:
        case "DAILY":
            return _comb(rule.interval) << (anchor - date(year, 1, 1)).days % rule.interval & _YEAR
        case "WEEKLY":
            begin = anchor.toordinal() - (anchor.weekday() - rule.week_start) % 7
            return _weeks(rule.interval) >> (date(year, 1, 1).toordinal() - begin) % (7 * rule.interval) & _YEAR
        case "MONTHLY":
            first = ((anchor.year - year) * 12 + anchor.month - 1) % rule.interval
            return _in_months(tuple(range(first + 1, 13, rule.interval)), isleap(year)) if first < 12 else 0
        case "YEARLY":
            return _YEAR if (year - anchor.year) % rule.interval == 0 else 0


@lru_cache(maxsize=4096)
def _comb(distance: int) -> int:
    """One bit every `distance` days, for a year and the distance that it may be shifted down."""
    return _bits(range(0, 366 + distance + 7, distance))


@lru_cache(maxsize=4096)
def _weeks(interval: int) -> int:
    """The days of one week in every `interval` weeks, over the same length as `_comb`."""
    return _comb(7 * interval) * _WEEK


def _day(year: int, place: int) -> date:
    return date.fromordinal(date(year, 1, 1).toordinal() + place)


def _place(day: date) -> int:
    """The day's index in its year, from 0."""
    return day.toordinal() - date(day.year, 1, 1).toordinal()


def _bits(places: Iterable[int]) -> int:
    days = 0
    for place in places:
        days |= 1 << place
    return days


def _places(days: int) -> Iterator[int]:
    return (place for place, bit in enumerate(reversed(f"{days:b}")) if bit == "1")
