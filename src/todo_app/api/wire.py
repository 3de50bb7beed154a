"""The JSON structs: separate from the entities, so that renaming a field in the core does not change the API."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

import todo_core
from todo_core import Committed, Entry, Kind, Priority, SyncItem, Where
from todo_core.changes import LOGGED
from todo_core.due import DATE_RULE, ZONE_LENGTH, ZONE_RULE
from todo_core.lists import COLOR_RULE, NAME_LENGTH, NAME_RULE
from todo_core.own_ids import ID_RULE
from todo_core.recurrence import FROM_RULE, RULE_LENGTH, RecurrenceFrom
from todo_core.sync import TOKEN_PATTERN
from todo_core.task import (
    DESCRIPTION_LENGTH,
    DESCRIPTION_RULE,
    LIST_RULE,
    OWNER_LENGTH,
    PARENT_RULE,
    POSITION_LENGTH,
    PRIORITY_RULE,
    TAG_LENGTH,
    TAGS_MAX,
    TAGS_RULE,
    TITLE_LENGTH,
    TITLE_RULE,
)

# The core checks the rules; these are for the OpenAPI document only.
_PRINTABLE: Final = r"[^\u0000-\u001f\u007f-\u009f]"
# ECMAScript's regular expressions; not `\s`, which means something else there than in Python.
_NOT_BLANK: Final = r"[^\u0000- \u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
LINE_PATTERN: Final = rf"^{_PRINTABLE}*{_NOT_BLANK}{_PRINTABLE}*$"
# A carriage return may be sent; it is stored as a line feed.
TEXT_PATTERN: Final = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"


def _said(rule: str, *more: str) -> str:
    return " ".join([f"It {rule}.", *more])


_UNITS: Final = "Characters are Unicode code points."
Title: TypeAlias = Annotated[
    str,
    Meta(
        description=_said(TITLE_RULE, _UNITS),
        examples=["Buy oat milk"],
        extra_json_schema={"minLength": 1, "maxLength": TITLE_LENGTH, "pattern": LINE_PATTERN},
    ),
]
Description: TypeAlias = Annotated[
    str,
    Meta(
        description=_said(DESCRIPTION_RULE, _UNITS, "CR LF and CR are stored as LF."),
        examples=["two litres"],
        extra_json_schema={"maxLength": DESCRIPTION_LENGTH, "pattern": TEXT_PATTERN},
    ),
]
Level: TypeAlias = Annotated[Priority, Meta(description=_said(PRIORITY_RULE), examples=["high"])]
Tag: TypeAlias = Annotated[
    str, Meta(extra_json_schema={"minLength": 1, "maxLength": TAG_LENGTH, "pattern": LINE_PATTERN}, examples=["home"])
]
Tags: TypeAlias = Annotated[
    list[Tag],
    Meta(
        description=_said(TAGS_RULE, "Of tags that differ only in case, the first is kept."),
        extra_json_schema={"maxItems": TAGS_MAX},
    ),
]
GivenTags: TypeAlias = Annotated[
    list[Tag],
    Meta(description=_said(TAGS_RULE, "Of tags that differ only in case, the first is kept.")),
]
Date: TypeAlias = Annotated[
    str,
    Meta(
        description="A whole day or a local time, in `time_zone` or, without one, wherever the user is.",
        extra_json_schema={"pattern": r"^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d)?$"},
        examples=["2026-12-01"],
    ),
]
GivenDate: TypeAlias = Annotated[
    str,
    Meta(
        description=_said(
            DATE_RULE,
            "Seconds are optional. A time with an offset or `Z` becomes a local time in `time_zone`, or without "
            "one in `UTC`. `start_date` and `due_date` must have the same form, and be in order.",
        ),
        examples=["2026-12-01"],
    ),
]
Seen: TypeAlias = Annotated[
    str,
    Meta(
        description="The `due_date` that the client saw: nothing changes if the task has moved on since.",
        examples=["2026-12-01"],
    ),
]
Zone: TypeAlias = Annotated[
    str,
    Meta(
        description=_said(ZONE_RULE, "It is dropped if no date has a time, unless the task recurs."),
        extra_json_schema={"maxLength": ZONE_LENGTH},
        examples=["Europe/Madrid"],
    ),
]
Rule: TypeAlias = Annotated[
    str,
    Meta(
        description="An RRULE of RFC 5545 §3.3.10: `FREQ` DAILY, WEEKLY, MONTHLY or YEARLY, with `INTERVAL`, `BYDAY`, "
        "`BYMONTHDAY`, `BYMONTH`, `BYSETPOS`, `WKST`, and `COUNT` or `UNTIL`. It requires a `due_date`. It is stored "
        "in canonical form: uppercase, in a fixed order, without redundant parts.",
        extra_json_schema={"maxLength": RULE_LENGTH},
        examples=["FREQ=WEEKLY;BYDAY=MO"],
    ),
]
From: TypeAlias = Annotated[
    RecurrenceFrom, Meta(description=_said(FROM_RULE, "The next occurrence is counted from it."))
]
_THING: Final = "019a540b-b400-7cc3-98c4-dc0c0c07398e"
ListId: TypeAlias = Annotated[UUID, Meta(description=_said(LIST_RULE), examples=[_THING])]
ParentId: TypeAlias = Annotated[
    UUID, Meta(description=_said(PARENT_RULE, "A subtask is in the list of its parent."), examples=[_THING])
]
Neighbour: TypeAlias = Annotated[
    UUID, Meta(description="The id of the sibling to place it next to.", examples=[_THING])
]
Position: TypeAlias = Annotated[
    str,
    Meta(
        description="Its place in the order, compared by code point. Only moving changes it.",
        extra_json_schema={"minLength": 1, "maxLength": POSITION_LENGTH, "pattern": "^[0-9a-z]+$"},
    ),
]
Name: TypeAlias = Annotated[
    str,
    Meta(
        description=_said(NAME_RULE, _UNITS),
        examples=["Groceries"],
        extra_json_schema={"minLength": 1, "maxLength": NAME_LENGTH, "pattern": LINE_PATTERN},
    ),
]
Color: TypeAlias = Annotated[
    str, Meta(description=_said(COLOR_RULE), extra_json_schema={"pattern": "^#[0-9a-fA-F]{6}$"}, examples=["#ff8800"])
]
VersionNumber: TypeAlias = Annotated[
    int,
    Meta(description="Starts at 1, and rises by 1 with each change; the entity tag.", extra_json_schema={"minimum": 1}),
]
Id: TypeAlias = Annotated[UUID, Meta(description="A UUIDv7 (RFC 9562): ids sort by the time of creation.")]
OwnId: TypeAlias = Annotated[
    UUID,
    Meta(
        description=_said(ID_RULE, "Set it to choose the id yourself; then creating the same again changes nothing."),
        examples=["019a540b-b400-7cc3-98c4-dc0c0c07398f"],
    ),
]
Ignored: TypeAlias = Annotated[msgspec.Raw, Meta(description="Read-only: accepted as GET returned it, and ignored.")]
Moment: TypeAlias = Annotated[datetime, Meta(tz=True, description="RFC 3339, in UTC.")]
_USER_ID: Final = {"minLength": 1, "maxLength": OWNER_LENGTH}
UserId: TypeAlias = Annotated[str, Meta(description="The user: the `sub` of the token.", extra_json_schema=_USER_ID)]


NextCursor: TypeAlias = Annotated[str | None, Meta(description="The `cursor` of the next page; null on the last.")]


class Task(msgspec.Struct, frozen=True, gc=False):
    """One task of one user."""

    id: Id
    user_id: UserId
    title: Title
    description: Description | None
    completed: bool
    priority: Level | None
    tags: Tags
    start_date: Date | None
    due_date: Date | None
    time_zone: Zone | None
    recurrence: Rule | None
    recurrence_from: From
    list_id: ListId | None
    parent_id: ParentId | None
    position: Position
    due_at: Annotated[Moment | None, Meta(description="`due_date` as a point in time, if it has a time and a zone.")]
    completed_at: Moment | None
    version: VersionNumber
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, task: todo_core.Task) -> "Task":
        """The view of that task."""
        done = task.completed_at
        return cls(
            task.id,
            task.owner,
            task.title,
            task.description,
            done is not None,
            task.priority,
            task.tags,  # type: ignore[arg-type]  # a tuple is encoded as a list
            task.start_date,
            task.due_date,
            task.time_zone,
            task.recurrence,
            task.recurrence_from,
            task.list_id,
            task.parent_id,
            task.position,
            task.due_at if task.time_zone else None,
            done,
            task.version,
            task.created_at,
            task.updated_at,
        )


class TaskPage(msgspec.Struct, frozen=True, gc=False):
    """One page of a user's tasks."""

    items: list[Task]
    next_cursor: NextCursor

    @classmethod
    def of(cls, page: todo_core.Page) -> "TaskPage":
        """The view of that page."""
        return cls(list(map(Task.of, page.items)), page.next.encode() if page.next else None)


class TaskPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of a task (RFC 7396): absent members stay; null clears an optional member."""

    title: Title | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    completed: bool | UnsetType = UNSET
    priority: Level | UnsetType | None = UNSET
    tags: GivenTags | UnsetType | None = UNSET
    start_date: GivenDate | UnsetType | None = UNSET
    due_date: GivenDate | UnsetType | None = UNSET
    time_zone: Zone | UnsetType | None = UNSET
    recurrence: Rule | UnsetType | None = UNSET
    recurrence_from: From | UnsetType | None = UNSET
    list_id: ListId | UnsetType | None = UNSET
    parent_id: ParentId | UnsetType | None = UNSET

    def members(self) -> dict[str, Any]:
        """The given members, by the core's names."""
        return given(self, TaskPatch)


class NewTask(TaskPatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new task. Absent members are null, empty or false."""

    title: Title
    id: OwnId | UnsetType = UNSET

    def members(self) -> dict[str, Any]:
        """The given members, by the core's names, and the id that the client chose."""
        return given(self, TaskPatch) | _own_id(self.id)


READ_ONLY: Final = tuple(name for name in Task.__struct_fields__ if name not in TaskPatch.__struct_fields__)
"""The members of a task that only the service sets."""


class Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to move a task. Without `before` and `after` it becomes the last there."""

    list_id: ListId | UnsetType | None = UNSET
    parent_id: ParentId | UnsetType | None = UNSET
    before: Neighbour | UnsetType = UNSET
    after: Neighbour | UnsetType = UNSET

    def where(self) -> Where:
        """The given members, by the core's names."""
        return given(self, Move)  # type: ignore[return-value]  # the names are the same


class TaskList(msgspec.Struct, frozen=True, gc=False):
    """One list of one user. A task without `list_id` is in the inbox, which is not a list."""

    id: Id
    user_id: UserId
    name: Name
    color: Color | None
    position: Position
    version: VersionNumber
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, each: todo_core.TaskList) -> "TaskList":
        """The view of that list."""
        moments = (each.created_at, each.updated_at)
        return cls(each.id, each.owner, each.name, each.color, each.position, each.version, *moments)


class Lists(msgspec.Struct, frozen=True, gc=False):
    """All of a user's lists, by position."""

    items: list[TaskList]


class ListPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of a list (RFC 7396): absent members stay; null clears the color."""

    name: Name | UnsetType = UNSET
    color: Color | UnsetType | None = UNSET

    def members(self) -> dict[str, Any]:
        """The given members, by the core's names."""
        return given(self, ListPatch)


class NewList(ListPatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new list."""

    name: Name
    id: OwnId | UnsetType = UNSET

    def members(self) -> dict[str, Any]:
        """The given members, by the core's names, and the id that the client chose."""
        return given(self, ListPatch) | _own_id(self.id)


def _put(name: str, view: type[msgspec.Struct], patch: type[msgspec.Struct], says: str) -> type[msgspec.Struct]:
    """A struct for PUT: the members of PATCH, and the read-only ones, which are ignored."""
    ignored = [each for each in view.__struct_fields__ if each not in patch.__struct_fields__]
    return msgspec.defstruct(
        name,
        [(each, Ignored | UnsetType, UNSET) for each in ignored],
        bases=(patch,),
        namespace={"__doc__": f"{says}: absent members stay, as in PATCH. What GET returned may be sent back."},
        module=__name__,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


TaskPut: Final = _put("TaskPut", Task, TaskPatch, "A task's content")
ListPut: Final = _put("ListPut", TaskList, ListPatch, "A list's content")


class MoveList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to move a list among the others. Without `before` and `after` it becomes the last."""

    before: Neighbour | UnsetType = UNSET
    after: Neighbour | UnsetType = UNSET

    def where(self) -> dict[str, Any]:
        """The given members."""
        return given(self, MoveList)


def _own_id(brought: UUID | UnsetType) -> dict[str, UUID]:
    return {} if brought is UNSET else {"own_id": brought}


def given(body: msgspec.Struct, shape: type[msgspec.Struct]) -> dict[str, Any]:
    """The members of that shape that the body has."""
    return {name: value for name in shape.__struct_fields__ if (value := getattr(body, name)) is not UNSET}


class Completion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the task is to be completed. Without `completed` it is toggled."""

    completed: bool | UnsetType = UNSET
    occurrence: Seen | UnsetType = UNSET


class Skip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The occurrence to skip; without `occurrence` the current one."""

    occurrence: Seen | UnsetType = UNSET


class Reschedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The date to move an occurrence to. Without `start_date` the start date moves by as many days."""

    due_date: GivenDate
    start_date: GivenDate | UnsetType = UNSET


class Occurrences(msgspec.Struct, frozen=True, gc=False):
    """A task's next due dates."""

    items: list[Date]


class HistoryItem(msgspec.Struct, frozen=True, gc=False):
    """What one change did to a task."""

    change: Annotated[int, Meta(description="The change's number.", extra_json_schema={"minimum": 1})]
    at: Moment
    client: Annotated[str | None, Meta(description="The program that made the change, if its token names one.")]
    action: todo_core.Action
    fields: Annotated[
        dict[str, Annotated[list[Any], Meta(min_length=2, max_length=2, extra_json_schema={"items": {}})]],
        Meta(description="Each changed member: its value before, and its value after."),
    ]

    @classmethod
    def of(cls, entry: Entry) -> "HistoryItem":
        """The view of that entry."""
        before, after = entry.before or {}, entry.after or {}
        names = [name for name in LOGGED[entry.kind] if (name in before or name in after) and name not in _COUNTED]
        pairs = {name: [before.get(name), after.get(name)] for name in names}
        shown = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        return cls(entry.number, entry.at, entry.client, entry.action, shown)


_COUNTED: Final = frozenset({"version", "created_at", "updated_at", "anchor", "rescheduled_from"})


class History(msgspec.Struct, frozen=True, gc=False):
    """One page of a task's history, newest first."""

    items: list[HistoryItem]
    next_cursor: NextCursor

    @classmethod
    def of(cls, page: todo_core.ChangePage) -> "History":
        """The view of that page."""
        return cls(list(map(HistoryItem.of, page.items)), f"{page.next.number}" if page.next else None)


class Things(msgspec.Struct, frozen=True, gc=False):
    """The outcome of a change: its number, and the tasks and lists that it restored or changed."""

    change: Annotated[int | None, Meta(description="The new change's number.", extra_json_schema={"minimum": 1})]
    items: Annotated[list[Task], Meta(description="The tasks.")]
    lists: Annotated[list[TaskList], Meta(description="The lists.")]

    @classmethod
    def of(cls, committed: Committed) -> "Things":
        """The view of that outcome."""
        tasks = [Task.of(thing) for thing in committed.things if isinstance(thing, todo_core.Task)]
        lists = [TaskList.of(thing) for thing in committed.things if isinstance(thing, todo_core.TaskList)]
        return cls(committed.change, tasks, lists)


class TaskChange(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="task"):
    """A task that has changed."""

    id: UUID
    deleted: bool
    value: Annotated[Task | None, Meta(description="The task in its present state; null if it is deleted.")]


class ListChange(msgspec.Struct, frozen=True, gc=False, tag_field="kind", tag="list"):
    """A list that has changed."""

    id: UUID
    deleted: bool
    value: Annotated[TaskList | None, Meta(description="The list in its present state; null if it is deleted.")]


def change_of(item: SyncItem) -> TaskChange | ListChange:
    """The view of a thing's present state, or of its deletion."""
    if isinstance(item.value, todo_core.Task):
        return TaskChange(item.id, False, Task.of(item.value))
    if isinstance(item.value, todo_core.TaskList):
        return ListChange(item.id, False, TaskList.of(item.value))
    return (TaskChange if item.kind == "task" else ListChange)(item.id, True, None)


SyncedToken: TypeAlias = Annotated[str, Meta(extra_json_schema={"pattern": TOKEN_PATTERN})]


class ChangedThings(msgspec.Struct, frozen=True, gc=False):
    """One page of changes, for a client that keeps a copy."""

    items: list[TaskChange | ListChange]
    next: Annotated[SyncedToken, Meta(description="The token for the next page, to be sent as `since`.")]
    more: Annotated[bool, Meta(description="Whether the next page can be fetched now; always true if `full` is.")]
    full: Annotated[
        bool,
        Meta(
            description="Whether the page belongs to a first sync. At the first page that does not, drop everything "
            "from before that was on none of the full pages: it has been deleted."
        ),
    ]

    @classmethod
    def of(cls, page: todo_core.SyncPage, owner: todo_core.OwnerId) -> "ChangedThings":
        """The view of that page."""
        return cls(list(map(change_of, page.items)), page.next.encode(owner), page.more, page.full)


class TrashItem(msgspec.Struct, frozen=True, gc=False):
    """A deleted task or list, which can be restored until it is erased."""

    kind: Kind
    id: UUID
    title: Annotated[Title, Meta(description="The task's title, or the list's name.")]
    deleted_at: Moment
    erased_at: Annotated[Moment, Meta(description="The earliest time at which it is erased.")]
    change: Annotated[int, Meta(description="The change that deleted it.", extra_json_schema={"minimum": 1})]
    count: Annotated[
        int,
        Meta(
            description="How many tasks and lists were deleted with it, itself included.",
            extra_json_schema={"minimum": 1},
        ),
    ]

    @classmethod
    def of(cls, entry: Entry, kept: timedelta) -> "TrashItem":
        """The view of that deletion."""
        was = entry.before or {}
        title: Any = was.get("title", was.get("name"))
        return cls(entry.kind, entry.id, title, entry.at, entry.at + kept, entry.number, entry.took)


class Trash(msgspec.Struct, frozen=True, gc=False):
    """One page of the trash, newest first."""

    items: list[TrashItem]
    next_cursor: NextCursor

    @classmethod
    def of(cls, page: todo_core.ChangePage, kept: timedelta) -> "Trash":
        """The view of that page. `kept`: how long changes are kept."""
        place = page.next
        return cls([TrashItem.of(entry, kept) for entry in page.items], f"{place.number}.{place.id}" if place else None)


class Summary(msgspec.Struct, frozen=True, gc=False):
    """How many tasks there are. The maps count open tasks only."""

    open: int
    completed: int
    by_tag: Mapping[str, int]
    by_priority: Annotated[Mapping[str, int], Meta(description="`none` stands for tasks without a priority.")]
    by_list: Annotated[Mapping[str, int], Meta(description="By list id; `none` stands for the inbox.")]

    @classmethod
    def of(cls, summary: todo_core.Summary) -> "Summary":
        """The view of that summary."""
        return cls(summary.open, summary.completed, summary.by_tag, summary.by_priority, summary.by_list)
