"""Batches: several operations as one change, and the result of each."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Annotated, Any, ClassVar, Final, TypeAlias
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from todo_app.api import examples, members, wire
from todo_app.api.bodies import faults_in_turn
from todo_app.api.operation import WRITE, Answer, Body, Call, Subject
from todo_app.api.replies import change_headers, reply_with
from todo_app.http.exchange import Reply
from todo_app.http.turns import give_way
from todo_core import (
    Committed,
    InvalidInput,
    ListId,
    ListNotFound,
    NotInTrash,
    OwnerId,
    Problem,
    SyncItem,
    TaskExists,
    TaskId,
    TaskNotFound,
    TaskService,
    TodoError,
    TooMany,
    VersionConflict,
    WriteOptions,
)
from todo_core.changes import kind_of
from todo_core.use_cases.batch import BATCH_MAX
from todo_core.versioned import Version

BATCH: Final = Subject("batch", "Several operations as one change.")
BODY_MAX: Final = 1024 * 1024  # bytes
_AT_A_TIME: Final = 10  # operations are planned in half a millisecond; then other requests have their turn
_PLANNED_FOR: Final = 0.001  # seconds; also then: some tags take a hundred times longer to fold than others


_UNKNOWN_ID: Final[Mapping[type[TodoError], str]] = {
    TaskNotFound: "must be the id of one of your tasks",
    ListNotFound: "must be the id of one of your lists",
    NotInTrash: "must be the id of a task or list in your trash",
}


class _Operation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"):
    within: ClassVar[str] = ""
    """The member of the body that an operation's problems are in, if there is one."""

    @property
    def expected(self) -> Version | None:
        """The version that the thing must have, if any."""
        return None


class _OfOne(_Operation, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: Annotated[UUID, Meta(description="The id of a task or list that exists, or that an earlier operation creates.")]
    version: Annotated[
        members.VersionNumber | UnsetType, Meta(description="Only if the thing has this version, as with `If-Match`.")
    ] = UNSET

    @property
    def expected(self) -> Version | None:
        """The version that the thing must have, if any."""
        return None if self.version is UNSET else Version(self.version)


class CreateOperation(_Operation, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="create"):
    """Create a task."""

    within = "task"
    task: wire.NewTask

    async def run(self, tasks: TaskService, owner: OwnerId, options: WriteOptions) -> Committed:
        """Do it, with these options."""
        return await tasks.create(owner, options, **self.task.members())


class EditOperation(_OfOne, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="edit"):
    """Change some of a task."""

    within = "changes"
    changes: wire.TaskPatch

    async def run(self, tasks: TaskService, owner: OwnerId, options: WriteOptions) -> Committed:
        """Do it, with these options."""
        return await tasks.edit(owner, TaskId(self.id), options, **self.changes.members())


class CompleteOperation(_OfOne, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="complete"):
    """Complete a task, or reopen it."""

    completed: bool = True
    occurrence: members.Seen | UnsetType = UNSET

    async def run(self, tasks: TaskService, owner: OwnerId, options: WriteOptions) -> Committed:
        """Do it, with these options."""
        if self.completed:
            return await tasks.complete(owner, TaskId(self.id), options, **wire.given(self, wire.Skip))
        if self.occurrence is not UNSET:
            raise InvalidInput([wire.NOT_COMPLETING])
        return await tasks.reopen(owner, TaskId(self.id), options)


class SkipOperation(_OfOne, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="skip"):
    """Skip an occurrence."""

    occurrence: members.Seen | UnsetType = UNSET

    async def run(self, tasks: TaskService, owner: OwnerId, options: WriteOptions) -> Committed:
        """Do it, with these options."""
        return await tasks.skip(owner, TaskId(self.id), options, **wire.given(self, wire.Skip))


class RescheduleOperation(_OfOne, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="reschedule"):
    """Move an occurrence to another date."""

    due_date: members.GivenDate
    start_date: members.GivenDate | UnsetType = UNSET

    async def run(self, tasks: TaskService, owner: OwnerId, options: WriteOptions) -> Committed:
        """Do it, with these options."""
        return await tasks.reschedule(owner, TaskId(self.id), options, **wire.given(self, wire.Reschedule))


class MoveOperation(_OfOne, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="move"):
    """Move a task."""

    list_id: members.ListId | UnsetType | None = UNSET
    parent_id: members.ParentId | UnsetType | None = UNSET
    before: members.Neighbour | UnsetType = UNSET
    after: members.Neighbour | UnsetType = UNSET

    async def run(self, tasks: TaskService, owner: OwnerId, options: WriteOptions) -> Committed:
        """Do it, with these options."""
        return await tasks.move(owner, TaskId(self.id), options, **wire.given(self, wire.Move))


class DeleteOperation(_OfOne, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="delete"):
    """Delete a task, with its subtasks: they go to the trash."""

    async def run(self, tasks: TaskService, owner: OwnerId, options: WriteOptions) -> Committed:
        """Do it, with these options."""
        return await tasks.delete(owner, TaskId(self.id), options)


class RestoreOperation(_Operation, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="restore"):
    """Restore a task or a list from the trash, with everything that was deleted with it."""

    id: Annotated[UUID, Meta(description="The id of the task or list that was deleted.")]

    async def run(self, tasks: TaskService, owner: OwnerId, options: WriteOptions) -> Committed:
        """Do it, with these options."""
        return await tasks.restore(owner, self.id, options, answers_whole=False)


class CreateListOperation(_Operation, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="create_list"):
    """Create a list."""

    within = "list"
    list: wire.NewList

    async def run(self, tasks: TaskService, owner: OwnerId, options: WriteOptions) -> Committed:
        """Do it, with these options."""
        return await tasks.create_list(owner, options, **self.list.members())


class EditListOperation(_OfOne, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="edit_list"):
    """Change some of a list."""

    within = "changes"
    changes: wire.ListPatch

    async def run(self, tasks: TaskService, owner: OwnerId, options: WriteOptions) -> Committed:
        """Do it, with these options."""
        return await tasks.edit_list(owner, ListId(self.id), options, **self.changes.members())


class MoveListOperation(_OfOne, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="move_list"):
    """Move a list."""

    before: members.Neighbour | UnsetType = UNSET
    after: members.Neighbour | UnsetType = UNSET

    async def run(self, tasks: TaskService, owner: OwnerId, options: WriteOptions) -> Committed:
        """Do it, with these options."""
        return await tasks.move_list(owner, ListId(self.id), options, **wire.given(self, wire.MoveList))


class DeleteListOperation(_OfOne, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="delete_list"):
    """Delete a list, with its tasks: they go to the trash."""

    async def run(self, tasks: TaskService, owner: OwnerId, options: WriteOptions) -> Committed:
        """Do it, with these options."""
        return await tasks.delete_list(owner, ListId(self.id), options)


AnyOperation: TypeAlias = (
    CreateOperation
    | EditOperation
    | CompleteOperation
    | SkipOperation
    | RescheduleOperation
    | MoveOperation
    | DeleteOperation
    | RestoreOperation
    | CreateListOperation
    | EditListOperation
    | MoveListOperation
    | DeleteListOperation
)


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The operations, in order: all are done, or none."""

    operations: Annotated[list[AnyOperation], Meta(min_length=1, max_length=BATCH_MAX)]


class BatchDone(msgspec.Struct, frozen=True, gc=False):
    """The outcome of a batch."""

    change: Annotated[int | None, Meta(description="The new change's number.", extra_json_schema={"minimum": 1})]
    results: Annotated[
        list[wire.TaskChange | wire.ListChange],
        Meta(
            description="The result of each operation, in order: its task or list after the batch; `deleted`, without "
            "a `value`, if the batch deleted it, or if it has been erased since."
        ),
    ]


@BATCH.operation(
    "POST",
    "/batch",
    scope=WRITE,
    zoned=True,
    body=Body(Batch, examples.BATCH),
    body_max=BODY_MAX,
    answers={200: Answer("All of it is done.", BatchDone, examples.BATCH_DONE, ("Change", "Idempotency-Replayed"))},
    refuses=(TaskExists, TooMany, VersionConflict),
)
async def run_batch(call: Call[Batch]) -> Reply:
    """Carry out several operations as one change.

    Up to 100 operations: all of them are done, or none. Each works on the result of those before it, and may use an
    `id` that an earlier one chose. What a batch creates and then deletes never reaches the trash; it restores only what
    was in the trash before. A refusal names the operation, from 0: the pointer for a problem in the third one begins
    with `/operations/2`.
    """
    operations = call.body.operations
    async with _placed(call.body):
        pace = _Pace(begins=len(operations) <= _AT_A_TIME)
        running = [_running(each, call, pace) for each in operations]
        done = await call.tasks.batch(call.owner, running, call.options)
    view = BatchDone(done.change, list(_results(operations, done)))
    return reply_with(view, *change_headers(done))


class _Pace:
    """When the operations of one batch give way to other requests: `begins` says whether the first needs not."""

    def __init__(self, *, begins: bool) -> None:
        self._left = _AT_A_TIME if begins else 0
        self._until = perf_counter() + _PLANNED_FOR

    async def keep(self) -> None:
        """Let other requests have their turn, if it is time."""
        if not self._left or perf_counter() > self._until:
            await give_way(0)
            self._left, self._until = _AT_A_TIME, perf_counter() + _PLANNED_FOR
        self._left -= 1


def _running(operation: AnyOperation, call: Call[Batch], pace: _Pace) -> Any:
    options = WriteOptions(expected=operation.expected, zone=call.options.zone)

    async def run(tasks: TaskService) -> Committed:
        await pace.keep()
        return await operation.run(tasks, call.owner, options)

    return run


def _results(operations: Sequence[AnyOperation], done: Committed) -> Iterator[wire.TaskChange | wire.ListChange]:
    """The result of each operation: for a deletion the id, for any other the next thing of the answer."""
    answer = iter(done.answer)
    for operation in operations:
        match operation:
            case DeleteOperation():
                yield wire.change_of(SyncItem("task", operation.id, None))
            case DeleteListOperation():
                yield wire.change_of(SyncItem("list", operation.id, None))
            case _:
                each = next(answer)
                yield wire.change_of(each if isinstance(each, SyncItem) else SyncItem(kind_of(each), each.id, each))


@asynccontextmanager
async def _placed(body: Batch) -> AsyncIterator[None]:
    """Make an operation's problems point into the body, and add the other operations' faults.

    An unknown id in the body is `InvalidInput`.
    """
    operations = body.operations
    try:
        yield
    except (InvalidInput, TaskNotFound, ListNotFound, NotInTrash) as error:
        if error.part is None:
            raise
        place = f"operations/{error.part}"
        if isinstance(error, InvalidInput):
            within = operations[error.part].within
            place = f"{place}/{within}" if within else place
            found = [Problem(f"{place}/{each.field}", each.detail) for each in error.problems]
        else:
            found = [Problem(f"{place}/id", _UNKNOWN_ID[type(error)])]
        named = {each.field for each in found}
        others = await faults_in_turn(msgspec.json.encode(body), Batch)
        raise InvalidInput([*found, *(each for each in others if each.field not in named)]) from None
