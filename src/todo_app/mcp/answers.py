"""What tools answer: things with what they have, dates with their weekdays, and refusals by the table of the API."""

from datetime import date
from typing import Any, Final

import msgspec

from todo_app.api import wire
from todo_app.http.problems import problem_of
from todo_app.mcp.schema import Json
from todo_core import Committed, Entry, Task, TaskList, TodoError

# Of no use to a model: it never sends these back.
_LEFT_OUT: Final = frozenset({"user_id", "version", "created_at", "updated_at", "position", "due_at"})
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WHOLE: Final = frozenset({"created", "deleted", "restored"})
"""Actions that are about all of a task: its members say nothing more."""


def task(of: Task) -> Json:
    """That task: the members that it has, and the weekdays of its dates."""
    shown = _shown(wire.Task.of(of))
    if of.recurrence is None:
        del shown["recurrence_from"]
    days = {f"{name}_weekday": weekday(shown[f"{name}_date"]) for name in ("start", "due") if f"{name}_date" in shown}
    return shown | days


def task_list(of: TaskList) -> Json:
    """That list: the members that it has."""
    return _shown(wire.TaskList.of(of))


def _shown(view: msgspec.Struct) -> Json:
    members: Json = msgspec.to_builtins(view)
    return {name: value for name, value in members.items() if name not in _LEFT_OUT and value not in (None, [], ())}


def weekday(written: str) -> str:
    """The weekday of a date, in English whatever the process's locale."""
    return _DAYS[date.fromisoformat(written[:10]).weekday()]


def changed(committed: Committed) -> Json:
    """The one task that came of a change, and the change's number."""
    return {"change": committed.change, "task": task(committed.task)}


def taken_back(committed: Committed) -> Json:
    """The tasks and lists that came of a change, and its number."""
    tasks = [task(each) for each in committed.things if isinstance(each, Task)]
    lists = [task_list(each) for each in committed.things if isinstance(each, TaskList)]
    return {"change": committed.change, "tasks": tasks, **({"lists": lists} if lists else {})}


def entry(of: Entry, title: str | None) -> Json:
    """What one change did to one task, or list."""
    item: Json = msgspec.to_builtins(wire.HistoryItem.of(of))
    if of.action in _WHOLE:
        del item["fields"]
    named = {} if title is None else {"title": title}
    kind = {} if of.kind == "task" else {"kind": of.kind}
    return {"id": str(of.id), **kind, **named, **item, "weekday": weekday(item["at"])}


def refusal(error: TodoError) -> Json:
    """The refusal in the words of the API."""
    problem = problem_of(error, "")
    said: dict[str, Any] = {"code": problem.code, "detail": problem.detail}
    if problem.errors:
        said["errors"] = msgspec.to_builtins(problem.errors)
    return {"error": said}
