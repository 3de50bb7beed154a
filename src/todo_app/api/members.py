"""The members of JSON bodies: a type each, with what the OpenAPI document says of it."""

from datetime import datetime
from typing import Annotated, Final, TypeAlias
from uuid import UUID

import msgspec
from msgspec import Meta

from todo_core import Priority
from todo_core.due import DATE_RULE, ZONE_LENGTH, ZONE_RULE
from todo_core.lists import COLOR_RULE, NAME_LENGTH, NAME_RULE
from todo_core.own_ids import ID_RULE
from todo_core.recurrence import FROM_RULE, RULE_LENGTH, RecurrenceFrom
from todo_core.task import (
    DESCRIPTION_LENGTH,
    DESCRIPTION_RULE,
    GIVEN_TAGS_MAX,
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


def _line(rule: str, length: int, example: str) -> Meta:
    limits = {"minLength": 1, "maxLength": length, "pattern": LINE_PATTERN}
    return Meta(description=_said(rule, _UNITS), examples=[example], extra_json_schema=limits)


Title: TypeAlias = Annotated[str, _line(TITLE_RULE, TITLE_LENGTH, "Buy oat milk")]
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
_TAGS_ALIKE: Final = (
    "Of tags that are the same but for case and Unicode composition (NFKC), such as `M²` and `m2`, the first is kept."
)
_GIVEN: Final = f"Up to {GIVEN_TAGS_MAX} may be given, if at most {TAGS_MAX} are kept."
Tags: TypeAlias = Annotated[
    list[Tag],
    Meta(
        description=_said(TAGS_RULE, _TAGS_ALIKE),
        extra_json_schema={"maxItems": TAGS_MAX},
    ),
]
GivenTags: TypeAlias = Annotated[
    list[Tag],
    Meta(description=_said(TAGS_RULE, _TAGS_ALIKE, _GIVEN), max_length=GIVEN_TAGS_MAX),
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
Name: TypeAlias = Annotated[str, _line(NAME_RULE, NAME_LENGTH, "Groceries")]
Color: TypeAlias = Annotated[
    str, Meta(description=_said(COLOR_RULE), extra_json_schema={"pattern": "^#[0-9a-fA-F]{6}$"}, examples=["#ff8800"])
]
VersionNumber: TypeAlias = Annotated[
    int,
    Meta(description="Starts at 1, and rises by 1 with each change; the entity tag.", extra_json_schema={"minimum": 1}),
]
Id: TypeAlias = Annotated[
    UUID, Meta(description="A UUIDv7 (RFC 9562). Its timestamp is that of creation, unless the client chose it.")
]
OwnId: TypeAlias = Annotated[
    UUID,
    Meta(
        description=_said(
            ID_RULE,
            "Set it to choose the id yourself; then creating the same again changes nothing. It is 409 `task_exists` "
            "with other members, after a deletion, twice in one batch, and if the batch that created it also changed "
            "it. `sort=created_at` sorts tasks by this timestamp.",
        ),
        examples=["019a540b-b400-7cc3-98c4-dc0c0c07398f"],
    ),
]
Ignored: TypeAlias = Annotated[msgspec.Raw, Meta(description="Read-only: accepted as GET returned it, and ignored.")]
Moment: TypeAlias = Annotated[datetime, Meta(tz=True, description="RFC 3339, in UTC.")]
_USER_ID: Final = {"minLength": 1, "maxLength": OWNER_LENGTH}
UserId: TypeAlias = Annotated[str, Meta(description="The user: the `sub` of the token.", extra_json_schema=_USER_ID)]
NextCursor: TypeAlias = Annotated[str | None, Meta(description="The `cursor` of the next page; null on the last.")]
