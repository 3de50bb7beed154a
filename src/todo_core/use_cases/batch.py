"""Batches: several operations as one change, all or nothing."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn, Self, TypeAlias, cast

from todo_core.errors import InvalidInput, Problem, TodoError
from todo_core.plans import Committed, Plan, composed
from todo_core.ports import TaskStore
from todo_core.task import OwnerId
from todo_core.use_cases.base import UseCases, WriteOptions, require_options

BATCH_MAX: Final = 100
BATCH_RULE: Final = f"must be 1 to {BATCH_MAX} operations"
Operation: TypeAlias = Callable[..., Awaitable[Committed]]
"""A function that calls one writing method of the service that it is given."""


@dataclass(slots=True)
class _Recorder:
    """A store of one owner that records the plans instead of committing them. Raises `ValueError` for all else."""

    owner: OwnerId
    plans: list[Plan] = field(default_factory=list)

    def tasks_of(self, owner: OwnerId) -> Self:
        if owner != self.owner:
            raise ValueError("an operation of a batch must have the batch's owner")
        return self

    async def commit(self, plan: Plan) -> Committed:
        if plan.once is not None:
            raise ValueError("an operation of a batch cannot have a key: set `once` in the options of the batch")
        self.plans.append(plan)
        return Committed((), None)

    def __getattr__(self, _: str) -> NoReturn:
        raise ValueError("an operation of a batch cannot read: read before it, and call `empty_trash` by itself")


class BatchUseCases(UseCases):
    """Writing several things as one change."""

    __slots__ = ()

    async def batch(self, owner: OwnerId, operations: Sequence[Operation], options: WriteOptions) -> Committed:
        """Carry out these operations in order as one change, each on the result of those before it; all or nothing.

        Each operation is called with a service like this one, and must call one of its writing methods, once and for
        the same owner; not `empty_trash`, which reads as well. The key and the client are those of the batch's own
        `options`. Returns the things of all their answers, in order. Raises `InvalidInput` unless there are 1 to 100
        operations, what the operations raise, with the index of the operation in `part`, and `ValueError` for an
        operation that does anything else, or has a key.
        """
        require_options(options)
        if not 1 <= len(operations) <= BATCH_MAX:
            raise InvalidInput([Problem("operations", BATCH_RULE)])
        recorder = _Recorder(owner)
        try:
            await _record(operations, replace(self, store=cast("TaskStore", recorder)), plans := recorder.plans)
        finally:
            recorder.plans = []  # they refer to the service, and it to the recorder: a cycle would not be freed
        return await self._carry_out(owner, composed(plans, once=options.once, client=options.client))


async def _record(operations: Sequence[Operation], recording: UseCases, plans: Sequence[Plan]) -> None:
    """Call each operation with a service that records what it plans in `plans`."""
    for part, operation in enumerate(operations):
        try:
            await operation(recording)
        except TodoError as error:
            error.part = part
            raise
        if (times := len(plans) - part) != 1:
            raise ValueError(f"operation {part} must write once: it wrote {times} times")
