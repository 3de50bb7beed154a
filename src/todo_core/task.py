"""The task entity and its rules."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from types import NoneType
from typing import (
    Any,
    ClassVar,
    Final,
    Literal,
    NamedTuple,
    NewType,
    Required,
    Self,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    get_args,
)
from uuid import UUID

from todo_core.due import (
    DATE_RULE,
    ZONE_OR_NONE_RULE,
    contradictions,
    has_time,
    instant,
    is_date,
    is_readable,
    is_time_zone,
    needs_zone,
    settled,
)
from todo_core.errors import InvalidInput, Problem
from todo_core.recurrence import (
    FROM_RULE,
    RECURRENCE_FROM,
    RULE_RULE,
    RecurrenceFrom,
    canonical,
    is_recurrence,
    recurrence_problems,
)
from todo_core.text import folded
from todo_core.versioned import Version, Versioned

TaskId = NewType("TaskId", UUID)
"""A task's identity: a UUIDv7 (RFC 9562 §5.7), so that ids sort by the time of creation."""

ListId = NewType("ListId", UUID)
"""A list's identity: a UUIDv7. No two tasks or lists of an owner share one."""

OwnerId = NewType("OwnerId", str)
"""An owner's identity: opaque text, compared exactly. Make one with `owner_id`."""

Priority: TypeAlias = Literal["high", "medium", "low"]
"""A task's priority: the three levels of RFC 5545 §3.8.1.9."""

PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)
TITLE_LENGTH: Final = 200
DESCRIPTION_LENGTH: Final = 1000
OWNER_LENGTH: Final = 255
VERSION_MAX: Final = 2**63 - 1
TAG_LENGTH: Final = 50
TAGS_MAX: Final = 20
GIVEN_TAGS_MAX: Final = 100
"""How many tags may be given for a task. At most `TAGS_MAX` of them may be distinct."""
POSITION_LENGTH: Final = 32

# The Unicode categories Cc (control characters) and Cs (lone surrogates).
_CONTROL = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
_CONTROL_BUT_LINES = r"\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"
_LINE = re.compile(rf"(?=.*\S)[^{_CONTROL}]+")
_DESCRIPTION = re.compile(rf"[^{_CONTROL_BUT_LINES}]{{0,{DESCRIPTION_LENGTH}}}")
_POSITION = re.compile(rf"[0-9a-z]{{1,{POSITION_LENGTH}}}")
_OWNER = re.compile(rf"[^{_CONTROL}]{{1,{OWNER_LENGTH}}}")
_CARRIAGE_RETURN = re.compile(r"\r\n?")
_NO_OFFSET = timedelta(0)
_EXACT = frozenset({str, int, UUID, NoneType})

OWNER_RULE: Final = f"must be 1 to {OWNER_LENGTH} characters, without control characters"
TITLE_RULE: Final = f"must be 1 to {TITLE_LENGTH} characters, not all blank, without control characters"
DESCRIPTION_RULE: Final = (
    f"must be at most {DESCRIPTION_LENGTH} characters, without control characters other than newline and tab"
)
TAGS_RULE: Final = (
    f"must be at most {TAGS_MAX} tags of 1 to {TAG_LENGTH} characters, not all blank, without control characters"
)
NEEDED_RULE: Final = "is required while the task recurs: keep it, or set recurrence to null as well"
NEEDS_RULE: Final = "requires a due_date, from which it is counted"
POSITION_RULE: Final = f"must be 1 to {POSITION_LENGTH} digits and lowercase letters"
LIST_RULE: Final = "must be the id of one of your lists, or null for the inbox"
PARENT_RULE: Final = "must be the id of another of your tasks, or null for none"
PRIORITY_RULE: Final = f"must be {', '.join(PRIORITIES[:-1])} or {PRIORITIES[-1]}, or null for none"


def owner_id(text: str) -> OwnerId:
    """`text` as an owner's id.

    Raises `InvalidInput` unless it is 1 to 255 characters without control characters and lone surrogates.
    """
    if not is_owner(text):
        raise InvalidInput([Problem("user id", OWNER_RULE)])
    return OwnerId(exact(text))


def is_owner(value: object) -> bool:
    """Whether `value` can name an owner."""
    return isinstance(value, str) and _OWNER.fullmatch(value) is not None


def is_line(value: object, length: int) -> bool:
    """Whether `value` is a text of 1 to `length` characters, not all blank, without control characters."""
    return isinstance(value, str) and len(value) <= length and _LINE.fullmatch(value) is not None


def is_title(value: object) -> bool:
    """Whether `value` can be a task's title."""
    return is_line(value, TITLE_LENGTH)


def is_description(value: object) -> bool:
    """Whether `value` can be a task's description, or None."""
    return value is None or (isinstance(value, str) and _DESCRIPTION.fullmatch(value) is not None)


def is_instant(value: object) -> bool:
    """Whether `value` is a datetime in UTC. A naive datetime is not."""
    return isinstance(value, datetime) and value.utcoffset() == _NO_OFFSET


def is_id(value: object) -> bool:
    """Whether `value` can be a task's id."""
    return isinstance(value, UUID)


def is_version(value: object) -> bool:
    """Whether `value` can be a task's version."""
    return isinstance(value, int) and 1 <= value <= VERSION_MAX


def is_position(value: object) -> bool:
    """Whether `value` can be a position."""
    return isinstance(value, str) and _POSITION.fullmatch(value) is not None


def first_position(thing_id: object) -> str:
    """The position of a new thing: the digits of its id. An invalid id gives "0": the rule of `id` refuses it."""
    return thing_id.hex if isinstance(thing_id, UUID) else "0"


T = TypeVar("T")


def exact(value: T) -> T:
    """`value` with subclasses of `str`, `int`, `UUID` and `datetime` replaced by the type itself, moments in `UTC`.

    Rules accept subclasses, but storages would treat them differently. Another zone whose offset happens to be zero
    would make equal moments compare unequal (PEP 495).
    """
    plain: Any = value
    kind = type(plain)
    if kind in _EXACT or (kind is datetime and plain.tzinfo is UTC):
        return value
    if kind is tuple and all(type(each) is str for each in plain):
        return value
    match plain:
        case str():
            plain = str.__str__(plain)
        case int():
            plain = int.__int__(plain)
        case tuple():
            plain = tuple(map(exact, plain))
        case UUID():
            plain = UUID(int=plain.int)
        case datetime():
            day = (plain.year, plain.month, plain.day)
            plain = datetime(*day, plain.hour, plain.minute, plain.second, plain.microsecond, UTC)
    return cast("T", plain)


def is_tag(value: object) -> bool:
    """Whether `value` can be one of a task's tags."""
    return is_line(value, TAG_LENGTH)


def is_tags(value: object) -> bool:
    """Whether `value` can be all of a task's tags: no two of them are the same when `folded`."""
    return (
        isinstance(value, tuple)
        and len(value) <= TAGS_MAX
        and all(map(is_tag, value))
        and len(set(map(folded, value))) == len(value)
    )


def distinct_tags(value: object) -> object:
    """Tags as they are stored: of those that are the same when `folded`, the first. None means no tags.

    If there are more than `GIVEN_TAGS_MAX`, or one cannot be a tag, `value` is returned unchanged, for the rule to
    refuse: folding a text takes time that grows with the square of its length.
    """
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or len(value) > GIVEN_TAGS_MAX or not all(map(is_tag, value)):
        return value
    first: dict[str, str] = {}
    for tag in value:
        first.setdefault(folded(tag), tag)
    return tuple(first.values())


def with_line_feeds(text: T) -> T | str:
    """A text with LF for each CR LF and CR. One that stays too long, or no text, is returned unchanged."""
    if not isinstance(text, str) or len(text) > 2 * DESCRIPTION_LENGTH or "\r" not in text:
        return text
    return _CARRIAGE_RETURN.sub("\n", text)


def _as_given(value: object) -> object:
    return value


def _or_none(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of a member, and the sentence that states it in a refusal.

    `holds` checks a stored value, `holds_given` (by default `holds`) a given one, after `clean` has normalized it.
    """

    holds: Callable[[object], bool]
    sentence: str
    clean: Callable[[object], object] = _as_given
    holds_given: Callable[[object], bool] | None = None
    wrong: Callable[[object], Sequence[str]] | None = None
    """The faults of a given value, where one sentence is not enough."""

    def accepts(self, value: object) -> bool:
        """Whether a caller may set the member to `value`."""
        return not self.problems(self.clean(value))

    def problems(self, cleaned: object) -> Sequence[str]:
        """Why a caller may not set the member to a value that `clean` returned; empty if they may."""
        if (self.holds_given or self.holds)(cleaned):
            return ()
        return self.wrong(cleaned) if self.wrong else (self.sentence,)


_DATE: Final = Rule(_or_none(is_date), f"{DATE_RULE}, or null for none", holds_given=_or_none(is_readable))
_STORED_DATE: Final = Rule(_or_none(is_date), f"{DATE_RULE}, or none")
_OPTIONAL_MOMENT: Final = Rule(_or_none(is_instant), "must be a point in time in UTC, or none")
_MOMENT: Final = Rule(is_instant, "must be a point in time in UTC")

RULES: Final[Mapping[str, Rule]] = {
    "title": Rule(is_title, TITLE_RULE),
    "description": Rule(is_description, DESCRIPTION_RULE, with_line_feeds),
    "priority": Rule(lambda value: value is None or value in PRIORITIES, PRIORITY_RULE),
    "tags": Rule(is_tags, TAGS_RULE, distinct_tags),
    "start_date": _DATE,
    "due_date": _DATE,
    "time_zone": Rule(_or_none(is_time_zone), ZONE_OR_NONE_RULE),
    "recurrence": Rule(is_recurrence, f"{RULE_RULE}, or null for none", canonical, wrong=recurrence_problems),
    "recurrence_from": Rule(
        lambda value: value in RECURRENCE_FROM, FROM_RULE, lambda value: RECURRENCE_FROM[0] if value is None else value
    ),
    "list_id": Rule(_or_none(is_id), LIST_RULE),
    "parent_id": Rule(_or_none(is_id), PARENT_RULE),
    "position": Rule(is_position, POSITION_RULE),
    "anchor": _STORED_DATE,
    "rescheduled_from": _STORED_DATE,
    "completed": Rule(lambda value: isinstance(value, bool), "must be true or false"),
    "owner": Rule(is_owner, OWNER_RULE),
    "completed_at": _OPTIONAL_MOMENT,
    "id": Rule(is_id, "must be a UUID"),
    "version": Rule(is_version, f"must be a whole number from 1 to {VERSION_MAX}"),
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
}
"""The rule of each member, and of `completed`, by which users set `completed_at`."""


class Settable(TypedDict, total=False):
    """What a user may set of a task. Dates may have any form that `todo_core.due.read_date` accepts."""

    title: str
    description: str | None
    completed: bool
    priority: Priority | None
    tags: Sequence[str] | None
    start_date: str | None
    due_date: str | None
    time_zone: str | None
    recurrence: str | None
    recurrence_from: RecurrenceFrom | None
    list_id: ListId | None
    parent_id: TaskId | None


class NewTask(Settable, total=False):
    """What a user may set of a new task."""

    title: Required[str]  # type: ignore[misc]  # nobody deletes from one of these


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Versioned):
    """A task of one owner. Always valid, never changed in place.

    Lengths count Unicode code points; times are UTC. Every constructor and every change raises `InvalidInput`, naming
    each member at fault.
    """

    id: TaskId
    owner: OwnerId
    title: str
    description: str | None = None
    priority: Priority | None = None
    tags: tuple[str, ...] = ()
    start_date: str | None = None
    due_date: str | None = None
    time_zone: str | None = None
    recurrence: str | None = None
    recurrence_from: RecurrenceFrom = RECURRENCE_FROM[0]
    anchor: str | None = None
    """The due date when the rule, or what it is counted from, was set: its occurrences are counted from it."""
    rescheduled_from: str | None = None
    """The occurrence that was rescheduled to `due_date`; None if it was not rescheduled."""
    list_id: ListId | None = None
    """Its list; None for the inbox. A subtask is in its parent's list."""
    parent_id: TaskId | None = None
    """The task that it is a subtask of."""
    position: str = ""
    """Its place among its siblings, compared by code point. The default "" becomes the digits of its id: the last."""
    completed_at: datetime | None = None
    version: Version = Version(1)
    created_at: datetime
    updated_at: datetime

    restored: ClassVar[Callable[..., "Task"]]
    """A task from its members in this order, without checks: for a storage that holds only valid tasks."""

    def __post_init__(self) -> None:
        self._require_valid(_STORED.values())

    def _require_valid(self, members: Iterable["_Stored"]) -> None:
        """Check these members. Raises `InvalidInput`, naming each at fault."""
        if self.position == "":
            object.__setattr__(self, "position", first_position(self.id))
        problems: list[Problem] = []
        for name, rule, default in members:
            if (value := getattr(self, name)) is default:
                continue
            if not rule.holds(value):
                problems.append(Problem(name, rule.sentence))
            elif (plain := exact(value)) is not value:
                object.__setattr__(self, name, plain)
        problems += self._contradictions()
        if problems:
            raise InvalidInput(problems)

    def _contradictions(self) -> Iterator[Problem]:
        """Contradictions between members."""
        if is_readable(self.start_date) and is_readable(self.due_date):
            for name, wrong in contradictions(self.start_date, self.due_date).items():
                yield Problem(name, wrong)
        if (self.recurrence is None) is not (self.anchor is None):
            yield Problem("anchor", "must be set if the task recurs, and only then")
        elif self.anchor is not None and not _agree(self.due_date, self.anchor):
            yield Problem("due_date", NEEDED_RULE)

    @classmethod
    def new(
        cls,
        *,
        id: TaskId,  # noqa: A002  (the entity's own word)
        owner: OwnerId,
        at: datetime,
        **members: Unpack[NewTask],
    ) -> Self:
        """A task created `at` that moment (UTC), at version 1."""
        values = _taken(members)
        done = at if values.pop("completed", False) else None
        given = {"id": id, "owner": owner, "completed_at": done, "created_at": at, "updated_at": at}
        return cast("Self", _made(_DEFAULTS | {name: exact(value) for name, value in values.items()} | given, given))

    @property
    def completed(self) -> bool:
        """Whether it is done."""
        return self.completed_at is not None

    @property
    def due_at(self) -> datetime | None:
        """The moment at which it is due (UTC); None unless its due date has a time and a zone."""
        return instant(self.due_date, self.time_zone)

    def toggled(self, *, at: datetime) -> Self:
        """A copy that is completed if the task was open, and open if it was completed."""
        return self.edited(at=at, completed=not self.completed)

    def edited(self, *, at: datetime, **members: Unpack[Settable]) -> Self:
        """A copy with these members set. Where no value differs, the task itself, at the same version.

        A completed task that is completed again keeps its `completed_at`.
        """
        values = _taken(members, self)
        if (completed := values.pop("completed", self.completed)) != self.completed:
            values["completed_at"] = self._moment(at) if completed else None
        return self.with_stored(at, values)

    def with_stored(self, at: datetime, values: Mapping[str, object]) -> Self:
        """A copy with these stored members, one version later; the task itself if no value differs.

        Only these members are checked.
        """
        # At a quarter of the cost of `replace`.
        if all(getattr(self, name) == value for name, value in values.items()):
            return self
        kept = dict(zip(MEMBERS, _members_of(self), strict=True))
        changed = {**values, "version": self.version + 1, "updated_at": self._moment(at)}
        return cast("Self", _made(kept | changed, changed))


MEMBERS: Final = tuple(field.name for field in fields(Task))
"""The names of a task's members, in the order in which `Task.restored` takes them."""

_members_of: Final[Callable[[Task], tuple[Any, ...]]] = attrgetter(*MEMBERS)


class _Stored(NamedTuple):
    name: str
    rule: Rule
    default: object
    """Always valid, so it is not checked."""


_STORED: Final = {field.name: _Stored(field.name, RULES[field.name], field.default) for field in fields(Task)}
_DEFAULTS: Final = {name: each.default for name, each in _STORED.items() if each.default is not MISSING}
_SETTABLE: Final = frozenset(Settable.__annotations__)
_DATED: Final = frozenset({"start_date", "due_date", "time_zone", "recurrence"})
_ANCHORING: Final = frozenset({"due_date", "recurrence", "recurrence_from"})


def _agree(due: str | None, anchor: str) -> bool:
    """Whether both have a time, or neither, as a task's due date and anchor must. Other rules judge what is no date."""
    return due is not None and (not (is_date(due) and is_date(anchor)) or has_time(due) == has_time(anchor))


def _made(members: dict[str, Any], unchecked: Iterable[str]) -> Task:
    """A task with those members, some of which have not been checked. Raises `InvalidInput`."""
    task = Task.restored(**members)
    task._require_valid(map(_STORED.__getitem__, unchecked))
    return task


def require_id(value: object, name: str) -> None:
    """Raise `InvalidInput`, naming that argument, unless `value` can be an id. Storages treat text differently."""
    if not is_id(value):
        raise InvalidInput([Problem(name, RULES["id"].sentence)])


def require_limit(value: object, most: int) -> None:
    """Raise `InvalidInput` unless `value` can be the limit of a page that has at most so many items."""
    if not (isinstance(value, int) and 1 <= value <= most):
        raise InvalidInput([Problem("limit", f"must be a whole number from 1 to {most}")])


def require_known(given: Mapping[str, object], settable: Set[str]) -> None:
    """Raise `TypeError`, as Python does for an unexpected argument, if `given` has a member that users do not set."""
    if not given.keys() <= settable:
        raise TypeError(f"got an unexpected member {min(given.keys() - settable)!r}")


def _taken(given: Mapping[str, object], task: Task | None = None) -> dict[str, object]:
    """The given members as they are stored in `task`, or in a new one. Raises `InvalidInput`, naming all at fault."""
    require_known(given, _SETTABLE)
    values = {name: RULES[name].clean(value) for name, value in given.items()}
    problems = [Problem(name, wrong) for name, value in values.items() for wrong in RULES[name].problems(value)]
    wrong = {problem.field for problem in problems}
    if not _DATED.isdisjoint(values) and _can_be_judged(values, wrong):
        dated, discords = _settled(
            {name: None if name in wrong else values.get(name, getattr(task, name, None)) for name in _DATED}
        )
        values |= dated
        problems += discords
        if dated.get("recurrence") is not None and dated["due_date"] is None:
            named = "recurrence" if "recurrence" in given else "due_date"
            problems.append(Problem(named, NEEDS_RULE if named == "recurrence" else NEEDED_RULE))
    if problems:
        raise InvalidInput(problems)
    return values if _ANCHORING.isdisjoint(values) else values | _anchored(values, task)


def _can_be_judged(values: Mapping[str, object], wrong: Collection[str]) -> bool:
    """Whether the dates can be compared: they are right, and so is the zone, if they need one."""
    if "start_date" in wrong or "due_date" in wrong:
        return False
    return "time_zone" not in wrong or not needs_zone(values.get("start_date"), values.get("due_date"))  # type: ignore[arg-type]


def _settled(dated: Mapping[str, object]) -> tuple[dict[str, object], list[Problem]]:
    start, due, zone, rule = dated["start_date"], dated["due_date"], dated["time_zone"], dated["recurrence"]
    try:
        dates = settled(start, due, zone, keeps_zone=rule is not None)  # type: ignore[arg-type]  # their rules have been checked
    except ValueError:
        return {}, [Problem("due_date" if due else "start_date", DATE_RULE)]
    wrong = [Problem(*each) for each in contradictions(dates.start_date, dates.due_date).items()]
    return {**{name: getattr(dates, name) for name in _DATED - {"recurrence"}}, "recurrence": rule}, wrong


def _anchored(values: Mapping[str, object], task: Task | None) -> dict[str, object]:
    """The anchor: a new one where the due date, the rule, or what it is counted from differs from the task's."""
    due, rule = (values.get(name, getattr(task, name, None)) for name in ("due_date", "recurrence"))
    if task is None or (due, rule) != (task.due_date, task.recurrence):
        return {"anchor": due if rule is not None else None, "rescheduled_from": None}
    if rule is not None and values.get("recurrence_from", task.recurrence_from) != task.recurrence_from:
        return {"anchor": task.rescheduled_from or due}
    return {}


def _restorer() -> Callable[..., Task]:
    """`Task.restored`, at a sixth of the cost of `__init__`.

    It fills an instance of a class with the same layout that is not frozen, and then sets its `__class__` to `Task`.
    """
    sibling = type("_Unfinished", Task.__bases__, {"__slots__": Task.__slots__})
    known: dict[str, object] = {"make": object.__new__, "sibling": sibling, "Task": Task}
    fill = "".join(f"    task.{name} = {name}\n" for name in MEMBERS)
    source = (
        f"def restored({', '.join(MEMBERS)}):\n"
        f"    task = make(sibling)\n{fill}    task.__class__ = Task\n    return task\n"
    )
    exec(source, known)  # noqa: S102  (from the class's own names, as dataclasses make `__init__`)
    return known["restored"]  # type: ignore[return-value]


Task.restored = staticmethod(_restorer())
