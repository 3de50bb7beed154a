"""The errors that the core and the adapters raise for a caller: one class and one stable code each."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID


class TodoError(Exception):
    """An error that a caller can act on. The message says what to do and contains no secret."""

    code: ClassVar[str] = "todo_error"
    """Stable: identifies the kind of error."""
    part: int | None = None
    """In a batch (`plans.composed`): the index of the operation at fault, from 0."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in what a caller sent: the member's name and what it must be."""

    field: str
    detail: str


class InvalidInput(TodoError):
    """A value breaks a rule of the core."""

    code = "invalid_input"
    problems: tuple[Problem, ...]
    """Every member at fault."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{problem.field} {problem.detail}" for problem in self.problems))


class NotAuthenticated(TodoError):
    """The credentials are not valid. The message is for the log; callers must not see it."""

    code = "not_authenticated"


class IdentityUnavailable(TodoError):
    """The credentials cannot be verified at present; the same call may succeed later."""

    code = "identity_unavailable"

    def __init__(self) -> None:
        super().__init__("Tokens cannot be verified at the moment: try again shortly.")


class TaskNotFound(TodoError):
    """This owner has no task with that id. An unknown id and another owner's look the same."""

    code = "task_not_found"

    def __init__(self) -> None:
        super().__init__("You have no task with this id.")


class ListNotFound(TodoError):
    """This owner has no list with that id. An unknown id and another owner's look the same."""

    code = "list_not_found"

    def __init__(self) -> None:
        super().__init__("You have no list with this id.")


class TaskExists(TodoError):
    """The owner has, or had, a task or list with the id of the one being created."""

    code = "task_exists"

    def __init__(self) -> None:
        super().__init__("You already have a task or list with this id, or had one: use a new id.")


class KeyReused(TodoError):
    """The idempotency key has been used for another request."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("You have used this idempotency key for another request: use a new key for each request.")


class ChangeNotFound(TodoError):
    """This owner has no change with that number, or it has been pruned."""

    code = "change_not_found"

    def __init__(self) -> None:
        super().__init__("You have no change with this number, or it is older than the history that is kept.")


class ResyncRequired(TodoError):
    """The log no longer holds all changes since that sync token: it is too old, or from another database."""

    code = "resync_required"

    def __init__(self) -> None:
        super().__init__("This sync token is no longer valid: fetch everything again, without `since`.")


class NotInTrash(TodoError):
    """This owner's trash holds nothing with that id. An unknown id and another owner's look the same."""

    code = "not_in_trash"

    def __init__(self) -> None:
        super().__init__("Nothing with this id is in your trash.")


class UndoConflict(TodoError):
    """Later changes conflict with the undo."""

    code = "undo_conflict"
    ids: tuple[UUID, ...]
    """For each of `problems`, in the same order, the id of the task or list."""
    problems: tuple[Problem, ...]
    """The members in conflict."""

    def __init__(self, problems: Iterable[tuple[UUID, Problem]]) -> None:
        found = list(dict.fromkeys(problems))
        self.ids = tuple(thing for thing, _ in found)
        self.problems = tuple(problem for _, problem in found)
        super().__init__("Later changes conflict with this one: undo those first, or edit what it changed.")


class MergeConflict(TodoError):
    """Members of the edit have changed since the version that it is based on, or there is no such version."""

    code = "merge_conflict"
    problems: tuple[Problem, ...]
    """The members that have changed."""

    def __init__(self, problems: Iterable[Problem], *, latest: int | None = None) -> None:
        """`latest`: the thing's version, if it is lower than the one that the edit is based on."""
        self.problems = tuple(problems)
        since = "The same members have changed since that version"
        wrong = since if latest is None else f"The current version is {latest}, and there is no later one"
        super().__init__(f"{wrong}: fetch it again, and let the user choose.")


class TooMany(TodoError):
    """The owner has as many tasks, or lists, as the service allows."""

    code = "too_many"
    kind: str
    """Of what there are too many: `tasks` or `lists`."""
    limit: int
    """How many are allowed."""

    def __init__(self, kind: str, limit: int) -> None:
        self.kind = kind
        self.limit = limit
        super().__init__(f"You may have at most {limit} {kind}: delete some before you add more.")


class VersionConflict(TodoError):
    """The task or list has changed since the caller saw it."""

    code = "version_conflict"
    current: int
    """The current version of the task or list."""

    def __init__(self, current: int) -> None:
        self.current = current
        super().__init__(f"The current version is {current}: fetch it again and repeat your change.")


class InsufficientScope(TodoError):
    """The caller is limited to scopes that do not include the required one."""

    code = "insufficient_scope"
    scope: str
    """The required scope."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        super().__init__(f"This needs the scope {scope}: request a token that has it.")


class StoreUnavailable(TodoError):
    """The storage cannot answer now; the same call may succeed later.

    A write that raised this was stored completely or not at all.
    """

    code = "store_unavailable"

    def __init__(self) -> None:
        super().__init__("The task storage cannot answer at the moment: try again shortly.")
