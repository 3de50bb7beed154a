"""The list entity and its rules."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar, Final, Required, Self, TypeAlias, TypedDict, Unpack

from todo_core.errors import InvalidInput, Problem
from todo_core.task import RULES as TASK_RULES
from todo_core.task import ListId, OwnerId, Rule, Task, exact, first_position, is_line, require_known
from todo_core.versioned import Version, Versioned

NAME_LENGTH: Final = 100
NAME_RULE: Final = f"must be 1 to {NAME_LENGTH} characters, not all blank, without control characters"
COLOR_RULE: Final = "must be a color such as #ff8800, or null for none"
LISTS_MAX: Final = 500
"""How many lists an owner may have."""

_COLOR = re.compile(r"#[0-9a-f]{6}")


def is_name(value: object) -> bool:
    """Whether `value` can be a list's name."""
    return is_line(value, NAME_LENGTH)


def is_color(value: object) -> bool:
    """Whether `value` can be a list's color, or None."""
    return value is None or (isinstance(value, str) and _COLOR.fullmatch(value) is not None)


def _lower(value: object) -> object:
    return str.lower(value) if isinstance(value, str) else value


_SHARED: Final = ("owner", "id", "position", "version", "created_at", "updated_at")
RULES: Final[Mapping[str, Rule]] = {
    "name": Rule(is_name, NAME_RULE),
    "color": Rule(is_color, COLOR_RULE, _lower),
    **{name: TASK_RULES[name] for name in _SHARED},
}
"""The rule of each member."""


class ListSettable(TypedDict, total=False):
    """What a user may set of a list."""

    name: str
    color: str | None


class NewList(ListSettable, total=False):
    """What a user may set of a new list."""

    name: Required[str]  # type: ignore[misc]  # nobody deletes from one of these


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskList(Versioned):
    """A list of tasks of one owner. Always valid, never changed in place.

    Every constructor and every change raises `InvalidInput`, naming each member at fault. Times are UTC.
    """

    id: ListId
    owner: OwnerId
    name: str
    color: str | None = None
    """`#rrggbb`, in lowercase."""
    position: str = ""
    """Its place among the owner's lists, compared by code point. The default "" becomes the digits of its id."""
    version: Version = Version(1)
    created_at: datetime
    updated_at: datetime

    MEMBERS: ClassVar[tuple[str, ...]]
    """The names of its members."""

    def __post_init__(self) -> None:
        if self.position == "":
            object.__setattr__(self, "position", first_position(self.id))
        wrong = [name for name in TaskList.MEMBERS if not RULES[name].holds(getattr(self, name))]
        if wrong:
            raise InvalidInput([Problem(name, RULES[name].sentence) for name in wrong])
        for name in TaskList.MEMBERS:
            if (value := exact(given := getattr(self, name))) is not given:
                object.__setattr__(self, name, value)

    @classmethod
    def new(
        cls,
        *,
        id: ListId,  # noqa: A002  (the entity's own word)
        owner: OwnerId,
        at: datetime,
        **members: Unpack[NewList],
    ) -> Self:
        """A list created `at` that moment (UTC), at version 1."""
        values: Any = _taken(members)
        return cls(id=id, owner=owner, created_at=at, updated_at=at, **values)

    def edited(self, *, at: datetime, **members: Unpack[ListSettable]) -> Self:
        """A copy with these members set. Where no value differs, the list itself, at the same version."""
        return self.with_stored(at, _taken(members))


TaskList.MEMBERS = tuple(field.name for field in fields(TaskList))

Thing: TypeAlias = Task | TaskList
"""What an owner has: a task or a list."""


_SETTABLE: Final = frozenset(ListSettable.__annotations__)


def _taken(given: Mapping[str, object]) -> dict[str, object]:
    """The given members as they are stored. Raises `InvalidInput`, naming all at fault."""
    require_known(given, _SETTABLE)
    values = {name: RULES[name].clean(value) for name, value in given.items()}
    if problems := [Problem(name, wrong) for name, value in values.items() for wrong in RULES[name].problems(value)]:
        raise InvalidInput(problems)
    return values
