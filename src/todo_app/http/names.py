"""Says of a name that is unknown here which one may be meant."""

import re
from collections.abc import Collection
from typing import Final

from todo_core import Problem

_NAME_LENGTH: Final = 100  # of what a caller sent, as much is repeated
_APART: Final = re.compile("[^a-z0-9]")
_ALIASES: Final = {
    "id": "taskid",
    "ids": "taskids",
    "title": "name text label subject",
    "name": "title text label",
    "color": "colour",
    "list_id": "list project projectid category categoryid folder",
    "parent_id": "parent parenttask parenttaskid",
    "description": "desc detail details note notes",
    "completed": "complete done finished checked status isdone iscomplete iscompleted",
    "q": "search query keyword keywords term",
    "sort": "sortby order orderby ordering",
    "limit": "size pagesize perpage",
    "cursor": "nextcursor after",
}


def unknown(name: str, known: Collection[str]) -> Problem:
    """What to say of that name where only others are known."""
    plain = _plain(name[:_NAME_LENGTH])
    found = {_plain(each): each for each in known}.get(plain) or _meant(plain, known)
    there = f"there is {', '.join(known)}" if known else "nothing is taken, leave it out"
    advice = f"did you mean {found}?" if found else there
    return Problem(escaped(name), f"is unknown here: {advice}")


def _meant(plain: str, known: Collection[str]) -> str | None:
    return next((name for name, aliases in _ALIASES.items() if name in known and plain in aliases.split()), None)


def escaped(name: str) -> str:
    """A member's name as JSON Pointer spells it (RFC 6901 §3), or as much of it as is worth repeating."""
    return name[:_NAME_LENGTH].replace("~", "~0").replace("/", "~1")


def _plain(name: str) -> str:
    """The name without its case and what parts its words: `dueDate` and `due_date` are one."""
    return _APART.sub("", name.lower())
