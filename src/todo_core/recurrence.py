"""Recurrence rules: the part of RFC 5545's RRULE (§3.3.10) that names days.

A rule is parsed from text and stored as its canonical text. `todo_core.ports.RecurrenceCalendar` computes its
occurrences; `todo_core.recurring` says when a task moves to the next one.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from todo_core.due import YEARS

Frequency: TypeAlias = Literal["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]
RecurrenceFrom: TypeAlias = Literal["due_date", "completion"]
"""What the next occurrence is counted from."""

FREQUENCIES: Final[tuple[Frequency, ...]] = get_args(Frequency)
RECURRENCE_FROM: Final[tuple[RecurrenceFrom, ...]] = get_args(RecurrenceFrom)
WEEKDAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
RULE_LENGTH: Final = 255
INTERVAL_MAX: Final = 999
COUNT_MAX: Final = 999_999
RULE_RULE: Final = (
    f"must be an RFC 5545 recurrence rule such as FREQ=WEEKLY;BYDAY=MO, of at most {RULE_LENGTH} characters: "
    "NAME=VALUE parts separated by ;, one of them FREQ"
)
FROM_RULE: Final = f"must be {' or '.join(RECURRENCE_FROM)}"


class Weekday(NamedTuple):
    """A day of the week, 0 for Monday. `ordinal`: which one in the month or year, from the end if negative; 0: all."""

    ordinal: int
    weekday: int

    def __str__(self) -> str:
        return f"{self.ordinal or ''}{WEEKDAYS[self.weekday]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """A recurrence rule. `str` returns its canonical text, which `read_recurrence` parses to an equal rule.

    `until` is a date as RFC 5545 writes it: `20261231`, `20261231T170000`, or the latter with `Z`.
    """

    frequency: Frequency
    interval: int = 1
    months: tuple[int, ...] = ()
    month_days: tuple[int, ...] = ()
    weekdays: tuple[Weekday, ...] = ()
    positions: tuple[int, ...] = ()
    week_start: int = 0
    count: int | None = None
    until: str | None = None

    def __str__(self) -> str:
        parts = [f"{name}={part.write(value)}" for name, part in PARTS.items() if (value := part.of(self)) is not None]
        return ";".join(parts)

    @property
    def names_days(self) -> bool:
        """Whether it names days within its periods; otherwise the anchor determines the day."""
        return bool(self.weekdays or self.month_days)


class NoRecurrence(ValueError):
    """The text is not a valid rule. Each of `sentences` names one fault and what would be valid."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("; ".join(self.sentences))


@lru_cache(maxsize=1024)
def read_recurrence(text: str) -> Recurrence:
    """Parse a rule, with or without `RRULE:`, in any case. Raises `NoRecurrence`."""
    if len(text) > RULE_LENGTH or not text.isascii():
        raise NoRecurrence([RULE_RULE])
    given = [part.partition("=") for part in text.upper().removeprefix("RRULE:").split(";")]
    names = [name for name, _, _ in given]
    wrong = list(_unknown(names))
    values: dict[str, Any] = {}
    for name, _, value in given:
        if (part := PARTS.get(name)) is not None:
            try:
                values[part.member] = part.read(value)
            except ValueError:
                wrong.append(f"{name} must be {part.sentence}")
    if "FREQ" not in names:
        wrong.insert(0, RULE_RULE)
    if not wrong:
        wrong = list(_contradictions(rule := Recurrence(**values)))
        if not wrong:
            return rule
    raise NoRecurrence(wrong)


def recurrence_problems(value: object) -> tuple[str, ...]:
    """The faults of `value` as a task's rule; None has none."""
    if value is None:
        return ()
    if not isinstance(value, str):
        return (RULE_RULE,)
    try:
        read_recurrence(value)
    except NoRecurrence as problem:
        return problem.sentences
    return ()


def canonical(value: object) -> object:
    """The canonical text of a rule. An invalid value is returned unchanged, for `is_recurrence` to refuse."""
    return (
        value if not isinstance(value, str) or recurrence_problems(value) else str(read_recurrence(str.__str__(value)))
    )


def is_recurrence(value: object) -> bool:
    """Whether `value` is a rule's canonical text, or None."""
    return not recurrence_problems(value) and canonical(value) == value


def until_of(until: str) -> tuple[datetime, bool]:
    """The last moment of a rule's `until`, in wall-clock time, and whether that is UTC."""
    day, _, clock = until.partition("T")
    end = time(23, 59, 59) if not clock else datetime.strptime(clock[:6], "%H%M%S").time()
    return datetime.combine(datetime.strptime(day, "%Y%m%d").date(), end), until.endswith("Z")


def _unknown(names: list[str]) -> Iterator[str]:
    for name in dict.fromkeys(names):
        if name not in PARTS:
            shown = name if name.isalpha() and len(name) <= 20 else "other parts"
            yield f"must not have {shown}: the parts are {', '.join(PARTS)}"
        elif names.count(name) > 1:
            yield f"must have {name} once"


def _contradictions(rule: Recurrence) -> Iterator[str]:
    """Contradictions between parts."""
    if rule.count is not None and rule.until is not None:
        yield "must have COUNT or UNTIL, not both"
    if rule.frequency == "WEEKLY" and rule.month_days:
        yield "must not have BYMONTHDAY beside FREQ=WEEKLY: use BYDAY, or FREQ=MONTHLY"
    if rule.positions and not (rule.months or rule.names_days):
        yield "must have BYSETPOS beside BYDAY, BYMONTHDAY or BYMONTH only: it chooses from the days that these name"
    if (greatest := max((abs(day.ordinal) for day in rule.weekdays), default=0)) > 0:
        if rule.frequency in ("DAILY", "WEEKLY"):
            yield f"must have days without numbers in BYDAY beside FREQ={rule.frequency}: MO, not 1MO"
        elif greatest > 5 and (rule.frequency == "MONTHLY" or rule.months):
            yield "must have numbers up to 5 in BYDAY, or -5, beside FREQ=MONTHLY or BYMONTH: a month has no more"


_NUMBER = re.compile(r"[+-]?\d{1,3}", re.ASCII)
_WEEKDAY = re.compile(rf"([+-]?\d{{1,2}})?({'|'.join(WEEKDAYS)})", re.ASCII)
_UNTIL = re.compile(r"\d{8}(?:T\d{6}Z?)?", re.ASCII)


def _numbers(minimum: int, maximum: int) -> Callable[[str], tuple[int, ...]]:
    """A parser of a list of numbers from `minimum` to `maximum`, without 0."""

    def read(text: str) -> tuple[int, ...]:
        numbers = sorted({int(_required(_NUMBER, each)[0]) for each in text.split(",")})
        if not all(minimum <= number <= maximum and number != 0 for number in numbers):
            raise ValueError(text)
        return tuple(numbers)

    return read


def _number(maximum: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= maximum):
            raise ValueError(text)
        return int(text)

    return read


def _frequency(text: str) -> str:
    if text not in FREQUENCIES:
        raise ValueError(text)
    return text


def _weekdays(text: str) -> tuple[Weekday, ...]:
    return tuple(sorted({_weekday(each) for each in text.split(",")}))


def _weekday(text: str) -> Weekday:
    ordinal, day = _required(_WEEKDAY, text).groups()
    if ordinal is not None and not 1 <= abs(int(ordinal)) <= 53:
        raise ValueError(text)
    return Weekday(int(ordinal or 0), WEEKDAYS.index(day))


def _until(text: str) -> str:
    _required(_UNTIL, text)
    if not YEARS[0] <= until_of(text)[0].year <= YEARS[1]:
        raise ValueError(text)
    return text


def _required(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    if (found := pattern.fullmatch(text)) is None:
        raise ValueError(text)
    return found


def _listed(values: Iterable[object]) -> str:
    return ",".join(map(str, values))


class _Part(NamedTuple):
    """One part of a rule: its member, parser, requirement, writer, and the value that means it is absent."""

    member: str
    read: Callable[[str], Any]
    sentence: str
    write: Callable[[Any], str] = str
    absent: object = None

    def of(self, rule: Recurrence) -> Any:
        """Its value in a rule, or None if it is absent."""
        value = getattr(rule, self.member)
        return None if value == self.absent else value


PARTS: Final[Mapping[str, _Part]] = {
    "FREQ": _Part("frequency", _frequency, f"{', '.join(FREQUENCIES[:-1])} or {FREQUENCIES[-1]}"),
    "INTERVAL": _Part("interval", _number(INTERVAL_MAX), f"a whole number from 1 to {INTERVAL_MAX}", absent=1),
    "BYMONTH": _Part("months", _numbers(1, 12), "months from 1 to 12, with commas between them", _listed, ()),
    "BYMONTHDAY": _Part(
        "month_days", _numbers(-31, 31), "days from 1 to 31, or -1 to -31 from the month's end", _listed, ()
    ),
    "BYDAY": _Part(
        "weekdays",
        _weekdays,
        f"days of {', '.join(WEEKDAYS)}, with or without a number, as in MO,WE or -1FR",
        _listed,
        (),
    ),
    "BYSETPOS": _Part(
        "positions", _numbers(-366, 366), "numbers from 1 to 366, or -1 to -366 from the end", _listed, ()
    ),
    "WKST": _Part(
        "week_start", lambda text: WEEKDAYS.index(text), f"one of {', '.join(WEEKDAYS)}", WEEKDAYS.__getitem__, 0
    ),
    "COUNT": _Part("count", _number(COUNT_MAX), f"a whole number from 1 to {COUNT_MAX}"),
    "UNTIL": _Part(
        "until",
        _until,
        f"a date such as 20261231, 20261231T170000 or 20261231T170000Z, of the years {YEARS[0]} to {YEARS[1]}",
    ),
}
"""The parts of a rule, in the order of the canonical text."""
