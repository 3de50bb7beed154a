"""Which of an owner's tasks a listing shows, in which order, and where its next page begins."""

import json
import operator
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Self, TypeAlias
from unicodedata import normalize
from uuid import UUID

from todo_core.errors import InvalidInput, Problem
from todo_core.task import (
    Task,
    TaskId,
    exact,
    is_description,
    is_instant,
    is_title,
    with_line_feeds,
)

PAGE_DEFAULT: Final = 50
PAGE_MOST: Final = 200
LIMIT_RULE: Final = f"must be a whole number from 1 to {PAGE_MOST}"
SEARCH_LENGTH: Final = 100
SEARCH_RULE: Final = (
    f"must be at most {SEARCH_LENGTH} characters, as it is compared too (ß counts as ss),"
    " without control characters other than newline and tab"
)

SortKey: TypeAlias = tuple[str | datetime, UUID] | tuple[UUID]
"""What a task is ordered by: compared as Python compares it, text therefore by code point."""


class Sort(StrEnum):
    """The order of a listing; `-` means descending. Ties are broken by id, in the same direction.

    `created_at` is the order of the ids: they are time-ordered, and so two tasks of one microsecond have a fixed order.
    It never changes. The others do: a task whose `updated_at` or title is changed between two pages moves, and may be
    on both of them or on neither.
    """

    CREATED_AT = "created_at"
    NEWEST = "-created_at"
    UPDATED_AT = "updated_at"
    LAST_UPDATED = "-updated_at"
    TITLE = "title"
    TITLE_DESCENDING = "-title"

    @property
    def descending(self) -> bool:
        """Whether the greatest comes first."""
        return self.value.startswith("-")

    @property
    def field(self) -> str:
        """The task's attribute that is compared."""
        return self.value.removeprefix("-")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last task of a page, as far as its order goes: the next page begins right behind it.

    It names a place, not a task, so it stays good when that task is changed or deleted. A task that is created or
    deleted between two pages neither repeats nor hides another; of one that is changed, see `Sort`.
    """

    sort: Sort
    id: TaskId
    value: str | datetime | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", exact(self.id))
        object.__setattr__(self, "value", exact(self.value))

    @classmethod
    def behind(cls, task: Task, sort: Sort) -> Self:
        """The place right behind `task` in that order."""
        return cls(sort, task.id, None if sort.field == "created_at" else getattr(task, sort.field))

    @property
    def key(self) -> SortKey:
        """What tasks are compared with."""
        return (self.id,) if self.value is None else (self.value, self.id)

    def encode(self) -> str:
        """This place as opaque text that is safe in a URL."""
        value = self.value.isoformat() if isinstance(self.value, datetime) else self.value
        text = json.dumps([self.sort.value, self.id.hex, value], ensure_ascii=False, separators=(",", ":"))
        return urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """The place that `encode` wrote down. Raises `InvalidInput` for anything else."""
        try:
            sort, hex_id, value = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            cursor = cls(Sort(sort), TaskId(UUID(hex=hex_id)), _value(Sort(sort), value))
        except (ValueError, TypeError, AttributeError, RecursionError) as problem:
            raise _bad_cursor() from problem
        if cursor.encode() != text:  # one spelling only: base64 and JSON would each forgive a few
            raise _bad_cursor()
        return cursor


def _value(sort: Sort, value: object) -> str | datetime | None:
    if sort.field == "created_at" and value is None:
        return None
    if sort.field == "title" and isinstance(value, str) and is_title(value):
        return value
    if sort.field == "updated_at" and isinstance(value, str) and is_instant(moment := datetime.fromisoformat(value)):
        return moment
    raise ValueError(value)


def _bad_cursor() -> InvalidInput:
    return InvalidInput([Problem("cursor", "must be the next_cursor of an earlier page with the same sort")])


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuery:
    """One page of one owner's tasks: the filters, the order, how many (1 to 200), and behind which place.

    Raises `InvalidInput`, naming each parameter at fault as the HTTP API spells it.
    """

    completed: bool | None = None
    search: str | None = None
    sort: Sort = Sort.NEWEST
    limit: int = PAGE_DEFAULT
    after: Cursor | None = None
    needle: str | None = field(init=False, repr=False, compare=False)
    """What `searchable` text must contain; None where nothing is searched for."""

    def __post_init__(self) -> None:
        # What is stored has LF only; a search that came with CR LF must find it.
        object.__setattr__(self, "search", with_line_feeds(self.search))
        problems = []
        if not 1 <= self.limit <= PAGE_MOST:
            problems.append(Problem("limit", LIMIT_RULE))
        if not is_search(self.search):
            problems.append(Problem("q", SEARCH_RULE))
        if self.after is not None and self.after.sort is not self.sort:
            problems.extend(_bad_cursor().problems)
        if problems:
            raise InvalidInput(problems)
        object.__setattr__(self, "needle", folded(self.search) if self.search else None)

    def matches(self, task: Task) -> bool:
        """Whether the filters let `task` through."""
        if self.completed is not None and task.completed is not self.completed:
            return False
        return self.needle is None or self.needle in searchable(task)

    def key(self, task: Task) -> SortKey:
        """What `task` is ordered by."""
        return Cursor.behind(task, self.sort).key

    def page(self, ordered: Sequence[Task]) -> "Page":
        """The page, from the first matching tasks in order: give one more than `limit`, where there is one."""
        more = len(ordered) > self.limit
        items = tuple(ordered[: self.limit])
        return Page(items, Cursor.behind(items[-1], self.sort) if more else None)

    def page_of(self, tasks: Iterable[Task]) -> "Page":
        """The page, from all of an owner's tasks in any order: what every storage must give, said in plain Python."""
        ordered = sorted(filter(self.matches, tasks), key=self.key, reverse=self.sort.descending)
        if (after := self.after) is not None:
            behind = operator.lt if self.sort.descending else operator.gt
            ordered = [task for task in ordered if behind(self.key(task), after.key)]
        return self.page(ordered[: self.limit + 1])


@dataclass(frozen=True, slots=True)
class Page:
    """Some of an owner's tasks in order, and the place behind them if there are more."""

    items: tuple[Task, ...]
    next: Cursor | None


def is_search(text: str | None) -> bool:
    """Whether a listing can search for `text`; None searches for nothing."""
    return text is None or (is_description(text) and len(text) <= SEARCH_LENGTH >= len(folded(text)))


def searchable(task: Task) -> str:
    """The text that a search looks into: title and description, `folded`.

    The two are parted by a character that neither of them, nor a search, can hold; and so is what they are folded by
    from them: a storage that finds another character in front has a text that an earlier version folded.
    """
    return folded(f"\x1e{task.title}\x1f{task.description or ''}")


def folded(text: str) -> str:
    """The text without its differences of case and of composition: equal for all spellings that a search finds alike.

    Full case folding (Unicode §3.13) between two NFKC normalizations (UAX #15): the first so that no spelling folds
    otherwise than another, the second since folding decomposes. Folding it again changes nothing.
    """
    return normalize("NFKC", normalize("NFKC", text).casefold())
