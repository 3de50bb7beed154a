"""A task service without its surroundings: rules, use cases, and ports to be filled. Standard library only."""

from todo_core.errors import (
    InvalidInput,
    NotAuthenticated,
    Problem,
    StoreUnavailable,
    TaskExists,
    TaskNotFound,
    TodoError,
    VersionConflict,
)
from todo_core.ports import Authenticator, Clock, IdGenerator, OwnedTasks, TaskStore
from todo_core.queries import Cursor, Page, Sort, TaskQuery, searchable
from todo_core.task import UNSET, Expected, OwnerId, Task, TaskId, Unset, Version, owner_id
from todo_core.use_cases import TaskService

__all__ = [
    "UNSET",
    "Authenticator",
    "Clock",
    "Cursor",
    "Expected",
    "IdGenerator",
    "InvalidInput",
    "NotAuthenticated",
    "OwnedTasks",
    "OwnerId",
    "Page",
    "Problem",
    "Sort",
    "StoreUnavailable",
    "Task",
    "TaskExists",
    "TaskId",
    "TaskNotFound",
    "TaskQuery",
    "TaskService",
    "TaskStore",
    "TodoError",
    "Unset",
    "Version",
    "VersionConflict",
    "owner_id",
    "searchable",
]
