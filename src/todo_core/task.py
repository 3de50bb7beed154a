"""What a task is, and the rules that every task obeys at every moment."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import NoneType
from typing import Any, Final, NewType, Self, TypeAlias, TypeVar, cast
from uuid import UUID

from todo_core.errors import InvalidInput, Problem, VersionConflict

TaskId = NewType("TaskId", UUID)
"""A task's identity: a UUIDv7 (RFC 9562 §5.7), so that ids sort by the time of creation."""

OwnerId = NewType("OwnerId", str)
"""Whose task it is: opaque, case-sensitive text, compared exactly. Make one with `owner_id`."""

Version = NewType("Version", int)
"""How often a task has been written: 1 when it is created, one more with every change."""

Expected: TypeAlias = Version | Collection[Version] | None
"""The version or versions at which a caller wants the task to be; None for any."""


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
"""Stands for "leave as it is" where None means "none"."""

TITLE_LENGTH: Final = 200
DESCRIPTION_LENGTH: Final = 1000
VERSION_MOST: Final = 2**63 - 1
OWNER_LENGTH: Final = 255

# The Unicode categories Cc (control characters) and Cs (lone surrogates).
_CONTROL = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
_CONTROL_BUT_LINES = r"\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"
_TITLE = re.compile(rf"(?=.*\S)[^{_CONTROL}]{{1,{TITLE_LENGTH}}}")
_DESCRIPTION = re.compile(rf"[^{_CONTROL_BUT_LINES}]{{0,{DESCRIPTION_LENGTH}}}")
_OWNER = re.compile(rf"[^{_CONTROL}]{{1,{OWNER_LENGTH}}}")
_CARRIAGE_RETURN = re.compile(r"\r\n?")
_NO_OFFSET = timedelta(0)
_EXACT = frozenset({str, int, UUID, NoneType})

OWNER_RULE: Final = f"must be 1 to {OWNER_LENGTH} characters, without control characters"
TITLE_RULE: Final = f"must be 1 to {TITLE_LENGTH} characters, not all blank, without control characters"
DESCRIPTION_RULE: Final = (
    f"must be at most {DESCRIPTION_LENGTH} characters, without control characters other than newline and tab"
)


def owner_id(text: str) -> OwnerId:
    """The owner that `text` names, exactly as given.

    Raises `InvalidInput` unless it is 1 to 255 characters without control characters and lone surrogates.
    """
    if not is_owner(text):
        raise InvalidInput([Problem("owner", OWNER_RULE)])
    return OwnerId(exact(text))


def is_owner(value: object) -> bool:
    """Whether `value` can name an owner."""
    return isinstance(value, str) and _OWNER.fullmatch(value) is not None


def is_title(value: object) -> bool:
    """Whether `value` can be a task's title."""
    return isinstance(value, str) and _TITLE.fullmatch(value) is not None


def is_description(value: object) -> bool:
    """Whether `value` can be a task's description; None is one."""
    return value is None or (isinstance(value, str) and _DESCRIPTION.fullmatch(value) is not None)


def is_instant(value: object) -> bool:
    """Whether `value` is a point in time in UTC. A naive datetime is not."""
    return isinstance(value, datetime) and value.utcoffset() == _NO_OFFSET


def is_id(value: object) -> bool:
    """Whether `value` can be a task's id."""
    return isinstance(value, UUID)


def is_version(value: object) -> bool:
    """Whether `value` can be a task's version."""
    return isinstance(value, int) and 1 <= value <= VERSION_MOST


T = TypeVar("T")


def exact(value: T) -> T:
    """`value` as text, a number, an id or a moment of the standard type itself, a moment in `datetime.UTC`.

    Subclasses pass every rule, but storages would differ in what they make of them. Another zone whose offset happens
    to be zero would make moments unequal that are the same (PEP 495).
    """
    plain: Any = value
    kind = type(plain)
    if (kind is datetime and plain.tzinfo is UTC) or kind in _EXACT:
        return value
    match plain:
        case str():
            plain = str.__str__(plain)
        case int():
            plain = int.__int__(plain)
        case UUID():
            plain = UUID(int=plain.int)
        case datetime():
            day = (plain.year, plain.month, plain.day)
            plain = datetime(*day, plain.hour, plain.minute, plain.second, plain.microsecond, UTC)
    return cast("T", plain)


def with_line_feeds(text: T) -> T | str:
    """A text with LF for each CR LF and CR: line ends are stored alike, whatever system they come from.

    What is no text comes back as it is, for its rule to refuse.
    """
    return _CARRIAGE_RETURN.sub("\n", text) if isinstance(text, str) and "\r" in text else text


RULES: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "title": (is_title, TITLE_RULE),
    "description": (is_description, DESCRIPTION_RULE),
    "owner": (is_owner, OWNER_RULE),
}
"""What each field with a text must be: the check, and the rule in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing that one owner wants done. Always valid, never changed in place.

    Lengths count Unicode code points; times are UTC; values of subclasses are made `exact`. Every constructor and every
    change raises `InvalidInput`, naming each field at fault, rather than make a task that breaks a rule.
    """

    id: TaskId
    owner: OwnerId
    title: str
    description: str | None = None
    completed_at: datetime | None = None
    version: Version = Version(1)
    created_at: datetime
    updated_at: datetime

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise InvalidInput(problems)
        for name in Task.__slots__:
            value = getattr(self, name)
            if type(value) not in _EXACT and (plain := exact(value)) is not value:
                object.__setattr__(self, name, plain)

    def _problems(self) -> Iterator[Problem]:
        for field, (is_right, rule) in RULES.items():
            if not is_right(getattr(self, field)):
                yield Problem(field, rule)
        if not is_id(self.id):
            yield Problem("id", "must be a UUID")
        if not is_version(self.version):
            yield Problem("version", f"must be a whole number from 1 to {VERSION_MOST}")
        if not (is_instant(self.created_at) and is_instant(self.updated_at)):
            yield Problem("created_at", "and updated_at must be points in time in UTC")
        if not (self.completed_at is None or is_instant(self.completed_at)):
            yield Problem("completed_at", "must be a point in time in UTC, or none")

    @classmethod
    def new(
        cls,
        *,
        id: TaskId,  # noqa: A002  (the entity's own word)
        owner: OwnerId,
        title: str,
        description: str | None = None,
        completed: bool = False,
        at: datetime,
    ) -> Self:
        """A task that comes into being `at` that moment, at version 1. The description's line ends become LF."""
        return cls(
            id=id,
            owner=owner,
            title=title,
            description=with_line_feeds(description),
            completed_at=at if completed else None,
            created_at=at,
            updated_at=at,
        )

    @classmethod
    def restored(
        cls,
        id: TaskId,  # noqa: A002  (the entity's own word)
        owner: OwnerId,
        title: str,
        description: str | None,
        completed_at: datetime | None,
        version: Version,
        created_at: datetime,
        updated_at: datetime,
    ) -> Self:
        """A task as a storage kept it, not checked anew: for a storage that holds the rules itself, page after page."""
        task = object.__new__(cls)
        _SET_ID(task, id)
        _SET_OWNER(task, owner)
        _SET_TITLE(task, title)
        _SET_DESCRIPTION(task, description)
        _SET_COMPLETED_AT(task, completed_at)
        _SET_VERSION(task, version)
        _SET_CREATED_AT(task, created_at)
        _SET_UPDATED_AT(task, updated_at)
        return task

    @property
    def completed(self) -> bool:
        """Whether it is done."""
        return self.completed_at is not None

    def expecting(self, expected: Expected) -> Self:
        """This task, if it is at (one of) the expected version(s); otherwise raises `VersionConflict`."""
        if expected is None or self.version == expected:
            return self
        if isinstance(expected, Collection) and self.version in expected:
            return self
        raise VersionConflict(self.version)

    def toggled(self, *, at: datetime) -> Self:
        """Done if it was open, open if it was done."""
        return self.reopened(at=at) if self.completed else self.as_completed(at=at)

    def as_completed(self, *, at: datetime) -> Self:
        """Done. A task that is done already stays as it is, with the moment it was first done."""
        return self if self.completed else self._changed(at, completed_at=self._moment(at))

    def reopened(self, *, at: datetime) -> Self:
        """Not done."""
        return self._changed(at, completed_at=None)

    def edited(
        self,
        *,
        title: str | Unset = UNSET,
        description: str | Unset | None = UNSET,
        completed: bool | Unset = UNSET,
        at: datetime,
    ) -> Self:
        """With these values; what is `UNSET` stays. Values that it has already change nothing, not even the version.

        The description's line ends become LF.
        """
        completed_at = self.completed_at
        if completed is not UNSET and completed != self.completed:
            completed_at = self._moment(at) if completed else None
        return self._changed(
            at,
            title=self.title if title is UNSET else title,
            description=self.description if description is UNSET else with_line_feeds(description),
            completed_at=completed_at,
        )

    def after(self, change: "Callable[[Task], Task]") -> "Task":
        """What `change` makes of this task, as a storage adapter may write it.

        Raises what `change` raises, and `ValueError` where it gave another task, or skipped or reused a version.
        """
        changed = change(self)
        if (changed.id, changed.owner, changed.created_at) != (self.id, self.owner, self.created_at):
            raise ValueError("a change must keep the task's id, owner and time of creation")
        if changed != self and changed.version != self.version + 1:
            raise ValueError("a change must raise the task's version by one")
        return changed

    def _changed(self, at: datetime, **values: object) -> Self:
        if all(getattr(self, name) == value for name, value in values.items()):
            return self
        version = Version(self.version + 1)
        return replace(self, version=version, updated_at=self._moment(at), **values)  # type: ignore[arg-type]

    def _moment(self, at: datetime) -> datetime:
        # Clocks of several machines differ: time must not run backwards within one task.
        return max(at, self.updated_at)


# How `Task.restored` fills a frozen task: the slots themselves, at a quarter of the price of `__init__`.
(
    _SET_ID,
    _SET_OWNER,
    _SET_TITLE,
    _SET_DESCRIPTION,
    _SET_COMPLETED_AT,
    _SET_VERSION,
    _SET_CREATED_AT,
    _SET_UPDATED_AT,
) = (Task.__dict__[name].__set__ for name in Task.__slots__)
