"""Taking back what was done: undoing a change, restoring what was deleted, and erasing it for good."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from todo_core.changes import LOGGED, Action, Entry, Members, Pair
from todo_core.errors import ChangeNotFound, InsufficientScope, NotInTrash, Problem, UndoConflict
from todo_core.plans import Decision, Seen
from todo_core.task import Task, TaskId, Version

_COUNTED: Final = frozenset({"version", "created_at", "updated_at"})
"""The members that go on, whatever is taken back."""


def undone(seen: Seen, number: int, *, at: datetime, may_delete: bool = True) -> Decision:
    """The change with that number taken back, as a new change: undoing that one does it again.

    Undoing a creation deletes: without `may_delete` it raises `InsufficientScope`. Raises `ChangeNotFound`, and
    `UndoConflict` where a member has not the value any more that the change gave it.
    """
    if not (entries := seen.change(number)):
        raise ChangeNotFound
    if not may_delete and any(entry.before is None for entry in entries):
        raise InsufficientScope("tasks:delete")
    if conflicts := [conflict for entry in entries for conflict in _conflicts(entry, seen.find(entry.id))]:
        raise UndoConflict(conflicts)
    pairs = tuple(_reverse(entry, seen.find(entry.id), seen, at) for entry in entries)
    return Decision(pairs, tuple(pair.after for pair in pairs if pair.after is not None))


def _conflicts(entry: Entry, now: Task | None) -> Iterator[tuple[UUID, Problem]]:
    if entry.after is None:
        if now is not None:
            yield entry.id, Problem("id", "is in use again: the task has been restored")
        elif not entry.before:
            yield entry.id, Problem("id", "is of a task that has been erased")
    elif now is None:
        yield entry.id, Problem("id", "is of a task that has been deleted since")
    else:
        for name in _set_by(entry.after):
            if getattr(now, name) != entry.after[name]:
                yield entry.id, Problem(name, "has been changed since")


def _reverse(entry: Entry, now: Task | None, seen: Seen, at: datetime) -> Pair:
    if now is None:
        return Pair(None, _again(entry.id, entry.before or {}, seen, at), "undone")
    if entry.before is None:
        return Pair(now, None, "undone")
    back: dict[str, Any] = {name: entry.before[name] for name in _set_by(entry.before)}
    version, moment = Version(now.version + 1), max(at, now.updated_at)
    return Pair(now, replace(now, version=version, updated_at=moment, **back), "undone")


def _set_by(members: Members) -> list[str]:
    return [name for name in LOGGED if name in members and name not in _COUNTED]


def restored(seen: Seen, task_id: TaskId, *, at: datetime) -> Decision:
    """What the deletion of that task took is back, with its ids; versions go on. Raises `NotInTrash`."""
    deleted = _deleted_with(seen, task_id)
    action: Action = "restored"
    pairs = tuple(Pair(None, _again(entry.id, entry.before or {}, seen, at), action) for entry in deleted)
    return Decision(pairs, tuple(pair.thing for pair in pairs))


def erased(seen: Seen, task_id: TaskId) -> Decision:
    """What the deletion of that task took is gone for good, from the log too. Raises `NotInTrash`."""
    return Decision(erased=frozenset(entry.id for entry in _deleted_with(seen, task_id)))


def _deleted_with(seen: Seen, task_id: TaskId) -> list[Entry]:
    """The entries of what was deleted together with that task, and is in the trash still."""
    last = seen.last_of(task_id)
    if last is None or not last.is_in_trash:
        raise NotInTrash
    together = [entry for entry in seen.change(last.number) if entry.is_in_trash]
    return [entry for entry in together if (still := seen.last_of(entry.id)) and still.number == last.number]


def _again(task_id: TaskId, members: Members, seen: Seen, at: datetime) -> Task:
    """The task as it was before its deletion, one version further."""
    was: dict[str, Any] = dict(members)
    was |= {"version": Version(was["version"] + 1), "updated_at": max(at, was["updated_at"])}
    return Task(id=task_id, owner=seen.owner, **was)
