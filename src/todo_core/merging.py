"""Three-way merging: whether an edit based on an older version conflicts with later changes."""

from collections.abc import Iterable, Mapping
from typing import Final

from todo_core.changes import LIMIT_MAX, ChangeQuery, Entry
from todo_core.errors import MergeConflict, Problem
from todo_core.lists import Thing
from todo_core.seen import Seen
from todo_core.task import Task
from todo_core.versioned import Version

SINCE_RULE: Final = "has been changed since"
UNKNOWN_RULE: Final = "may have been changed since: the history no longer reaches back to that version"


def require_mergeable(seen: Seen, thing: Thing, members: Mapping[str, object], base: Version) -> None:
    """Raise `MergeConflict` if one of these members has changed since version `base`.

    A member that already has the wanted value does not conflict.
    """
    if base != thing.version:
        log = seen.logged(ChangeQuery(of=thing.id, newest_first=True, limit=LIMIT_MAX))
        if problems := _conflicts(thing, members, base, log):
            raise MergeConflict(problems)


def _conflicts(
    thing: Thing, members: Mapping[str, object], base: Version, newest_first: Iterable[Entry]
) -> list[Problem]:
    asked = [name for name, value in members.items() if getattr(thing, name) != value]
    version: int = thing.version
    changed: set[str] = set()
    for entry in newest_first:
        if version <= base:
            break
        changed |= _changed(entry)
        version = _version_before(entry, version)
    if version > base or base > thing.version:
        return [Problem(name, UNKNOWN_RULE) for name in asked]
    return [Problem(name, SINCE_RULE) for name in asked if not changed.isdisjoint(_stored(name, thing))]


def _changed(entry: Entry) -> set[str]:
    """The members that the entry changed. A deletion and its restoration change none."""
    return set() if entry.before is None or entry.after is None else {*entry.before, *entry.after}


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
