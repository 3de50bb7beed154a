"""Dates as their user wrote them: a whole day, or a wall-clock time, with the zone that it is meant in.

A date is text in one of two forms, `2026-10-01` and `2026-10-01T17:00:00`, so that it sorts as it is written: a whole
day comes before its hours. A stored date is never converted; `instant` computes the moment that a wall clock shows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

YEARS: Final = (1900, 2999)
DATE_RULE: Final = (
    f"must be a date such as 2026-10-01, or a date and time such as 2026-10-01T17:00:00, "
    f"of the years {YEARS[0]} to {YEARS[1]}"
)
ZONE_RULE: Final = "must be the name of an IANA time zone, such as Europe/Madrid"
ZONE_LENGTH: Final = 64
_GIVEN_LENGTH: Final = 40

_WRITTEN = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d)?", re.ASCII)
_GIVEN = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d)(?::(\d\d)(?:\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII | re.IGNORECASE
)


def is_date(value: object) -> bool:
    """Whether `value` is a date as it is stored: a day that exists, or a second of it."""
    return isinstance(value, str) and _WRITTEN.fullmatch(value) is not None and _exists(value)


def is_time_zone(value: object) -> bool:
    """Whether `value` names a time zone of the IANA database, exactly as `zoneinfo` spells it."""
    return isinstance(value, str) and len(value) <= ZONE_LENGTH and value in _zones()


def has_time(written: str) -> bool:
    """Whether that date is a wall-clock time rather than a whole day."""
    return "T" in written


def instant(written: str | None, zone: str | None) -> datetime | None:
    """The moment (UTC) at which a clock in `zone` shows that time; None for a whole day, or without a known zone.

    RFC 5545 §3.3.5: where the clock skips that time it moves on by what is skipped; where it comes twice the first
    counts (PEP 495, `fold=0`).
    """
    if written is None or zone is None or not has_time(written):
        return None
    try:
        return datetime.fromisoformat(written).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    except ZoneInfoNotFoundError:  # a newer edition of the database had it when the task was written
        return None


class Given(NamedTuple):
    """A date as somebody gave it: an instant in UTC, or what is stored."""

    written: str
    is_instant: bool

    def in_zone(self, zone: str) -> str:
        """As it is stored, in a task of that zone. Raises `ValueError` where an instant is outside of the years."""
        if not self.is_instant:
            return self.written
        local = datetime.fromisoformat(self.written).replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
        return _required(local.replace(tzinfo=None).isoformat())


def read_date(text: str) -> Given:
    """The date that `text` gives: seconds may be left out, fractions are dropped, and an instant is one with an offset.

    Raises `ValueError` for everything else, a day that does not exist among it.
    """
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
    """What a clock in that zone shows at that moment: naive."""
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def written(clock: datetime, like: str) -> str:
    """What a clock shows as it is stored, a whole day if `like` is one."""
    return clock.isoformat(timespec="seconds") if has_time(like) else clock.date().isoformat()


def is_readable(value: object) -> bool:
    """Whether `read_date` reads it."""
    try:
        return isinstance(value, str) and len(value) <= _GIVEN_LENGTH and bool(read_date(value))
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Dates:
    """When a task starts, when it is due, and in which zone that is meant."""

    start_date: str | None
    due_date: str | None
    time_zone: str | None


def settled(start: str | None, due: str | None, zone: str | None, *, keeps_zone: bool = False) -> Dates:
    """What is stored of dates that are readable, in a zone that exists or none.

    An instant becomes the time that a clock in `zone` shows, or without one a time in UTC, which then is the zone.
    Whole days, and no dates, have no zone, unless `keeps_zone`. Raises `ValueError` where an instant is outside of the
    years.
    """
    given = [None if text is None else read_date(text) for text in (start, due)]
    if zone is None and any(one is not None and one.is_instant for one in given):
        zone = "UTC"
    start, due = (None if one is None else one.in_zone(zone or "UTC") for one in given)
    if not keeps_zone and not any(has_time(written) for written in (start, due) if written is not None):
        zone = None
    return Dates(start, due, zone)


def discord(start: str | None, due: str | None) -> Mapping[str, str]:
    """What is wrong with two stored dates beside each other: the member at fault, and what it must be."""
    if start is None or due is None:
        return {}
    if has_time(start) != has_time(due):
        return {"start_date": "must be of the same form as due_date: both whole days, or both with a time"}
    return {"start_date": "must not be after due_date"} if start > due else {}


def _exists(written: str) -> bool:
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
    return frozenset(available_timezones())
