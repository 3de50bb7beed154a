"""Three-way merging: whether an edit based on an older version conflicts with later changes."""

from collections.abc import Iterable, Mapping
from typing import Final

from todo_core.changes import LIMIT_MAX, ChangeQuery, Entry, Members
from todo_core.errors import MergeConflict, Problem
from todo_core.lists import Thing
from todo_core.seen import Seen
from todo_core.task import Task
from todo_core.versioned import Version

SINCE_RULE: Final = "has been changed since"
AHEAD_RULE: Final = "cannot be merged: that version does not exist"
UNKNOWN_RULE: Final = "may have been changed since: the history no longer reaches back to that version"
_AS_GIVEN: Final = frozenset({"completed", "list_id", "parent_id"})
"""The members whose values are compared as they are given: an edited task may not have them yet."""


def require_mergeable(seen: Seen, thing: Thing, edited: Thing, members: Mapping[str, object], base: Version) -> None:
    """Raise `MergeConflict` if one of these members, which make `thing` `edited`, has changed since version `base`.

    Also if there is no such version: after a backup is restored, a client may have seen later ones. A member that
    already has the wanted value does not conflict.
    """
    if base == thing.version:
        return
    asked = [name for name, value in members.items() if _differs(name, value, thing, edited)]
    if base > thing.version:
        if asked:
            raise MergeConflict([Problem(name, AHEAD_RULE) for name in asked], latest=thing.version)
    else:
        log = seen.logged(ChangeQuery(of=thing.id, newest_first=True, limit=LIMIT_MAX))
        if problems := _conflicts(thing, asked, base, log):
            raise MergeConflict(problems)


def _differs(name: str, value: object, thing: Thing, edited: Thing) -> bool:
    """Whether that value, as it was given, changes the member of `thing`; `edited` may have it as it is stored."""
    now = getattr(thing, name)
    return value != now and (name in _AS_GIVEN or getattr(edited, name) != now)


def _conflicts(thing: Thing, asked: Iterable[str], base: Version, newest_first: Iterable[Entry]) -> list[Problem]:
    version: int = thing.version
    changed: set[str] = set()
    back: Members | None = None  # of a thing that came back, as long as its deletion has not been seen
    for entry in newest_first:
        if version <= base and back is None:
            break
        changed |= _changed(entry, back)
        back = entry.after if entry.before is None else None
        version = _version_before(entry, version)
    if version > base or (back is not None and version > 0):
        return [Problem(name, UNKNOWN_RULE) for name in asked]
    return [Problem(name, SINCE_RULE) for name in asked if not changed.isdisjoint(_stored(name, thing))]


def _changed(entry: Entry, back: Members | None) -> set[str]:
    """The members that the entry changed: a deletion those with which the thing came `back` otherwise than it went."""
    if entry.before is None:
        return set()
    if entry.after is None:
        return {name for name, value in (back or {}).items() if entry.before.get(name, value) != value}
    return {*entry.before, *entry.after}


def _version_before(entry: Entry, version: int) -> int:
    """The thing's version before that entry; a deletion does not raise it."""
    if entry.before is None:
        return version - 1
    found = entry.before.get("version", version)
    return found if isinstance(found, int) else version


def _stored(name: str, thing: Thing) -> set[str]:
    """The stored members that setting `name` changes. Completing a task that recurs also moves its due date."""
    if name != "completed":
        return {name}
    recurs = isinstance(thing, Task) and thing.recurrence is not None
    return {"completed_at", "due_date"} if recurs else {"completed_at"}
