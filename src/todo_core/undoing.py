"""Undoing a change, restoring what was deleted, and erasing it for good."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from todo_core.changes import LOGGED, Entry, Kind, Members, Pair, with_roots
from todo_core.errors import ChangeNotFound, InsufficientScope, NotInTrash, Problem, UndoConflict
from todo_core.families import LEVELS_MAX, ancestors, misplaced
from todo_core.lists import TaskList, Thing
from todo_core.places import with_free_positions
from todo_core.plans import Decision
from todo_core.seen import NotSeen, Seen, Sees
from todo_core.task import MEMBERS, RULES, ListId, Task, TaskId, exact
from todo_core.versioned import Version

_COUNTED: Final = frozenset({"version", "created_at", "updated_at"})
"""The members that an undo does not set back."""
_PLACE: Final = frozenset({"list_id", "parent_id", "position"})


def undone(seen: Seen, number: int, *, at: datetime, fresh: str, may_delete: bool = True) -> Decision:
    """The reverse of the change with that number, as a new change, which can be undone in turn.

    A position that another thing has taken is replaced by one just after it; `fresh` are the digits of a new id.
    Undoing a creation deletes: without `may_delete` that raises `InsufficientScope`. Raises `ChangeNotFound`;
    `UndoConflict` if a member no longer has the value that the change set, or a thing would be in an invalid place.
    """
    if not (entries := seen.change(number)):
        raise ChangeNotFound
    if not may_delete and any(entry.before is None for entry in entries):
        raise InsufficientScope("tasks:delete")
    now = _now(seen, entries)
    last = _last(seen, [entry.id for entry in entries if now[entry.id] is None])
    newest = {entry.id: entry for entry in entries} | last
    if conflicts := [each for entry in entries for each in _conflicts(entry, now[entry.id], newest[entry.id])]:
        raise UndoConflict(conflicts)
    if conflicts := list(_torn_apart(seen, number, last)):
        raise UndoConflict(conflicts)
    pairs = _grouped(entries, [_reverse(entry, now[entry.id], newest[entry.id], seen, at) for entry in entries])
    if conflicts := misplaced(seen, pairs):
        raise UndoConflict(conflicts)
    pairs = with_free_positions(seen, pairs, fresh)
    return Decision(tuple(pairs), tuple(pair.after for pair in pairs if pair.after is not None))


def _now(seen: Seen, entries: Sequence[Entry]) -> Mapping[UUID, Thing | None]:
    """The present state of the things that those entries are about."""
    tasks = [TaskId(entry.id) for entry in entries if entry.kind == "task"]
    now: dict[UUID, Thing | None] = dict(zip(tasks, seen.find_all(tasks), strict=True))
    if any(entry.kind == "list" for entry in entries):
        lists: Mapping[Any, TaskList] = seen.all_lists()
        now |= {entry.id: lists.get(entry.id) for entry in entries if entry.kind == "list"}
    return now


def _conflicts(entry: Entry, now: Thing | None, last: Entry) -> Iterator[tuple[UUID, Problem]]:
    """Why that entry cannot be undone; `last` is the last one about the thing, if it is deleted."""
    if last.kind != entry.kind:
        yield entry.id, Problem("id", f"has since been used for a {last.kind}")
    elif entry.after is None:
        if now is not None:
            yield entry.id, Problem("id", f"is in use again: the {entry.kind} has been restored")
        elif not (entry.before and last.before):
            yield entry.id, Problem("id", f"is of a {entry.kind} that has been erased")
        else:  # it may have been restored, changed and deleted again; where it was then does not matter
            content = {name: value for name, value in entry.before.items() if name not in _PLACE}
            yield from _changed_since(entry, content, last.before)
    elif now is None:
        yield entry.id, Problem("id", f"is of a {entry.kind} that has been deleted since")
    else:
        yield from _changed_since(entry, entry.after, {name: getattr(now, name) for name in entry.after})


def _changed_since(entry: Entry, left: Members, found: Members) -> Iterator[tuple[UUID, Problem]]:
    for name in _set_by(entry.kind, left):
        if found[name] != left[name]:
            yield entry.id, Problem(name, "has been changed since")


def _torn_apart(seen: Seen, number: int, last: Mapping[UUID, Entry]) -> Iterator[tuple[UUID, Problem]]:
    """Conflicts with later deletions that took more than the undo restores: the trash would lose the rest."""
    for thing_id, entry in last.items():
        again = entry.number != number and entry.heads_trash and entry.took > 1
        if again and {each.id for each in _deleted_with(seen, thing_id)} - last.keys():
            yield thing_id, Problem("id", f"is of a {entry.kind} that has been deleted again since, with others")


def _last(seen: Seen, things: Sequence[UUID]) -> dict[UUID, Entry]:
    """The last entry about each of those things that has one."""
    return {entry.id: entry for entry in seen.last_of(things) if entry is not None}


def _reverse(entry: Entry, now: Thing | None, last: Entry, seen: Seen, at: datetime) -> Pair:
    if now is None:
        return Pair(None, _again(entry, last, seen, at), "undone", root=last.root)
    if entry.before is None:
        return Pair(now, None, "undone")
    back: dict[str, Any] = {name: entry.before[name] for name in _set_by(entry.kind, entry.before)}
    version, moment = Version(now.version + 1), max(at, now.updated_at)
    return Pair(now, replace(now, version=version, updated_at=moment, **back), "undone")


def _grouped(entries: Sequence[Entry], pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, with `root` and `took` set on each deletion; things that were in the trash before keep their group."""
    made = {pair.thing.id: pair.root for pair in with_roots(pairs) if pair.after is None}
    back = {entry.id: entry.root for entry in entries if entry.id in made and entry.action != "created"}
    roots = made | {thing_id: root if root in made else None for thing_id, root in back.items()}
    heads = {thing_id: roots.get(root, root) or root for thing_id, root in roots.items() if root is not None}
    took = Counter(heads.values())
    return [
        replace(pair, root=heads.get(pair.thing.id), took=1 + took[pair.thing.id]) if pair.after is None else pair
        for pair in pairs
    ]


def _set_by(kind: Kind, members: Members) -> list[str]:
    return [name for name in LOGGED[kind] if name in members and name not in _COUNTED]


def restored(seen: Seen, thing_id: UUID, *, at: datetime, fresh: str) -> Decision:
    """Restore everything that was deleted with that thing, with the same ids and later versions.

    A task whose list is gone comes back in the inbox; one whose parent is gone, or would be too deep, at the top level.
    `fresh` is that of `undone`. Raises `NotInTrash`.
    """
    entries = _deleted_with(seen, thing_id)
    things = [_again(entry, entry, seen, at) for entry in entries]
    family = {thing.id: thing for thing in things if isinstance(thing, Task)}
    back = {None, *(thing.id for thing in things)}
    for top in [task for task in family.values() if (task.parent_id or task.list_id) not in back]:
        list_id, parent_id = _home(seen, top, family.values())
        below = [each for level in _generations(top, family.values()) for each in level]
        family |= {each.id: replace(each, list_id=list_id) for each in below}
        family[top.id] = replace(top, list_id=list_id, parent_id=parent_id)
    placed = [family.get(TaskId(each.id), each) for each in things]
    pairs = [Pair(None, each, "restored", entry.root) for each, entry in zip(placed, entries, strict=True)]
    pairs = with_free_positions(seen, pairs, fresh)
    return Decision(tuple(pairs), tuple(pair.thing for pair in pairs if pair.before is None))


def _generations(top: Task, family: Collection[Task]) -> Iterator[list[Task]]:
    """The subtasks of `top` among these tasks, level by level."""
    above = {top.id}
    for _ in range(LEVELS_MAX):
        below = [each for each in family if each.parent_id in above]
        if not below:
            return
        yield below
        above = {each.id for each in below}


def _home(seen: Seen, root: Task, family: Collection[Task]) -> tuple[ListId | None, TaskId | None]:
    """The list and the parent under which a task is restored with its subtasks."""
    if root.parent_id is not None and (parent := seen.find(root.parent_id)) is not None:
        levels = 1 + len(list(_generations(root, family)))
        fits = len(ancestors(seen, parent)) + 1 + levels <= LEVELS_MAX
        return parent.list_id, parent.id if fits else None
    there = root.list_id is not None and seen.find_list(root.list_id) is not None
    return root.list_id if there else None, None


def erased(seen: Seen, thing_id: UUID) -> Decision:
    """Erase everything that was deleted with that thing, from the log too. Raises `NotInTrash`."""
    return Decision(erased=frozenset(entry.id for entry in _deleted_with(seen, thing_id)))


def emptied(seen: Seen, heads: Sequence[Entry]) -> Decision:
    """For each of these deletions, erase what `erased` would erase."""
    if unseen := frozenset(entry.number for entry in heads) - seen.entries.keys():
        raise NotSeen(Sees(entries=unseen))
    seen.last_of([entry.id for number in {head.number for head in heads} for entry in seen.change(number)])
    return Decision(erased=frozenset(entry.id for entry in _deleted_with(seen, *(head.id for head in heads))))


def _deleted_with(seen: Seen, *things: UUID) -> list[Entry]:
    """The entries of everything deleted together with these things that is still in the trash. Raises `NotInTrash`.

    That is the trash as it was before the batch, if there is one, without what the batch has restored.
    """
    last = [each for each in seen.last_of(things) if each is not None and each.heads_trash]
    if len(last) < len(things) or not seen.changed.keys().isdisjoint(things):
        raise NotInTrash
    asked = {(each.number, each.id) for each in last}
    deleted = (entry for each in dict.fromkeys(each.number for each in last) for entry in seen.change(each))
    gone = [entry for entry in deleted if entry.after is None]
    taken = [entry for entry in gone if not asked.isdisjoint(((entry.number, entry.id), (entry.number, entry.root)))]
    newest = _last(seen, [entry.id for entry in taken])
    return [entry for entry in taken if newest[entry.id].number == entry.number]


def _again(entry: Entry, last: Entry, seen: Seen, at: datetime) -> Thing:
    """The thing as it was before the deletion `entry`, one version after the one it had before its `last` deletion."""
    was: dict[str, Any] = dict(entry.before or {})
    newest: Any = {**was, **(last.before or {})}
    was |= {"id": entry.id, "version": Version(newest["version"] + 1), "updated_at": max(at, newest["updated_at"])}
    if entry.kind == "list" or not all(RULES[name].holds(was[name]) for name in ("version", "updated_at")):
        return (Task if entry.kind == "task" else TaskList)(owner=seen.owner, **was)  # refuses what is not valid
    was["updated_at"] = exact(was["updated_at"])
    # There may be thousands, and the log holds only valid tasks.
    return Task.restored(*[seen.owner if name == "owner" else was[name] for name in MEMBERS])
