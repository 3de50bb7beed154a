"""What an owner can do: one method an action, the owner first."""

from todo_core.use_cases.base import WriteOptions
from todo_core.use_cases.batch import BatchUseCases
from todo_core.use_cases.changes import ChangeUseCases
from todo_core.use_cases.lists import ListUseCases
from todo_core.use_cases.tasks import TaskUseCases

__all__ = ["TaskService", "WriteOptions"]


class TaskService(TaskUseCases, ListUseCases, ChangeUseCases, BatchUseCases):
    """Everything that can be done with tasks and lists.

    Every method may raise `StoreUnavailable`; those that take a task's id raise `TaskNotFound`, those that take a
    list's `ListNotFound`; those that take `options` raise `VersionConflict` where the thing is not at the version
    expected, and `KeyReused`. A refused call changes nothing. What writes returns the thing as it is then, and the
    number of its change, if it changed anything. Without a `calendar` no task can recur: what needs one raises
    `RuntimeError`.
    """

    __slots__ = ()
