"""What travels as JSON: separate from the entity, so that renaming a field in the core never changes the API."""

from datetime import datetime
from typing import Annotated, Final, TypeAlias, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from todo_core import UNSET as AS_IT_IS
from todo_core import Page, Task, Unset
from todo_core.task import DESCRIPTION_LENGTH, DESCRIPTION_RULE, OWNER_LENGTH, TITLE_LENGTH, TITLE_RULE

Present = TypeVar("Present")


def _told(rule: str) -> str:
    return f"It {rule}. Characters are Unicode code points."


# The rules are the core's, and are checked there; what stands here is only what the OpenAPI document says of them.
_PRINTABLE: Final = r"[^\u0000-\u001f\u007f-\u009f]"
# Not `\s`: what that is differs from Python to ECMAScript, whose expressions these are.
_NOT_BLANK: Final = r"[^\u0000- \u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
# A carriage return may be sent; it is stored as a line feed.
TEXT_PATTERN: Final = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"
_TITLE: Final = {
    "minLength": 1,
    "maxLength": TITLE_LENGTH,
    "pattern": rf"^{_PRINTABLE}*{_NOT_BLANK}{_PRINTABLE}*$",
}
_DESCRIPTION: Final = {
    "maxLength": DESCRIPTION_LENGTH,
    "pattern": TEXT_PATTERN,
}
_USER_ID: Final = {"minLength": 1, "maxLength": OWNER_LENGTH}
Title: TypeAlias = Annotated[
    str,
    Meta(
        description=_told(TITLE_RULE),
        examples=["Buy oat milk"],
        extra_json_schema=_TITLE,
    ),
]
Description: TypeAlias = Annotated[
    str,
    Meta(
        description=f"{_told(DESCRIPTION_RULE)} CR LF and CR are stored as LF.",
        examples=["two litres"],
        extra_json_schema=_DESCRIPTION,
    ),
]
Ignored: TypeAlias = Annotated[msgspec.Raw, Meta(description="Accepted as GET gave it, and ignored.")]
Moment: TypeAlias = Annotated[datetime, Meta(tz=True, description="RFC 3339, in UTC.")]


class TaskView(msgspec.Struct, frozen=True, gc=False):
    """One task of one user."""

    id: Annotated[UUID, Meta(description="A UUIDv7 (RFC 9562): ids sort by the time of creation.")]
    user_id: Annotated[str, Meta(description="Whose it is: the `sub` of the token.", extra_json_schema=_USER_ID)]
    title: Title
    description: Description | None
    completed: bool
    completed_at: Moment | None
    version: Annotated[
        int,
        Meta(description="1 at first, one more with every change; the entity tag.", extra_json_schema={"minimum": 1}),
    ]
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, task: Task) -> "TaskView":
        """The view of that task."""
        done = task.completed_at
        return cls(
            task.id, task.owner, task.title, task.description, done is not None, done,
            task.version, task.created_at, task.updated_at,
        )  # fmt: skip


class TaskListView(msgspec.Struct, frozen=True, gc=False):
    """One page of a user's tasks."""

    items: list[TaskView]
    next_cursor: Annotated[str | None, Meta(description="Asks for the next page as `cursor`; null: there is none.")]

    @classmethod
    def of(cls, page: Page) -> "TaskListView":
        """The view of that page."""
        return cls(list(map(TaskView.of, page.items)), page.next.encode() if page.next else None)


class NewTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A task to be made: without a description and not completed, unless it says so."""

    title: Title
    description: Description | None = None
    completed: bool = False


class TaskPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What shall change (RFC 7396): absent stays, null clears the description."""

    title: Title | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    completed: bool | UnsetType = UNSET


class TaskPut(TaskPatch, frozen=True, forbid_unknown_fields=True):
    """A task's content: absent stays, null clears the description. What GET gave may be sent back as it was."""

    id: Ignored | UnsetType = UNSET
    user_id: Ignored | UnsetType = UNSET
    completed_at: Ignored | UnsetType = UNSET
    version: Ignored | UnsetType = UNSET
    created_at: Ignored | UnsetType = UNSET
    updated_at: Ignored | UnsetType = UNSET


class Completion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the task shall be done. Without `completed` it is toggled."""

    completed: bool | UnsetType = UNSET


READ_ONLY: Final = frozenset(TaskView.__struct_fields__) - frozenset(TaskPatch.__struct_fields__)
"""The members of a task that only the service sets."""


def or_as_it_is(value: Present | UnsetType) -> Present | Unset:
    """The core's word for what a body leaves out."""
    return AS_IT_IS if isinstance(value, UnsetType) else value
