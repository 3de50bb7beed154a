"""Listings of an owner's tasks: filters, order, pages and cursors; and the summary."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias
from uuid import UUID

from todo_core.due import DATE_RULE, is_date
from todo_core.errors import InvalidInput, Problem
from todo_core.task import (
    PRIORITIES,
    TAGS_MAX,
    TAGS_RULE,
    ListId,
    Priority,
    Task,
    TaskId,
    exact,
    is_description,
    is_id,
    is_instant,
    is_position,
    is_tag,
    is_title,
    with_line_feeds,
)
from todo_core.text import folded

PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 200
SEARCH_LENGTH: Final = 100
LIMIT_RULE: Final = f"must be a whole number from 1 to {PAGE_MAX}"
SEARCH_RULE: Final = (
    f"must be at most {SEARCH_LENGTH} characters, also after case folding (ß counts as ss),"
    " without control characters other than newline and tab"
)
_CURSOR_RULE: Final = "must be the next_cursor of an earlier page with the same sort"

SortValue: TypeAlias = str | int | datetime
"""A sort key, compared as Python does: text by code point. Ties are broken by the task's id."""


class Sort(StrEnum):
    """The order of a listing; `-` means descending. Ties are broken by id, in the same direction.

    `created_at` sorts by id: ids are ordered by their timestamps, also those that clients chose, and never change. In
    the other orders, a task whose sort value changes between two pages may be on both of them or on neither. Tasks
    without a value come last in both directions.
    """

    CREATED_AT = "created_at"
    NEWEST = "-created_at"
    UPDATED_AT = "updated_at"
    LAST_UPDATED = "-updated_at"
    TITLE = "title"
    TITLE_DESCENDING = "-title"
    DUE_DATE = "due_date"
    DUE_DATE_DESCENDING = "-due_date"
    PRIORITY = "priority"
    PRIORITY_DESCENDING = "-priority"
    POSITION = "position"
    POSITION_DESCENDING = "-position"

    @property
    def descending(self) -> bool:
        """Whether the greatest value comes first."""
        return self.value.startswith("-")

    @property
    def field(self) -> str:
        """The task's attribute that is sorted by."""
        return self.value.removeprefix("-")


class _Order(NamedTuple):
    """A task's sort value, and a check for values that a cursor may hold."""

    value_of: Callable[[Task], SortValue | None]
    is_value: Callable[[object], bool]


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < len(PRIORITIES)


ORDERS: Final[Mapping[str, _Order]] = {
    "created_at": _Order(lambda _: None, lambda value: value is None),
    "updated_at": _Order(lambda task: task.updated_at, is_instant),
    "title": _Order(lambda task: task.title, is_title),
    "due_date": _Order(lambda task: task.due_date, lambda value: value is None or is_date(value)),
    "priority": _Order(
        lambda task: None if task.priority is None else PRIORITIES.index(task.priority),
        lambda value: value is None or _is_rank(value),
    ),
    "position": _Order(lambda task: task.position, is_position),
}
"""The sort orders, by `Sort.field`."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The sort value and id of a page's last task: the next page starts after them.

    It stays valid when that task is changed or deleted. Tasks created or deleted between two pages neither repeat nor
    hide others; for tasks that are changed see `Sort`. `value` is None if the task has no sort value, or the order is
    that of the ids.
    """

    sort: Sort
    id: TaskId
    value: SortValue | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", exact(self.id))
        object.__setattr__(self, "value", exact(self.value))

    @classmethod
    def behind(cls, task: Task, sort: Sort) -> Self:
        """The cursor just after `task` in that order."""
        return cls(sort, task.id, ORDERS[sort.field].value_of(task))

    def precedes(self, task: Task) -> bool:
        """Whether `task` comes after this cursor."""
        value = ORDERS[self.sort.field].value_of(task)
        if value is None or self.value is None:
            if (value is None) is not (self.value is None):
                return value is None  # tasks without a value come last
            return task.id < self.id if self.sort.descending else task.id > self.id
        here, there = (self.value, self.id), (value, task.id)
        return there < here if self.sort.descending else there > here

    def encode(self) -> str:
        """The cursor as opaque text that is safe in a URL."""
        value = self.value.isoformat() if isinstance(self.value, datetime) else self.value
        text = json.dumps([self.sort.value, self.id.hex, value], ensure_ascii=False, separators=(",", ":"))
        return urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """The cursor from what `encode` returned. Raises `InvalidInput` for anything else."""
        try:
            sort, hex_id, value = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            cursor = cls(Sort(sort), TaskId(UUID(hex=hex_id)), _value(Sort(sort), value))
        except (ValueError, TypeError, AttributeError, RecursionError) as problem:
            raise _bad_cursor() from problem
        if cursor.encode() != text:  # base64 and JSON accept several spellings of one value; only one is valid
            raise _bad_cursor()
        return cursor


def _value(sort: Sort, value: Any) -> SortValue | None:
    if sort.field == "updated_at":
        value = datetime.fromisoformat(value)
    if not ORDERS[sort.field].is_value(value):
        raise ValueError(value)
    return value  # type: ignore[no-any-return]  # checked above


def _bad_cursor() -> InvalidInput:
    return InvalidInput([Problem("cursor", _CURSOR_RULE)])


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuery:
    """One page of one owner's tasks: filters, which must all match, the order, the page size and the cursor.

    `priorities` matches tasks with any of these, None a task without one; `tags` matches tasks with all of these,
    ignoring case; `due_from` (inclusive) and `due_before` (exclusive) are compared with the text of `due_date`;
    `list_id` matches tasks in that list, `parents` direct subtasks of any of these, and `NONE` tasks in no list, or
    below no task. A `limit` of None means no limit. Raises `InvalidInput`, naming each parameter at fault as the HTTP
    API spells it.
    """

    completed: bool | None = None
    search: str | None = None
    priorities: frozenset[Priority | None] | None = None
    tags: tuple[str, ...] = ()
    due_from: str | None = None
    due_before: str | None = None
    list_id: ListId | Literal["none"] | None = None
    parents: frozenset[TaskId] | Literal["none"] | None = None
    sort: Sort = Sort.NEWEST
    limit: int | None = PAGE_DEFAULT
    after: Cursor | None = None

    def __post_init__(self) -> None:
        # Stored text has LF only; a search with CR LF must find it.
        object.__setattr__(self, "search", with_line_feeds(self.search))
        given: Any = self  # callers need not check types
        right = {
            "limit": given.limit is None or (isinstance(given.limit, int) and 1 <= given.limit <= PAGE_MAX),
            "q": is_search(given.search),
            "completed": given.completed is None or isinstance(given.completed, bool),
            "priority": given.priorities is None or _are(given.priorities, _is_level),
            "tag": isinstance(given.tags, (tuple, list))
            and len(given.tags) <= TAGS_MAX
            and all(map(is_tag, given.tags)),
            "due_from": given.due_from is None or is_date(given.due_from),
            "due_before": given.due_before is None or is_date(given.due_before),
            "list_id": given.list_id is None or given.list_id == NONE or is_id(given.list_id),
            "parent_id": given.parents is None or given.parents == NONE or _are(given.parents, is_id),
            "sort": isinstance(given.sort, Sort),
            "cursor": given.after is None or (isinstance(given.after, Cursor) and given.after.sort is given.sort),
        }
        if not all(right.values()):
            raise InvalidInput([Problem(name, _RULES[name]) for name, holds in right.items() if not holds])

    @property
    def filters(self) -> dict[str, Any]:
        """The filters that this query sets, by name in `FILTERS`, with the wanted value of each."""
        wanted = {name: filter_.wanted(self) for name, filter_ in FILTERS.items()}
        return {name: value for name, value in wanted.items() if value is not None}

    def page(self, ordered: Sequence[Task]) -> "Page":
        """The page, from the first matching tasks in order: pass one more than `limit`, if there is one."""
        more = self.limit is not None and len(ordered) > self.limit
        items = tuple(ordered[: self.limit])
        return Page(items, Cursor.behind(items[-1], self.sort) if more else None)

    def page_of(self, tasks: Iterable[Task]) -> "Page":
        """The page, computed from all of an owner's tasks in any order: the reference for every storage."""
        return self.page(self.ordered(self.matching(tasks))[: self.limit and self.limit + 1])

    def matching(self, tasks: Iterable[Task]) -> list[Task]:
        """Those of these tasks that the filters and the cursor let through."""
        found = list(tasks)
        for name, wanted in self.filters.items():
            matches = FILTERS[name].matches
            found = [task for task in found if matches(task, wanted)]
        return found if self.after is None else list(filter(self.after.precedes, found))

    def ordered(self, tasks: Iterable[Task]) -> list[Task]:
        """The tasks in this query's order."""
        value_of = ORDERS[self.sort.field].value_of
        found = sorted(tasks, key=lambda task: task.id.int, reverse=self.sort.descending)
        if self.sort.field == "created_at":
            return found
        have = [task for task in found if value_of(task) is not None]
        have.sort(key=value_of, reverse=self.sort.descending)  # type: ignore[arg-type]  # of one kind; stable
        return have + [task for task in found if value_of(task) is None]


def _are(values: object, check: Callable[[object], bool]) -> bool:
    """Whether `values` is a set of such values."""
    return isinstance(values, (frozenset, set)) and all(map(check, values))


def _is_level(value: object) -> bool:
    return value is None or value in PRIORITIES


@dataclass(frozen=True, slots=True)
class Page:
    """Some of an owner's tasks in order, and the cursor of the next page, if there is one."""

    items: tuple[Task, ...]
    next: Cursor | None


class _Filter(NamedTuple):
    """A query's wanted value, None if it does not filter, and whether a task matches it."""

    wanted: Callable[[TaskQuery], Any]
    matches: Callable[[Task, Any], bool]


FILTERS: Final[Mapping[str, _Filter]] = {
    "completed": _Filter(lambda query: query.completed, lambda task, wanted: task.completed is wanted),
    "search": _Filter(lambda query: folded(query.search or "") or None, lambda task, part: part in searchable(task)),
    "priorities": _Filter(
        lambda query: query.priorities and sorted(each or NONE for each in query.priorities),
        lambda task, wanted: (task.priority or NONE) in wanted,
    ),
    "tags": _Filter(
        lambda query: sorted(set(map(folded, query.tags))) or None,
        lambda task, wanted: set(map(folded, task.tags)).issuperset(wanted),
    ),
    "due_from": _Filter(
        lambda query: query.due_from, lambda task, first: task.due_date is not None and task.due_date >= first
    ),
    "due_before": _Filter(
        lambda query: query.due_before, lambda task, end: task.due_date is not None and task.due_date < end
    ),
    "list_id": _Filter(lambda query: query.list_id, lambda task, wanted: (task.list_id or NONE) == wanted),
    "parents": _Filter(
        lambda query: query.parents,
        lambda task, wanted: task.parent_id is None if wanted == NONE else task.parent_id in wanted,
    ),
}
"""The filters of a listing. A wanted value is text, a bool, an id, or several of them; `NONE` stands for none."""

NONE: Final = "none"
"""In filters and summaries: a task without a priority, list or parent."""

_RULES: Final = {
    "limit": LIMIT_RULE,
    "q": SEARCH_RULE,
    "completed": "must be true, false or none",
    "priority": f"must be a set of {', '.join(PRIORITIES)} and none",
    "tag": TAGS_RULE,
    "due_from": DATE_RULE,
    "due_before": DATE_RULE,
    "list_id": f"must be the id of a list, or {NONE}",
    "parent_id": f"must be a set of the ids of tasks, or {NONE}",
    "sort": f"must be a Sort: {', '.join(f'Sort.{each.name}' for each in Sort)}",
    "cursor": _CURSOR_RULE,
}


def is_search(text: str | None) -> bool:
    """Whether a listing can search for `text`; None means no search."""
    return text is None or (is_description(text) and len(text) <= SEARCH_LENGTH >= len(folded(text)))


def searchable(task: Task) -> str:
    r"""The text that a search looks into: title and description, `folded`.

    `\x1f` separates the two and `\x1e` begins the text: neither can occur in a title, description or search. A text
    that begins with another character was folded by an earlier version's rules.
    """
    return folded(f"\x1e{task.title}\x1f{task.description or ''}")


@dataclass(frozen=True, slots=True)
class Summary:
    """How many tasks an owner has. The maps count open tasks only.

    `by_list` is keyed by list id, with `NONE` for the inbox, and leaves out zeros; `by_priority` has `NONE` for tasks
    without one. Of a tag's spellings, the first by code point is used.
    """

    open: int
    completed: int
    by_tag: Mapping[str, int]
    by_priority: Mapping[str, int]
    by_list: Mapping[str, int]

    @classmethod
    def of(cls, tasks: Iterable[Task]) -> Self:
        """The summary, computed from all of an owner's tasks: the reference for every storage."""
        done, opened = 0, []
        for task in tasks:
            if task.completed:
                done += 1
            else:
                opened.append(task)
        priorities = dict.fromkeys((*PRIORITIES, NONE), 0)
        spellings: dict[str, list[str]] = {}
        lists: dict[str, int] = {}
        for task in opened:
            name = str(task.list_id or NONE)
            lists[name] = lists.get(name, 0) + 1
            priorities[task.priority or NONE] += 1
            for tag in task.tags:
                spellings.setdefault(folded(tag), []).append(tag)
        by_tag = {min(spelled): len(spelled) for _, spelled in sorted(spellings.items())}
        return cls(len(opened), done, by_tag, priorities, lists)
