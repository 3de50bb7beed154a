"""Says of a name that is unknown here which one may be meant."""

import re
from collections.abc import Collection
from typing import Final

from todo_core import Problem

_NAME_LENGTH: Final = 100  # of what a caller sent, as much is repeated
_APART: Final = re.compile("[^a-z0-9]")
_MEANT: Final = {
    alias: name
    for name, aliases in {
        "title": "name text label subject",
        "description": "desc detail details note notes",
        "completed": "complete done finished checked status isdone iscomplete iscompleted",
        "q": "search query keyword keywords term",
        "sort": "sortby order orderby ordering",
        "limit": "size pagesize perpage",
        "cursor": "nextcursor after",
    }.items()
    for alias in aliases.split()
}


def unknown(name: str, known: Collection[str]) -> Problem:
    """What to say of that name where only others are known."""
    plain = _plain(name[:_NAME_LENGTH])
    found = {_plain(each): each for each in known}.get(plain) or _MEANT.get(plain)
    advice = f"did you mean {found}?" if found in known else f"there is {', '.join(known)}"
    return Problem(escaped(name), f"is unknown here: {advice}")


def escaped(name: str) -> str:
    """A member's name as JSON Pointer spells it (RFC 6901 §3), or as much of it as is worth repeating."""
    return name[:_NAME_LENGTH].replace("~", "~0").replace("/", "~1")


def _plain(name: str) -> str:
    """The name without its case and what parts its words: `dueDate` and `due_date` are one."""
    return _APART.sub("", name.lower())
