"""The JSON structs: separate from the entities, so that renaming a field in the core does not change the API."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

import todo_core
from todo_app.api.members import (
    Color,
    Date,
    Description,
    From,
    GivenDate,
    GivenTags,
    Id,
    Ignored,
    Level,
    ListId,
    Moment,
    Name,
    Neighbour,
    NextCursor,
    OwnId,
    ParentId,
    Position,
    Rule,
    Seen,
    Tags,
    Title,
    UserId,
    VersionNumber,
    Zone,
)
from todo_core import Entry, Kind, Problem, SyncItem, Where
from todo_core.changes import LOGGED
from todo_core.sync import TOKEN_PATTERN


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


def _put(name: str, view: type[msgspec.Struct], patch: type[msgspec.Struct], summary: str) -> type[msgspec.Struct]:
    """A struct for PUT: the members of PATCH, and the read-only ones, which are ignored."""
    ignored = [each for each in view.__struct_fields__ if each not in patch.__struct_fields__]
    return msgspec.defstruct(
        name,
        [(each, Ignored | UnsetType, UNSET) for each in ignored],
        bases=(patch,),
        namespace={"__doc__": f"{summary}: absent members stay, as in PATCH. What GET returned may be sent back."},
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


NOT_COMPLETING: Final = Problem("occurrence", 'needs "completed": true')
"""The problem with an occurrence that is not to be completed."""


class Skip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The occurrence to skip; without `occurrence` the current one."""

    occurrence: Seen | UnsetType = UNSET


class Reschedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The date to move an occurrence to. Without `start_date`, the start date keeps its distance from the due date."""

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
