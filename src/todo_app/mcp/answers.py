"""The tools' answers: things without empty members, dates with their weekdays, and refusals as in the API."""

from collections.abc import Iterable
from datetime import date
from typing import Any, Final

import msgspec

from todo_app.api import wire
from todo_app.http.problems import problem_of
from todo_app.mcp.schema import THINGS_MAX, Json
from todo_core import Committed, Entry, InsufficientScope, Task, TaskList, TodoError

SIZE_MAX: Final = 250_000  # bytes, after which a page ends: the SDK works on 800 KB for up to 9 ms in one stretch
# Not needed by a model, which never sends them back.
_LEFT_OUT: Final = frozenset({"user_id", "version", "created_at", "updated_at", "position", "due_at"})
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WHOLE: Final = frozenset({"created", "deleted", "restored"})
"""Actions on a whole thing: the history's `fields` would only repeat it."""


def as_many_as_fit(items: Iterable[Json]) -> list[Json]:
    """The first items, up to the one with which they have more than `SIZE_MAX` bytes together."""
    fitting: list[Json] = []
    size = 0
    for each in items:
        fitting.append(each)
        size += len(msgspec.json.encode(each))
        if size > SIZE_MAX:
            break
    return fitting


def task(of: Task) -> Json:
    """A task without empty members, with the weekdays of its dates."""
    shown = _shown(wire.Task.of(of))
    if of.recurrence is None:
        del shown["recurrence_from"]
    days = {f"{name}_weekday": weekday(shown[f"{name}_date"]) for name in ("start", "due") if f"{name}_date" in shown}
    return shown | days


def task_list(of: TaskList) -> Json:
    """A list without empty members."""
    return _shown(wire.TaskList.of(of))


def _shown(view: msgspec.Struct) -> Json:
    members: Json = msgspec.to_builtins(view)
    return {name: value for name, value in members.items() if name not in _LEFT_OUT and value not in (None, [], ())}


def weekday(written: str) -> str:
    """The weekday of a date, in English whatever the locale."""
    return _DAYS[date.fromisoformat(written[:10]).weekday()]


def changed(committed: Committed) -> Json:
    """The changed task, and the change's number."""
    return {"change": committed.change, "task": task(committed.task)}


def taken_back(committed: Committed, at_most: int = THINGS_MAX) -> Json:
    """The first of the restored or changed tasks and lists, how many are not shown, and the change's number."""
    things = sorted(committed.things, key=lambda each: isinstance(each, Task))  # lists first
    shown, more = things[:at_most], len(things[at_most:])
    tasks = [task(each) for each in shown if isinstance(each, Task)]
    lists = [task_list(each) for each in shown if isinstance(each, TaskList)]
    said = {"change": committed.change, "tasks": tasks}
    return said | ({"lists": lists} if lists else {}) | ({"not_shown": more} if more else {})


class TakenBack:
    """The answers of several changes in one call, which show `THINGS_MAX` tasks and lists together."""

    def __init__(self) -> None:
        self._left = THINGS_MAX

    def answer(self, committed: Committed) -> Json:
        """The next one."""
        said = taken_back(committed, self._left)
        self._left -= len(said["tasks"]) + len(said.get("lists", ()))
        return said


def entry(of: Entry, title: str | None) -> Json:
    """One entry of the history."""
    item: Json = msgspec.to_builtins(wire.HistoryItem.of(of))
    if of.action in _WHOLE:
        del item["fields"]
    named = {} if title is None else {"title": title}
    kind = {} if of.kind == "task" else {"kind": of.kind}
    return {"id": str(of.id), **kind, **named, **item, "weekday": weekday(item["at"])}


def refusal(error: TodoError) -> Json:
    """A refusal, as in the API. For a missing scope, also with the option of `todo mcp`, which has no token."""
    problem = problem_of(error, "")
    said: dict[str, Any] = {"code": problem.code, "detail": problem.detail}
    if isinstance(error, InsufficientScope):
        said["detail"] = f"{error.args[0].rstrip('.')}, or start `todo mcp` with `--scope {error.scope}` too."
    if problem.errors:
        said["errors"] = msgspec.to_builtins(problem.errors)
    return {"error": said}
