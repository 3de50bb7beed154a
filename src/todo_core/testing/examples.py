"""Owners, moments, tasks and texts to test with, including awkward ones."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import count
from operator import mul
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

from hypothesis import strategies as st

from todo_core.due import contradictions, has_time
from todo_core.idempotency import KEY_LENGTH, IdempotencyKey
from todo_core.lists import NAME_LENGTH, TaskList, is_name
from todo_core.queries import SEARCH_LENGTH, Cursor, Sort, TaskQuery, is_search
from todo_core.recurrence import (
    COUNT_MAX,
    FREQUENCIES,
    INTERVAL_MAX,
    RECURRENCE_FROM,
    RULE_LENGTH,
    Frequency,
    Recurrence,
    Weekday,
)
from todo_core.task import (
    DESCRIPTION_LENGTH,
    PRIORITIES,
    TAG_LENGTH,
    TITLE_LENGTH,
    VERSION_MAX,
    ListId,
    OwnerId,
    Settable,
    Task,
    TaskId,
    distinct_tags,
    is_description,
    is_tag,
    is_title,
)
from todo_core.versioned import Version

ANN: Final = OwnerId("ann")
BOB: Final = OwnerId("bob")
NOON: Final = datetime(2026, 11, 5, 12, 0, tzinfo=UTC)
LATER: Final = datetime(2026, 11, 5, 12, 30, 0, 123456, tzinfo=UTC)
FIRST_MOMENT: Final = datetime(1, 1, 1, tzinfo=UTC)
LAST_MOMENT: Final = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)

_WORDS = r"""
% _ \ \% ' '' " ` $1 $$ :owner %(owner)s %s {} {NULL} NULL null , ; -- /* .* ? [a] é É e Z ~ 0
ß SS ss ẞ İ I ı ſ k K Σ ς σ ŉ ʼn ΐ ﬃ FFI ﬀ Ǆ ǅ ǆ Ⓐ ⓐ Å 日本 א 😀 𐐀 𐐨
"""
_UNSEEN = ("i\u0307", "\u212a", "\u212b", "e\u0301", "\xa0", "\u1680", "\u200b", "\u200d", "\u2028", "\u202e", "\u3000")
_EDGES = ("\ue000", "\ufeff", "\uffee", "\ufffd", "\uffff", "\U00010000", "\U0010ffff", " ", "a ", " a")

NASTY: Final = (*_WORDS.split(), *_UNSEEN, *_EDGES)
"""Texts that storages get wrong: wildcards, quotes, placeholders, letters whose case folding is not simple."""

NASTY_KEYS: Final = tuple(
    map(IdempotencyKey, ["a", "A", "a ", " a", " ", "%", "_", "\\", '"', "'", "{}", "null", ",", "~" * KEY_LENGTH])
)
"""Keys of every kind, all different."""


class _Autumn(tzinfo):
    """A zone in the repeated hour in autumn: no moment in it equals one of another zone (PEP 495)."""

    def utcoffset(self, at: datetime | None) -> timedelta:
        return timedelta(hours=0 if at is not None and at.fold else 1)

    def dst(self, at: datetime | None) -> timedelta:
        return self.utcoffset(at)

    def tzname(self, _: datetime | None) -> str:
        return "autumn"


class _Text(str):
    """Like the string types of some libraries."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another text"


class _Number(int):
    """Like a member of an `IntEnum`."""

    def __str__(self) -> str:
        return "another number"


class _Moment(datetime):
    """Like the timestamps of a data frame."""


class _Id(UUID):
    """Like the UUIDs of some database drivers."""


class _Tuple(tuple[Any, ...]):
    """Like a named tuple."""

    __slots__ = ()


def alike(value: Any) -> Any:
    """An equal value of a subclass; for a moment, in another zone that has the same offset at that moment."""
    match value:
        case str():
            return _Text(value)
        case int():
            return _Number(value)
        case UUID():
            return _Id(int=value.int)
        case tuple():
            return _Tuple(map(alike, value))
        case datetime():
            return _Moment.combine(value.date(), value.time(), _Autumn()).replace(fold=1)
    return value


T = TypeVar("T")


def of_any_kind(values: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """These values, and equal ones of subclasses."""
    return st.one_of(values, values.map(alike))


_numbers = count(1)


def make_id(number: int) -> TaskId:
    """The id with that number. Ids sort by number."""
    return TaskId(UUID(int=0x0198_0000_0000_7000_8000_000000000000 + number))


def make_fresh() -> str:
    """A position that sorts after those of all things made before."""
    return make_id(next(_numbers)).hex


def make_owner(name: str = "owner") -> OwnerId:
    """A new owner, of whom the storage has nothing."""
    return OwnerId(f"{name}-{uuid4()}")


def make_task(**values: Any) -> Task:
    """A task of Ann's, created at noon, with these members. Later ones have greater ids."""
    at = values.get("created_at", NOON)
    defaults = {"id": make_id(next(_numbers)), "owner": ANN, "title": "Buy milk", "created_at": at, "updated_at": at}
    return Task(**{**defaults, **values})


def make_list(**values: Any) -> TaskList:
    """A list of Ann's, created at noon, with these members. Later ones have greater ids."""
    at = values.get("created_at", NOON)
    defaults = {"id": make_id(next(_numbers)), "owner": ANN, "name": "Groceries", "created_at": at, "updated_at": at}
    return TaskList(**{**defaults, **values})


def _texts(max_length: int, lines: str, fits: Callable[[str], bool]) -> st.SearchStrategy[str]:
    anything = st.text(st.characters(exclude_categories=["Cc", "Cs"], include_characters=lines), max_size=10)
    known = st.lists(st.sampled_from([*NASTY, *"abAB "]), max_size=6).map("".join)
    return st.one_of(known, anything).map(lambda text: text[:max_length]).filter(fits)


titles: Final = of_any_kind(_texts(TITLE_LENGTH, "", is_title))
"""Titles of every kind."""

descriptions: Final = of_any_kind(st.none() | _texts(DESCRIPTION_LENGTH, "\n\t", is_description))
"""Descriptions of every kind."""

searches: Final = of_any_kind(
    st.one_of(
        _texts(SEARCH_LENGTH, "\n\t", is_search),
        st.builds(mul, st.sampled_from(["a", "ab", "ΐ", "a\n", "%"]), st.integers(1, SEARCH_LENGTH)).filter(is_search),
    )
)
"""Texts that a listing can search for, including repetitive ones."""

moments: Final = of_any_kind(
    st.one_of(st.sampled_from([FIRST_MOMENT, NOON, LATER, LAST_MOMENT]), st.datetimes(timezones=st.just(UTC)))
)
"""Any point in time that a task can hold."""

versions: Final = of_any_kind(st.sampled_from([Version(1), Version(2), Version(2**31), Version(VERSION_MAX)]))
"""Versions that a task can be at."""


tags: Final[st.SearchStrategy[Any]] = st.lists(of_any_kind(_texts(TAG_LENGTH, "", is_tag)), max_size=4).map(
    distinct_tags
)
"""A task's tags, of every kind."""

priorities: Final[st.SearchStrategy[Any]] = of_any_kind(st.sampled_from([*PRIORITIES, None]))
"""Every priority."""

_DAYS: Final = st.sampled_from(["1900-01-01", "2024-02-29", "2026-10-01", "2026-10-02", "2999-12-31"])
_TIMES: Final = st.sampled_from(["T00:00:00", "T02:30:00", "T23:59:59"])
dates: Final = of_any_kind(st.one_of(_DAYS, st.builds("{}{}".format, _DAYS, _TIMES)))
"""Whole days and wall-clock times."""

zones: Final = of_any_kind(st.sampled_from([None, "UTC", "Europe/Madrid", "Pacific/Apia"]))
"""Time zones."""

_FEW: Final = st.integers(1, 4)
_INTERVALS: Final = _FEW | st.sampled_from([7, 12, 14, 27, 52, INTERVAL_MAX]) | st.integers(1, INTERVAL_MAX)
_COUNTS: Final = st.integers(1, 9) | st.sampled_from([100, 5000, COUNT_MAX])
_UNTILS: Final = st.builds(
    "{:%Y%m%d}{}".format,
    st.dates(date(1900, 1, 1), date(2999, 12, 31)),
    st.sampled_from(["", "T000000", "T170000", "T235959Z"]),
)


def _some(numbers: st.SearchStrategy[Any], max_size: int = 4) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.sets(numbers, max_size=max_size).map(sorted).map(tuple) | st.just(())


@st.composite
def recurrences(draw: st.DrawFn, frequencies: Sequence[Frequency] = FREQUENCIES) -> Recurrence:
    """Recurrence rules from the whole grammar, of these frequencies; some never recur."""
    frequency = draw(st.sampled_from(frequencies))
    months = draw(_some(st.integers(1, 12)))
    highest = {"DAILY": 0, "WEEKLY": 0, "MONTHLY": 5, "YEARLY": 5 if months else 53}[frequency]
    ordinals = st.just(0) | st.integers(-highest, highest)
    month_days = () if frequency == "WEEKLY" else draw(_some(st.integers(-31, 31).filter(bool), 31))
    weekdays = draw(_some(st.builds(Weekday, ordinals, st.integers(0, 6)), 7))
    chosen = months or month_days or weekdays
    rule = Recurrence(
        frequency=frequency,
        interval=draw(_INTERVALS),
        months=months,
        month_days=month_days,
        weekdays=weekdays,
        positions=draw(_some((_FEW | st.integers(-366, 366)).filter(bool), 3)) if chosen else (),
        week_start=draw(st.integers(0, 6)),
        count=(count := draw(st.none() | _COUNTS)),
        until=None if count else draw(st.none() | _UNTILS),
    )
    return rule if len(str(rule)) <= RULE_LENGTH else replace(rule, month_days=())


MEMBERS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "title": titles,
    "description": descriptions,
    "priority": priorities,
    "tags": tags,
    "start_date": st.none() | dates,
    "due_date": st.none() | dates,
    "time_zone": zones,
    "recurrence": of_any_kind(st.none() | recurrences().map(str)),
    "recurrence_from": of_any_kind(st.sampled_from(RECURRENCE_FROM)),
    "list_id": st.none(),
    "parent_id": st.none(),
    "position": of_any_kind(st.just("")),
    "anchor": st.none() | dates,
    "rescheduled_from": st.none() | dates,
    "completed_at": st.none() | moments,
    "version": versions,
    "created_at": moments,
    "updated_at": moments,
}
"""Values of each member of a task, except id and owner; without list and parent, and with a unique position."""

SETTABLE: Final = {name: MEMBERS[name] for name in MEMBERS if name in Settable.__annotations__} | {
    "completed": st.booleans()
}
"""Values that each member can be set to; two dates may contradict each other."""


@st.composite
def tasks_of(draw: st.DrawFn, owner: OwnerId, ids: st.SearchStrategy[TaskId]) -> Task:
    """Tasks of that owner."""
    values = {name: draw(strategy) for name, strategy in MEMBERS.items()}
    if contradictions(values["start_date"], values["due_date"]):
        values["start_date"] = None
    due = values["due_date"]
    if due is None or values["recurrence"] is None:
        values |= dict.fromkeys(("recurrence", "anchor", "rescheduled_from"))
    elif values["anchor"] is None or has_time(values["anchor"]) != has_time(due):
        values["anchor"] = due
    return Task(id=draw(ids), owner=owner, **values)


list_names: Final = of_any_kind(_texts(NAME_LENGTH, "", is_name))
"""Names of lists, of every kind."""


def lists_of(owner: OwnerId, ids: st.SearchStrategy[TaskId]) -> st.SearchStrategy[TaskList]:
    """Lists of that owner."""
    return st.builds(
        TaskList,
        id=ids.map(ListId),
        owner=st.just(owner),
        name=list_names,
        color=of_any_kind(st.sampled_from([None, "#000000", "#ff8800"])),
        **{name: MEMBERS[name] for name in ("position", "version", "created_at", "updated_at")},
    )


@st.composite
def settings_of(draw: st.DrawFn) -> dict[str, Any]:
    """Some members with values that a user may set."""
    return {name: draw(SETTABLE[name]) for name in draw(st.sets(st.sampled_from(sorted(SETTABLE)), max_size=4))}


_SORTED_BY: Final[dict[str, st.SearchStrategy[Any]]] = {
    "created_at": st.none(),
    "updated_at": moments,
    "title": titles,
    "due_date": st.none() | dates,
    "priority": of_any_kind(st.sampled_from([None, *range(len(PRIORITIES))])),
    "position": st.sampled_from(["0", "i", "zz"]),
}


_NOWHERE: Final[list[Any]] = [None, "none"]


@st.composite
def queries(draw: st.DrawFn, ids: st.SearchStrategy[TaskId]) -> TaskQuery:
    """Queries of every shape, with cursors where there may be no task."""
    sort = draw(st.sampled_from(Sort))
    return TaskQuery(
        completed=draw(st.sampled_from([None, True, False])),
        search=draw(st.none() | searches),
        priorities=draw(st.none() | st.frozensets(st.sampled_from([*PRIORITIES, None]), min_size=1)),
        tags=draw(st.just(()) | tags),
        due_from=draw(st.none() | dates),
        due_before=draw(st.none() | dates),
        list_id=draw(st.one_of(st.sampled_from(_NOWHERE), ids)),
        parents=draw(st.sampled_from(_NOWHERE) | st.frozensets(ids, max_size=2)),
        sort=sort,
        limit=draw(st.sampled_from([1, 2, 3, 50, 200, None])),
        after=draw(st.none() | st.builds(Cursor, st.just(sort), ids, _SORTED_BY[sort.field])),
    )
