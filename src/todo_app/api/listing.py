"""The query parameters: each declared once, with its parser and its description."""

import re
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl
from uuid import UUID

from todo_app.api.examples import CURSOR, SYNC_TOKEN, TASK
from todo_app.api.ids import NUMBER, UUID_TEXT
from todo_app.api.members import LINE_PATTERN, TEXT_PATTERN
from todo_app.api.names import escaped, unknown
from todo_app.api.remembering import remembered_if_short
from todo_core import (
    ChangeQuery,
    Cursor,
    InvalidInput,
    OwnerId,
    Place,
    Problem,
    Sort,
    SyncToken,
    TaskId,
    TaskQuery,
)
from todo_core.due import ZONE_LENGTH, read_date
from todo_core.queries import LIMIT_RULE, NONE, PAGE_DEFAULT, PAGE_MAX, SEARCH_LENGTH, SEARCH_RULE, is_search
from todo_core.recurrence import RECURRENCE_FROM, RULE_LENGTH
from todo_core.recurring import OCCURRENCES_DEFAULT, OCCURRENCES_MAX, OCCURRENCES_RULE
from todo_core.sync import TOKEN_PATTERN
from todo_core.task import PRIORITIES, TAG_LENGTH, TAGS_MAX, is_tag, with_line_feeds

_GIVEN_MAX: Final = 40  # parameters, each with one value
_DIGITS = re.compile(r"[0-9]{1,9}")
_DAY_RULE: Final = "must be a date such as 2026-10-01, or a local date and time such as 2026-10-01T17:00:00"
_LEVELS: Final = (*PRIORITIES, NONE)


class Parameter(NamedTuple):
    """One parameter: its name, the attribute that it sets, its parser, description and schema."""

    name: str
    attribute: str
    read: Callable[[str], Any]
    description: str
    schema: dict[str, Any]
    repeatable: bool = False
    required: bool = False


def _completed(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def _limit(text: str) -> int:
    if not _DIGITS.fullmatch(text) or not 1 <= int(text) <= PAGE_MAX:
        raise ValueError(LIMIT_RULE)
    return int(text)


def _few(text: str) -> int:
    if not _DIGITS.fullmatch(text) or not 1 <= int(text) <= OCCURRENCES_MAX:
        raise ValueError(OCCURRENCES_RULE)
    return int(text)


def _search(text: str) -> str:
    if not is_search(with_line_feeds(text)):
        raise ValueError(SEARCH_RULE)
    return text


def _sort(text: str) -> Sort:
    if text not in list(Sort):
        raise ValueError(f"must be one of {', '.join(Sort)}")
    return Sort(text)


def _priorities(text: str) -> frozenset[str | None]:
    levels = text.split(",")
    if not set(levels) <= set(_LEVELS):
        raise ValueError(f"must be some of {','.join(_LEVELS)}, separated by commas")
    return frozenset(None if level == NONE else level for level in levels)


def _tag(text: str) -> str:
    if not is_tag(text):
        raise ValueError(f"must be a tag of 1 to {TAG_LENGTH} characters, not all blank, without control characters")
    return text


def _id_or_none(text: str) -> Any:
    if text == NONE:
        return NONE
    if not UUID_TEXT.fullmatch(text.lower()):
        raise ValueError(f"must be an id such as {TASK.id}, or {NONE}")
    return UUID(text)


def _parents(text: str) -> Any:
    found = _id_or_none(text)
    return NONE if found == NONE else frozenset({found})


def _day(text: str) -> str:
    try:
        given = read_date(text[:_DAY_LENGTH])
    except ValueError:
        raise ValueError(_DAY_RULE) from None
    if given.is_instant or len(text) > _DAY_LENGTH:
        raise ValueError(_DAY_RULE)
    return given.written


def _place(text: str) -> int:
    if not NUMBER.fullmatch(text):
        raise ValueError("must be the next_cursor of an earlier page")
    return int(text)


def log_place(text: str) -> Place:
    """The place in the log that a cursor encodes. Raises `ValueError` for anything else."""
    number, _, thing = text[:_PLACE_LENGTH].partition(".")
    if len(text) > _PLACE_LENGTH or not NUMBER.fullmatch(number) or not UUID_TEXT.fullmatch(thing):
        raise ValueError("must be the next_cursor of an earlier page")
    return Place(int(number), TaskId(UUID(thing)))


_PLACE_LENGTH: Final = 60
_DAY_LENGTH: Final = 40
_DAY: Final = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?$", "examples": ["2026-12-01"]}
_ID_OR_NONE: Final = {"type": "string", "pattern": f"^({NONE}|{UUID_TEXT.pattern})$", "examples": [NONE]}
_LIMIT: Final = Parameter(
    "limit", "limit", _limit, "The maximum number of items.",
    {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT},
)  # fmt: skip
OF_LISTING: Final = (
    Parameter("completed", "completed", _completed, "Only completed tasks, or only open ones.", {"type": "boolean"}),
    Parameter(
        "q", "search", _search,
        "Only tasks with this text in their title or description, ignoring case and Unicode composition (NFKC). "
        "Its length also counts after case folding: ß counts as ss.",
        {"type": "string", "maxLength": SEARCH_LENGTH, "pattern": TEXT_PATTERN, "examples": ["milk"]},
    ),
    Parameter(
        "priority", "priorities", _priorities,
        f"Only tasks with any of these priorities, separated by commas; `{NONE}` stands for tasks without one.",
        {"type": "string", "pattern": f"^({'|'.join(_LEVELS)})(,({'|'.join(_LEVELS)}))*$", "examples": ["high,none"]},
    ),
    Parameter(
        "tag", "tags", _tag,
        "Only tasks with this tag, ignoring case and Unicode composition (NFKC); if given several times, with all of "
        "them.",
        {
            "type": "array", "maxItems": TAGS_MAX, "examples": [["home"]],
            "items": {"type": "string", "minLength": 1, "maxLength": TAG_LENGTH, "pattern": LINE_PATTERN},
        },
        repeatable=True,
    ),
    Parameter(
        "list_id", "list_id", _id_or_none, f"Only tasks in this list; `{NONE}` stands for the inbox.", _ID_OR_NONE
    ),
    Parameter(
        "parent_id", "parents", _parents, f"Only direct subtasks of this task; `{NONE}` stands for top-level tasks.",
        _ID_OR_NONE,
    ),
    Parameter("due_from", "due_from", _day, "Only tasks due then or later, comparing `due_date` as text.", _DAY),
    Parameter("due_before", "due_before", _day, "Only tasks due before, comparing `due_date` as text.", _DAY),
    Parameter(
        "sort", "sort", _sort,
        "The order; `-` is descending. `created_at` sorts by the timestamp in the `id`, also in an id that the client "
        "chose. Tasks without a value come last. A task whose value changes between two pages may be on both or on "
        "neither.",
        {"type": "string", "enum": list(Sort), "default": Sort.NEWEST},
    ),
    _LIMIT,
    Parameter(
        "cursor", "after", Cursor.decode, "The `next_cursor` of the previous page, with the same `sort` and filters.",
        {"type": "string", "examples": [CURSOR]},
    ),
)  # fmt: skip
_OF_TRASH: Final = (
    _LIMIT,
    Parameter(
        "cursor", "after", log_place, "The `next_cursor` of the previous page.",
        {"type": "string", "examples": [f"2.{TASK.id}"]},
    ),
)  # fmt: skip
_OF_HISTORY: Final = (
    _LIMIT,
    Parameter(
        "cursor", "after", _place, "The `next_cursor` of the previous page.", {"type": "string", "examples": ["2"]}
    ),
)

_SINCE: Final = Parameter(
    "since", "since", str, "The `next` of the previous page, or the `id` of an event; without it, everything is sent.",
    {"type": "string", "pattern": TOKEN_PATTERN, "examples": [SYNC_TOKEN]},
)  # fmt: skip
_OF_SYNC: Final = (_LIMIT, _SINCE)
_OF_EVENTS: Final = (
    _SINCE._replace(description="Where to continue, as `Last-Event-ID`; without either, the stream begins now."),
)
_OF_OCCURRENCES: Final = (
    Parameter(
        "limit", "limit", _few, "The maximum number of dates.",
        {"type": "integer", "minimum": 1, "maximum": OCCURRENCES_MAX, "default": OCCURRENCES_DEFAULT},
    ),
)  # fmt: skip

_A_DATE: Final = {"type": "string", "maxLength": _DAY_LENGTH, "examples": ["2096-12-01"]}
_OF_PREVIEW: Final = (
    *_OF_OCCURRENCES,
    Parameter("due_date", "due_date", str, "As of a new task.", _A_DATE, required=True),
    Parameter(
        "recurrence", "recurrence", str, "As of a new task.",
        {"type": "string", "maxLength": RULE_LENGTH, "examples": ["FREQ=MONTHLY;COUNT=3"]},
        required=True,
    ),
    Parameter(
        "recurrence_from", "recurrence_from", str, "As of a new task.",
        {"type": "string", "enum": list(RECURRENCE_FROM), "default": RECURRENCE_FROM[0]},
    ),
    Parameter(
        "time_zone", "time_zone", str, "As of a new task.",
        {"type": "string", "maxLength": ZONE_LENGTH, "examples": ["Europe/Madrid"]},
    ),
)  # fmt: skip


def read_trash(query_string: bytes) -> ChangeQuery:
    """The query for a page of the trash. Raises as `read_listing` does."""
    values = _values(_given(query_string), _OF_TRASH)
    return ChangeQuery(newest_first=True, **values)


@remembered_if_short
def read_listing(query_string: bytes) -> TaskQuery:
    """The query for a listing. Raises `InvalidInput`, naming the parameters at fault."""
    return listing_of(_given(query_string))


def listing_of(given: Collection[tuple[str, str]]) -> TaskQuery:
    """The query for a listing, from parameters and their texts. Raises as `read_listing` does."""
    if len(given) > _GIVEN_MAX:
        raise InvalidInput([Problem("", f"must have at most {_GIVEN_MAX} values in all")])
    return TaskQuery(**_values(given, OF_LISTING))


def read_history(query_string: bytes, task_id: TaskId) -> ChangeQuery:
    """The query for a page of a task's history. Raises as `read_listing` does."""
    values = _values(_given(query_string), _OF_HISTORY)
    after = Place(values.pop("after"), task_id) if "after" in values else None
    return ChangeQuery(of=task_id, newest_first=True, after=after, **values)


def read_occurrences(query_string: bytes) -> int:
    """The limit of a query for occurrences. Raises as `read_listing` does."""
    return _values(_given(query_string), _OF_OCCURRENCES).get("limit", OCCURRENCES_DEFAULT)  # type: ignore[no-any-return]  # as read


def read_preview(query_string: bytes) -> dict[str, Any]:
    """`limit` and the members of the new task, as far as given. Raises as `read_listing` does."""
    return _values(_given(query_string), _OF_PREVIEW)


def read_sync(query_string: bytes, owner: OwnerId) -> dict[str, Any]:
    """`since` and `limit`, as far as given. Raises as `read_listing` does."""
    return _values(_given(query_string), _tokens_of(owner, _OF_SYNC))


def read_since(query_string: bytes, owner: OwnerId) -> SyncToken | None:
    """The token in `since`, if given. Raises as `read_listing` does."""
    return _values(_given(query_string), _tokens_of(owner, _OF_EVENTS)).get("since")


def refuse_parameters(query_string: bytes) -> None:
    """Read the query of an operation without parameters. Raises as `read_listing` does."""
    _values(_given(query_string), ())


def _tokens_of(owner: OwnerId, parameters: Collection[Parameter]) -> list[Parameter]:
    decode = partial(SyncToken.decode, owner=owner)
    return [each._replace(read=decode) if each.name == "since" else each for each in parameters]


def _values(given: Collection[tuple[str, str]], parameters: Collection[Parameter]) -> dict[str, Any]:
    """The parameters' values, by the attributes that they set."""
    known = {parameter.name: parameter for parameter in parameters}
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for name, text in given:
        if (parameter := known.get(name)) is None:
            problems.append(unknown(name, known))
            continue
        try:
            value = parameter.read(text)
        except ValueError as error:
            problems.append(Problem(name, str(error)))
        except InvalidInput as error:
            problems.extend(error.problems)
        else:
            if parameter.repeatable:
                values[parameter.attribute] = (*values.get(parameter.attribute, ()), value)
            elif parameter.attribute in values:
                problems.append(Problem(escaped(name), "must be given only once"))
            else:
                values[parameter.attribute] = value
    names = {name for name, _ in given}
    problems.extend(
        Problem(each.name, "is required") for each in parameters if each.required and each.name not in names
    )
    if problems:
        raise InvalidInput(problems)
    return values


def _given(query_string: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_GIVEN_MAX
        )
    except ValueError:  # covers UnicodeDecodeError
        rule = f"the query may have at most {_GIVEN_MAX} parameters, in percent-encoded UTF-8"
        raise InvalidInput([Problem("", rule)]) from None


def _documented(parameters: Collection[Parameter]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"name": each.name, "in": "query", "description": each.description, "schema": each.schema}
        | ({"required": True} if each.required else {})
        for each in parameters
    )


LISTING: Final = _documented(OF_LISTING)
"""The parameters of listings, for the OpenAPI document; likewise the following."""
PAGES: Final = _documented(_OF_TRASH)
HISTORY: Final = _documented(_OF_HISTORY)
CHANGED: Final = _documented(_OF_SYNC)
EVENTS: Final = _documented(_OF_EVENTS)
OCCURRENCES: Final = _documented(_OF_OCCURRENCES)
PREVIEW: Final = _documented(_OF_PREVIEW)
