"""The use cases: one method per action, the owner first."""

from todo_core.use_cases.base import WriteOptions
from todo_core.use_cases.batch import BatchUseCases
from todo_core.use_cases.changes import ChangeUseCases
from todo_core.use_cases.lists import ListUseCases
from todo_core.use_cases.tasks import TaskUseCases

__all__ = ["TaskService", "WriteOptions"]


class TaskService(TaskUseCases, ListUseCases, ChangeUseCases, BatchUseCases):
    """Everything that an owner can do with tasks and lists.

    Every method may raise `StoreUnavailable`. Methods with a task's id raise `TaskNotFound`, those with a list's id
    `ListNotFound`; those with `options` raise `VersionConflict` and `KeyReused`. An id that is no `UUID`, such as its
    text, raises `InvalidInput`; an unexpected member, or options that are no `WriteOptions`, `TypeError`. A refused
    call changes nothing. A write returns the thing as it is afterwards, and the number of its change, if it changed
    anything. Recurring tasks need a `calendar`: without one, methods that compute occurrences raise `RuntimeError`.
    """

    __slots__ = ()
