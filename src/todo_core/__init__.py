"""A task service without its surroundings: rules, use cases, and ports to be filled. Standard library only."""

from todo_core.errors import (
    IdentityUnavailable,
    InvalidInput,
    KeyReused,
    NotAuthenticated,
    Problem,
    StoreUnavailable,
    TaskExists,
    TaskNotFound,
    TodoError,
    VersionConflict,
)
from todo_core.idempotency import KEY_LIFE, Creation, IdempotencyKey, asks_for_the_same, idempotency_key
from todo_core.ports import Authenticator, Clock, IdGenerator, OwnedTasks, TaskStore
from todo_core.queries import Cursor, Page, Sort, TaskQuery, searchable
from todo_core.task import UNSET, Expected, OwnerId, Task, TaskId, Unset, Version, owner_id
from todo_core.use_cases import TaskService

__all__ = [
    "KEY_LIFE",
    "UNSET",
    "Authenticator",
    "Clock",
    "Creation",
    "Cursor",
    "Expected",
    "IdGenerator",
    "IdempotencyKey",
    "IdentityUnavailable",
    "InvalidInput",
    "KeyReused",
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
    "asks_for_the_same",
    "idempotency_key",
    "owner_id",
    "searchable",
]
