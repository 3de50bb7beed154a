"""Operations on the occurrences of recurring tasks, other than completing one."""

from typing import Final

from todo_app.api import examples, wire
from todo_app.api.listing import OCCURRENCES, PREVIEW, read_occurrences, read_preview
from todo_app.api.operation import READ, WRITE, Answer, Body, Call, Subject
from todo_app.api.replies import CHANGED, reply_with, reply_with_changed
from todo_app.api.tasks import AS_IT_IS
from todo_app.http.exchange import Reply
from todo_app.http.headers import read_time_zone
from todo_app.http.turns import give_way

RECURRING: Final = Subject("recurring tasks", "The occurrences of a task that recurs.")


@RECURRING.operation(
    "POST",
    "/tasks/{task_id}/skip",
    scope=WRITE,
    zoned=True,
    body=Body(wire.Skip, examples.SKIP, required=False),
    answers={200: Answer(AS_IT_IS, wire.Task, examples.MOVED_ON, CHANGED)},
)
async def skip_occurrence(call: Call[wire.Skip | None]) -> Reply:
    """Skip an occurrence.

    The task moves to its next occurrence without completing this one; the history says `skipped`.
    """
    asked = {} if call.body is None else wire.given(call.body, wire.Skip)
    skipped = await call.tasks.skip(call.owner, call.task_id, call.options, **asked)
    return reply_with_changed(skipped.task, skipped)


@RECURRING.operation(
    "POST",
    "/tasks/{task_id}/reschedule",
    scope=WRITE,
    zoned=True,
    body=Body(wire.Reschedule, examples.RESCHEDULE),
    answers={200: Answer(AS_IT_IS, wire.Task, examples.RESCHEDULED, CHANGED)},
)
async def reschedule_occurrence(call: Call[wire.Reschedule]) -> Reply:
    """Move an occurrence to another date.

    Later ones stay where they are. To move all of them, change `due_date`. With `start_date`, later ones keep the new
    distance between the two dates. For a task that recurs without a `time_zone`, an instant becomes a local time in the
    zone of `Time-Zone`, and the task stays without one.
    """
    dates = wire.given(call.body, wire.Reschedule)
    rescheduled = await call.tasks.reschedule(call.owner, call.task_id, call.options, **dates)
    return reply_with_changed(rescheduled.task, rescheduled)


@RECURRING.operation(
    "GET",
    "/tasks/{task_id}/occurrences",
    scope=READ,
    zoned=True,
    query=OCCURRENCES,
    answers={200: Answer("The dates.", wire.Occurrences, examples.OCCURRENCES)},
)
async def list_occurrences(call: Call[None]) -> Reply:
    """List a task's next due dates.

    The current one first, assuming that each is completed when it is due, or now if it is overdue. A task without a
    rule has one date, and a task without a due date none.
    """
    task = await call.tasks.get(call.owner, call.task_id)  # an unknown task takes precedence over an invalid query
    limit, zone = read_occurrences(call.query_string), read_time_zone(call.exchange)
    await give_way()
    items = call.tasks.occurrences_of(task, limit=limit, zone=zone)
    return reply_with(wire.Occurrences(items))


@RECURRING.operation(
    "GET",
    "/occurrences",
    scope=READ,
    zoned=True,
    query=PREVIEW,
    answers={200: Answer("The dates.", wire.Occurrences, examples.OCCURRENCES)},
)
async def preview_occurrences(call: Call[None]) -> Reply:
    """Preview the due dates of a new task.

    The dates that a task with this `due_date` and rule would have. Nothing is stored. Refuses what creating it would
    refuse.
    """
    await give_way()  # it waits for nothing, so hundreds would be answered in a row
    items = await call.tasks.preview(**read_preview(call.query_string), zone=read_time_zone(call.exchange))
    return reply_with(wire.Occurrences(items))
