"""Dates as users write them: a whole day, or a wall-clock time in a time zone.

A date is text in one of two forms, `2026-10-01` and `2026-10-01T17:00:00`, and is sorted as text: a whole day comes
before its hours. A stored date is never converted; `instant` computes the moment in UTC.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache, lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from todo_core.errors import InvalidInput, Problem

YEARS: Final = (1900, 2999)
DATE_RULE: Final = (
    f"must be a date such as 2026-10-01, or a date and time such as 2026-10-01T17:00:00, "
    f"of the years {YEARS[0]} to {YEARS[1]}"
)
ZONE_RULE: Final = "must be the name of an IANA time zone, such as Europe/Madrid"
ZONE_OR_NONE_RULE: Final = f"{ZONE_RULE}, or null for none"
ZONE_LENGTH: Final = 64
_GIVEN_LENGTH: Final = 40

_WRITTEN = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d)?", re.ASCII)
_GIVEN = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d)(?::(\d\d)(?:\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII | re.IGNORECASE
)


def is_date(value: object) -> bool:
    """Whether `value` is a stored date: an existing day, with or without a time."""
    return isinstance(value, str) and _WRITTEN.fullmatch(value) is not None and _exists(value)


def is_time_zone(value: object) -> bool:
    """Whether `value` names a time zone of the IANA database, exactly as `zoneinfo` spells it."""
    return isinstance(value, str) and len(value) <= ZONE_LENGTH and value in _zones()


def has_time(written: str) -> bool:
    """Whether that date is a wall-clock time rather than a whole day."""
    return "T" in written


def instant(written: str | None, zone: str | None) -> datetime | None:
    """The moment (UTC) at which a clock in `zone` shows that time; None for a whole day, or without a known zone.

    RFC 5545 §3.3.5: a time that daylight saving skips is moved forward by the gap; of a time that occurs twice, the
    first is meant (PEP 495, `fold=0`).
    """
    if written is None or zone is None or not has_time(written):
        return None
    try:
        return datetime.fromisoformat(written).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    except ZoneInfoNotFoundError:  # the task was written with a newer time zone database
        return None


class Given(NamedTuple):
    """A date as a caller gave it: an instant in UTC, or text that can be stored as it is."""

    written: str
    is_instant: bool

    def in_zone(self, zone: str) -> str:
        """As it is stored, in a task of that zone. Raises as `on_clock`, and `ValueError` outside `YEARS`."""
        if not self.is_instant:
            return self.written
        local = datetime.fromisoformat(self.written).replace(tzinfo=UTC).astimezone(_zone(zone))
        return _required(local.replace(tzinfo=None).isoformat())


def read_date(text: str) -> Given:
    """The date in `text`. Seconds are optional, fractions are dropped; with an offset it is an instant (RFC 3339).

    Raises `ValueError` for anything else, including a day that does not exist.
    """
    return _read(str.__str__(text))  # a subclass need not be hashable


@lru_cache(maxsize=256)  # it is read to be judged, and again to be stored
def _read(text: str) -> Given:
    if (found := _GIVEN.fullmatch(text)) is None:
        raise ValueError(text)
    day, minutes, seconds, offset = found.groups()
    if minutes is None:
        return Given(_required(day), is_instant=False)
    written = _required(f"{day}T{minutes}:{seconds or '00'}")
    if offset is None:
        return Given(written, is_instant=False)
    moment = datetime.fromisoformat(written).replace(tzinfo=_offset(offset.upper())).astimezone(UTC)
    return Given(moment.replace(tzinfo=None).isoformat(), is_instant=True)


def on_clock(moment: datetime, zone: str) -> datetime:
    """What a clock in that zone shows at that moment, as a naive datetime.

    Raises `InvalidInput`, naming `time_zone`, if this edition of the time zone database lacks the zone of a task.
    """
    return moment.astimezone(_zone(zone)).replace(tzinfo=None, fold=0)


def written(clock: datetime, like: str) -> str:
    """A clock's time as it is stored: a whole day if `like` is one."""
    return clock.isoformat(timespec="seconds") if has_time(like) else clock.date().isoformat()


def is_readable(value: object) -> bool:
    """Whether `read_date` accepts `value`."""
    try:
        return isinstance(value, str) and len(value) <= _GIVEN_LENGTH and bool(read_date(value))
    except ValueError:
        return False


def needs_zone(*dates: str | None) -> bool:
    """Whether one of these readable dates is an instant: only a time zone says which time of day it is."""
    return any(text is not None and read_date(text).is_instant for text in dates)


@dataclass(frozen=True, slots=True)
class Dates:
    """When a task starts, when it is due, and in which time zone."""

    start_date: str | None
    due_date: str | None
    time_zone: str | None


def settled(start: str | None, due: str | None, zone: str | None, *, keeps_zone: bool = False) -> Dates:
    """Given dates as they are stored. They must be readable, and `zone` valid or None.

    An instant becomes the time that a clock in `zone` shows; without a zone, a time in UTC with the zone `UTC`. Without
    a time of day the zone is dropped, unless `keeps_zone`. Raises `ValueError` for an instant outside `YEARS`.
    """
    if zone is None and needs_zone(start, due):
        zone = "UTC"
    start, due = (None if text is None else read_date(text).in_zone(zone or "UTC") for text in (start, due))
    if not keeps_zone and not any(has_time(written) for written in (start, due) if written is not None):
        zone = None
    return Dates(start, due, zone)


def contradictions(start: str | None, due: str | None) -> Mapping[str, str]:
    """How two stored dates contradict each other: the member at fault, and what it must be."""
    if start is None or due is None:
        return {}
    if has_time(start) != has_time(due):
        return {"start_date": "must be of the same form as due_date: both whole days, or both with a time"}
    return {"start_date": "must not be after due_date"} if start > due else {}


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:  # the task was written with a newer time zone database
        raise InvalidInput([Problem("time_zone", ZONE_OR_NONE_RULE)]) from None


def _exists(written: str) -> bool:
    if "T24" in written:  # midnight at the end of the day, which Python parses from 3.14 on
        return False
    try:
        moment = datetime.fromisoformat(written) if has_time(written) else date.fromisoformat(written)
    except ValueError:
        return False
    return YEARS[0] <= moment.year <= YEARS[1]


def _required(written: str) -> str:
    if not _exists(written):
        raise ValueError(written)
    return written


def _offset(text: str) -> timezone:
    if text == "Z":
        return UTC
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(text)
    span = timedelta(hours=hours, minutes=minutes)
    return timezone(-span if text[0] == "-" else span)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - {"localtime"}  # some machines have it: their own zone, not one of IANA
