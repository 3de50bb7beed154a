"""Refusals of members and parameters for their names, with what to write instead."""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Final

from todo_core import Problem

_NAME_LENGTH: Final = 100  # characters of a caller's name that are repeated
_CLOSE: Final = 0.8  # share of equal characters (`difflib`)
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
    "tags": "tag labels categories",
    "tag": "tags label labels category categories",
    "priority": "prio importance urgency",
    "due_date": "due deadline",
    "recurrence": "rrule repeat repeats recurring",
    "q": "search query keyword keywords term",
    "sort": "sortby order orderby ordering",
    "limit": "size pagesize perpage",
    "cursor": "nextcursor after",
}


def unknown(name: str, known: Collection[str]) -> Problem:
    """The problem for an unknown name, with a suggestion."""
    plain, plains = _plain(name[:_NAME_LENGTH]), {_plain(each): each for each in known}
    found = plains.get(plain) or _meant(plain, known) or _misspelt(plain, plains)
    others = f"use one of {', '.join(known)}" if known else "leave it out"
    advice = f"did you mean {found}?" if found else others
    return Problem(escaped(name), f"is unknown: {advice}")


def read_only(name: str, known: Collection[str]) -> Problem:
    """The problem for a member that only the service sets, with the members by which a move sets it."""
    moves = name == "position" and "before" in known
    return Problem(name, f"is read-only: {'use before or after' if moves else 'leave it out'}")


def _meant(plain: str, known: Collection[str]) -> str | None:
    return next((name for name, aliases in _ALIASES.items() if name in known and plain in aliases.split()), None)


def _misspelt(plain: str, plains: Mapping[str, str]) -> str | None:
    return next((plains[each] for each in get_close_matches(plain, plains, n=1, cutoff=_CLOSE)), None)


def escaped(name: str) -> str:
    """A member's name escaped for a JSON Pointer (RFC 6901 §3), and shortened."""
    return name[:_NAME_LENGTH].replace("~", "~0").replace("/", "~1")


def _plain(name: str) -> str:
    """The name without case and separators: `dueDate` and `due_date` are the same."""
    return _APART.sub("", name.lower())
